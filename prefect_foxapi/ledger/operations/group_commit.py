"""Group commit: operations that wait at the same time share one transaction.

A worker takes whatever is queued. It runs only while there is something to do, so a ledger at rest holds no coroutine,
and a lone operation waits for nobody.
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
_ABANDONED = "the asker was gone before it submitted"


@dataclass(eq=False)
class _Entry:
    operation: Operation
    future: asyncio.Future[Any] | None = None
    """Who waits for it; `None` for what the ledger owes itself."""
    path: Path | None = None
    """The spill file that it comes from."""

    @property
    def is_abandoned(self) -> bool:
        # Only a claim may be dropped with its asker: everything else says what has happened.
        return isinstance(self.operation, Claim) and self.future is not None and self.future.cancelled()


@dataclass(eq=False)
class _Failure:
    """The outcome of an operation whose transaction failed."""

    error: BaseException

    @property
    def is_permanent(self) -> bool:
        return is_about_data(self.error)


class GroupCommitQueue:
    """The queue of operations and its worker. It belongs to one event loop.

    Args:
        database: Where the transactions go.
        spill: Where acceptances go that cannot be written.
        clock: The time, in Unix seconds.
        idle: Awaited whenever the queue has become empty: one short step of other work, and whether there is more.
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
        """Have the operation carried out, durably, and return its outcome.

        Raises:
            LedgerError: It was not written.
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
        """Whether something is spilled or owed that the ledger does not have yet."""
        return bool(self._pending_recovery or self._recovery_log.read())

    async def aclose(self) -> None:
        """Finish what is queued, and refuse more."""
        self._closed = True
        while self._worker is not None:
            await asyncio.wait([self._worker])
        if self._pending_recovery:
            await self._carry_out(self._take_pending())

    def _wake(self) -> None:
        if self._worker is None:
            self._worker = asyncio.get_running_loop().create_task(self._work())
            self._worker.add_done_callback(self._on_worker_done)

    def _on_worker_done(self, _: object) -> None:
        self._worker = None
        # One that is cancelled before its first step has done nothing, and others wait for what is queued.
        if self._queue:
            self._wake()

    def _release(self, outcome: object) -> None:
        # The claim is written, and nobody is left to use it: without this it would be taken for ambiguous later.
        if isinstance(outcome, Lease):
            # First in the queue: the next one may be asking for this very key.
            self._queue.appendleft(_Entry(Refuse(outcome.key, outcome.token, _ABANDONED)))
            self._wake()

    async def _work(self) -> None:
        more_to_do = False
        while self._queue or (more_to_do and not self._closed):
            more_to_do = False
            taken = [self._queue.popleft() for _ in range(min(_BATCH, len(self._queue)))]
            batch = [entry for entry in taken if not entry.is_abandoned]
            if batch:
                # What was paid for comes first: it may be the very thing that is asked for.
                await self._try_to_carry_out([*self._take_pending(), *batch])
            if not self._queue:
                # Cancelled with its event loop, it must not leave those in the lurch who have come meanwhile.
                with suppress(asyncio.CancelledError):
                    more_to_do = await self._idle()

    def _take_pending(self) -> list[_Entry]:
        pending, self._pending_recovery = self._pending_recovery, []
        spilled = self._recovery_log.read()
        return [
            *(_Entry(operation) for operation in pending),
            *(_Entry(operation, None, path) for path, operations in spilled.items() for operation in operations),
        ]

    async def _try_to_carry_out(self, batch: list[_Entry]) -> None:
        try:
            await self._carry_out(batch)
        except Exception as error:
            # No failure of the database but a mistake in here: at least nobody waits for ever.
            logger.exception("The ledger could not carry out a batch")
            left = [entry for entry in batch if entry.path is None and not (entry.future and entry.future.done())]
            self._fail([(entry, _Failure(error)) for entry in left])

    async def _carry_out(self, batch: list[_Entry]) -> None:
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
        # One of them may be to blame; the others need not suffer for it.
        return [outcome for operation in operations for outcome in await self._outcomes([operation])]

    async def _transact(self, operations: list[Operation]) -> list[Any]:
        def work(connection: Connection) -> list[Any]:
            return _apply(connection, operations, self._clock())

        # What was begun is finished, also when the event loop ends and cancels every task of it. To do it once more is
        # safe: every operation knows whether it was done.
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
        """Delete a spill file whose lines are all recorded, or put it aside where they never will be."""
        unwritten = [outcome for outcome in outcomes if isinstance(outcome, _Failure)]
        refused = [outcome for outcome in outcomes if outcome is False or isinstance(outcome, Exception)]
        if any(not outcome.is_permanent for outcome in unwritten):
            return
        if refused or unwritten:
            self._recovery_log.reject(path, str(refused[0] if refused else unwritten[0].error))
        else:
            self._recovery_log.done(path)

    def _fail(self, failed: list[tuple[_Entry, _Failure]]) -> None:
        paid = [entry.operation for entry, _ in failed if isinstance(entry.operation, Accept)]
        path = self._recovery_log.write(paid, self._clock())
        for entry, outcome in failed:
            operation = entry.operation
            if isinstance(operation, Claim):
                # Should it have been written after all, it is given back: it was never used.
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
                # Nobody is left to say it.
                logger.error("%s", error)

    def _explain(self, operation: Operation, cause: BaseException, path: Path | None) -> LedgerError:
        reads = ReadSet()
        operation.declare_reads(reads)
        error = explain(cause, self._database.where)
        error.key = next(iter(reads.keys | reads.histories), None)
        error.generation_id = next(iter(reads.generation_ids), None)
        if isinstance(operation, Accept):
            generation_id = operation.generation_id
            kept = f"kept in {path}" if path else "kept by this process alone"
            error = LedgerError(
                f"generation {generation_id} was accepted and is paid for, but not recorded; its id is {kept} and "
                f"recorded with the next use of the ledger. wait_for_generation({generation_id!r}) collects it. "
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
