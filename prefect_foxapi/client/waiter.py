"""The wait for a generation's end, by polling it or by reading its stream."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, NoReturn, Protocol

from pydantic import ValidationError

from prefect_foxapi.client.poll_policy import Durations, PollPolicy, ProgressReading, delay_for_results, next_delay
from prefect_foxapi.client.retry import may_repeat_read
from prefect_foxapi.client.streaming.reader import StreamReader
from prefect_foxapi.client.streaming.reconnect import DEFAULT_SILENCE, StreamSource, read_stream
from prefect_foxapi.errors import FoxAPIError, GenerationFailed, GenerationTimeout, InvalidRequest, NotFound
from prefect_foxapi.hooks import StatusChanged, StreamFellBackToPolling, StreamResultMismatch, emit, logger
from prefect_foxapi.models.base import LONGEST, is_time_limit, shown
from prefect_foxapi.models.completions import ChatCompletionChunk
from prefect_foxapi.models.generations import GenerationSnapshot
from prefect_foxapi.redaction import redacted_data

OnDelta = Callable[[ChatCompletionChunk], None]

# FoxAPI may answer 404 for a generation that it accepted a moment ago, or whose stream has just ended.
_UNKNOWN_FOR = 10.0


@dataclass(frozen=True)
class WaitOptions:
    """How to wait for a generation.

    Args:
        timeout: Seconds to wait, up to 1e9; None (or infinity) waits until the generation ends.
        poll: When the generation is polled.
        stream: Whether to read the stream of a generation that was submitted with `stream=True`.
        on_delta: Called on the event loop with each chunk of the stream, as far as it is of the first choice.

    Raises:
        InvalidRequest: An option has a wrong type or value; the error's `field` names it.

    Example:
        WaitOptions(timeout=600, poll=PollPolicy(interval=5))
    """

    timeout: float | None = None
    poll: PollPolicy = field(default_factory=PollPolicy)
    stream: bool = False
    on_delta: OnDelta | None = None

    def __post_init__(self) -> None:
        timeout, poll, stream, on_delta = (getattr(self, item.name) for item in fields(self))
        if timeout == math.inf:
            object.__setattr__(self, "timeout", None)
        elif timeout is not None and not is_time_limit(timeout):
            _refuse("timeout", timeout, f"a number of seconds, above 0 and up to {LONGEST:,.0f}; give one, or None")
        if not isinstance(poll, PollPolicy):
            _refuse("poll", poll, "a PollPolicy; PollPolicy(interval=5) polls every 5 seconds")
        if not isinstance(stream, bool):
            _refuse("stream", stream, "True or False")
        if on_delta is not None and not callable(on_delta):
            _refuse("on_delta", on_delta, "callable; give a function of one chunk, or None")


def _refuse(name: str, value: Any, expected: str) -> NoReturn:
    raise InvalidRequest(f"{name}: {shown(value)} is not {expected}", field=name)


class PollSource(StreamSource, Protocol):
    """The part of a client that a wait uses."""

    async def get(self, generation_id: str) -> GenerationSnapshot:
        """Return a snapshot of a generation."""
        ...


class GenerationWaiter:
    """One wait for one generation.

    Args:
        source: A client.
        generation_id: FoxAPI's id of the generation.
        model: The generation's model, whose `duration_stats` are used.
        policy: When the generation is polled.
        timeout: Seconds to wait; None waits until the generation ends.
        duration_stats: Durations of earlier generations. This wait adds its own.
        age: Seconds since the submission, or None where that is unknown.

    Example:
        snapshot = await GenerationWaiter(client, "gen-1", timeout=600).by_polling()
    """

    def __init__(
        self,
        source: PollSource,
        generation_id: str,
        *,
        model: str = "",
        policy: PollPolicy | None = None,
        timeout: float | None = None,
        duration_stats: Durations | None = None,
        age: float | None = None,
    ) -> None:
        self._source = source
        self._generation_id = generation_id
        self._model = model
        self._policy = policy or PollPolicy()
        self._timeout = timeout
        self._duration_stats = duration_stats or Durations()
        self._age = age
        self._started = source.clock()
        self._last: GenerationSnapshot | None = None
        self._readings: list[ProgressReading] = []
        self._has_polled = False
        self._stream_ended = False
        # Both in seconds since the submission, or since the start of this wait where the age is unknown.
        self._completed_at: float | None = None
        self._announced_at: float | None = None if age is None else 0.0

    @property
    def elapsed(self) -> float:
        """Seconds waited so far."""
        return self._source.clock() - self._started

    @property
    def _now(self) -> float:
        return (self._age or 0.0) + self.elapsed

    async def by_polling(self) -> GenerationSnapshot:
        """Poll until the result is there, and return it.

        The status `completed` without results is not the end. Neither is an outage of the service: the wait continues
        until its timeout.

        Raises:
            GenerationFailed: The generation failed or was cancelled.
            GenerationTimeout: The timeout passed before the generation ended.
            NotFound: FoxAPI has no such generation.
        """
        return await self._in_time(self._poll())

    async def by_stream(
        self, on_delta: OnDelta | None = None, *, silence: float = DEFAULT_SILENCE
    ) -> tuple[GenerationSnapshot, StreamReader]:
        """Read the stream to its end, and return the generation and the stream's reader.

        A stream that cannot be read is replaced by polling.

        Args:
            on_delta: Called with each chunk, as far as it is of the first choice.
            silence: Seconds without a byte after which a connection counts as broken.

        Raises:
            GenerationFailed: The generation failed or was cancelled.
            GenerationTimeout: The timeout passed before the generation ended.
            NotFound: FoxAPI has no such generation.
        """
        reader = StreamReader()
        return await self._in_time(self._stream(reader, on_delta, silence)), reader

    async def _in_time(self, waiting: Coroutine[Any, Any, GenerationSnapshot]) -> GenerationSnapshot:
        try:
            async with asyncio.timeout(self._timeout):
                return await waiting
        except TimeoutError:
            raise self.timed_out() from None

    async def _poll(self) -> GenerationSnapshot:
        trouble: FoxAPIError | None = None
        while True:
            await self._sleep(self._delay(), trouble)
            self._has_polled = True
            try:
                snapshot = await self._source.get(self._generation_id)
            except NotFound:
                if self._announced_at is None or self._now - self._announced_at > _UNKNOWN_FOR:
                    raise
                continue
            except FoxAPIError as error:
                if not may_repeat_read(error):
                    raise
                trouble = error
                continue
            trouble = None
            self._record(snapshot)
            if snapshot.has_failed:
                raise failure_of(snapshot.id, snapshot.error or {"message": f"it is {snapshot.status}"})
            if snapshot.has_result:
                self._record_duration()
                return snapshot

    def _delay(self) -> float:
        if not self._has_polled and self._may_have_ended_before:
            # A timeout shorter than the delay would otherwise end the wait without a poll, on every attempt.
            return 0.0
        if self._completed_at is not None:
            return delay_for_results(self._policy, since=self._now - self._completed_at, random=random.random)
        return next_delay(
            self._policy,
            elapsed=self._now,
            progress=self._readings,
            duration_stats=self._duration_stats.of(self._model),
            random=random.random,
        )

    @property
    def _may_have_ended_before(self) -> bool:
        return self._stream_ended or self._age is None or self._age >= self._policy.minimum

    async def _sleep(self, delay: float, trouble: FoxAPIError | None) -> None:
        if self._timeout is not None:
            remaining = self._timeout - self.elapsed
            if remaining <= 0:
                raise self.timed_out() from trouble
            delay = min(delay, remaining)
        await self._source.sleep(delay)

    async def _stream(self, reader: StreamReader, on_delta: OnDelta | None, silence: float) -> GenerationSnapshot:
        try:
            async for chunk in read_stream(self._source, self._generation_id, reader, silence=silence):
                if on_delta is not None and (part := _of_first_choice(chunk)) is not None:
                    on_delta = _deliver_chunk(on_delta, part)
        except FoxAPIError as error:
            # The generation itself tells more than a stream that is gone or says that it failed.
            if not (may_repeat_read(error) or isinstance(error, NotFound | GenerationFailed)):
                raise
            emit(self._source.hooks, StreamFellBackToPolling(self._generation_id, str(error)))
            if isinstance(error, GenerationFailed):
                self._end_of_stream()
            return await self._poll()
        if self._age is not None:
            self._duration_stats.record(self._model, self._now)
        self._end_of_stream()
        snapshot = await self._poll()
        is_counted = reader.total_chunks in (None, reader.offset)
        if not is_counted or _text_of(snapshot) not in {None, reader.answer.text}:
            emit(self._source.hooks, StreamResultMismatch(self._generation_id))
        return snapshot

    def _end_of_stream(self) -> None:
        # The result is there, or comes in a moment.
        self._stream_ended = True
        self._completed_at = self._announced_at = self._now

    def _record(self, snapshot: GenerationSnapshot) -> None:
        if self._last is None or self._last.status != snapshot.status:
            emit(
                self._source.hooks,
                StatusChanged(self._generation_id, snapshot.status, float(snapshot.progress), self.elapsed),
            )
        self._last = snapshot
        self._readings = [*self._readings[-1:], (self._now, float(snapshot.progress))]
        if snapshot.status == "completed" and self._completed_at is None:
            self._completed_at = self._now

    def _record_duration(self) -> None:
        if self._age is not None and not self._stream_ended:
            before = self._readings[-2][0] if len(self._readings) > 1 else 0.0
            self._duration_stats.record(self._model, self._now, unfinished_at=before)

    def timed_out(self) -> GenerationTimeout:
        """Return the error for a wait that ends before the generation does."""
        status = self._last.status if self._last else None
        return GenerationTimeout(
            f"generation {self._generation_id} is {status or 'unknown'} after {self.elapsed:.1f} s; it goes on, and "
            f"wait_for_generation({self._generation_id!r}) collects it",
            generation_id=self._generation_id,
            elapsed=self.elapsed,
            last_status=status,
            progress=int(self._last.progress) if self._last else None,
        )


def _deliver_chunk(on_delta: OnDelta, chunk: ChatCompletionChunk) -> OnDelta | None:
    # An error in the callback must not lose a generation that is paid for.
    try:
        on_delta(chunk)
    except Exception:
        logger.exception("on_delta failed; going on without it")
        return None
    return on_delta


def _of_first_choice(chunk: ChatCompletionChunk) -> ChatCompletionChunk | None:
    choices = tuple(choice for choice in chunk.choices if choice.index == 0)
    if len(choices) == len(chunk.choices):
        return chunk
    return chunk.model_copy(update={"choices": choices}) if choices else None


def reasoning_of(snapshot: GenerationSnapshot, reader: StreamReader) -> str | None:
    """Return the reasoning that a stream gave, or None where it is in doubt.

    It is in doubt if the stream is not complete, or its text is not that of the result.

    Args:
        snapshot: The generation, which has its result.
        reader: The reader of its stream.
    """
    is_confirmed = reader.complete and _text_of(snapshot) == reader.answer.text
    return reader.answer.reasoning if is_confirmed else None


def _text_of(snapshot: GenerationSnapshot) -> str | None:
    try:
        completion = snapshot.completion()
    except ValidationError:
        return None
    return (completion.choices[0].message.content or "") if completion else None


def failure_of(generation_id: str, error: Mapping[str, Any] | None, *, key: str | None = None) -> GenerationFailed:
    """Return the error for a generation that failed.

    Args:
        generation_id: FoxAPI's id of the generation.
        error: `error` of the task, as FoxAPI gave it.
        key: The generation key, where it is known.
    """
    said: dict[str, Any] = redacted_data(dict(error or {}))
    return GenerationFailed(
        f"generation {generation_id} failed: {said.get('message') or 'no reason given'}",
        error=said,
        generation_id=generation_id,
        key=key,
        code=str(said["code"]) if said.get("code") is not None else None,
        type=str(said["type"]) if said.get("type") is not None else None,
    )
