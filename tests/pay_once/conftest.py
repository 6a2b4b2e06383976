"""A real Prefect server, real databases, and an emulator for each test."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_HOME,
    PREFECT_LOGGING_TO_API_ENABLED,
    PREFECT_SERVER_ALLOW_EPHEMERAL_MODE,
    temporary_settings,
)

from prefect_foxapi import FoxAPICredentials
from prefect_foxapi.emulator import Emulator
from prefect_foxapi.tasks.event_loop import close_background
from tests.pay_once.callers import Caller
from tests.pay_once.fork_server import ForkServer
from tests.pay_once.programs import credentials as credentials_for
from tests.support.postgres import PostgresForTests


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresForTests]:
    with PostgresForTests() as server:
        yield server


@pytest.fixture
def home(prefect_api: str, tmp_path: Path) -> Iterator[Path]:
    """A Prefect home of the test's own, and with it a ledger and a result storage."""
    settings = {
        PREFECT_HOME: tmp_path / "home",
        PREFECT_API_URL: prefect_api,
        PREFECT_LOGGING_TO_API_ENABLED: False,
        PREFECT_SERVER_ALLOW_EPHEMERAL_MODE: False,
    }
    with temporary_settings(settings):
        yield tmp_path / "home"
    close_background()
    # So that what this test left open is not found in another one's time.
    gc.collect()


@pytest.fixture
def environment(prefect_api: str, tmp_path: Path) -> dict[str, str]:
    """The same home, for child processes."""
    return {
        "PREFECT_HOME": str(tmp_path / "home"),
        "PREFECT_API_URL": prefect_api,
        "PREFECT_LOGGING_TO_API_ENABLED": "false",
    }


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(duration=0.05) as running:
        yield running


@pytest.fixture
def credentials(emulator: Emulator) -> FoxAPICredentials:
    return credentials_for(emulator.url, emulator.api_key)


@pytest.fixture
def ask(credentials: FoxAPICredentials) -> Caller:
    return Caller(credentials)


@pytest.fixture
def elsewhere(environment: dict[str, str], tmp_path: Path) -> Iterator[ForkServer]:
    """Another process with the same home."""
    with ForkServer(environment, tmp_path / "elsewhere.log") as fork_server:
        yield fork_server
