"""Reading a stream: from bytes to events, to chunks, to an answer (contract §4). Nothing here does I/O.

`httpx-sse` decodes a whole response and has no bound on an event's size; this is fed byte by byte if need be, can be
begun anew at an offset, and is bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from prefect_foxapi.errors import UnreadableResponse

MAX_EVENT = 16 * 1024 * 1024

# By the standard these three end a line and nothing else does: U+2028 and U+0085 may stand in the middle of JSON.
_LINE_END = re.compile(rb"\r\n|\r|\n")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_EXCERPT = 200


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
