"""The ledger as the rest of the package uses it."""

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
    """What was paid for, and what it returned. One ledger belongs to one event loop; any number share a database.

    Every method raises `LedgerError` where the database cannot be read or written, with the remedy in its message.
    Every change is durable before the method returns. Nothing is touched before the first use.

    Args:
        url: `sqlite:///path` (a local disk, not a network share) or `postgresql://user:password@host/database`.
        clock: The time, in Unix seconds.
        keep_results: Whether results are kept; otherwise they are fetched from FoxAPI by id again.
        retention: Seconds after which what is finished is deleted, and would be paid for again; `None` keeps it.
        recovery_folder: Where the ids of paid generations go while the database cannot be written. By default a folder
            beside the SQLite file; for PostgreSQL nowhere, and only this process remembers them.
        synchronous: SQLite's `PRAGMA synchronous`. Anything below `FULL` can lose what was paid for at a power failure.

    Attributes:
        clock: The time that the ledger goes by, in Unix seconds.

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
            # Several databases may spill into one folder, and must not take each other's lines.
            digest = hashlib.sha256(self._database.where.encode()).hexdigest()
            folder = Path(recovery_folder) / f"spill-{digest[:16]}"
        self._queue = GroupCommitQueue(self._database, RecoveryLog(folder), clock, self._prune_sometimes)

    def __repr__(self) -> str:
        return f"Ledger({self._database.where!r})"

    def exists(self) -> bool:
        """Whether there is a ledger yet, or anything to be recorded in one. For PostgreSQL always true."""
        return self._database.exists() or self._queue.has_pending

    async def aclose(self) -> None:
        """Finish what is under way, and close the connections."""
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
        """Ask for the right to submit.

        Args:
            subject: What is to be submitted.
            claimant: Who asks.
            deadline: Seconds from now by which the answer to the submission will have been recorded. After that the
                submission counts as ambiguous. Do not send it any later.
            max_age: A completed row older than this, in seconds, is paid for anew.
            asked_at: When the asker first asked, in Unix seconds. A failure since then is returned as it is: the asker
                has waited for it, and whether it is paid for anew is for its caller to say.
            on_ambiguous: `resubmit` takes an ambiguous row for a free one: it may be paid for twice.

        Returns:
            `Lease`: nobody else may submit; call `accepted`, `refused` or `lost` next. Otherwise the row: completed,
            submitted (collect it), submitting (ask again soon), ambiguous, or failed for the same task run.

            A caller that is cancelled before it gets its claim need not give it back: that happens by itself.

        Raises:
            LedgerError: Nothing may be submitted.
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
        """FoxAPI accepted the submission. This is carried out even if the caller is cancelled, and however late it is.

        Args:
            claimed: The claim.
            generation_id: The id that FoxAPI gave.
            credits: Credits reserved, where FoxAPI said so.

        Raises:
            LedgerError: Not recorded; the error has `key` and `generation_id`, and the id is kept in the spill folder.
        """
        amount = None if credits is None else float(credits)
        await self._queue.execute(Accept(lease.token, generation_id, lease, amount))

    async def refused(self, lease: Lease, reason: str) -> None:
        """The submission was not accepted, for certain, or never sent: the key is what it was before the claim."""
        await self._queue.execute(Refuse(lease.key, lease.token, _storable(reason)))

    async def lost(self, lease: Lease, reason: str) -> None:
        """The response was lost, and nobody can know whether the submission was accepted (contract §2)."""
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
        """A generation completed. The first outcome that is recorded for a generation stays.

        Args:
            generation_id: The generation.
            result: What to keep, as JSON data.
            account: Whose generation it is.
            base_url: The FoxAPI that made it.
            key: Its key, where it is known: other keys' rows are then left alone.
            credits: Credits spent, where FoxAPI said so.
            tokens: Tokens of the prompt and of the completion.
            expires_at: When the result is of no more use, in Unix seconds.

        Returns:
            Whether the ledger knows the generation as completed.
        """
        text = json.dumps(result) if self._keep_results else None
        amount = None if credits is None else float(credits)
        return await self._queue.execute(
            Complete(generation_id, account, base_url, text, key, amount, tokens or (None, None), expires_at)
        )

    async def failed(
        self, generation_id: str, error: dict[str, Any], *, account: str, base_url: str, key: str | None = None
    ) -> bool:
        """A generation failed at FoxAPI. The next claim, by another task run, submits it anew.

        Returns:
            Whether the ledger knows the generation as failed.
        """
        return await self._queue.execute(Fail(generation_id, account, base_url, error, key))

    async def vanished(self, generation_id: str, *, account: str, base_url: str) -> None:
        """FoxAPI no longer knows a generation (404). It is ambiguous then, unless its result was kept or expired."""
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
        """Let a result that was paid for under another key answer this key, too.

        Args:
            subject: The key that gets the result.
            claimant: Who publishes it.
            generation_id: Where the result comes from.
            result: The result, as JSON data.
            finished_at: When the generation completed, in Unix seconds; now by default.
            tokens: Tokens of the prompt and of the completion.
            expires_at: When the result is of no more use, in Unix seconds.

        Returns:
            Whether it does now. A submission that is under way, uncollected or ambiguous keeps the key, and so does a
            result that is newer.
        """
        text = json.dumps(result) if self._keep_results else None
        token = uuid.uuid4().hex
        return await self._queue.execute(
            Publish(identity, claimant, token, generation_id, text, finished_at, tokens or (None, None), expires_at)
        )

    # Looking

    async def find(self, keys: Iterable[str]) -> dict[str, Submission]:
        """Return the rows of many keys at once, by key. Whether a row is too old is for the caller to see (`fresh`)."""
        reads = list(keys)
        return await self._read(lambda connection: queries.find(connection, reads))

    async def find_generation(self, generation_id: str) -> Submission | None:
        """Return the submission that led to a generation, whether or not its key still stands for it."""
        return await self._read(lambda connection: queries.find_generation(connection, generation_id))

    async def unsettled(self, account: str | None = None) -> list[Submission]:
        """Return what was submitted and never collected, and what is ambiguous, the oldest first."""
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
        """Return what was spent by day, model and flow.

        Args:
            since: Unix seconds; what was claimed before does not count. Nor does what is past the retention.
        """
        return await self._read_caught_up(lambda connection: queries.usage(connection, since))

    # Mending

    async def settle(
        self, key: str, action: Literal["forget", "allow_resubmit"], *, by: str | None = None
    ) -> Submission | None:
        """Decide about an unsettled generation. Who decided, and when, is recorded.

        Args:
            key: The generation key.
            action: `forget` gives it up, and the next call pays. `allow_resubmit` lets the next call submit again what
                is ambiguous, once; if that submission is refused, the permission is still there.
            by: Who decides; this process by default.

        Returns:
            The row, `None` once it is forgotten.

        Raises:
            InvalidRequest: The action does not fit; the message says what does.
        """
        if action not in ("forget", "allow_resubmit"):
            raise InvalidRequest(
                f"{action!r} is no action of the ledger: forget, allow_resubmit", field="action", key=key
            )
        return await self._queue.execute(Settle(key, action, by or str(Claimant.here())))

    async def prune(self, older_than: float | None = None) -> int:
        """Delete what was finished more than `older_than` seconds ago (the retention by default); nothing unsettled.

        Returns:
            How many submissions were deleted.
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
            logger.warning("Old rows stay for now: %s", error)
        self._prune_at = now + _PRUNE_EVERY
        return False

    # Uploads

    async def remember_upload(self, digest: str, *, account: str, base_url: str, url: str, expires_at: float) -> None:
        """Remember where a content lives.

        Args:
            digest: Digest of the content.
            account: Whose upload it is.
            base_url: The FoxAPI that keeps it.
            url: Where it lives.
            expires_at: Until when it may be used, in Unix seconds.
        """
        await self._queue.execute(RememberUpload(digest, account, base_url, url, expires_at))

    async def find_upload(self, digest: str, *, account: str, base_url: str) -> str | None:
        """Return the URL under which this content still lives."""
        now = self.clock()
        return await self._read(lambda connection: queries.find_upload(connection, digest, account, base_url, now))

    async def _read_caught_up(self, work: Callable[[Connection], T]) -> T:
        """Read what people look at: with what was spilled."""
        if self._queue.has_pending:
            # What there is can be shown all the same.
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
    """What FoxAPI said, without what a database cannot hold: to lose the whole note for it would be worse."""
    return text.encode("utf-8", "replace").decode().replace("\0", "")
