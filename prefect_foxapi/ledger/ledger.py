"""`Ledger`, the interface of the ledger for the rest of the package."""

from __future__ import annotations

import hashlib
import json
import logging
import time
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, TypeVar

from sqlalchemy import Connection

from prefect_foxapi.errors import InvalidRequest, LedgerError
from prefect_foxapi.ledger.database.base import open_database
from prefect_foxapi.ledger.database.errors import explain
from prefect_foxapi.ledger.operations import queries
from prefect_foxapi.ledger.operations.group_commit import GroupCommitQueue
from prefect_foxapi.ledger.operations.outcomes import Complete, Fail, Publish, RememberUpload, Vanish
from prefect_foxapi.ledger.operations.recovery_log import RecoveryLog
from prefect_foxapi.ledger.operations.submissions import Accept, CatchUp, Claim, Lose, Refuse, Settle
from prefect_foxapi.ledger.records import Claimant, Decision, GenerationIdentity, Lease, Submission, Usage

__all__ = ["Ledger"]

T = TypeVar("T")

logger = logging.getLogger(__name__)

_DAY = 86400.0
_PRUNE_EVERY = 6 * 3600.0
_PRUNE_BATCH = 500


class Ledger:
    """The durable record of paid generations and their results.

    A `Ledger` belongs to one event loop; any number of them can share a database. The database is not touched before
    the first call. A change is durable when its method returns. Every method raises `LedgerError` if the database
    cannot be read or written; the message says what to do about it.

    Args:
        url: `sqlite:///path` (on a local disk, not a network share) or `postgresql://user:password@host/database`.
        clock: Returns the time in Unix seconds.
        keep_results: Whether to store results. Otherwise they are fetched from FoxAPI again, by id.
        retention: Seconds after which finished generations are deleted, and would be paid for again; `None` keeps them.
        recovery_folder: Folder for the ids of paid generations that the database could not take. By default a folder
            beside the SQLite file. PostgreSQL has no default: without a folder, only this process remembers the ids.
        synchronous: SQLite's `PRAGMA synchronous`. With anything below `FULL`, a power failure can lose paid
            generations.

    Attributes:
        clock: Returns the ledger's time in Unix seconds.

    Example:
        ```python
        ledger = Ledger("sqlite:////home/me/ledger.db")
        found = await ledger.claim(GenerationIdentity(key, account, base_url, model), Claimant.here(), deadline=60)
        if isinstance(found, Lease):
            generation_id = ...  # the paid request
            await ledger.accepted(found, generation_id)
        ```
    """

    def __init__(
        self,
        url: str,
        *,
        clock: Callable[[], float] = time.time,
        keep_results: bool = True,
        retention: float | None = 90 * _DAY,
        recovery_folder: Path | None = None,
        synchronous: str = "FULL",
    ) -> None:
        self._database = open_database(url, synchronous=synchronous)
        self.clock = clock
        self._keep_results = keep_results
        self._retention = retention
        self._prune_at = -1.0
        self._closed = False
        folder = self._database.recovery_folder
        if recovery_folder is not None:
            # Several databases may share the folder, each with a subfolder of its own.
            digest = hashlib.sha256(self._database.where.encode()).hexdigest()
            folder = Path(recovery_folder) / f"spill-{digest[:16]}"
        self._queue = GroupCommitQueue(self._database, RecoveryLog(folder), clock, self._prune_sometimes)

    def __repr__(self) -> str:
        return f"Ledger({self._database.where!r})"

    def exists(self) -> bool:
        """Return whether the database exists, or there is anything to record in it. Always true for PostgreSQL."""
        return self._database.exists() or self._queue.has_pending

    async def aclose(self) -> None:
        """Finish pending operations, and close the connections."""
        await self._queue.aclose()
        if not self._closed:
            self._closed = True
            await self._database.aclose()

    # Submissions

    async def claim(
        self,
        identity: GenerationIdentity,
        claimant: Claimant,
        *,
        deadline: float,
        max_age: float | None = None,
        asked_at: float | None = None,
        on_ambiguous: Literal["raise", "resubmit"] = "raise",
    ) -> Lease | Submission:
        """Claim the exclusive right to submit a key.

        Send the paid request only with a `Lease`, and report its outcome with `accepted`, `rejected` or `unknown`. A
        claim of a caller that is cancelled meanwhile is released automatically.

        Args:
            identity: The generation to submit.
            claimant: The process and run that claim it.
            deadline: Seconds from now in which the answer to the submission has to be recorded. After that, the
                submission is ambiguous.
            max_age: Age in seconds at which a completed result is out of date, so that the key can be claimed.
            asked_at: When the caller first asked for the generation, in Unix seconds. A failure or an ambiguous
                submission that is newer is returned rather than repeated, since the caller has waited for it.
            on_ambiguous: `resubmit` grants a claim after an ambiguous submission, which may lead to a second payment.

        Returns:
            A `Lease`, or the current submission if the key cannot be claimed: it is completed; submitted (collect it);
            submitting (ask again later); ambiguous; or it failed, and may not be repeated by this caller.

        Raises:
            LedgerError: The ledger cannot be used. Do not submit.
        """
        return await self._queue.execute(
            Claim(
                identity,
                claimant,
                uuid.uuid4().hex,
                deadline,
                max_age=max_age,
                asked_at=asked_at,
                resubmit=on_ambiguous == "resubmit",
            )
        )

    async def accepted(self, lease: Lease, generation_id: str, *, credits: float | None = None) -> None:
        """Record that FoxAPI accepted a submission, even after the deadline and even if the caller is cancelled.

        Args:
            lease: The lease under which it was submitted.
            generation_id: FoxAPI's id of the generation.
            credits: Credits reserved, if FoxAPI reported them.

        Raises:
            AmbiguousSubmission: Another key was billed for this id. The submission is ambiguous.
            LedgerError: The id is not in the ledger, but in the recovery folder, from where the next use of the ledger
                records it. The error has `key` and `generation_id`.
        """
        amount = None if credits is None else float(credits)
        await self._queue.execute(Accept(lease.token, generation_id, lease, amount))

    async def rejected(self, lease: Lease, reason: str) -> None:
        """Record that a submission was not accepted or never sent, and restore the state before the claim."""
        await self._queue.execute(Refuse(lease.key, lease.token, _storable(reason)))

    async def unknown(self, lease: Lease, reason: str) -> None:
        """Record that the response was lost, so that it is unknown whether the submission was accepted."""
        await self._queue.execute(Lose(lease.key, lease.token, _storable(reason)))

    # Outcomes

    async def completed(
        self,
        generation_id: str,
        result: dict[str, Any],
        *,
        account: str,
        base_url: str,
        key: str | None = None,
        credits: float | None = None,
        tokens: tuple[int | None, int | None] | None = None,
        expires_at: float | None = None,
    ) -> bool:
        """Record that a generation completed. The first outcome of a generation is final.

        Args:
            generation_id: The generation.
            result: The result as JSON data.
            account: The account that paid.
            base_url: Origin of the FoxAPI that made the generation.
            key: The generation key, if known. Submissions of other keys with this id are then not changed.
            credits: Credits spent, if FoxAPI reported them.
            tokens: Tokens of the prompt and of the completion.
            expires_at: When the result can no longer be used, in Unix seconds.

        Returns:
            Whether the generation is recorded as completed.
        """
        text = json.dumps(result) if self._keep_results else None
        amount = None if credits is None else float(credits)
        return await self._queue.execute(
            Complete(generation_id, account, base_url, text, key, amount, tokens or (None, None), expires_at)
        )

    async def failed(
        self, generation_id: str, error: dict[str, Any], *, account: str, base_url: str, key: str | None = None
    ) -> bool:
        """Record that a generation failed. Another task run can then claim its key.

        Args:
            generation_id: The generation.
            error: FoxAPI's error.
            account: The account that paid.
            base_url: Origin of the FoxAPI that made the generation.
            key: The generation key, if known. Submissions of other keys with this id are then not changed.

        Returns:
            Whether the generation is recorded as failed.
        """
        return await self._queue.execute(Fail(generation_id, account, base_url, error, key))

    async def vanished(self, generation_id: str, *, account: str, base_url: str) -> None:
        """Record that FoxAPI no longer knows a generation (404), ambiguous unless its result is kept or expired."""
        await self._queue.execute(Vanish(generation_id, account, base_url))

    async def publish(
        self,
        identity: GenerationIdentity,
        claimant: Claimant,
        generation_id: str,
        result: dict[str, Any],
        *,
        finished_at: float | None = None,
        tokens: tuple[int | None, int | None] | None = None,
        expires_at: float | None = None,
    ) -> bool:
        """Make a result that was paid for under another key the result of this key, too.

        Args:
            identity: The key that gets the result.
            claimant: The process and run that publish it.
            generation_id: The generation with the result.
            result: The result as JSON data.
            finished_at: When the generation completed, in Unix seconds; now by default.
            tokens: Tokens of the prompt and of the completion.
            expires_at: When the result can no longer be used, in Unix seconds.

        Returns:
            Whether the key has the result now. It does not if its current submission is submitting, submitted or
            ambiguous, or has a newer result.
        """
        text = json.dumps(result) if self._keep_results else None
        token = uuid.uuid4().hex
        return await self._queue.execute(
            Publish(identity, claimant, token, generation_id, text, finished_at, tokens or (None, None), expires_at)
        )

    # Queries

    async def find(self, keys: Iterable[str]) -> dict[str, Submission]:
        """Return the current submissions of many keys, by key. Results may be out of date (`Submission.fresh`)."""
        # Iterated here, because the query runs in another thread.
        listed = list(keys)
        return await self._read(lambda connection: queries.find(connection, listed))

    async def find_generation(self, generation_id: str) -> Submission | None:
        """Return the submission of a generation, whether or not it is its key's current one."""
        return await self._read(lambda connection: queries.find_generation(connection, generation_id))

    async def unsettled(self, account: str | None = None) -> list[Submission]:
        """Return the submissions that were not collected and the ambiguous ones, the oldest first."""
        now = self.clock()
        return await self._read_caught_up(lambda connection: queries.unsettled(connection, now, account))

    async def recent(self, limit: int = 100) -> list[Submission]:
        """Return the latest submissions, the newest first."""
        return await self._read_caught_up(lambda connection: queries.recent(connection, limit))

    async def keys_like(self, prefix: str, limit: int = 10) -> list[str]:
        """Return the keys that begin with `prefix`, at most `limit`."""
        return await self._read_caught_up(lambda connection: queries.keys_like(connection, prefix, limit))

    async def history(self, key: str) -> tuple[list[Submission], list[Decision]]:
        """Return every submission of a key, and every decision about it, the oldest first."""
        return await self._read_caught_up(lambda connection: queries.history(connection, key))

    async def usage(self, since: float | None = None) -> list[Usage]:
        """Return what was spent, by day, model and flow.

        Args:
            since: Count only submissions that were claimed since then, in Unix seconds. Submissions older than the
                retention are deleted and never count.
        """
        return await self._read_caught_up(lambda connection: queries.usage(connection, since))

    # Maintenance

    async def settle(
        self, key: str, action: Literal["forget", "allow_resubmit"], *, by: str | None = None
    ) -> Submission | None:
        """Settle an unsettled submission by a decision, which is recorded.

        Args:
            key: The generation key.
            action: `forget` gives the submission up, so that the next call pays. `allow_resubmit` permits one new
                submission after an ambiguous one; if FoxAPI refuses it, the permission remains.
            by: The user that decides; this process by default.

        Returns:
            The submission, or `None` if it is forgotten.

        Raises:
            InvalidRequest: The action does not apply to the submission's state; the message says which does.
        """
        if action not in ("forget", "allow_resubmit"):
            raise InvalidRequest(f"unknown action {action!r}: use forget or allow_resubmit", field="action", key=key)
        return await self._queue.execute(Settle(key, action, by or str(Claimant.here())))

    async def prune(self, older_than: float | None = None) -> int:
        """Delete old finished submissions, but no unsettled ones.

        Args:
            older_than: Delete what was finished more seconds ago than this; the retention by default.

        Returns:
            The number of deleted submissions.
        """
        age = self._retention if older_than is None else older_than
        if age is None:
            return 0
        total = 0
        while (removed := await self._prune_some(age)) == _PRUNE_BATCH:
            total += removed
        return total + removed

    async def _prune_some(self, age: float) -> int:
        now = self.clock()
        return await self._transact(
            lambda connection: queries.prune(connection, now - age, now, _PRUNE_BATCH), write=True
        )

    async def _prune_sometimes(self) -> bool:
        now = self.clock()
        if self._retention is None or now < self._prune_at:
            return False
        try:
            if await self._prune_some(self._retention) == _PRUNE_BATCH:
                return True
        except LedgerError as error:
            logger.warning("The ledger could not delete old rows: %s", error)
        self._prune_at = now + _PRUNE_EVERY
        return False

    # Uploads

    async def remember_upload(self, digest: str, *, account: str, base_url: str, url: str, expires_at: float) -> None:
        """Store the URL of an uploaded file.

        Args:
            digest: Digest of the content.
            account: The account that uploaded it.
            base_url: Origin of the FoxAPI that stores it.
            url: The URL of the file.
            expires_at: When the URL expires, in Unix seconds.
        """
        await self._queue.execute(RememberUpload(digest, account, base_url, url, expires_at))

    async def find_upload(self, digest: str, *, account: str, base_url: str) -> str | None:
        """Return the URL of an uploaded file, or `None` if it is unknown or expired."""
        now = self.clock()
        return await self._read(lambda connection: queries.find_upload(connection, digest, account, base_url, now))

    async def _read_caught_up(self, work: Callable[[Connection], T]) -> T:
        """Run a query after recording what the recovery log holds."""
        if self._queue.has_pending:
            # If that fails, the query still shows what the database has.
            with suppress(LedgerError):
                await self._queue.execute(CatchUp())
        return await self._read(work)

    async def _read(self, work: Callable[[Connection], T]) -> T:
        return await self._transact(work, write=False)

    async def _transact(self, work: Callable[[Connection], T], *, write: bool) -> T:
        if self._closed:
            raise LedgerError("the ledger is closed")
        try:
            return await self._database.transact(work, write=write)
        except Exception as error:
            raise explain(error, self._database.where) from error


def _storable(text: str) -> str:
    """Return `text` without the characters that a database cannot store."""
    return text.encode("utf-8", "replace").decode().replace("\0", "")
