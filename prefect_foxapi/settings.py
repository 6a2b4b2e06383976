"""Settings of this package, read like every setting of Prefect: environment, `.env`, `prefect.toml`, `pyproject.toml`.

Their names begin with `PREFECT_INTEGRATIONS_FOXAPI_`: `PREFECT_INTEGRATIONS_FOXAPI_LEDGER_URL`, and so on.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Literal

from prefect.settings import get_current_settings
from prefect.settings.base import PrefectBaseSettings, build_settings_config
from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict


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
        description="What to do where nobody can know whether a submission was accepted: raise, or pay again.",
    )

    def spill_folder(self) -> Path:
        """Where ids are kept that a broken ledger could not take."""
        return get_current_settings().home / "foxapi"

    def ledger_location(self) -> str:
        """The URL of the ledger's database, with its password if it has one."""
        if self.ledger_url is not None:
            return self.ledger_url.get_secret_value()
        return f"sqlite+aiosqlite:///{get_current_settings().home / 'foxapi' / 'ledger.db'}"


def current_settings() -> FoxAPISettings:
    """The settings as they are now; they are read anew when the environment or Prefect's home changes."""
    return _settings(get_current_settings().home, tuple(os.environ.get(name) for name in _VARIABLES))


_VARIABLES = tuple(f"PREFECT_INTEGRATIONS_FOXAPI_{name.upper()}" for name in FoxAPISettings.model_fields)


@lru_cache(maxsize=8)
def _settings(home: Path, environment: tuple[str | None, ...]) -> FoxAPISettings:
    return FoxAPISettings()
