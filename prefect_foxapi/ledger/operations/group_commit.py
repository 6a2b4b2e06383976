"""Group commit: operations that are queued at the same time share one transaction.

A worker task executes what is queued, and ends when the queue is empty. A single operation is executed at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from prefect_foxapi.errors import FoxAPIError, LedgerError
from prefect_foxapi.ledger.database.base import Database
from prefect_foxapi.ledger.database.errors import concerns_all, explain, is_about_data
from prefect_foxapi.ledger.operations.base import Operation
from prefect_foxapi.ledger.operations.recovery_log import RecoveryLog
from prefect_foxapi.ledger.operations.submissions import Accept, Claim, Refuse
from prefect_foxapi.ledger.operations.unit_of_work import ReadSet, UnitOfWork, with_results
from prefect_foxapi.ledger.records import Lease, Submission

__all__ = ["GroupCommitQueue"]

logger = logging.getLogger(__name__)

_BATCH = 1000
_UNKNOWN_CLAIM = "it has no claim, and the ledger does not know its token"
_ABANDONED = "the caller was cancelled before it submitted"


@dataclass(eq=False)
class _Entry:
    operation: Operation
    future: asyncio.Future[Any] | None = None
    """The caller's future; `None` for operations that the queue added itself."""
    path: Path | None = None
    """The recovery file that holds the operation, if any."""

    @property
    def is_abandoned(self) -> bool:
        # Only a claim is dropped when its caller is cancelled. Other operations report what has happened already.
        return isinstance(self.operation, Claim) and self.future is not None and self.future.cancelled()


@dataclass(eq=False)
class _Failure:
    """The result of an operation whose transaction failed."""

    error: BaseException

    @property
    def is_permanent(self) -> bool:
        return is_about_data(self.error)


