"""Where the API key may go: the checks of the key and of the service's origin."""

from __future__ import annotations

from functools import lru_cache

import httpx

from prefect_foxapi.errors import AuthenticationError, InvalidRequest

DEFAULT_BASE_URL = "https://api.foxapi.cc"
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def checked_api_key(api_key: str) -> str:
    """Return the key, if it can be one. A key with a line break in it would end up in an exception's text."""
    key = api_key.strip()
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise AuthenticationError("the API key is empty or has characters that no key has; it looks like sk-…")
    return key


@lru_cache(maxsize=256)
def checked_origin(base_url: str, *, allow_http: bool) -> httpx.URL:
    """Return the origin, if the key may be sent there."""
    try:
        url = httpx.URL(base_url.strip())
    except (httpx.InvalidURL, TypeError) as error:
        raise InvalidRequest(f"base_url: {base_url!r} is not a URL ({error})", field="base_url") from None
    if url.scheme not in {"http", "https"} or not url.host:
        raise InvalidRequest(f"base_url: {base_url!r} is not an http(s) URL", field="base_url")
    if url.userinfo or url.query or url.fragment or url.path.strip("/"):
        raise InvalidRequest(
            f"base_url: give the origin alone, {url.copy_with(userinfo=None, query=None, fragment=None, path='/')} "
            "say, without /v1 or anything else",
            field="base_url",
        )
    if url.scheme == "http" and url.host not in LOOPBACK and not allow_http:
        raise InvalidRequest(
            f"base_url: {url.host} would get the API key unencrypted; use https, or set allow_http=True",
            field="base_url",
        )
    return httpx.URL(scheme=url.scheme, host=url.host, port=url.port)
