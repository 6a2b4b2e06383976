"""The engine: finds the generation for a call in the ledger, or pays for it, and collects its result."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from prefect_foxapi.client.config import ClientConfig
from prefect_foxapi.client.waiter import WaitOptions, failure_of
from prefect_foxapi.engine.calls import GenerationCall, GenerationRef, PaidGeneration, Result
from prefect_foxapi.engine.clients import ClientPool
from prefect_foxapi.engine.collector import ResultCollector
from prefect_foxapi.engine.recorder import LedgerRecorder, submit_recorded
from prefect_foxapi.engine.row_loader import RowLoader
from prefect_foxapi.engine.uploads import AttachmentUploader
from prefect_foxapi.errors import AmbiguousSubmission, FoxAPIError, LedgerError, NotFound
from prefect_foxapi.hooks import GenerationCompleted, Hook, RecordingFailed, WaitAbandoned, emit
from prefect_foxapi.ledger.records import State, Submission
from prefect_foxapi.models.generations import Generation, Origin

if TYPE_CHECKING:
    from prefect_foxapi.ledger import Ledger

# Seconds between look-ups of a key that another caller is submitting: doubled each time, from the first to the last.
_FIRST_LOOKUP_DELAY, _LAST_LOOKUP_DELAY = 0.02, 0.5
_SHORTEST_WAIT = 0.001


class GenerationEngine:
    """Obtains generations. Its coroutines belong to one event loop.

    Args:
        ledger: The record of what was paid.
        clients: The clients.
        hooks: Called with what happens.
    """

    def __init__(self, ledger: Ledger, clients: ClientPool, *, hooks: Sequence[Hook] = ()) -> None:
        self.ledger = ledger
        self._clients = clients
        self._hooks = hooks
        self._rows = RowLoader(ledger)
        self._collector = ResultCollector(ledger, hooks=hooks)
        self._uploader = AttachmentUploader(hooks=hooks)

    async def generate(self, call: GenerationCall) -> Generation[Any]:
        """Obtain a generation with its result.

        Raises:
            FoxAPIError: What was paid for stays in the ledger.
        """
        started, resubmitted = time.monotonic(), False
        paid = await self.submit(call)
        # One deadline for all attempts: a second submission adds no time.
        give_up = None if call.wait.timeout is None else time.monotonic() + call.wait.timeout
        while True:
            try:
                result = await self._result(call, paid, give_up)
                break
            except asyncio.CancelledError:
                emit(self._hooks, WaitAbandoned(paid.generation_id, paid.key))
                raise
            except NotFound as error:
                # Once: a service that answers 404 to everything would otherwise be paid again and again.
                if call.on_ambiguous != "resubmit" or resubmitted:
                    raise AmbiguousSubmission(
                        f"FoxAPI no longer knows generation {paid.generation_id}, which was paid for; it is not paid "
                        'for again automatically (on_ambiguous="resubmit" allows that)',
                        generation_id=paid.generation_id,
                        key=paid.key,
                        status=404,
                    ) from error
                resubmitted = True
            paid = await self.submit(call)
        if call.cache_scope.publish:
            await self._publish(call, paid, result)
        with _attach_key(paid.key):
            generation = result.generation(origin=paid.origin, latency=time.monotonic() - started)
        return self._completed(generation, paid.key)

    async def submit(self, call: GenerationCall) -> PaidGeneration:
        """Find the paid generation of a call, or pay for it.

        Raises:
            AmbiguousSubmission: It cannot be determined whether it was paid for.
            GenerationFailed: The same task run paid for it before, and it failed.
        """
        asked_at, delay, joined = self.ledger.clock(), _FIRST_LOOKUP_DELAY, False
        row = await self._find(call)
        while True:
            if row is None or row.is_claimable(self.ledger.clock(), call.cache_scope.max_age):
                paid = await self._pay(call, asked_at)
                if isinstance(paid, PaidGeneration):
                    return paid
                row = paid
            if row.state is not State.SUBMITTING:
                return self._found(row, call, joined=joined)
            joined = True
            await asyncio.sleep(delay)
            delay = min(2 * delay, _LAST_LOOKUP_DELAY)
            row = await self._find(call)

    async def collect(self, config: ClientConfig, ref: GenerationRef, wait: WaitOptions) -> Generation[Any]:
        """Wait for a generation that was submitted earlier.

        Raises:
            NotFound: FoxAPI does not know it.
            FoxAPIError: As for `generate`.
        """
        started = time.monotonic()
        row = await self.ledger.find_generation(ref.generation_id)
        if row is not None and (row.account, row.base_url) != (ref.account, config.base_url):
            row = None
        if row is not None and row.state is State.COMPLETED and row.result:
            result, origin = Result.restored(row.result), "replayed"
        else:
            client = self._clients.get(config)
            waiting = self._collector.is_waiting(client, ref.account, ref.generation_id)
            origin = "joined" if waiting else "resumed"
            if row is not None:
                age = self.ledger.clock() - (row.accepted_at or row.claimed_at)
                ref = replace(ref, age=age, model=ref.model or row.model)
            result = await self._collector.collect(client, ref, wait)
        return self._completed(result.generation(origin=origin, latency=time.monotonic() - started), ref.key)

    async def _find(self, call: GenerationCall) -> Submission | None:
        """Return the row of a call: that of its key, or that of its former key where only this one answers."""
        if call.former_paid_key is None:
            return await self._rows.load(call.paid_key)
        row, former = await asyncio.gather(self._rows.load(call.paid_key), self._rows.load(call.former_paid_key))
        if former is None or (row is not None and row.state is not State.FAILED):
            return row
        now = self.ledger.clock()
        is_ambiguous = former.state is State.AMBIGUOUS or former.is_overdue(now)
        if is_ambiguous and not former.permitted and call.on_ambiguous == "raise":
            raise _ambiguous(former)
        return row if former.is_claimable(now, call.cache_scope.max_age) else former

    async def _pay(self, call: GenerationCall, asked_at: float) -> PaidGeneration | Submission:
        """Claim the key and submit. Returns the ledger's row where the claim is not granted."""
        client = self._clients.get(call.config)
        request = await self._uploader.prepare(
            call.request, call.digests, client=client, ledger=self.ledger, account=call.account
        )
        recorder = LedgerRecorder(self.ledger, call, asked_at=asked_at, hooks=self._hooks)
        with _attach_key(call.paid_key):
            submitted = await submit_recorded(client, request.body(), recorder)
        if isinstance(submitted, Submission):
            return submitted
        return PaidGeneration(submitted.id, "billed", call.paid_key, age=0.0)

    async def _result(self, call: GenerationCall, paid: PaidGeneration, give_up: float | None) -> Result:
        if paid.result is not None:
            return Result.restored(paid.result)
        ref = GenerationRef(paid.generation_id, call.account, call.request.model, paid.key, paid.age)
        remaining = None if give_up is None else max(_SHORTEST_WAIT, give_up - time.monotonic())
        with _attach_key(paid.key):
            return await self._collector.collect(
                self._clients.get(call.config), ref, replace(call.wait, timeout=remaining)
            )

    async def _publish(self, call: GenerationCall, paid: PaidGeneration, result: Result) -> None:
        """Let later calls have the result of a refreshed one."""
        try:
            await self.ledger.publish(
                call.identity(call.key),
                call.claimant,
                result.snapshot.id,
                result.stored(),
                finished_at=paid.finished_at,
                expires_at=result.expires_at(self.ledger.clock()),
            )
        except LedgerError as error:
            emit(self._hooks, RecordingFailed("published", str(error), paid.generation_id, call.key))

    def _completed(self, generation: Generation[Any], key: str | None) -> Generation[Any]:
        usage = generation.usage
        emit(
            self._hooks,
            GenerationCompleted(
                generation.generation_id,
                generation.model,
                generation.origin,
                key=key,
                tokens=usage.total_tokens if usage else None,
                credits=generation.credits,
                latency=generation.latency,
            ),
        )
        return generation

    def _found(self, row: Submission, call: GenerationCall, *, joined: bool) -> PaidGeneration:
        if row.state is State.AMBIGUOUS:
            raise _ambiguous(row)
        if row.state is State.FAILED:
            raise failure_of(row.generation_id or "unknown", row.error, key=row.key)
        if row.generation_id is None:
            raise LedgerError(f"the ledger's row {row.key[:12]} is {row.state.value} without an id", key=row.key)
        age = self.ledger.clock() - (row.accepted_at or row.claimed_at)
        if row.state is State.COMPLETED:
            origin: Origin = "joined" if joined else "replayed"
            return PaidGeneration(row.generation_id, origin, row.key, age, row.result, row.finished_at)
        return PaidGeneration(row.generation_id, self._origin_in_flight(row, call, joined), row.key, age)

    def _origin_in_flight(self, row: Submission, call: GenerationCall, joined: bool) -> Origin:
        owner, caller = row.claimant, call.claimant
        client = self._clients.get(call.config)
        if joined or self._collector.is_waiting(client, call.account, row.generation_id or ""):
            return "joined"
        if owner.process == caller.process or (owner.flow_run_id and owner.flow_run_id == caller.flow_run_id):
            return "resumed"
        return "resumed" if owner.host == caller.host and not _is_alive(owner.pid) else "joined"


def _ambiguous(row: Submission) -> AmbiguousSubmission:
    reason = row.reason or "no answer was recorded by its deadline"
    return AmbiguousSubmission(
        f"submission {row.key[:12]} by {row.claimant} may have been accepted and billed; this cannot be "
        f'determined ({reason}). on_ambiguous="resubmit" pays again, and so does, once, '
        f'settle({row.key[:12]!r}, "allow_resubmit")',
        key=row.key,
        generation_id=row.generation_id,
        submitted_at=row.claimed_at,
        submitted_by=str(row.claimant),
    )


@contextmanager
def _attach_key(key: str | None) -> Generator[None, None, None]:
    """Add the generation key to errors."""
    try:
        yield
    except FoxAPIError as error:
        error.key = error.key or key
        raise


def _is_alive(pid: int) -> bool:
    if sys.platform == "win32":
        # Signal 0 is Ctrl-C there.
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
