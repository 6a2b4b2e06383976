"""A server that answers byte by byte what a test says, and keeps what it was asked as it came over the wire."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

REASONS = {200: "OK", 302: "Found", 429: "Too Many Requests"}


@dataclass(frozen=True)
class Received:
    """A request as it arrived."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    connection: int

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def header(self, name: str) -> str | None:
        return next((value for known, value in self.headers if known.lower() == name.lower()), None)


@dataclass
class Peer:
    """The server's end of one connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    number: int
    closed: bool = False

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def close(self) -> None:
        self.closed = True
        self.writer.close()

    def reset(self) -> None:
        """End the connection with RST, as a machine does that has crashed."""
        self.closed = True
        linger = struct.pack("ii", 1, 0)
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.writer.transport.abort()


Reply = Callable[[Received, Peer], Awaitable[None]]
Script = Sequence[Reply] | Mapping[str, Sequence[Reply]]


@dataclass
class RawServer:
    """Plays its script: one reply for each request, the last one for all that follow.

    With a mapping there is a script for each beginning of `"METHOD /path"`; the longest that fits counts.
    A reply that sets `reads_body = False` gets the request before its body is read.
    """

    script: Script
    requests: list[Received] = field(default_factory=list)
    connections: int = 0
    bound_to: socket.socket | None = None
    buffer: int = 2**26

    def __post_init__(self) -> None:
        self._played: dict[str, int] = {}
        self._handling: set[asyncio.Task[None]] = set()
        self._arrived = asyncio.Event()

    async def __aenter__(self) -> RawServer:
        where: dict[str, Any] = {"sock": self.bound_to} if self.bound_to else {"host": "127.0.0.1", "port": 0}
        self._server = await asyncio.start_server(self._handle, limit=self.buffer, **where)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._handling:
            task.cancel()
        await asyncio.gather(*self._handling, return_exceptions=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def open_connections(self) -> int:
        return len(self._handling)

    def asked(self, beginning: str) -> list[Received]:
        """The requests whose `"METHOD /path"` begins so."""
        return [request for request in self.requests if f"{request.method} {request.target}".startswith(beginning)]

    async def has_received(self, count: int) -> None:
        """Wait until so many requests have arrived."""
        while len(self.requests) < count:
            self._arrived.clear()
            await asyncio.wait_for(self._arrived.wait(), 10)

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._handling.add(task)
        self.connections += 1
        peer = Peer(reader, writer, self.connections)
        try:
            while not peer.closed:
                await self._serve(peer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._handling.discard(task)
            writer.close()

    async def _serve(self, peer: Peer) -> None:
        head = (await peer.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.split("\r\n")
        method, target, _ = first.split(" ", 2)
        pairs = (line.partition(":") for line in lines if line)
        request = Received(method, target, tuple((name, value.strip()) for name, _, value in pairs), b"", peer.number)
        reply = self._next_reply(request)
        if getattr(reply, "reads_body", True):
            body = await _read_body(request, peer.reader)
            request = Received(method, target, request.headers, body, peer.number)
        self.requests.append(request)
        self._arrived.set()
        await reply(request, peer)

    def _next_reply(self, request: Received) -> Reply:
        where, script = "", self.script
        if isinstance(script, Mapping):
            line = f"{request.method} {request.target}"
            fitting = [beginning for beginning in script if line.startswith(beginning)]
            assert fitting, f"the test has no script for {line}"
            where = max(fitting, key=len)
            script = script[where]
        request_slot = self._played.get(where, 0)
        self._played[where] = request_slot + 1
        return script[min(request_slot, len(script) - 1)]


async def _read_body(request: Received, reader: asyncio.StreamReader) -> bytes:
    if (request.header("transfer-encoding") or "").lower() != "chunked":
        return await reader.readexactly(int(request.header("content-length") or 0))
    blocks: list[bytes] = []
    while size := int(await reader.readline(), 16):
        blocks.append(await reader.readexactly(size))
        await reader.readline()
    await reader.readline()
    return b"".join(blocks)


def http(status: int, body: bytes, headers: Mapping[str, str] | None = None, *, length: int | None = None) -> bytes:
    """A whole answer as bytes."""
    named = {"Content-Length": str(len(body) if length is None else length), **(headers or {})}
    lines = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    return f"HTTP/1.1 {status} {REASONS.get(status, 'Status')}\r\n{lines}\r\n".encode() + body


def answer(body: Any = None, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    """Answers with JSON, or with text or bytes as they are."""
    if isinstance(body, str | bytes):
        content = body.encode() if isinstance(body, str) else body
        media_type = "text/html"
    else:
        content, media_type = json.dumps(body).encode(), "application/json"

    async def reply(request: Received, peer: Peer) -> None:
        await peer.send(http(status, content, {"Content-Type": media_type, **(headers or {})}))

    return reply


def refusal(
    status: int,
    type: str | None = None,
    code: str | None = None,
    message: str = "no",
    headers: Mapping[str, str] | None = None,
    **more: Any,
) -> Reply:
    """Answers with an error in FoxAPI's format."""
    error = {"message": message, "type": type, "code": code, **more}
    return answer({"error": {k: v for k, v in error.items() if v is not None}}, status, headers)


