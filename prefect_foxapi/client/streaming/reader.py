"""The reader of one generation's stream: what its events mean, and where it goes on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from prefect_foxapi.client.streaming.accumulator import Accumulator
from prefect_foxapi.client.streaming.sse import MAX_EVENT, Event, EventDecoder
from prefect_foxapi.errors import UnreadableResponse
from prefect_foxapi.models.completions import ChatCompletionChunk

M = TypeVar("M", bound=BaseModel)

MAX_ANSWER = 64 * 1024 * 1024

_EXCERPT = 200

# A bare `data:` is a chunk (contract §4); `message` is the standard's name for an event without one.
_CHUNK_NAMES = frozenset({"chunk", "", "message"})


class _Done(BaseModel):
    total_chunks: int | None = None


class StreamReader:
    """Reads the stream of one generation, over as many connections as it takes.

    Args:
        max_event: Bytes that one event may have.
        max_answer: Characters of events that the whole stream may have.

    Attributes:
        answer: What has come so far.
        finished: Whether the stream has come to its end, a good one or a bad one. What comes after it is ignored.
        failure: The message of an `error` event, or None.
        total_chunks: How many chunks the server says it sent, or None.

    Example:
        reader = StreamReader()
        while not reader.finished:
            # connect to …/stream?offset={reader.offset}
            for block in connection:
                for chunk in reader.feed(block):
                    print(chunk.choices[0].delta.content)
            reader.restarted()
    """

    def __init__(self, *, max_event: int = MAX_EVENT, max_answer: int = MAX_ANSWER) -> None:
        self.answer = Accumulator()
        self.finished = False
        self.failure: str | None = None
        self.total_chunks: int | None = None
        self._max_event = max_event
        self._max_answer = max_answer
        self._size = 0
        self._decoder = EventDecoder(max_event)

    @property
    def offset(self) -> int:
        """How many chunks were received: where to go on (contract §4)."""
        return self.answer.chunks

    @property
    def complete(self) -> bool:
        """Whether the answer is whole: `done` was seen, and its count is ours.

        A stream that is finished without failure and yet not complete has lost something on the way, and nobody can
        know where: only the generation itself (contract §3) has the whole answer.
        """
        return self.finished and self.failure is None and self.total_chunks in (None, self.offset)

    def feed(self, block: bytes) -> Iterator[ChatCompletionChunk]:
        """Take the next bytes and yield the chunks that they complete. Iterate to the end before feeding more.

        A chunk counts as received when it is yielded; what was not iterated over comes again after `restarted`.

        Raises:
            UnreadableResponse: The stream is not what the contract says. The chunks before that were yielded.
        """
        if self.finished:
            return
        for event in self._decoder.feed(block):
            chunk = self._interpret(event)
            if chunk is not None:
                self.answer.add(chunk)
                yield chunk
            if self.finished:
                return

    def restarted(self) -> None:
        """Begin with a new connection, made at `offset`: what the last one left unfinished is thrown away."""
        self._decoder = EventDecoder(self._max_event)

    def _interpret(self, event: Event) -> ChatCompletionChunk | None:
        self._size += len(event.data)
        if self._size > self._max_answer:
            raise UnreadableResponse(f"The stream has more than {self._max_answer} characters")
        if event.name == "done":
            self.total_chunks = _parsed(_Done, event).total_chunks if event.data else None
            self.finished = True
        elif event.name == "error":
            self._fail(event.data)
        elif event.name in _CHUNK_NAMES and event.data:
            if event.data.strip() == "[DONE]":
                self.finished = True
                return None
            chunk = _parsed(ChatCompletionChunk, event)
            # OpenAI's way to tell an error in a stream: unnamed, and known by its content alone.
            if chunk.choices or not (chunk.model_extra or {}).get("error"):
                return chunk
            self._fail(event.data)
        return None

    def _fail(self, data: str) -> None:
        self.failure = _failure_message(data)
        self.finished = True


class _Failure(BaseModel):
    message: str | None = None
    error: dict[str, Any] | str | None = None


def _failure_message(data: str) -> str:
    """The message of an `error` event. The event is the end whatever it says, so nothing about it is required."""
    try:
        failure = _Failure.model_validate_json(data)
    except ValidationError:
        return data[:_EXCERPT] or "the stream ended with an error that says nothing"
    inner = failure.error.get("message") if isinstance(failure.error, dict) else failure.error
    return failure.message or (str(inner) if inner else data[:_EXCERPT])


def _parsed(kind: type[M], event: Event) -> M:
    try:
        return kind.model_validate_json(event.data)
    except ValidationError as error:
        reason = error.errors(include_input=False, include_url=False)[0]["msg"]
        raise UnreadableResponse(
            f"The stream has a {event.name or 'chunk'!r} event that cannot be read ({reason})",
            excerpt=event.data[:_EXCERPT],
        ) from None
