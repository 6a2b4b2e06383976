"""The block that keeps a FoxAPI key."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from typing import Any, ClassVar, cast

from prefect.blocks.abstract import CredentialsBlock
from prefect.settings import get_current_settings
from pydantic import Field, SecretStr

from prefect_foxapi.client.client import FoxAPIClient
from prefect_foxapi.client.config import DEFAULT_BASE_URL, checked_api_key, checked_origin
from prefect_foxapi.errors import AuthenticationError

_LOADED_FOR = 60.0
_NO_API_KEY = (
    "there is no FoxAPI key: pass credentials=FoxAPICredentials(api_key=…), or the name of a saved block, "
    "credentials='my-foxapi', or set the environment variable FOXAPI_API_KEY"
)


class FoxAPICredentials(CredentialsBlock):
    """Credentials for FoxAPI, and how to talk to it.

    Example:
        Save once:

            FoxAPICredentials(api_key="sk-…").save("my-foxapi")

        Load a saved block:

            from prefect_foxapi import FoxAPICredentials
            credentials = FoxAPICredentials.load("BLOCK_NAME")
    """

    _block_type_name: ClassVar[str | None] = "FoxAPI Credentials"
    _block_type_slug: ClassVar[str | None] = "foxapi-credentials"
    _documentation_url: ClassVar[Any] = "https://api.foxapi.cc"
    _description: ClassVar[str | None] = "Credentials for generations with FoxAPI."

    api_key: SecretStr = Field(description="The API key (sk-…).")
    base_url: str = Field(default=DEFAULT_BASE_URL, description="Origin of the service, without /v1.")
    account: str | None = Field(
        default=None,
        description=(
            "Name of the account that pays, the same for all of its keys. Equal requests of one account are paid for "
            "once. By default a digest of the key stands for the account."
        ),
    )
    timeout: float = Field(default=30.0, gt=0, description="Seconds that the answer to a read may take.")
    submit_timeout: float = Field(
        default=120.0, gt=0, description="Seconds that the answer to a submission or an upload may take."
    )
    connect_timeout: float = Field(default=10.0, gt=0, description="Seconds for making a connection.")
    max_connections: int = Field(default=100, gt=0, description="How many requests may be in flight at once.")
    allow_http: bool = Field(
        default=False, description="Whether the key may be sent unencrypted to a host that is not this machine."
    )

    @classmethod
    def from_env(cls) -> FoxAPICredentials:
        """Credentials from `FOXAPI_API_KEY` and, if it is set, `FOXAPI_BASE_URL`.

        Raises:
            AuthenticationError: There is no key; the error says the three ways to give one.
        """
        api_key = os.environ.get("FOXAPI_API_KEY", "").strip()
        if not api_key:
            raise AuthenticationError(_NO_API_KEY)
        base_url = os.environ.get("FOXAPI_BASE_URL", "").strip() or DEFAULT_BASE_URL
        return cls(api_key=SecretStr(api_key), base_url=base_url)

    @classmethod
    def resolve(cls, credentials: FoxAPICredentials | str | None) -> FoxAPICredentials:
        """The block itself, the saved block of that name, or the environment's credentials.

        A saved block is remembered for a minute. Loading it blocks: in a coroutine, have a thread do it.

        Raises:
            AuthenticationError: There is no key, or no such block.
        """
        if credentials is None:
            return cls.from_env()
        if isinstance(credentials, FoxAPICredentials):
            return credentials
        if not isinstance(cast("Any", credentials), str):
            raise AuthenticationError(f"credentials cannot be of type {type(credentials).__name__}: {_NO_API_KEY}")
        settings = get_current_settings()
        # The same name is another block in another workspace.
        identity = (str(settings.api.url), str(settings.home), credentials)
        known = _loaded.get(identity)
        if known and time.monotonic() - known[0] < _LOADED_FOR:
            return known[1]
        try:
            # Inside a running event loop, too: a cache key is computed there, and cannot be awaited.
            block = cast("FoxAPICredentials", cls.load(credentials, _sync=True))  # pyright: ignore[reportCallIssue]
        except ValueError as error:
            raise AuthenticationError(
                f"there is no saved block {credentials!r} of FoxAPI credentials; {_NO_API_KEY}"
            ) from error
        _loaded[identity] = (time.monotonic(), block)
        return block

    @classmethod
    async def aresolve(cls, credentials: FoxAPICredentials | str | None) -> FoxAPICredentials:
        """As `resolve`, off the event loop where a block has to be loaded.

        Raises:
            AuthenticationError: There is no key, or no such block.
        """
        if isinstance(credentials, str):
            return await asyncio.to_thread(cls.resolve, credentials)
        return cls.resolve(credentials)

    @property
    def origin(self) -> str:
        """The checked origin of the service.

        Raises:
            InvalidRequest: The base URL is not one, or is unencrypted.
        """
        return str(checked_origin(self.base_url, allow_http=self.allow_http))

    @property
    def account_name(self) -> str:
        """Who pays: `account`, or a digest of the key."""
        if self.account:
            return self.account
        return "key-" + hashlib.sha256(b"prefect-foxapi:" + self._key().encode()).hexdigest()[:32]

    @property
    def client_identity(self) -> tuple[object, ...]:
        """Equal for blocks that can share a client. It holds the key in clear: for a process's memory alone."""
        return (
            *(self._key(), self.origin, self.timeout, self.submit_timeout),
            *(self.connect_timeout, self.max_connections, self.allow_http),
        )

    def get_client(self, **options: Any) -> FoxAPIClient:
        """A new client with these credentials, for use with `async with`.

        Args:
            **options: Further arguments of `FoxAPIClient`.

        Raises:
            AuthenticationError: The key is empty or cannot be a key.
            InvalidRequest: The base URL is not one, or is unencrypted.
        """
        return FoxAPIClient(
            self._key(),
            base_url=self.base_url,
            timeout=self.timeout,
            submit_timeout=self.submit_timeout,
            connect_timeout=self.connect_timeout,
            max_connections=self.max_connections,
            allow_http=self.allow_http,
            **options,
        )

    def _key(self) -> str:
        if not self.api_key.get_secret_value().strip():
            raise AuthenticationError(_NO_API_KEY)
        return checked_api_key(self.api_key.get_secret_value())


_loaded: dict[tuple[str, str, str], tuple[float, FoxAPICredentials]] = {}
