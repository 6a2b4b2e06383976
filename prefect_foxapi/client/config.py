"""What a client needs to know: the key and where it may go, time limits, and connection limits."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypedDict

import httpx

from prefect_foxapi.client.retry import RetryPolicy
from prefect_foxapi.errors import AuthenticationError, InvalidRequest
from prefect_foxapi.models.base import LONGEST, is_time_limit, shown

DEFAULT_BASE_URL = "https://api.foxapi.cc"
_DEFAULT_RETRY = RetryPolicy()
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
# What Prefect, pydantic and CI systems write in place of a secret. No key has three in a row.
_MASK = "***"
MASKED_KEY = (
    "the API key is masked: it went through JSON, as the parameters of `delay`, `apply_async` and flow runs do, or was "
    "copied from a log. Nothing was sent; pass the name of a saved block, credentials='my-foxapi'"
)


@dataclass(frozen=True)
class ClientConfig:
    """Configuration of a `FoxAPIClient`. Equal configurations share a client.

    It holds the API key in clear, for the memory of a process alone. Key and base URL are checked and normalized.

    Attributes:
        api_key: The API key (`sk-…`). It is sent to the origin of the base URL only.
        base_url: Origin of the service, without `/v1`.
        timeout: Seconds for the answer to a read.
        submit_timeout: Seconds for the answer to a submission or an upload. A submission without an answer in time is
            ambiguous, so this is long.
        connect_timeout: Seconds for opening a connection.
        max_connections: Requests in flight at once.
        max_streams: Streams read at once.
        allow_http: Whether the key may be sent unencrypted to another machine.
        retry: How requests are repeated, where that is safe.

    Raises:
        AuthenticationError: The key is empty or masked, or has characters that no key has.
        InvalidRequest: The base URL is not one, or is unencrypted, or a limit has a wrong type or value.
    """

    api_key: str = field(repr=False)
    base_url: str = DEFAULT_BASE_URL
    timeout: float = 30.0
    submit_timeout: float = 120.0
    connect_timeout: float = 10.0
    max_connections: int = 100
    max_streams: int = 1000
    allow_http: bool = False
    retry: RetryPolicy = _DEFAULT_RETRY

    def __post_init__(self) -> None:
        object.__setattr__(self, "api_key", checked_api_key(self.api_key))
        object.__setattr__(self, "base_url", checked_base_url(self.base_url, allow_http=self.allow_http))
        for name in ("timeout", "submit_timeout", "connect_timeout"):
            if not is_time_limit(value := getattr(self, name)):
                raise InvalidRequest(
                    f"{name}: {shown(value)} is not a number of seconds, above 0 and up to {LONGEST:,.0f}; give one",
                    field=name,
                )
        for name in ("max_connections", "max_streams"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InvalidRequest(f"{name}: {shown(value)} is not a number of requests; give 1 or more", field=name)

    @property
    def submission_deadline(self) -> float:
        """Seconds within which a submission that is sent is answered or counts as lost."""
        return self.connect_timeout + self.submit_timeout

    @property
    def read_deadline(self) -> float:
        """Seconds within which a read is answered."""
        return self.connect_timeout + self.timeout


class ClientOptions(TypedDict, total=False):
    """The fields of `ClientConfig` besides the key, as arguments of `FoxAPIClient`."""

    base_url: str
    timeout: float
    submit_timeout: float
    connect_timeout: float
    max_connections: int
    max_streams: int
    allow_http: bool
    retry: RetryPolicy


def refuse_masked_key(api_key: str) -> None:
    """Refuse a key that was masked by whatever stored or showed it.

    Raises:
        AuthenticationError: It is masked.
    """
    if _MASK in api_key:
        raise AuthenticationError(MASKED_KEY)


def checked_api_key(api_key: str) -> str:
    """Return the key without surrounding spaces. A key with a line break would end up in an exception's text.

    Raises:
        AuthenticationError: It is empty or masked, or has characters that no key has.
    """
    key = api_key.strip()
    refuse_masked_key(key)
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise AuthenticationError("the API key is empty or has characters that no key has; it looks like sk-…")
    return key


@lru_cache(maxsize=256)
def checked_base_url(base_url: str, *, allow_http: bool) -> str:
    """Return the origin of a base URL to which the key may be sent.

    Raises:
        InvalidRequest: It is not the origin of an http(s) service, or the key would go out unencrypted.
    """
    try:
        url = httpx.URL(base_url.strip())
    except (httpx.InvalidURL, TypeError) as error:
        raise InvalidRequest(f"base_url: {base_url!r} is not a URL ({error})", field="base_url") from None
    if url.scheme not in {"http", "https"} or not url.host:
        raise InvalidRequest(f"base_url: {base_url!r} is not an http(s) URL", field="base_url")
    if url.userinfo or url.query or url.fragment or url.path.strip("/"):
        raise InvalidRequest(
            f"base_url: give the origin alone, {url.copy_with(userinfo=None, query=None, fragment=None, path='/')} "
            "for example, without /v1 or anything else",
            field="base_url",
        )
    if url.scheme == "http" and url.host not in LOOPBACK and not allow_http:
        raise InvalidRequest(
            f"base_url: {url.host} would get the API key unencrypted; use https, or set allow_http=True",
            field="base_url",
        )
    return str(httpx.URL(scheme=url.scheme, host=url.host, port=url.port))
