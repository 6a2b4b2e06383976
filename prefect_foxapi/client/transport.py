"""Transports: submissions and other writes use httpx's own, reads use aiohttp's.

httpx's own transport reports exactly whether a request was sent, which decides whether a submission can be retried.
aiohttp's takes a quarter of the time, but reports a connection that was accepted and then closed as one that failed.
Reads, which are most of the traffic, can always be retried.

Bodies are decoded here, in small blocks and up to a limit. httpx decodes each block as a whole and through any number
of encodings, so that 2 kB can become gigabytes.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import time
import zlib
from collections import deque
from collections.abc import AsyncIterator, Callable
from functools import lru_cache, partial
from typing import cast
from urllib.request import getproxies, proxy_bypass

import httpx

from prefect_foxapi.client.config import LOOPBACK

# Writing to an idle connection that the server has just closed looks like a lost response, which would make a
# submission ambiguous. So writes use a connection that was used a moment ago, or a new one.
_WRITE_KEEPALIVE = 1.0
# Bytes. With aiohttp's own limit of 8 kB, a refusal with a longer header looks like a broken connection.
_LONGEST_HEADER = 64 * 1024

_BLOCK_SIZE = 64 * 1024
_DECODED_LIMIT = 64 * 1024 * 1024


class MethodRoutingTransport(httpx.AsyncBaseTransport):
    """Sends GET requests over one transport and all others over another.

    Args:
        origin: The origin of the service.
        trust_env: Whether the environment's proxies and certificates are used.
    """

    def __init__(self, origin: httpx.URL, *, trust_env: bool = True) -> None:
        context = _ssl_context(trust_env, os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
        proxy = _environment_proxy(origin) if trust_env else None
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=1, keepalive_expiry=_WRITE_KEEPALIVE)
        self._writes = _SingleConnections(
            lambda: httpx.AsyncHTTPTransport(verify=context, proxy=proxy, limits=limits),
        )
        self._reads = _aiohttp_transport(context, proxy)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request over its method's transport, and return the response."""
        transport = self._reads if request.method == "GET" else self._writes
        response = await transport.handle_async_request(request)
        encoding = response.headers.pop("content-encoding", "").strip().lower()
        if encoding not in ("", "identity"):
            encoding = encoding.removeprefix("x-")
            # A proxy may encode its error pages whatever was asked for.
            is_expected = not response.is_success or encoding == request.headers.get("accept-encoding")
            response.stream = _Decoded(cast("httpx.AsyncByteStream", response.stream), encoding, is_expected)
        return response

    async def aclose(self) -> None:
        """Close all connections."""
        await self._writes.aclose()
        await self._reads.aclose()


class _SingleConnections(httpx.AsyncBaseTransport):
    """Gives each request in flight a transport with one connection, and prefers the one that was used last.

    With one pool for all, each request checks the state of every connection: with 32 of them that takes longer than
    the request.
    """

    def __init__(self, make: Callable[[], httpx.AsyncBaseTransport]) -> None:
        self._make = make
        self._all: set[httpx.AsyncBaseTransport] = set()
        self._idle: deque[tuple[float, httpx.AsyncBaseTransport]] = deque()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        transport = await self._take()
        try:
            response = await transport.handle_async_request(request)
        except BaseException:
            self._give_back(transport)
            raise
        response.stream = _Returning(
            cast("httpx.AsyncByteStream", response.stream), partial(self._give_back, transport)
        )
        return response

    async def aclose(self) -> None:
        self._idle.clear()
        while self._all:
            await self._all.pop().aclose()

    async def _take(self) -> httpx.AsyncBaseTransport:
        while self._idle and time.monotonic() - self._idle[0][0] > _WRITE_KEEPALIVE:
            _, expired = self._idle.popleft()
            self._all.discard(expired)
            await expired.aclose()
        if self._idle:
            return self._idle.pop()[1]
        made = self._make()
        self._all.add(made)
        return made

    def _give_back(self, transport: httpx.AsyncBaseTransport) -> None:
        self._idle.append((time.monotonic(), transport))


class _Returning(httpx.AsyncByteStream):
    """A body that calls a function when it is closed."""

    def __init__(self, body: httpx.AsyncByteStream, closed: Callable[[], None]) -> None:
        self._body = body
        self._closed: Callable[[], None] | None = closed

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._body.__aiter__()

    async def aclose(self) -> None:
        try:
            await self._body.aclose()
        finally:
            closed, self._closed = self._closed, None
            if closed is not None:
                closed()


class _Decoded(httpx.AsyncByteStream):
    """A body that is decoded from gzip, or refused where its encoding is not the one that the request asked for."""

    def __init__(self, body: httpx.AsyncByteStream, encoding: str, is_expected: bool) -> None:
        self._body = body
        self._encoding = encoding
        self._is_expected = is_expected

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._encoding != "gzip" or not self._is_expected:
            raise ValueError(f"the body has the encoding {self._encoding[:80]!r}, which was not asked for")
        decoder = zlib.decompressobj(16 + zlib.MAX_WBITS)
        size = 0
        async for block in self._body:
            rest, is_full = block, True
            while rest or is_full:
                output = decoder.decompress(rest, _BLOCK_SIZE)
                rest, is_full = decoder.unconsumed_tail, len(output) == _BLOCK_SIZE
                size += len(output)
                if size > _DECODED_LIMIT:
                    raise ValueError(f"the body has more than {_DECODED_LIMIT} bytes when it is decoded")
                if output:
                    yield output
                if is_full:
                    # Other tasks run while a large body is decoded.
                    await asyncio.sleep(0)
            if decoder.eof:
                return

    async def aclose(self) -> None:
        await self._body.aclose()


@lru_cache(maxsize=4)
def _ssl_context(trust_env: bool, file: str | None, folder: str | None) -> ssl.SSLContext:
    """Return the context that all clients share, since it takes long to load certificates."""
    return httpx.create_ssl_context(trust_env=trust_env)


def _aiohttp_transport(context: ssl.SSLContext, proxy: httpx.Proxy | None) -> httpx.AsyncBaseTransport:
    # Imported here, since the import takes a tenth of a second.
    import aiohttp
    from httpx_aiohttp import AiohttpTransport

    def session() -> aiohttp.ClientSession:
        # The client's semaphores limit requests and streams, so the pool has no limit.
        connector = aiohttp.TCPConnector(limit=0, ssl=context, keepalive_timeout=15)
        # With trust_env, aiohttp would look for a .netrc in a thread for each request, and refuse to send the API key
        # where that file has an entry for the host.
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            max_line_size=_LONGEST_HEADER,
            max_field_size=_LONGEST_HEADER,
        )

    return AiohttpTransport(verify=context, client=session, proxy=proxy)


def _environment_proxy(origin: httpx.URL) -> httpx.Proxy | None:
    """Return the environment's proxy for the origin, or None. Loopback addresses have none."""
    if origin.host in LOOPBACK or proxy_bypass(origin.host):
        return None
    proxies = getproxies()
    named = proxies.get(origin.scheme) or proxies.get("all")
    if not named:
        return None
    return httpx.Proxy(named if "://" in named else f"http://{named}")
