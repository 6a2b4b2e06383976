"""The credentials block."""

from __future__ import annotations

import asyncio
import hashlib
import os
from dataclasses import fields
from threading import Lock
from typing import Any, ClassVar, cast

from cachetools import TTLCache, cached
from prefect.blocks.abstract import CredentialsBlock
from prefect.settings import get_current_settings
from pydantic import Field, SecretStr

from prefect_foxapi.client.client import FoxAPIClient
from prefect_foxapi.client.config import DEFAULT_BASE_URL, ClientConfig, checked_api_key, refuse_masked_key
from prefect_foxapi.errors import AuthenticationError

# Seconds for which a loaded block is kept.
_KEPT_FOR = 60.0
_NO_API_KEY = (
    "there is no FoxAPI key: pass credentials=FoxAPICredentials(api_key=…), or the name of a saved block, "
    "credentials='my-foxapi', or set the environment variable FOXAPI_API_KEY"
)


class FoxAPICredentials(CredentialsBlock):
    """Credentials and connection options for FoxAPI.

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
            "once. By default a digest of the key identifies the account."
        ),
    )
    timeout: float = Field(default=30.0, gt=0, description="Seconds for the answer to a read.")
    submit_timeout: float = Field(
        default=120.0, gt=0, description="Seconds for the answer to a submission or an upload."
    )
    connect_timeout: float = Field(default=10.0, gt=0, description="Seconds for opening a connection.")
    max_connections: int = Field(default=100, gt=0, description="Requests in flight at once.")
    allow_http: bool = Field(default=False, description="Whether the key may be sent unencrypted to another machine.")

    @classmethod
    def from_env(cls) -> FoxAPICredentials:
        """Return the credentials of `FOXAPI_API_KEY` and, if it is set, `FOXAPI_BASE_URL`.

        Raises:
            AuthenticationError: There is no key. The message has the three ways to give one.
        """
        api_key = os.environ.get("FOXAPI_API_KEY", "").strip()
        if not api_key:
            raise AuthenticationError(_NO_API_KEY)
        base_url = os.environ.get("FOXAPI_BASE_URL", "").strip() or DEFAULT_BASE_URL
        return cls(api_key=SecretStr(api_key), base_url=base_url)

    @classmethod
    def resolve(cls, credentials: FoxAPICredentials | str | None) -> FoxAPICredentials:
        """Return the block itself, the saved block of a name, or the credentials of the environment.

        A saved block is kept for a minute. Loading blocks the thread; in a coroutine, use `aresolve`.

        Raises:
            AuthenticationError: There is no key, or no such block, or the key is masked.
        """
        block = cls._resolved(credentials)
        # Also where `account` names who pays: a masked key must not get the answers of that account.
        refuse_masked_key(block.api_key.get_secret_value())
        return block

    @classmethod
    def _resolved(cls, credentials: FoxAPICredentials | str | None) -> FoxAPICredentials:
        if credentials is None:
            return cls.from_env()
        if isinstance(credentials, FoxAPICredentials):
            return credentials
        if not isinstance(cast("Any", credentials), str):
            raise AuthenticationError(f"credentials cannot be of type {type(credentials).__name__}: {_NO_API_KEY}")
        settings = get_current_settings()
        try:
            # A name is another block in another workspace.
            return _load(credentials, str(settings.api.url), str(settings.home))
        except ValueError as error:
            raise AuthenticationError(
                f"there is no saved block {credentials!r} of FoxAPI credentials; {_NO_API_KEY}"
            ) from error

    @classmethod
    async def aresolve(cls, credentials: FoxAPICredentials | str | None) -> FoxAPICredentials:
        """Return the same as `resolve`, loading a block off the event loop.

        Raises:
            AuthenticationError: There is no key, or no such block, or the key is masked.
        """
        if isinstance(credentials, str):
            return await asyncio.to_thread(cls.resolve, credentials)
        return cls.resolve(credentials)

    @property
    def account_name(self) -> str:
        """The account that pays: `account`, or a digest of the key."""
        if self.account:
            return self.account
        return "key-" + hashlib.sha256(b"prefect-foxapi:" + self._key().encode()).hexdigest()[:32]

    @property
    def client_config(self) -> ClientConfig:
        """The configuration of a client with these credentials. It holds the key in clear.

        Raises:
            AuthenticationError: The key is empty or masked, or has characters that no key has.
            InvalidRequest: The base URL is not one, or is unencrypted.
        """
        return ClientConfig(self._key(), **{name: getattr(self, name) for name in _CLIENT_FIELDS})

    def get_client(self, **options: Any) -> FoxAPIClient:
        """Return a new client with these credentials, for use with `async with`.

        Args:
            **options: Further arguments of `FoxAPIClient`.

        Raises:
            AuthenticationError: The key is empty or masked, or has characters that no key has.
            InvalidRequest: The base URL is not one, or is unencrypted.
        """
        return FoxAPIClient(self.client_config, **options)

    def _key(self) -> str:
        if not self.api_key.get_secret_value().strip():
            raise AuthenticationError(_NO_API_KEY)
        return checked_api_key(self.api_key.get_secret_value())


# The fields that the block shares with `ClientConfig`.
_CLIENT_FIELDS = tuple(
    sorted({field.name for field in fields(ClientConfig)} & FoxAPICredentials.model_fields.keys() - {"api_key"})
)


@cached(TTLCache[Any, "FoxAPICredentials"](maxsize=256, ttl=_KEPT_FOR), lock=Lock())
def _load(name: str, api_url: str, home: str) -> FoxAPICredentials:
    # Synchronous also on an event loop, where Prefect computes cache keys.
    return cast("FoxAPICredentials", FoxAPICredentials.load(name, _sync=True))  # pyright: ignore[reportCallIssue]
