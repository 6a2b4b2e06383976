"""The unit of work of a transaction: loads rows with locks, changes them in memory, writes them by compare-and-set.

Every transaction takes its locks in the same order (new generation ids, keys, then tokens, all sorted), so that no two
transactions wait for each other. SQLite has a single writer and needs no locks.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql, sqlite

from prefect_foxapi.errors import LedgerError
from prefect_foxapi.ledger.database.errors import Conflict
from prefect_foxapi.ledger.database.schema import decisions, generations, submissions, uploads
from prefect_foxapi.ledger.operations.row_mapping import changed_values, decode_rows, encode, row_columns
from prefect_foxapi.ledger.records import Decision, Submission

__all__ = ["ReadSet", "UnitOfWork", "chunks", "with_results"]

T = TypeVar("T")

# Below SQLite's limit on variables in a statement, in versions before 3.32 too (999).
_CHUNK = 900

_s = submissions.c

# Built once: building a statement takes longer than running it.
_wanted: sa.BindParameter[Any] = sa.bindparam("wanted", expanding=True)
_BY_TOKEN = sa.select(_s.token, _s.key).where(_s.token.in_(_wanted))
_BY_GENERATION = sa.select(_s.token, _s.key).where(_s.generation_id.in_(_wanted))
_BY_KEY = sa.select(_s.token, _s.key).where(_s.key.in_(_wanted))
_POINTERS = (
    sa.select(generations.c.key, generations.c.token)
    .where(generations.c.key.in_(_wanted))
    .order_by(generations.c.key)
    .with_for_update()
)
_ROWS = sa.select(*row_columns).where(_s.token.in_(_wanted)).order_by(_s.token).with_for_update()
_RESULTS = sa.select(_s.token, _s.result).where(_s.token.in_(_wanted))

_LOCK_GENERATIONS = sa.text(
    "SELECT pg_advisory_xact_lock(number) FROM "
    "(SELECT DISTINCT hashtextextended(wanted, 0) AS number FROM unnest(CAST(:wanted AS text[])) AS wanted "
    "ORDER BY number) AS ordered"
)

_INSERT_POINTERS = generations.insert()
_INSERT_FREE_POINTERS = postgresql.insert(generations).on_conflict_do_nothing().returning(generations.c.key)
_is_pointer = (generations.c.key == sa.bindparam("b_key"), generations.c.token == sa.bindparam("b_token"))
_MOVE_POINTERS = generations.update().where(*_is_pointer).values(token=sa.bindparam("token"))
_DELETE_POINTERS = generations.delete().where(*_is_pointer)

_is_row = (_s.token == sa.bindparam("b_token"), _s.state == sa.bindparam("b_state"))
_INSERT_ROWS = submissions.insert()
_DELETE_ROWS = submissions.delete().where(*_is_row)


@cache
def _update_rows(names: tuple[str, ...]) -> sa.Update:
    return submissions.update().where(*_is_row).values({name: sa.bindparam(name) for name in names})


@dataclass
class ReadSet:
    """The rows that a batch of operations needs.

    Attributes:
        keys: Keys whose current submission is needed.
        histories: Keys of which every submission is needed.
        tokens: Tokens of single submissions, whose keys are in `keys`.
        tokens_without_key: Single submissions whose key is not known.
        generation_ids: Generations whose submissions, with their keys, are needed.
        new_generation_ids: The same for generations that a submission is about to get, which no other transaction may
            give to a submission meanwhile.
    """

    keys: set[str] = field(default_factory=set[str])
    histories: set[str] = field(default_factory=set[str])
    tokens: set[str] = field(default_factory=set[str])
    tokens_without_key: set[str] = field(default_factory=set[str])
    generation_ids: set[str] = field(default_factory=set[str])
    new_generation_ids: set[str] = field(default_factory=set[str])


def chunks(values: Iterable[T]) -> Iterator[list[T]]:
    """Yield distinct `values`, sorted, in lists that fit one statement."""
    ordered = sorted(set(values), key=lambda value: cast("Any", value))
    for start in range(0, len(ordered), _CHUNK):
        yield ordered[start : start + _CHUNK]


def with_results(connection: Connection, rows: Iterable[Submission]) -> dict[str, Submission]:
    """Return the rows by token, with the results that are kept."""
    by_token = {row.token: row for row in rows}
    for token, result in _select(connection, _RESULTS, [row.token for row in by_token.values() if row.result_kept]):
        by_token[token] = replace(by_token[token], result=json.loads(result) if result else None)
    return by_token


def _select(connection: Connection, query: sa.Executable, reads: Iterable[str]) -> Iterator[Sequence[Any]]:
    for some in chunks(reads):
        yield from connection.execute(query, {"wanted": some})


class UnitOfWork:
    """The rows that a batch of operations reads and changes.

    Args:
        connection: A connection in a transaction.
        now: The time of the batch, in Unix seconds.

    Attributes:
        now: The time of the batch, in Unix seconds.
    """

    def __init__(self, connection: Connection, now: float) -> None:
        self.now = now
        self._connection = connection
        self._rows: dict[str, Submission] = {}
        self._stored: dict[str, Submission] = {}
        self._results: dict[str, str | None] = {}
        self._loaded: dict[str, str] = {}
        self._current: dict[str, str] = {}
        self._generations: dict[str, list[str]] = {}
        self._removed: list[Submission] = []
        self._decisions: list[Decision] = []
        self._uploads: list[dict[str, Any]] = []

    # Reading

    def load(self, reads: ReadSet) -> None:
        """Read rows, and lock them against other transactions."""
        touched, named = reads.keys | reads.histories, set(reads.tokens)
        self._lock_generations(reads.new_generation_ids)
        generation_ids = reads.generation_ids | reads.new_generation_ids
        for query, values in ((_BY_TOKEN, reads.tokens_without_key), (_BY_GENERATION, generation_ids)):
            # Without a lock: the key and the id of a submission do not change once they are set.
            for token, key in _select(self._connection, query, values):
                named.add(token)
                touched.add(key)
        for key, token in _select(self._connection, _POINTERS, touched):
            self._loaded[key] = self._current[key] = token
        named.update(token for token, _ in _select(self._connection, _BY_KEY, reads.histories))
        named.update(self._current.values())
        self._load_rows(named)

    def _lock_generations(self, generation_ids: Iterable[str]) -> None:
        # Rows that do not exist yet cannot be locked. SQLite has a single writer.
        if self._connection.dialect.name == "postgresql":
            for some in chunks(generation_ids):
                self._connection.execute(_LOCK_GENERATIONS, {"wanted": some})

    def _load_rows(self, tokens: Iterable[str]) -> None:
        for some in chunks(tokens):
            for row in decode_rows(self._connection.execute(_ROWS, {"wanted": some})):
                self._rows[row.token] = self._stored[row.token] = row
                if row.generation_id is not None:
                    self._generations.setdefault(row.generation_id, []).append(row.token)

    def current(self, key: str) -> Submission | None:
        """Return the current submission of a key.

        Raises:
            LedgerError: The row is missing. To treat the key as unused would be to pay again.
        """
        row = self.peek(key)
        if row is None and key in self._current:
            raise LedgerError("the ledger is damaged: the row of this key is missing. Restore a backup", key=key)
        return row

    def peek(self, key: str) -> Submission | None:
        """Return the current submission of a key, or `None` if the key has none or its row is missing."""
        token = self._current.get(key)
        return None if token is None else self._rows.get(token)

    def submission(self, token: str) -> Submission | None:
        """Return the submission with this token."""
        return self._rows.get(token)

    def generation(self, account: str, base_url: str, generation_id: str) -> list[Submission]:
        """Return the submissions with this generation id."""
        rows = [self._rows[token] for token in self._generations.get(generation_id, ())]
        return [row for row in rows if (row.account, row.base_url) == (account, base_url)]

    def owner(self, base_url: str, generation_id: str, *, other_than: str) -> Submission | None:
        """Return the billed submission of another key that has this generation id, or `None`."""
        rows = [self._rows[token] for token in self._generations.get(generation_id, ())]
        return next((row for row in rows if row.base_url == base_url and row.billed and row.key != other_than), None)

    def history(self, key: str) -> list[Submission]:
        """Return the loaded submissions of a key."""
        return [row for row in self._rows.values() if row.key == key]

    def load_history(self, key: str) -> list[Submission]:
        """Load and return every submission of a key that is locked already."""
        self._load_rows({token for token, _ in _select(self._connection, _BY_KEY, [key])} - self._rows.keys())
        return self.history(key)

    # Changing

    def add(self, row: Submission, *, result: str | None = None) -> Submission:
        """Add a submission. `result` is JSON text."""
        self._rows[row.token] = row
        if result is not None:
            self._results[row.token] = result
        if row.generation_id is not None:
            self._generations.setdefault(row.generation_id, []).append(row.token)
        return row

    def update(self, row: Submission, *, result: str | None = None, **changes: Any) -> Submission:
        """Change fields of a submission. `result` is JSON text."""
        changed = replace(row, **changes)
        self._rows[row.token] = changed
        if result is not None:
            self._results[row.token] = result
        if changed.generation_id is not None and row.generation_id is None:
            self._generations.setdefault(changed.generation_id, []).append(row.token)
        return changed

    def set_current(self, key: str, token: str | None) -> None:
        """Make another submission, or none, the current one of a key."""
        if token is None:
            self._current.pop(key, None)
        else:
            self._current[key] = token

    def remove(self, row: Submission) -> None:
        """Delete a submission, and its key if it is the current one."""
        self._removed.append(row)
        if self._current.get(row.key) == row.token:
            self.set_current(row.key, None)

    def record_decision(self, row: Submission, action: str, by: str) -> None:
        """Add a decision that the key may be paid for again."""
        self._decisions.append(Decision(row.key, row.token, row.generation_id, action, row.state, by, self.now))

    def remember_upload(self, **values: Any) -> None:
        """Add an upload, or replace the URL of a known one."""
        self._uploads.append(values)

    # Writing

    def flush(self) -> None:
        """Write all changes.

        Raises:
            Conflict: Another transaction changed one of the rows. This one has to be rolled back.
        """
        self._flush_pointers()
        self._flush_submissions()
        if self._decisions:
            values = [
                {**vars(decision), "found": decision.found.value, "id": uuid.uuid4().hex}
                for decision in self._decisions
            ]
            self._connection.execute(decisions.insert(), values)
        for values in self._uploads:
            self._connection.execute(self._upsert_upload(values))

    def _flush_pointers(self) -> None:
        execute = self._connection.execute
        added = [
            {"key": key, "token": token} for key, token in sorted(self._current.items()) if key not in self._loaded
        ]
        if added and self._connection.dialect.name == "postgresql":
            # Another transaction may have inserted the row: while it was missing there was nothing to lock.
            if len(execute(_INSERT_FREE_POINTERS, added).all()) != len(added):
                raise Conflict
        elif added:
            execute(_INSERT_POINTERS, added)
        loaded = [(key, token, self._current.get(key)) for key, token in sorted(self._loaded.items())]
        moved = [
            {"b_key": key, "b_token": token, "token": new} for key, token, new in loaded if new not in (None, token)
        ]
        self._compare_and_set(_MOVE_POINTERS, moved)
        self._compare_and_set(
            _DELETE_POINTERS, [{"b_key": key, "b_token": token} for key, token, new in loaded if not new]
        )

    def _flush_submissions(self) -> None:
        added: list[dict[str, Any]] = []
        changed: dict[tuple[str, ...], list[dict[str, Any]]] = {}
        for token, row in sorted(self._rows.items()):
            stored = self._stored.get(token)
            if stored is None:
                added.append(encode(row, self._results.get(token)))
            elif stored is not row:
                values = changed_values(row, stored)
                if token in self._results:
                    values["result"] = self._results[token]
                if values:
                    expected = {"b_token": token, "b_state": stored.state.value}
                    changed.setdefault(tuple(sorted(values)), []).append({**values, **expected})
        if added:
            self._connection.execute(_INSERT_ROWS, added)
        for names, values in changed.items():
            self._compare_and_set(_update_rows(names), values)
        gone = [{"b_token": row.token, "b_state": row.state.value} for row in self._removed]
        self._compare_and_set(_DELETE_ROWS, gone)

    def _compare_and_set(self, statement: sa.Update | sa.Delete, values: list[dict[str, Any]]) -> None:
        if not values:
            return
        matched = self._connection.execute(statement, values).rowcount
        # asyncpg reports no count for several sets of values (-1). There the rows are locked and cannot have changed.
        if 0 <= matched != len(values):
            raise Conflict

    def _upsert_upload(self, values: dict[str, Any]) -> sa.Insert:
        insert: Callable[..., Any] = (
            postgresql.insert if self._connection.dialect.name == "postgresql" else sqlite.insert
        )
        statement = insert(uploads).values(**values)
        found = list(uploads.primary_key.columns)
        return statement.on_conflict_do_update(
            index_elements=found, set_={"url": statement.excluded.url, "expires_at": statement.excluded.expires_at}
        )