async def closes(request: Received, peer: Peer) -> None:
    """Accepts the request and closes without an answer."""
    peer.close()


async def resets(request: Received, peer: Peer) -> None:
    """Accepts the request and resets the connection."""
    peer.reset()


async def resets_before_the_body(request: Received, peer: Peer) -> None:
    """Resets the connection while the body is still being sent."""
    await peer.reader.readexactly(1)
    peer.reset()


resets_before_the_body.reads_body = False  # type: ignore[attr-defined]


async def closes_in_the_headers(request: Received, peer: Peer) -> None:
    """Closes in the middle of the answer's headers."""
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Ty")
    peer.close()


async def speaks_no_http(request: Received, peer: Peer) -> None:
    """Answers with something that is not HTTP."""
    await peer.send(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
    peer.close()


async def stays_silent(request: Received, peer: Peer) -> None:
    """Accepts the request and never answers."""
    await peer.reader.read()
    peer.close()


def breaks_off(body: Any, *, status: int = 200, then: Callable[[Peer], None] = Peer.close) -> Reply:
    """Announces the whole body, sends half of it and ends the connection."""
    content = json.dumps(body).encode()

    async def reply(request: Received, peer: Peer) -> None:
        head = http(status, content[: len(content) // 2], {"Content-Type": "application/json"}, length=len(content))
        await peer.send(head)
        then(peer)

    return reply


def drips(body: Any, *, every: float) -> Reply:
    """Sends its answer one byte at a time, `every` so many seconds."""

    async def reply(request: Received, peer: Peer) -> None:
        for byte in http(200, json.dumps(body).encode()):
            await peer.send(bytes([byte]))
            await asyncio.sleep(every)

    return reply


@dataclass
class Held:
    """Holds its answer back until it is released."""

    then: Reply

    def __post_init__(self) -> None:
        self._released = asyncio.Event()

    async def __call__(self, request: Received, peer: Peer) -> None:
        await self._released.wait()
        await self.then(request, peer)

    def release(self) -> None:
        self._released.set()


def streams(*blocks: bytes, then: Callable[[Peer], None] | None = Peer.close) -> Reply:
    """Answers with server-sent events; without `then` the connection stays open and silent."""

    async def reply(request: Received, peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        for block in blocks:
            await peer.send(block)
        if then is None:
            await peer.reader.read()
            peer.close()
        else:
            then(peer)

    return reply


def event(name: str, data: Any) -> bytes:
    """An event with a type."""
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()


def chunk(text: str | None = None, reasoning: str | None = None, finish_reason: str | None = None) -> bytes:
    """A `chunk` event."""
    delta = {"content": text, "reasoning_content": reasoning}
    choice = {"index": 0, "delta": {k: v for k, v in delta.items() if v is not None}, "finish_reason": finish_reason}
    return event("chunk", {"object": "chat.completion.chunk", "choices": [choice]})


GENERATION_ID = "task-llm-1776874481-rj6bs3yb"


def generation(status: str = "pending", text: str | None = None, **fields: Any) -> dict[str, Any]:
    """FoxAPI's snapshot of a generation; with a text it has a result."""
    message = {"role": "assistant", "content": text}
    completion = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1776874482,
        "model": "gpt-5.5",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8},
    }
    return {
        "id": GENERATION_ID,
        "object": "llm.generation.task",
        "type": "llm",
        "model": "gpt-5.5",
        "status": status,
        "progress": 100 if status == "completed" else 0,
        "created": 1776874481,
        "stream": None,
        "results": None if text is None else [completion],
        "error": None,
        **fields,
    }
