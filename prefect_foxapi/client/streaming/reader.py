"""The reader of a generation's stream: the meaning of its events, and the offset at which it resumes."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, TypeVar

import httpx
from httpx_sse import ServerSentEvent
from pydantic import BaseModel, ValidationError

from prefect_foxapi.client.streaming.accumulator import Accumulator
from prefect_foxapi.client.streaming.resumption import ReceivedChunks, Resumption
from prefect_foxapi.client.streaming.sse import MAX_EVENT, read_events
from prefect_foxapi.errors import UnreadableResponse
from prefect_foxapi.models.base import LenientCount
from prefect_foxapi.models.completions import ChatCompletionChunk

M = TypeVar("M", bound=BaseModel)

MAX_ANSWER = 64 * 1024 * 1024

_EXCERPT = 200

# An event that names no type, which FoxAPI also sends for chunks, has the type `message`.
_CHUNK_TYPES = frozenset({"chunk", "message"})


class _Done(BaseModel):
    total_chunks: LenientCount = None


class StreamReader:
    """Reads the stream of one generation, over as many connections as it takes.

    Args:
        max_event: Bytes that one event may have.
        max_answer: Characters of data that the events of the whole stream may have.

    Attributes:
        answer: What has been received so far.
        finished: Whether the stream has ended, with `done` or with an error. What follows is ignored.
        failure: The message of an `error` event, or None.
        total_chunks: How many chunks FoxAPI says it sent, or None.

    Example:
        reader = StreamReader()
        while not reader.finished:
            async with client.open_stream("gen-1", offset=reader.offset, silence=60) as response:
                async for chunk in reader.read(response):
                    print(chunk.text)
    """

    def __init__(self, *, max_event: int = MAX_EVENT, max_answer: int = MAX_ANSWER) -> None:
        self.answer = Accumulator()
        self.finished = False
        self.failure: str | None = None
        self.total_chunks: int | None = None
        self._max_event = max_event
        self._max_answer = max_answer
        self._size = 0
        self._connections = 0
        self._received = ReceivedChunks()

    @property
    def offset(self) -> int:
        """How many chunks were received: the offset at which the next connection starts."""
        return self.answer.chunks

    @property
    def complete(self) -> bool:
        """Whether the answer is whole: `done` was received, and its number of chunks is that of the chunks here.

        A stream that is finished without failure and not complete has lost or repeated chunks. Only the generation
        itself has the whole answer then. Without a number, an answer over several connections does not count as whole.
        """
        counted = self._connections <= 1 if self.total_chunks is None else self.total_chunks == self.offset
        return self.finished and self.failure is None and counted

    async def read(self, response: httpx.Response) -> AsyncGenerator[ChatCompletionChunk, None]:
        """Yield the chunks of one connection, which was opened at `offset`, until it ends or the stream is finished.

        A chunk counts as received when it is yielded. What was not iterated over comes again with the next connection,
        and so does an event that the connection left incomplete. A connection that begins anew, although it was opened
        at an offset, yields only what was not received before.

        Args:
            response: A response whose body was not read yet.

        Raises:
            UnreadableResponse: An event is too large or is not what its type says, or the whole stream is too large.
                The chunks before that were yielded.
        """
        self._connections += 1
        resumption = Resumption(self._received)
        async with aclosing(read_events(response, max_event=self._max_event)) as events:
            async for event in events:
                chunk = self._interpret(event)
                new = [] if chunk is None else resumption.take(chunk)
                for each in new if not self.finished else resumption.rest(self.total_chunks):
                    self._received.add(each)
                    self.answer.add(each)
                    yield each
                if self.finished:
                    return

    def _interpret(self, event: ServerSentEvent) -> ChatCompletionChunk | None:
        self._size += len(event.data)
        if self._size > self._max_answer:
            raise UnreadableResponse(f"The stream has more than {self._max_answer} characters")
        if event.event == "done":
            self.total_chunks = _count_of(event.data)
            self.finished = True
        elif event.event == "error":
            self._fail(event.data)
        elif event.event in _CHUNK_TYPES and event.data:
            if event.data.strip() == "[DONE]":
                self.finished = True
                return None
            chunk = _parsed(ChatCompletionChunk, event)
            # OpenAI sends an error within a stream without a type; only its content tells it from a chunk.
            if chunk.choices or not (chunk.model_extra or {}).get("error"):
                return chunk
            self._fail(event.data)
        return None

    def _fail(self, data: str) -> None:
        self.failure = _failure_message(data)
        self.finished = True


def _count_of(data: str) -> int | None:
    # The event ends the stream whatever its data is.
    try:
        return _Done.model_validate_json(data).total_chunks
    except ValidationError:
        return None


class _Failure(BaseModel):
    message: str | None = None
    error: dict[str, Any] | str | None = None


def _failure_message(data: str) -> str:
    # An `error` event ends the stream whatever its data is, so no field of it is required.
    try:
        failure = _Failure.model_validate_json(data)
    except ValidationError:
        return data[:_EXCERPT] or "the stream ended with an error that says nothing"
    inner = failure.error.get("message") if isinstance(failure.error, dict) else failure.error
    return failure.message or (str(inner) if inner else data[:_EXCERPT])


def _parsed(kind: type[M], event: ServerSentEvent) -> M:
    try:
        return kind.model_validate_json(event.data)
    except ValidationError as error:
        reason = error.errors(include_input=False, include_url=False)[0]["msg"]
        raise UnreadableResponse(
            f"The stream has an event of the type {event.event!r} that cannot be read ({reason})",
            excerpt=event.data[:_EXCERPT],
        ) from None
