"""Settings of this package, read from the environment, `.env`, `prefect.toml` and `pyproject.toml`.

The names of the environment variables begin with `PREFECT_INTEGRATIONS_FOXAPI_`. `prefect config set` does not know
them. See `docs/settings.md`.
"""

from __future__ import annotations

import os
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Literal

from prefect.settings import get_current_settings
from prefect.settings.base import PrefectBaseSettings, build_settings_config
from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import SettingsConfigDict

from prefect_foxapi.errors import InvalidRequest

_PREFIX = "PREFECT_INTEGRATIONS_FOXAPI_"


class FoxAPISettings(PrefectBaseSettings):
    """Settings of prefect-foxapi."""

    model_config: ClassVar[SettingsConfigDict] = build_settings_config(("integrations", "foxapi"))

    ledger_url: SecretStr | None = Field(
        default=None,
        description="Database of the ledger, a URL of SQLite or PostgreSQL. By default a file in Prefect's home.",
    )
    ledger_keeps_results: bool = Field(
        default=True, description="Whether the ledger keeps results, or only what was paid for."
    )
    ledger_retention_days: float = Field(
        default=90, gt=0, description="Days after which finished generations leave the ledger."
    )
    on_ambiguous: Literal["raise", "resubmit"] = Field(
        default="raise",
        description="What to do if it cannot be determined whether a submission was accepted: raise, or pay again.",
    )

    def recovery_folder(self) -> Path:
        """Where ids are kept that a broken ledger could not take."""
        return get_current_settings().home / "foxapi"

    def ledger_location(self) -> str:
        """Return the URL of the ledger's database, with its password if it has one.

        Raises:
            InvalidRequest: The URL is empty.
        """
        if self.ledger_url is not None:
            url = self.ledger_url.get_secret_value().strip()
            if not url:
                # A secret that was not injected must not lead to another ledger, which knows nothing of what was paid.
                raise InvalidRequest(
                    f"{_PREFIX}LEDGER_URL: it is set, but empty; give a URL, or unset it to use the file in Prefect's "
                    "home",
                    field=f"{_PREFIX}LEDGER_URL",
                )
            return url
        return f"sqlite+aiosqlite:///{get_current_settings().home / 'foxapi' / 'ledger.db'}"


def current_settings() -> FoxAPISettings:
    """Return the settings. They are read again after the environment or Prefect's home changes.

    Raises:
        InvalidRequest: A value is not valid, or an environment variable with this package's prefix is not a setting.
    """
    values = tuple(os.environ.get(name) for name in _VARIABLES)
    return _settings(get_current_settings().home, frozenset(os.environ), values)


_VARIABLES = tuple(f"{_PREFIX}{name.upper()}" for name in FoxAPISettings.model_fields)


@lru_cache(maxsize=8)
def _settings(home: Path, names: frozenset[str], values: tuple[str | None, ...]) -> FoxAPISettings:
    for name in names:
        if name.upper().startswith(_PREFIX) and name.upper() not in _VARIABLES:
            raise _unknown(name)
    try:
        return FoxAPISettings()
    except ValidationError as error:
        # Not as the cause: pydantic quotes values, and the ledger's URL may hold a password.
        raise _invalid(error) from None


def _unknown(name: str) -> InvalidRequest:
    similar = get_close_matches(
        name.upper().removeprefix(_PREFIX), [known.removeprefix(_PREFIX) for known in _VARIABLES]
    )
    remedy = f"did you mean {_PREFIX}{similar[0]}?" if similar else f"the settings are {', '.join(_VARIABLES)}"
    return InvalidRequest(f"{name}: prefect-foxapi has no such setting; {remedy}", field=name)


def _invalid(error: ValidationError) -> InvalidRequest:
    found = error.errors(include_url=False, include_context=False)[0]
    setting = str(found["loc"][0])
    variable = f"{_PREFIX}{setting.upper()}"
    value = "" if setting == "ledger_url" else f", not {found['input']!r}"
    expected = found["msg"][0].lower() + found["msg"][1:]
    return InvalidRequest(
        f"{variable}: {expected}{value}; correct it where it is set: in the environment, in .env, or as {setting} in "
        "prefect.toml, pyproject.toml or a Prefect profile",
        field=variable,
    )
