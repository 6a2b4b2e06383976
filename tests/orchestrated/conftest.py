"""Real Prefect, in a home of its own, and an emulator for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.settings import PREFECT_HOME, PREFECT_LOGGING_TO_API_ENABLED, temporary_settings
from prefect.testing.utilities import prefect_test_harness
from pydantic import SecretStr

from prefect_foxapi import FoxAPICredentials
from prefect_foxapi.emulator import Emulator


@pytest.fixture(scope="session", autouse=True)
def prefect_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("prefect-home")
    with temporary_settings({PREFECT_HOME: home, PREFECT_LOGGING_TO_API_ENABLED: False}), prefect_test_harness(120):
        yield home


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(duration=0.05) as running:
        yield running


@pytest.fixture
def credentials(emulator: Emulator) -> FoxAPICredentials:
    return FoxAPICredentials(api_key=SecretStr(emulator.api_key), base_url=emulator.url)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Prefect's own connections to its test server are left to the garbage collector.
    left_open = pytest.mark.filterwarnings(
        "ignore:Exception ignored in. <socket.socket:pytest.PytestUnraisableExceptionWarning"
    )
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(left_open)
