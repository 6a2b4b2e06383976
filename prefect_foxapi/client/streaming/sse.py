"""Server-sent events of a response, decoded by `httpx-sse` from a byte stream whose events have a bounded size."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from typing import ClassVar, cast

import httpx
from httpx_sse import EventSource, ServerSentEvent

from prefect_foxapi.errors import UnreadableResponse

MAX_EVENT = 16 * 1024 * 1024

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_EXCERPT = 200


def read_events(response: httpx.Response, *, max_event: int = MAX_EVENT) -> AsyncGenerator[ServerSentEvent, None]:
    """Yield each event of a response when its blank line arrives.

    An event that names no type has the type `message`. Some events have no data: `id` and `retry` alone make one.

    Args:
        response: A response whose body was not read yet. Its content type is not checked.
        max_event: Bytes that one event may have.

    Raises:
        UnreadableResponse: An event is larger than `max_event`. The events before it were yielded.
    """
    return EventSource(cast("httpx.Response", _BoundedResponse(response.aiter_bytes(), max_event))).aiter_sse()


class _BoundedResponse:
    """What `EventSource` uses of a response, whose events have at most `max_event` bytes.

    Its text consists of whole lines that end in LF, without a byte-order mark. `httpx-sse` itself would keep an event
    without end, and hold a line that ends in CR until more bytes arrive. An `httpx.Response` around the lines would
    pass them through three more generators.
    """

    headers: ClassVar[dict[str, str]] = {"content-type": "text/event-stream"}

    def __init__(self, blocks: AsyncIterable[bytes], max_event: int) -> None:
        self._blocks = blocks
        self._max_event = max_event
        self._partial = bytearray()
        self._data_size = 0
        self._is_start = True

    async def aiter_text(self) -> AsyncIterator[str]:
        """Yield whole lines."""
        after_cr = False
        async for block in self._blocks:
            received = block[1:] if after_cr and block.startswith(b"\n") else block
            after_cr = block.endswith(b"\r")
            if b"\r" in received:
                received = received.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
            *lines, rest = received.split(b"\n")
            if lines:
                lines[0] = self._completed(lines[0])
                if accepted := self._within_bounds(lines):
                    yield b"\n".join([*lines[:accepted], b""]).decode("utf-8", "replace")
                if accepted < len(lines):
                    raise self._too_large(lines[accepted])
            self._partial += rest
            if self._data_size + len(self._partial) > self._max_event:
                raise self._too_large(self._partial)

    def _completed(self, end: bytes) -> bytes:
        line = bytes(self._partial + end) if self._partial else end
        self._partial.clear()
        if self._is_start:
            self._is_start = False
            return line.removeprefix(_BYTE_ORDER_MARK)
        return line

    def _within_bounds(self, lines: list[bytes]) -> int:
        """Return how many lines there are before the first that makes its event too large."""
        for number, line in enumerate(lines):
            if not line:
                self._data_size = 0
            elif line.startswith(b"data"):
                self._data_size += len(line) + 1
                if self._data_size > self._max_event:
                    return number
            elif len(line) > self._max_event:
                return number
        return len(lines)

    def _too_large(self, line: bytes | bytearray) -> UnreadableResponse:
        excerpt = line[: 4 * _EXCERPT].decode("utf-8", "replace")[:_EXCERPT]
        return UnreadableResponse(f"The stream has an event of more than {self._max_event} bytes", excerpt=excerpt)
