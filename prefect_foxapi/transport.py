"""How requests travel: paid ones and other writes over httpx's own transport, reads over aiohttp's.

httpx's own transport says truthfully what happened to a request, which decides about money; aiohttp's costs a quarter
of the time, but reports a connection that was accepted and then closed as one that was never made. So writes go
over the first and reads, which are nearly all the traffic and may always be repeated, over the second.
"""

from __future__ import annotations

import os
import ssl
from functools import lru_cache
from urllib.request import getproxies, proxy_bypass

import httpx

from prefect_foxapi.origin import LOOPBACK

# A kept connection that the server has just closed cannot be told from a lost response, which would make a
# submission ambiguous for nothing: a write takes a connection that was used a moment ago, or a new one.
_WRITE_KEEPALIVE = 1.0


class MethodRoutingTransport(httpx.AsyncBaseTransport):
    """Sends GET requests one way and all others another."""

    def __init__(self, origin: httpx.URL, *, trust_env: bool = True) -> None:
        context = _ssl_context(trust_env, os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
        proxy = _environment_proxy(origin) if trust_env else None
        self._writes = httpx.AsyncHTTPTransport(
            verify=context,
            proxy=proxy,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=32, keepalive_expiry=_WRITE_KEEPALIVE),
        )
        self._reads = _aiohttp_transport(context, proxy)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request the way that its method goes."""
        transport = self._reads if request.method == "GET" else self._writes
        return await transport.handle_async_request(request)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._writes.aclose()
        await self._reads.aclose()


@lru_cache(maxsize=4)
def _ssl_context(trust_env: bool, file: str | None, folder: str | None) -> ssl.SSLContext:
    """One for all clients, as long as the environment names the same certificates: making it takes long."""
    return httpx.create_ssl_context(trust_env=trust_env)


def _aiohttp_transport(context: ssl.SSLContext, proxy: httpx.Proxy | None) -> httpx.AsyncBaseTransport:
    # Imported where it is used: it takes a tenth of a second that importing this package should not.
    import aiohttp
    from httpx_aiohttp import AiohttpTransport

    def session() -> aiohttp.ClientSession:
        # The client limits requests and streams by semaphores of its own, so the pool must not do it again.
        connector = aiohttp.TCPConnector(limit=0, ssl=context, keepalive_timeout=15)
        # Trusting the environment, it would also look for a .netrc in a thread for each request, and refuse to send
        # our key where that has an entry for the host.
        return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False)

    return AiohttpTransport(verify=context, client=session, proxy=proxy)


def _environment_proxy(origin: httpx.URL) -> httpx.Proxy | None:
    """The proxy that the environment names for the origin. This machine itself is never reached through one."""
    if origin.host in LOOPBACK or proxy_bypass(origin.host):
        return None
    proxies = getproxies()
    named = proxies.get(origin.scheme) or proxies.get("all")
    if not named:
        return None
    return httpx.Proxy(named if "://" in named else f"http://{named}")
