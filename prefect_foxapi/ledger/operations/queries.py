"""Queries of the ledger, and the deletion of old rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from prefect_foxapi.ledger.database.schema import decisions, generations, submissions, uploads
from prefect_foxapi.ledger.operations.row_mapping import decode_rows, row_columns
from prefect_foxapi.ledger.operations.unit_of_work import ReadSet, UnitOfWork, chunks
from prefect_foxapi.ledger.records import Decision, State, Submission, Usage

__all__ = [
    "find",
    "find_generation",
    "find_upload",
    "history",
    "keys_like",
    "prune",
    "recent",
    "unsettled",
    "usage",
]

_s = submissions.c
_is_current = generations.c.token.is_not(None).label("is_current")
# Every submission, and whether it is its key's current one.
_all = sa.select(*row_columns, _s.result, _is_current).select_from(
    submissions.outerjoin(generations, generations.c.token == _s.token)
)
_SETTLED = tuple(state.value for state in (State.COMPLETED, State.FAILED, State.REFUSED, State.FORGOTTEN))


def _rows(connection: Connection, query: sa.Select[Any]) -> list[Submission]:
    return list(decode_rows(connection.execute(query)))


def find(connection: Connection, keys: Iterable[str]) -> dict[str, Submission]:
    """Return the current submissions of `keys`, by key."""
    found: dict[str, Submission] = {}
    for some in chunks(keys):
        query = (
            sa.select(*row_columns, _s.result, _is_current)
            .select_from(generations.join(submissions, generations.c.token == _s.token))
            .where(generations.c.key.in_(some))
        )
        found.update((row.key, row) for row in _rows(connection, query))
    return found


def find_generation(connection: Connection, generation_id: str) -> Submission | None:
    """Return the submission with this id: the billed one, if the result was published under other keys."""
    order = (_s.billed.desc(), _is_current.desc(), _s.claimed_at.desc())
    rows = _rows(connection, _all.where(_s.generation_id == generation_id).order_by(*order).limit(1))
    return rows[0] if rows else None


def unsettled(connection: Connection, now: float, account: str | None = None) -> list[Submission]:
    """Return the submissions that were accepted and not collected, and the ambiguous ones."""
    waiting = sa.or_(
        _s.state == State.SUBMITTED.value,
        sa.and_(_s.state == State.AMBIGUOUS.value, _is_current.expression),
        sa.and_(_s.state == State.SUBMITTING.value, _s.deadline <= now, _is_current.expression),
    )
    query = _all.where(waiting).order_by(_s.claimed_at, _s.attempt, _s.token)
    return _rows(connection, query if account is None else query.where(_s.account == account))


def recent(connection: Connection, limit: int) -> list[Submission]:
    """Return the latest submissions, the newest first."""
    return _rows(connection, _all.order_by(_s.claimed_at.desc(), _s.token).limit(limit))


def keys_like(connection: Connection, prefix: str, limit: int) -> list[str]:
    """Return the keys, at most `limit`, that begin with `prefix`."""
    query = sa.select(_s.key).where(_s.key.startswith(prefix, autoescape=True)).distinct().order_by(_s.key)
    return list(connection.scalars(query.limit(limit)))


def history(connection: Connection, key: str) -> tuple[list[Submission], list[Decision]]:
    """Return every submission of a key and every decision about it, the oldest first."""
    d = decisions.c
    columns = (d.key, d.token, d.generation_id, d.action, d.found, d.by, d.at)
    made = connection.execute(sa.select(*columns).where(d.key == key).order_by(d.at))
    return (
        _rows(connection, _all.where(_s.key == key).order_by(_s.claimed_at, _s.attempt)),
        [Decision(*values[:4], State(values[4]), *values[5:]) for values in made],
    )


def usage(connection: Connection, since: float | None = None) -> list[Usage]:
    """Add up what was spent, by day (UTC), model and flow, the newest day first."""
    accepted = _s.generation_id.is_not(None)
    unknown = sa.and_(~accepted, _s.state.in_((State.AMBIGUOUS.value, State.FORGOTTEN.value)))
    groups = (_s.day, _s.model, _s.flow_name)
    query = (
        sa.select(
            *groups,
            _count(accepted),
            _count(unknown),
            _count(_s.state == State.FAILED.value),
            sa.func.sum(_s.credits),
            *(sa.func.coalesce(sa.func.sum(column), 0) for column in (_s.prompt_tokens, _s.completion_tokens)),
        )
        .where(_s.billed, sa.or_(accepted, unknown))
        .group_by(*groups)
        .order_by(_s.day.desc(), _s.model, _s.flow_name)
    )
    rows: Sequence[Any] = connection.execute(query if since is None else query.where(_s.claimed_at >= since)).all()
    return [
        Usage(
            day=day,
            model=model,
            flow_name=flow_name,
            submissions=int(paid),
            ambiguous=int(ambiguous),
            failed=int(failed),
            credits=None if credits is None else float(credits),
            prompt_tokens=int(prompt),
            completion_tokens=int(completion),
        )
        for day, model, flow_name, paid, ambiguous, failed, credits, prompt, completion in rows
    ]


def _count(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    return sa.func.sum(sa.case((condition, 1), else_=0))


def find_upload(connection: Connection, digest: str, account: str, base_url: str, now: float) -> str | None:
    """Return the URL of an uploaded file, unless it has expired."""
    u = uploads.c
    return connection.scalar(
        sa.select(u.url).where(u.digest == digest, u.account == account, u.base_url == base_url, u.expires_at > now)
    )


def prune(connection: Connection, before: float, now: float, limit: int) -> int:
    """Delete submissions that were finished before `before`, but no unsettled ones.

    Args:
        connection: A connection in a transaction.
        before: Unix seconds.
        now: Unix seconds; expired uploads are deleted, too.
        limit: At most this many submissions.

    Returns:
        The number of deleted submissions.
    """
    settled = sa.and_(_s.state.in_(_SETTLED), sa.func.coalesce(_s.finished_at, _s.claimed_at) < before)
    # Ambiguous submissions that were permitted to be repeated, and were.
    replaced = sa.and_(_s.state == State.AMBIGUOUS.value, _s.claimed_at < before, generations.c.token.is_(None))
    query = sa.select(_s.token, _s.key).select_from(submissions.outerjoin(generations, generations.c.token == _s.token))
    candidates = connection.execute(query.where(sa.or_(settled, replaced)).order_by(_s.claimed_at).limit(limit)).all()
    unit = UnitOfWork(connection, now)
    unit.load(ReadSet(keys={key for _, key in candidates}, tokens={token for token, _ in candidates}))
    removed = 0
    for token, key in candidates:
        row, current = unit.submission(token), unit.peek(key)
        if row is None or row.state in (State.SUBMITTING, State.SUBMITTED):
            continue
        if current is not None and current.previous == token and current.state in (State.SUBMITTING, State.AMBIGUOUS):
            # If that submission is refused, this one becomes the current one again.
            continue
        if current is not None and current.token == token and row.state is State.AMBIGUOUS:
            continue
        unit.remove(row)
        removed += 1
    unit.flush()
    connection.execute(decisions.delete().where(decisions.c.at < before))
    connection.execute(uploads.delete().where(uploads.c.expires_at <= now))
    return removed
