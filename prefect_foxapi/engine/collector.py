"""Collecting results: one wait for a generation in this process, shared by all callers that ask for it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prefect_foxapi.client.client import FoxAPIClient
from prefect_foxapi.client.poll_policy import Durations
from prefect_foxapi.client.waiter import GenerationWaiter, WaitOptions, reasoning_of
from prefect_foxapi.engine.calls import GenerationRef, Result
from prefect_foxapi.errors import GenerationFailed, LedgerError, NotFound
from prefect_foxapi.hooks import Hook, RecordingFailed, emit

if TYPE_CHECKING:
    from prefect_foxapi.ledger import Ledger


@dataclass
class _SharedWait:
    waiter: GenerationWaiter
    task: asyncio.Task[Result]
    callers: int = 0


class ResultCollector:
    """Waits for generations and records how they ended.

    Args:
        ledger: Where the ends are recorded.
        hooks: Called with what happens.
    """

    def __init__(self, ledger: Ledger, *, hooks: Sequence[Hook] = ()) -> None:
        self._ledger = ledger
        self._hooks = hooks
        self._durations = Durations()
        self._shared: dict[tuple[FoxAPIClient, str, str], _SharedWait] = {}

    def is_waiting(self, client: FoxAPIClient, account: str, generation_id: str) -> bool:
        """Return whether a caller in this process waits for the generation with the same credentials."""
        return (client, account, generation_id) in self._shared

    async def collect(self, client: FoxAPIClient, ref: GenerationRef, wait: WaitOptions) -> Result:
        """Wait for a generation to end.

        Callers with the same credentials share one wait; one that reads the stream has its own.

        Raises:
            GenerationFailed: The generation failed.
            GenerationTimeout: The wait is over, the generation is not.
            NotFound: FoxAPI does not know the generation, which the ledger now calls ambiguous.
        """
        if wait.stream:
            waiter = self._waiter(client, ref, wait, timeout=wait.timeout)
            return await self._recorded(self._by_stream(waiter, wait), client, ref)
        identity = (client, ref.account, ref.generation_id)
        shared = self._shared.get(identity)
        if shared is None:
            waiter = self._waiter(client, ref, wait, timeout=None)
            recorded = self._recorded(self._by_polling(waiter), client, ref)
            shared = self._shared[identity] = _SharedWait(waiter, asyncio.ensure_future(recorded))
        shared.callers += 1
        try:
            async with asyncio.timeout(wait.timeout):
                return await asyncio.shield(shared.task)
        except TimeoutError:
            raise shared.waiter.timed_out() from None
        finally:
            shared.callers -= 1
            if shared.callers == 0:
                self._shared.pop(identity, None)
                shared.task.cancel()

    def _waiter(
        self, client: FoxAPIClient, ref: GenerationRef, wait: WaitOptions, *, timeout: float | None
    ) -> GenerationWaiter:
        return GenerationWaiter(
            client,
            ref.generation_id,
            model=ref.model,
            policy=wait.poll,
            timeout=timeout,
            duration_stats=self._durations,
            age=ref.age,
        )

    async def _by_polling(self, waiter: GenerationWaiter) -> Result:
        return Result(await waiter.by_polling())

    async def _by_stream(self, waiter: GenerationWaiter, wait: WaitOptions) -> Result:
        snapshot, reader = await waiter.by_stream(wait.on_delta)
        return Result(snapshot, reasoning_of(snapshot, reader))

    async def _recorded(self, waiting: Coroutine[Any, Any, Result], client: FoxAPIClient, ref: GenerationRef) -> Result:
        ledger, owner = self._ledger, {"account": ref.account, "base_url": client.base_url}
        try:
            result = await waiting
        except GenerationFailed as error:
            await self._record("failed", ref, ledger.failed(ref.generation_id, error.error or {}, **owner, key=ref.key))
            raise
        except NotFound:
            await self._record("vanished", ref, ledger.vanished(ref.generation_id, **owner))
            raise
        usage = result.usage
        recording = ledger.completed(
            ref.generation_id,
            result.stored(),
            **owner,
            key=ref.key,
            credits=result.snapshot.credits,
            tokens=(usage.prompt_tokens or 0, usage.completion_tokens or 0) if usage else None,
            expires_at=result.expires_at(ledger.clock()),
        )
        await self._record("completed", ref, recording)
        return result

    async def _record(self, what: str, ref: GenerationRef, recording: Coroutine[Any, Any, bool | None]) -> None:
        """Record an end. The caller has the result all the same, and the next call collects it again."""
        try:
            await recording
        except (LedgerError, RecursionError) as error:
            emit(self._hooks, RecordingFailed(what, str(error), ref.generation_id, ref.key))