class GroupCommitQueue:
    """Executes operations in shared transactions. A queue belongs to one event loop.

    Args:
        database: The database of the ledger.
        recovery_log: Stores acceptances that the database could not take.
        clock: Returns the time in Unix seconds.
        idle: Awaited when the queue has become empty. It does one short step of maintenance, and returns whether there
            is more to do.
    """

    def __init__(
        self,
        database: Database,
        recovery_log: RecoveryLog,
        clock: Callable[[], float],
        idle: Callable[[], Awaitable[bool]],
    ) -> None:
        self._database = database
        self._recovery_log = recovery_log
        self._clock = clock
        self._idle = idle
        self._queue: deque[_Entry] = deque()
        self._pending_recovery: list[Operation] = []
        self._worker: asyncio.Task[None] | None = None
        self._closed = False

    async def execute(self, operation: Operation) -> Any:
        """Execute an operation and return its result, once it is durable.

        Raises:
            LedgerError: The operation was not written, or the queue is closed.
        """
        if self._closed:
            raise LedgerError("the ledger is closed")
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._queue.append(_Entry(operation, future))
        self._wake()
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                self._release(future.result())
            raise

    @property
    def has_pending(self) -> bool:
        """Whether there are operations that failed and are still to be written."""
        return bool(self._pending_recovery or self._recovery_log.read())

    async def aclose(self) -> None:
        """Execute what is queued, and accept no more operations."""
        self._closed = True
        while self._worker is not None:
            await asyncio.wait([self._worker])
        if self._pending_recovery:
            await self._write_batch(self._take_pending())

    def _wake(self) -> None:
        if self._worker is None:
            self._worker = asyncio.get_running_loop().create_task(self._work())
            self._worker.add_done_callback(self._on_worker_done)

    def _on_worker_done(self, _: object) -> None:
        self._worker = None
        # A worker that was cancelled before its first step has executed nothing, and callers still wait.
        if self._queue:
            self._wake()

    def _release(self, outcome: object) -> None:
        # The caller of this claim was cancelled. Without a release, its key would become ambiguous.
        if isinstance(outcome, Lease):
            # First in the queue, because the next operation may claim the same key.
            self._queue.appendleft(_Entry(Refuse(outcome.key, outcome.token, _ABANDONED)))
            self._wake()

    async def _work(self) -> None:
        more_to_do = False
        while self._queue or (more_to_do and not self._closed):
            more_to_do = False
            taken = [self._queue.popleft() for _ in range(min(_BATCH, len(self._queue)))]
            batch = [entry for entry in taken if not entry.is_abandoned]
            if batch:
                # Recoveries come first: a claim in the batch may be about the same key.
                await self._execute_batch([*self._take_pending(), *batch])
            if not self._queue:
                # When the event loop ends it cancels this task; operations that were queued meanwhile still count.
                with suppress(asyncio.CancelledError):
                    more_to_do = await self._idle()

    def _take_pending(self) -> list[_Entry]:
        pending, self._pending_recovery = self._pending_recovery, []
        unrecorded = self._recovery_log.read()
        return [
            *(_Entry(operation) for operation in pending),
            *(_Entry(operation, None, path) for path, operations in unrecorded.items() for operation in operations),
        ]

    async def _execute_batch(self, batch: list[_Entry]) -> None:
        try:
            await self._write_batch(batch)
        except Exception as error:
            # A bug rather than a failure of the database: no caller may wait without end.
            logger.exception("The ledger could not execute a batch")
            left = [entry for entry in batch if entry.path is None and not (entry.future and entry.future.done())]
            self._fail([(entry, _Failure(error)) for entry in left])

    async def _write_batch(self, batch: list[_Entry]) -> None:
        outcomes = await self._outcomes([entry.operation for entry in batch])
        failed: list[tuple[_Entry, _Failure]] = []
        files: dict[Path, list[Any]] = {}
        for entry, outcome in zip(batch, outcomes, strict=True):
            if entry.path is not None:
                files.setdefault(entry.path, []).append(outcome)
            elif isinstance(outcome, _Failure):
                failed.append((entry, outcome))
            else:
                self._deliver(entry, outcome)
        for path, results in files.items():
            self._clear(path, results)
        if failed:
            self._fail(failed)

    async def _outcomes(self, operations: list[Operation]) -> list[Any]:
        try:
            return await self._transact(operations)
        except (Exception, asyncio.CancelledError) as error:
            unwritten = _Failure(error)
            if len(operations) == 1 or concerns_all(error):
                return [unwritten] * len(operations)
        # One operation may have caused the failure, so each is tried alone.
        return [outcome for operation in operations for outcome in await self._outcomes([operation])]

    async def _transact(self, operations: list[Operation]) -> list[Any]:
        def work(connection: Connection) -> list[Any]:
            return _apply(connection, operations, self._clock())

        # A transaction that has begun is completed even if the event loop ends and cancels every task. Repeating it is
        # safe: every operation can be applied again.
        transaction = asyncio.ensure_future(self._database.transact(work, write=True))
        for again in (True, False):
            while not transaction.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([transaction])
            if again and transaction.cancelled():
                transaction = asyncio.ensure_future(self._database.transact(work, write=True))
        return transaction.result()

    def _deliver(self, entry: _Entry, outcome: Any) -> None:
        future = entry.future
        if future is None:
            return
        if future.cancelled():
            self._release(outcome)
        elif isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)

    def _clear(self, path: Path, outcomes: list[Any]) -> None:
        """Delete a recovery file whose lines are all recorded; set it aside if they cannot be recorded."""
        unwritten = [outcome for outcome in outcomes if isinstance(outcome, _Failure)]
        refused = [outcome for outcome in outcomes if outcome is False or isinstance(outcome, Exception)]
        if any(not outcome.is_permanent for outcome in unwritten):
            return
        if refused or unwritten:
            first = refused[0] if refused else unwritten[0].error
            self._recovery_log.reject(path, _UNKNOWN_CLAIM if first is False else str(first))
        else:
            self._recovery_log.done(path)

    def _fail(self, failed: list[tuple[_Entry, _Failure]]) -> None:
        paid = [entry.operation for entry, _ in failed if isinstance(entry.operation, Accept)]
        path = self._recovery_log.write(paid, self._clock())
        for entry, outcome in failed:
            operation = entry.operation
            if isinstance(operation, Claim):
                # The claim may have been written although its transaction failed. It was not used, so it is released.
                operation = Refuse(operation.identity.key, operation.token, _ABANDONED)
            if not outcome.is_permanent and (
                isinstance(operation, Refuse) or (isinstance(operation, Accept) and not path)
            ):
                self._pending_recovery.append(operation)
            error = self._explain(entry.operation, outcome.error, path)
            error.__cause__ = outcome.error
            if entry.future is not None and not entry.future.done():
                entry.future.set_exception(error)
            elif isinstance(entry.operation, Accept):
                # The caller was cancelled and does not get the error.
                logger.error("%s", error)

    def _explain(self, operation: Operation, cause: BaseException, path: Path | None) -> LedgerError:
        reads = ReadSet()
        operation.declare_reads(reads)
        error = explain(cause, self._database.where)
        error.key = next(iter(reads.keys | reads.histories), None)
        error.generation_id = next(iter(reads.generation_ids), None)
        if isinstance(operation, Accept):
            generation_id = operation.generation_id
            kept = f"kept in {path}" if path else "kept in the memory of this process"
            error = LedgerError(
                f"generation {generation_id} was accepted and is paid for, but not recorded; its id is {kept}, and "
                f"will be recorded on the next use of the ledger. wait_for_generation({generation_id!r}) collects it. "
                f"{error.message[:1].upper()}{error.message[1:]}",
                generation_id=generation_id,
                key=error.key,
            )
        return error


def _apply(connection: Connection, operations: list[Operation], now: float) -> list[Any]:
    unit, reads = UnitOfWork(connection, now), ReadSet()
    for operation in operations:
        operation.declare_reads(reads)
    unit.load(reads)
    outcomes: list[Any] = []
    for operation in operations:
        try:
            outcomes.append(operation.apply(unit))
        except FoxAPIError as error:
            outcomes.append(error)
    unit.flush()
    rows = with_results(connection, (outcome for outcome in outcomes if isinstance(outcome, Submission)))
    return [rows[outcome.token] if isinstance(outcome, Submission) else outcome for outcome in outcomes]
