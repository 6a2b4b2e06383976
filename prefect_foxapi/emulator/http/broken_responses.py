"""Answers that go wrong at the socket, and how a route gets at it."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any, cast

from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.auto import AutoHTTPProtocol
from uvicorn.server import ServerState

from prefect_foxapi.emulator.state.clock import Clock, ClockStopped

_LINGER_NOT = struct.pack("ii", 1, 0)


def protocol_with_state(
    config: Config,
    server_state: ServerState,
    app_state: dict[str, Any],
    _loop: asyncio.AbstractEventLoop | None = None,
) -> asyncio.Protocol:
    """Make uvicorn's protocol for a connection, known to its requests as `state.protocol`.

    ASGI has no way to the transport; the state that every request of a connection gets is the one that needs none of
    uvicorn's internals.
    """
    own_state = dict(app_state)
    make = cast("Any", AutoHTTPProtocol)
    protocol = make(config=config, server_state=server_state, app_state=own_state, _loop=_loop)
    own_state["protocol"] = protocol
    return cast("asyncio.Protocol", protocol)


def transport_of(scope: Scope) -> asyncio.Transport:
    """The transport of a request's connection."""
    return scope["state"]["protocol"].transport


def reset(scope: Scope) -> None:
    """Reset the connection: the peer gets an RST."""
    transport = transport_of(scope)
    sock = transport.get_extra_info("socket")
    if sock is not None and not transport.is_closing():
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
    transport.abort()


async def _gone(receive: Receive) -> None:
    """Wait until the server has noticed that the connection is gone, so that it sends nothing more."""
    while (await receive())["type"] != "http.disconnect":
        pass


class ResetAnswer(Response):
    """No answer: the connection is reset."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reset(scope)
        await _gone(receive)


class HangingAnswer(Response):
    """No answer for a while, and then the connection closes.

    Args:
        clock: Lets the time pass, and ends the wait when the server stops.
        seconds: For how long.
    """

    def __init__(self, clock: Clock, seconds: float) -> None:
        super().__init__()
        self._clock = clock
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._clock.pause(self._seconds)
            transport_of(scope).close()
        except ClockStopped:
            reset(scope)
        await _gone(receive)


class LateAnswer(Response):
    """An answer after a while.

    Args:
        answer: The answer.
        clock: Lets the time pass, and ends the wait when the server stops.
        seconds: How late.
    """

    def __init__(self, answer: Response, clock: Clock, seconds: float) -> None:
        super().__init__()
        self._answer = answer
        self._clock = clock
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._clock.pause(self._seconds)
        except ClockStopped:
            reset(scope)
            await _gone(receive)
            return
        await self._answer(scope, receive, send)


class TruncatedAnswer(Response):
    """The headers of a whole answer, half of its body, and then the connection closes.

    Args:
        answer: The answer.
    """

    def __init__(self, answer: Response) -> None:
        super().__init__()
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        half = bytes(self._answer.body)[: len(self._answer.body) // 2]
        headers = self._answer.raw_headers
        await send({"type": "http.response.start", "status": self._answer.status_code, "headers": headers})
        await send({"type": "http.response.body", "body": half, "more_body": True})
        transport_of(scope).close()
        await _gone(receive)
