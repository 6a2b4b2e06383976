"""Responses that break at the socket, and access to the socket of a request."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any, cast

from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from typing_extensions import override
from uvicorn.config import Config
from uvicorn.protocols.http.auto import AutoHTTPProtocol
from uvicorn.server import ServerState

from prefect_foxapi.emulator.state.clock import Clock, ClockStopped

_NO_LINGER = struct.pack("ii", 1, 0)


def protocol_with_state(
    config: Config,
    server_state: ServerState,
    app_state: dict[str, Any],
    _loop: asyncio.AbstractEventLoop | None = None,
) -> asyncio.Protocol:
    """Return uvicorn's protocol for a connection, stored as `protocol` in the ASGI state of its requests.

    ASGI gives no access to the transport. The state of a connection does, without uvicorn's internals.
    """
    own_state = dict(app_state)
    create = cast("Any", AutoHTTPProtocol)
    protocol = create(config=config, server_state=server_state, app_state=own_state, _loop=_loop)
    own_state["protocol"] = protocol
    return cast("asyncio.Protocol", protocol)


def transport_of(scope: Scope) -> asyncio.Transport:
    """Return the transport of the connection of a request."""
    return scope["state"]["protocol"].transport


def reset(scope: Scope) -> None:
    """Reset the connection: the peer receives an RST."""
    transport = transport_of(scope)
    sock = transport.get_extra_info("socket")
    if sock is not None and not transport.is_closing():
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    transport.abort()


async def _wait_for_disconnect(receive: Receive) -> None:
    """Wait until the server has noticed that the connection is closed, after which it sends nothing more."""
    while (await receive())["type"] != "http.disconnect":
        pass


class ResetResponse(Response):
    """A connection reset in place of a response."""

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reset(scope)
        await _wait_for_disconnect(receive)


class HangingResponse(Response):
    """A connection that closes after a time, without a response.

    Args:
        clock: The clock, which ends the wait when the server stops.
        seconds: The time in seconds.
    """

    def __init__(self, clock: Clock, seconds: float) -> None:
        super().__init__()
        self._clock = clock
        self._seconds = seconds

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._clock.pause(self._seconds)
            transport_of(scope).close()
        except ClockStopped:
            reset(scope)
        await _wait_for_disconnect(receive)


class DelayedResponse(Response):
    """A response that is sent after a time.

    Args:
        response: The response.
        clock: The clock, which ends the wait when the server stops.
        seconds: The time in seconds.
    """

    def __init__(self, response: Response, clock: Clock, seconds: float) -> None:
        super().__init__()
        self._response = response
        self._clock = clock
        self._seconds = seconds

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._clock.pause(self._seconds)
        except ClockStopped:
            reset(scope)
            await _wait_for_disconnect(receive)
            return
        await self._response(scope, receive, send)


class TruncatedResponse(Response):
    """The headers of a response and half of its body, after which the connection closes.

    Args:
        response: The response.
    """

    def __init__(self, response: Response) -> None:
        super().__init__()
        self._response = response

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        half = bytes(self._response.body)[: len(self._response.body) // 2]
        headers = self._response.raw_headers
        await send({"type": "http.response.start", "status": self._response.status_code, "headers": headers})
        await send({"type": "http.response.body", "body": half, "more_body": True})
        transport_of(scope).close()
        await _wait_for_disconnect(receive)
