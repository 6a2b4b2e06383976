"""Collecting what was paid for: one wait for a generation in this process, however many ask for it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from prefect_foxapi.client.client import FoxAPIClient
from prefect_foxapi.client.poll_policy import Durations, PollPolicy
from prefect_foxapi.client.waiter import GenerationWaiter, OnDelta
from prefect_foxapi.errors import GenerationFailed, LedgerError, NotFound, OutputInvalid
from prefect_foxapi.models.completions import Usage
from prefect_foxapi.models.generations import Generation, GenerationSnapshot, Origin
from prefect_foxapi.models.structured_output import errors_of
from prefect_foxapi.observability import run_logger

if TYPE_CHECKING:
    from prefect_foxapi.ledger import Ledger

# Media files live for 24 hours (contract §3); a result should not be handed out in their last one.
_MEDIA_LIVES = 23 * 3600.0


@dataclass(frozen=True)
class Result:
    """What a generation came to: its last snapshot, and the reasoning that only a stream has."""

    snapshot: GenerationSnapshot
    reasoning: str | None = None

    def stored(self) -> dict[str, Any]:
        """As the ledger keeps it."""
        return {"snapshot": self.snapshot.model_dump(mode="json"), "reasoning": self.reasoning}

    @classmethod
    def restored(cls, data: dict[str, Any]) -> Result:
        """From what the ledger kept."""
        return cls(GenerationSnapshot.model_validate(data["snapshot"]), data.get("reasoning"))

    def generation(self, *, origin: Origin, latency: float) -> Generation[Any]:
        """As users get it.

        Raises:
            OutputInvalid: The results of a text generation are not a chat completion.
        """
        known: dict[str, Any] = {"origin": origin, "reasoning": self.reasoning, "latency": latency}
        try:
            return Generation.from_snapshot(self.snapshot, **known)
        except ValidationError as error:
            raise OutputInvalid(
                f"what generation {self.snapshot.id} answered is not a chat completion: {error.error_count()} errors; "
                "it is in `generation.results`, and sample=1 asks again",
                errors=errors_of(error),
                generation=Generation.from_snapshot(self.snapshot, **known, raw=True),
                generation_id=self.snapshot.id,
            ) from error

    @property
    def is_media(self) -> bool:
        """Whether the results are links that expire."""
        return self.snapshot.type != "llm"

    @property
    def usage(self) -> Usage | None:
        """Tokens, where the results say so."""
        try:
            completion = self.snapshot.completion()
        except ValidationError:
            return None
        return completion.usage if completion else None

    def expires_at(self, now: float) -> float | None:
        """When the result must not be handed out any more, in Unix seconds."""
        return (self.snapshot.created or now) + _MEDIA_LIVES if self.is_media else None


@dataclass(frozen=True)
class Wanted:
    """Which generation is waited for, and how."""

    generation_id: str
    account: str
    model: str = ""
    key: str | None = None
    age: float | None = None
    timeout: float | None = None
    poll: PollPolicy = field(default_factory=PollPolicy)
    stream: bool = False
    on_delta: OnDelta | None = None


@dataclass
class _Shared:
    wait: GenerationWaiter
    task: asyncio.Task[Result]
    waiters: int = 0


class ResultCollector:
    """Waits for generations and writes down what they came to."""

    def __init__(self, duration_stats: Durations) -> None:
        self._learned = duration_stats
        self._shared: dict[tuple[FoxAPIClient, str, str], _Shared] = {}

    def is_waiting(self, client: FoxAPIClient, account: str, generation_id: str) -> bool:
        """Whether somebody in this process waits for it now, with the same credentials."""
        return (client, account, generation_id) in self._shared

    async def collect(self, wanted: Wanted, *, client: FoxAPIClient, ledger: Ledger) -> Result:
        """Wait for a generation to end.

        Those who only want the result, with the same credentials, share one wait; who reads the stream has its own.

        Raises:
            GenerationFailed: It failed.
            GenerationTimeout: The wait is over, the generation is not.
            NotFound: FoxAPI does not know it; the ledger now says that nobody can know.
        """
        if wanted.stream:
            return await self._settled(
                self._by_stream(self._waiter(wanted, client, wanted.timeout), wanted), wanted, client, ledger
            )
        identity = (client, wanted.account, wanted.generation_id)
        shared = self._shared.get(identity)
        if shared is None:
            # Each caller has a timeout of its own, so the wait that they share has none.
            wait = self._waiter(wanted, client, None)
            settling = self._settled(self._by_polling(wait), wanted, client, ledger)
            shared = self._shared[identity] = _Shared(wait, asyncio.ensure_future(settling))
        shared.waiters += 1
        try:
            async with asyncio.timeout(wanted.timeout):
                return await asyncio.shield(shared.task)
        except TimeoutError:
            raise shared.wait.timed_out() from None
        finally:
            shared.waiters -= 1
            if shared.waiters == 0:
                self._shared.pop(identity, None)
                shared.task.cancel()

    def _waiter(self, wanted: Wanted, client: FoxAPIClient, timeout: float | None) -> GenerationWaiter:
        return GenerationWaiter(
            client,
            wanted.generation_id,
            model=wanted.model,
            policy=wanted.poll,
            timeout=timeout,
            duration_stats=self._learned,
            age=wanted.age,
        )

    async def _by_polling(self, wait: GenerationWaiter) -> Result:
        return Result(await wait.by_polling())

    async def _by_stream(self, wait: GenerationWaiter, wanted: Wanted) -> Result:
        snapshot, reader = await wait.by_stream(wanted.on_delta)
        return Result(snapshot, reader.answer.reasoning)

    async def _settled(
        self, waiting: Coroutine[Any, Any, Result], wanted: Wanted, client: FoxAPIClient, ledger: Ledger
    ) -> Result:
        whose = {"account": wanted.account, "base_url": client.base_url}
        try:
            result = await waiting
        except GenerationFailed as error:
            await self._note(ledger.failed(wanted.generation_id, error.error or {}, **whose, key=wanted.key))
            raise
        except NotFound:
            await self._note(ledger.vanished(wanted.generation_id, **whose))
            raise
        usage = result.usage
        await self._note(
            ledger.completed(
                wanted.generation_id,
                result.stored(),
                **whose,
                key=wanted.key,
                credits=result.snapshot.credits,
                tokens=(usage.prompt_tokens or 0, usage.completion_tokens or 0) if usage else None,
                expires_at=result.expires_at(ledger.clock()),
            )
        )
        return result

    async def _note(self, note: Coroutine[Any, Any, bool | None]) -> None:
        """Write an end down. What was paid for is in hand, or collected again next time, so trouble is only logged."""
        try:
            await note
        except LedgerError as error:
            run_logger().warning("The ledger could not note the end of a generation: %s", error)
