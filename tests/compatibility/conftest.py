"""What version 0.1.0 stored, unpacked into a Prefect home of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.settings import PREFECT_HOME, PREFECT_LOGGING_TO_API_ENABLED, temporary_settings
from prefect.testing.utilities import prefect_test_harness

from tests.compatibility.archive import HERE, in_home, unpack


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Prefect's own connections to its test server are left to the garbage collector.
    left_open = pytest.mark.filterwarnings(
        r"ignore:Exception ignored in. <socket\.socket:pytest.PytestUnraisableExceptionWarning"
    )
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(left_open)


@pytest.fixture(scope="session")
def prefect_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    settings = {PREFECT_HOME: tmp_path_factory.mktemp("prefect-server"), PREFECT_LOGGING_TO_API_ENABLED: False}
    with temporary_settings(settings), prefect_test_harness(120):
        yield


@pytest.fixture(scope="session")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the fixture holds, as 0.1.0 read it."""
    home = unpack(tmp_path_factory.mktemp("fixture"))
    return json.loads((home.parent / "manifest.json").read_text(encoding="utf-8"))


@pytest.fixture
def home(prefect_api: None, tmp_path: Path) -> Iterator[Path]:
    """The home that 0.1.0 left."""
    with in_home(unpack(tmp_path)) as home:
        yield home
