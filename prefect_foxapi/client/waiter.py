"""Waiting for a generation to end, by polling it or by reading its stream (contract §3, §4)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from pydantic import ValidationError

from prefect_foxapi.client.poll_policy import Durations, PollPolicy, ProgressReading, delay_for_results, next_delay
from prefect_foxapi.client.retry import Clock, may_repeat_read
from prefect_foxapi.client.streaming.reader import StreamReader
from prefect_foxapi.client.streaming.reconnect import DEFAULT_SILENCE, StreamSource, read_stream
from prefect_foxapi.errors import FoxAPIError, GenerationFailed, GenerationTimeout, NotFound
from prefect_foxapi.hooks import StatusChanged, StreamFellBackToPolling, StreamResultMismatch, emit, logger
from prefect_foxapi.models.completions import ChatCompletionChunk
from prefect_foxapi.models.generations import GenerationSnapshot
from prefect_foxapi.redaction import redacted_data

OnDelta = Callable[[ChatCompletionChunk], None]

# A generation that was accepted a moment ago, or whose stream has just ended, may not be known everywhere yet.
_UNKNOWN_FOR = 10.0


class PollSource(StreamSource, Protocol):
    """What the wait needs of a client."""

    @property
    def clock(self) -> Clock:
        """A monotonic clock."""
        ...

    async def get(self, generation_id: str) -> GenerationSnapshot:
        """Ask how a generation is doing."""
        ...


@dataclass
class GenerationWaiter:
    """One wait for one generation.

    Attributes:
        source: A client.
        generation_id: What is waited for.
        model: Its model, for what was learned of it.
        policy: How often it is asked for.
        timeout: Seconds to wait at the most, or None.
        learned: How long generations took, which this wait adds to.
        age: Seconds since the submission, if that is known.
        seen: The last snapshot, if there was one.
    """

    source: PollSource
    generation_id: str
    model: str = ""
    policy: PollPolicy = field(default_factory=PollPolicy)
    timeout: float | None = None
    duration_stats: Durations = field(default_factory=Durations)
    age: float | None = None
    seen: GenerationSnapshot | None = None

    def __post_init__(self) -> None:
        self._started = self.source.clock()
        self._readings: list[ProgressReading] = []
        self._completed_at: float | None = None
        self._asked = False
        self._announced_at = None if self.age is None else -self.age

    @property
    def elapsed(self) -> float:
        """Seconds waited so far."""
        return self.source.clock() - self._started

    async def by_polling(self) -> GenerationSnapshot:
        """Poll until the result is there.

        `completed` without results is not the end (contract §3). A service that is out of reach for a while is not,
        either: the wait goes on until its own time is over.

        Raises:
            GenerationFailed: The generation failed or was cancelled.
            GenerationTimeout: The wait is over, the generation is not.
            NotFound: FoxAPI does not know it.
        """
        return await self._in_time(self._poll())

    async def by_stream(
        self, on_delta: OnDelta | None = None, *, silence: float = DEFAULT_SILENCE
    ) -> tuple[GenerationSnapshot, StreamReader]:
        """Read the stream until it is done, then fetch the generation; go on by polling where there is no stream.

        Raises:
            GenerationFailed, GenerationTimeout, NotFound: As for `by_polling`.
        """
        reader = StreamReader()
        return await self._in_time(self._stream(reader, on_delta, silence)), reader

    async def _in_time(self, waiting: Coroutine[Any, Any, GenerationSnapshot]) -> GenerationSnapshot:
        try:
            async with asyncio.timeout(self.timeout):
                return await waiting
        except TimeoutError:
            raise self.timed_out() from None

    async def _poll(self) -> GenerationSnapshot:
        trouble: FoxAPIError | None = None
        while True:
            await self._sleep(self._delay(), trouble)
            self._asked = True
            try:
                snapshot = await self.source.get(self.generation_id)
            except NotFound:
                if self._announced_at is None or self.elapsed - self._announced_at > _UNKNOWN_FOR:
                    raise
                continue
            except FoxAPIError as error:
                if not may_repeat_read(error):
                    raise
                trouble = error
                continue
            trouble = None
            self._note(snapshot)
            if snapshot.has_failed:
                raise failure_of(snapshot.id, snapshot.error or {"message": f"it is {snapshot.status}"})
            if snapshot.has_result:
                self._learn()
                return snapshot

    def _delay(self) -> float:
        if not self._asked and (self.age is None or self.age >= self.policy.minimum):
            # It was submitted before this wait began, and may have ended long ago. A wait that is shorter than the
            # delay would otherwise end without a look, however often it is repeated.
            return 0.0
        now = (self.age or 0.0) + self.elapsed
        if self._completed_at is not None:
            return delay_for_results(self.policy, since=now - self._completed_at, random=random.random)
        return next_delay(
            self.policy,
            elapsed=now,
            progress=self._readings,
            duration_stats=self.duration_stats.of(self.model),
            random=random.random,
        )

    async def _sleep(self, delay: float, trouble: FoxAPIError | None) -> None:
        if self.timeout is not None:
            remaining = self.timeout - self.elapsed
            if remaining <= 0:
                raise self.timed_out() from trouble
            delay = min(delay, remaining)
        await self.source.sleep(delay)

    async def _stream(self, reader: StreamReader, on_delta: OnDelta | None, silence: float) -> GenerationSnapshot:
        try:
            async for chunk in read_stream(self.source, self.generation_id, reader, silence=silence):
                if on_delta is not None:
                    on_delta = _deliver_chunk(on_delta, chunk)
        except FoxAPIError as error:
            # Of a stream that is gone, or says that it failed, the generation itself knows more.
            if not (may_repeat_read(error) or isinstance(error, NotFound | GenerationFailed)):
                raise
            emit(self.source.hooks, StreamFellBackToPolling(self.generation_id, str(error)))
            if isinstance(error, GenerationFailed):
                self._note_end()
            return await self._poll()
        if self.age is not None:
            self.duration_stats.record(self.model, self.age + self.elapsed)
        self._note_end()
        snapshot = await self._poll()
        if _text_of(snapshot) not in {None, reader.answer.text}:
            emit(self.source.hooks, StreamResultMismatch(self.generation_id))
        return snapshot

    def _note_end(self) -> None:
        """The stream is over, so the result is there, or a moment away: ask at once, and then often."""
        self.seen, self.age, self._completed_at = None, None, self.elapsed
        self._announced_at = self.elapsed

    def _note(self, snapshot: GenerationSnapshot) -> None:
        if self.seen is None or self.seen.status != snapshot.status:
            emit(
                self.source.hooks,
                StatusChanged(self.generation_id, snapshot.status, float(snapshot.progress), self.elapsed),
            )
        self.seen = snapshot
        now = (self.age or 0.0) + self.elapsed
        self._readings = [*self._readings[-1:], (now, float(snapshot.progress))]
        if snapshot.status == "completed" and self._completed_at is None:
            self._completed_at = now

    def _learn(self) -> None:
        if self.age is not None:
            before = self._readings[-2][0] if len(self._readings) > 1 else 0.0
            self.duration_stats.record(self.model, self.age + self.elapsed, unfinished_at=before)

    def timed_out(self) -> GenerationTimeout:
        """The error for a wait that is over before the generation is."""
        status = self.seen.status if self.seen else None
        return GenerationTimeout(
            f"generation {self.generation_id} is {status or 'unknown'} after {self.elapsed:.1f} s; it goes on, and "
            f"wait_for_generation({self.generation_id!r}) collects it",
            generation_id=self.generation_id,
            elapsed=self.elapsed,
            last_status=status,
            progress=int(self.seen.progress) if self.seen else None,
        )


def _deliver_chunk(on_delta: OnDelta, chunk: ChatCompletionChunk) -> OnDelta | None:
    """Hand a chunk over. What was paid for is not given up because the listener broke."""
    try:
        on_delta(chunk)
    except Exception:
        logger.exception("on_delta failed; going on without it")
        return None
    return on_delta


def _text_of(snapshot: GenerationSnapshot) -> str | None:
    try:
        completion = snapshot.completion()
    except ValidationError:
        return None
    return (completion.choices[0].message.content or "") if completion else None


def failure_of(generation_id: str, error: Mapping[str, Any] | None, *, key: str | None = None) -> GenerationFailed:
    """The error for a generation that failed, from `error` of the task (contract §3)."""
    said: dict[str, Any] = redacted_data(dict(error or {}))
    return GenerationFailed(
        f"generation {generation_id} failed: {said.get('message') or 'no reason given'}",
        error=said,
        generation_id=generation_id,
        key=key,
        code=str(said["code"]) if said.get("code") is not None else None,
        type=str(said["type"]) if said.get("type") is not None else None,
    )
