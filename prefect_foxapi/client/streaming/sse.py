"""Reading a stream: from bytes to events, to chunks, to an answer (contract §4). Nothing here does I/O.

`httpx-sse` decodes a whole response and has no bound on an event's size; this is fed byte by byte if need be, can be
begun anew at an offset, and is bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from prefect_foxapi.errors import UnreadableResponse
from prefect_foxapi.models.generations import ChatCompletionChunk, FunctionCall, ToolCall, ToolCallDelta, Usage

M = TypeVar("M", bound=BaseModel)

MAX_EVENT = 16 * 1024 * 1024
MAX_ANSWER = 64 * 1024 * 1024

# By the standard these three end a line and nothing else does: U+2028 and U+0085 may stand in the middle of JSON.
_LINE_END = re.compile(rb"\r\n|\r|\n")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_EXCERPT = 200

# A bare `data:` is a chunk (contract §4); `message` is the standard's name for an event without one.
_CHUNK_NAMES = frozenset({"chunk", "", "message"})


@dataclass(frozen=True)
class Event:
    """A server-sent event. Its name is empty where the server gave none."""

    name: str
    data: str


class EventDecoder:
    """Turns bytes, split anywhere, into events.

    Args:
        max_event: Bytes that one event may have.
    """

    def __init__(self, max_event: int = MAX_EVENT) -> None:
        self._max_event = max_event
        self._partial = bytearray()
        self._after_cr = False
        self._at_start = True
        self._name = b""
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, block: bytes) -> Iterator[Event]:
        """Take the next bytes and yield the events that they complete. Iterate to the end before feeding more.

        Raises:
            UnreadableResponse: An event is larger than allowed.
        """
        if not block:
            return
        if self._after_cr and block.startswith(b"\n"):
            block = block[1:]
        # The line is given out at its CR: waiting for an LF that may not come would delay it until the next event.
        self._after_cr = block.endswith(b"\r")
        *lines, rest = _LINE_END.split(block)
        for ending in lines:
            line = ending
            if self._partial:
                line = bytes(self._partial + ending)
                self._partial.clear()
            event = self._take(line)
            if event is not None:
                yield event
        self._partial += rest
        self._check_size(len(self._partial))

    def _take(self, line: bytes) -> Event | None:
        self._check_size(len(line))
        if self._at_start:
            self._at_start = False
            line = line.removeprefix(_BYTE_ORDER_MARK)
        if not line:
            return self._complete()
        # A comment (": keep-alive") has an empty field name, and is passed over like every field that is not known.
        field_name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field_name == b"data":
            self._data.append(value)
            self._size += len(value) + 1
        elif field_name == b"event":
            self._name = value
        return None

    def _complete(self) -> Event | None:
        name, data = self._name, self._data
        self._name, self._data, self._size = b"", [], 0
        if not name and not data:
            return None
        return Event(name.decode("utf-8", "replace"), b"\n".join(data).decode("utf-8", "replace"))

    def _check_size(self, more: int) -> None:
        if self._size + more > self._max_event:
            start = b"\n".join([*self._data, bytes(self._partial[: 4 * _EXCERPT])])[: 4 * _EXCERPT]
            raise UnreadableResponse(
                f"The stream has an event of more than {self._max_event} bytes",
                excerpt=start.decode("utf-8", "replace")[:_EXCERPT],
            )


@dataclass
class _OpenToolCall:
    id: str = ""
    type: str = "function"
    name: str = ""
    arguments: list[str] = field(default_factory=list[str])


class Accumulator:
    """Puts an answer together from its chunks, for the first choice as everywhere in this package.

    Attributes:
        chunks: How many chunks were added: the `offset` at which a stream goes on.
        finish_reason: Why the model stopped, as soon as that is known.
        usage: Tokens, where a chunk tells them.
    """

    def __init__(self) -> None:
        self.chunks = 0
        self.finish_reason: str | None = None
        self.usage: Usage | None = None
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._tool_calls: list[_OpenToolCall] = []
        self._position_of: dict[int, int] = {}

    @property
    def text(self) -> str:
        """The answer so far."""
        return "".join(self._text)

    @property
    def reasoning(self) -> str | None:
        """What a thinking model has thought so far, or None."""
        return "".join(self._reasoning) or None

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The calls that the model asks for; the arguments of the last may be incomplete before the end."""
        return tuple(
            ToolCall(
                id=call.id, type=call.type, function=FunctionCall(name=call.name, arguments="".join(call.arguments))
            )
            for call in self._tool_calls
        )

    def add(self, chunk: ChatCompletionChunk) -> None:
        """Add the next chunk."""
        self.chunks += 1
        if chunk.usage is not None:
            self.usage = chunk.usage
        for choice in chunk.choices:
            if choice.index != 0:
                continue
            if choice.delta.content:
                self._text.append(choice.delta.content)
            if choice.delta.reasoning_content:
                self._reasoning.append(choice.delta.reasoning_content)
            for delta in choice.delta.tool_calls:
                self._add_to_tool_call(delta)
            self.finish_reason = choice.finish_reason or self.finish_reason

    def _add_to_tool_call(self, delta: ToolCallDelta) -> None:
        position = self._position_of.get(delta.index)
        # Some models number all their calls 0; then only the id tells that another one begins.
        if position is None or (delta.id and self._tool_calls[position].id not in ("", delta.id)):
            position = self._position_of[delta.index] = len(self._tool_calls)
            self._tool_calls.append(_OpenToolCall())
        call = self._tool_calls[position]
        call.id = delta.id or call.id
        call.type = delta.type or call.type
        if delta.function is not None:
            call.name = call.name or delta.function.name or ""
            if delta.function.arguments:
                call.arguments.append(delta.function.arguments)


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
