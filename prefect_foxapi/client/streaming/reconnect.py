"""The chunks of a stream, over several connections: a connection that breaks is replaced by another one."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Protocol

import httpx

from prefect_foxapi.client.responses import translate_transport_errors
from prefect_foxapi.client.retry import Clock, RetryPolicy, Sleep, may_repeat_read
from prefect_foxapi.client.streaming.reader import StreamReader
from prefect_foxapi.errors import FoxAPIError, GenerationFailed, ServiceUnavailable
from prefect_foxapi.hooks import Hook, StreamResumed, emit
from prefect_foxapi.models.completions import ChatCompletionChunk
from prefect_foxapi.redaction import redacted

DEFAULT_SILENCE = 60.0

# A stream whose connections break soon, again and again, may never end, though each of them has chunks.
_SHORT_CONNECTION, _LONG_CONNECTION = 1.0, 30.0
_ENOUGH_CHUNKS = 5
_REPLACED_AT_ONCE = 50


class StreamSource(Protocol):
    """The part of a client that reads streams."""

    @property
    def retry(self) -> RetryPolicy:
        """How often a broken stream is resumed."""
        ...

    @property
    def clock(self) -> Clock:
        """The monotonic clock, in seconds."""
        ...

    @property
    def sleep(self) -> Sleep:
        """Waits for seconds."""
        ...

    @property
    def hooks(self) -> Sequence[Hook]:
        """Called with what happens."""
        ...

    def open_stream(
        self, generation_id: str, *, offset: int, silence: float
    ) -> AbstractAsyncContextManager[httpx.Response]:
        """Open the stream at the chunk with the number `offset`."""
        ...


async def read_stream(
    source: StreamSource, generation_id: str, reader: StreamReader, *, silence: float = DEFAULT_SILENCE
) -> AsyncGenerator[ChatCompletionChunk, None]:
    """Yield the chunks of a generation as they arrive, each one once, until `done`.

    A connection that breaks, is silent, or ends without `done` is replaced at the first chunk that was not received.
    The retry policy limits consecutive failures: each chunk resets their number. Connections that break soon, though
    with chunks, are replaced at once 50 times in a row. Then the delays grow, and the retry policy limits their number.

    Args:
        source: A client.
        generation_id: A generation that was submitted with `stream=True`.
        reader: Receives the chunks.
        silence: Seconds without a byte after which a connection counts as broken.

    Raises:
        NotFound: FoxAPI has no such stream. It keeps chunks for 15 minutes.
        GenerationFailed: The stream says that the generation failed.
        ServiceUnavailable: The connections broke, or were not established.
        UnreadableResponse: The stream is not in FoxAPI's format.
        RateLimited: FoxAPI refused the connections.
    """
    failures = soon_broken = 0
    while True:
        broken: FoxAPIError
        opened, offset = source.clock(), reader.offset
        try:
            async with source.open_stream(generation_id, offset=reader.offset, silence=silence) as response:
                with translate_transport_errors(paid=False, generation_id=generation_id):
                    async with aclosing(reader.read(response)) as chunks:
                        async for chunk in chunks:
                            failures = 0
                            yield chunk
            if reader.failure is not None:
                said = redacted(str(reader.failure))
                raise GenerationFailed(f"the stream ended with an error: {said}", generation_id=generation_id)
            if reader.finished:
                return
            broken = ServiceUnavailable("the stream ended before it was done", generation_id=generation_id)
        except FoxAPIError as error:
            if not may_repeat_read(error):
                raise
            broken = error
        failures += 1
        lasted, received = source.clock() - opened, reader.offset - offset
        is_useful = lasted >= _LONG_CONNECTION or (lasted >= _SHORT_CONNECTION and received >= _ENOUGH_CHUNKS)
        soon_broken = 0 if is_useful else soon_broken + 1
        attempt = max(failures, soon_broken - _REPLACED_AT_ONCE)
        if attempt >= source.retry.attempts:
            raise broken
        emit(source.hooks, StreamResumed(generation_id, reader.offset, str(broken)))
        # The first retry has no delay: a long answer outlives connections without any fault.
        await source.sleep(0 if attempt == 1 else source.retry.delay(attempt - 1, None, random.random))
