"""Reading the stream of a generation, through as many connections as it takes (contract §4)."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Protocol

import httpx

from prefect_foxapi.client.responses import translate_transport_errors
from prefect_foxapi.client.retry import RetryPolicy, Sleep, may_repeat_read
from prefect_foxapi.client.streaming.reader import StreamReader
from prefect_foxapi.errors import FoxAPIError, GenerationFailed, ServiceUnavailable
from prefect_foxapi.hooks import Hook, StreamResumed, emit
from prefect_foxapi.models.completions import ChatCompletionChunk
from prefect_foxapi.redaction import redacted

DEFAULT_SILENCE = 60.0


class StreamSource(Protocol):
    """What the reading needs of a client."""

    @property
    def retry(self) -> RetryPolicy:
        """How often a broken stream is opened again."""
        ...

    @property
    def sleep(self) -> Sleep:
        """Waits."""
        ...

    @property
    def hooks(self) -> Sequence[Hook]:
        """Who wants to know."""
        ...

    def open_stream(
        self, generation_id: str, *, offset: int, silence: float
    ) -> AbstractAsyncContextManager[httpx.Response]:
        """Open the stream at chunk `offset`."""
        ...


async def read_stream(
    source: StreamSource, generation_id: str, reader: StreamReader, *, silence: float = DEFAULT_SILENCE
) -> AsyncGenerator[ChatCompletionChunk, None]:
    """The chunks of a generation as they come, each once, until `done`.

    A connection that breaks, falls silent or ends without `done` is made again at the first chunk not yet seen. Only
    failures in a row count against the retry policy: a stream that goes on has all of them again.

    Args:
        source: A client.
        generation_id: Which generation; it was submitted with `stream=True`.
        reader: Where the chunks are gathered.
        silence: Seconds without a byte after which a connection counts as broken.

    Raises:
        NotFound: There is no such stream, or not any more.
        GenerationFailed: The stream says that the generation failed.
        ServiceUnavailable, UnreadableResponse, RateLimited: The stream cannot be had now.
    """
    failures = 0
    while True:
        broken: FoxAPIError
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
        if failures >= source.retry.attempts:
            raise broken
        emit(source.hooks, StreamResumed(generation_id, reader.offset, str(broken)))
        # The first resumption is at once: a long answer outlives many a connection, and nothing is wrong yet.
        await source.sleep(0 if failures == 1 else source.retry.delay(failures - 1, None, random.random))
