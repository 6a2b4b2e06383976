"""An emulator for each test, and its credentials."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from prefect_foxapi import FoxAPICredentials
from prefect_foxapi.emulator import Emulator


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(duration=0.05) as running:
        yield running


@pytest.fixture
def credentials(emulator: Emulator) -> FoxAPICredentials:
    return FoxAPICredentials(api_key=SecretStr(emulator.api_key), base_url=emulator.url)
