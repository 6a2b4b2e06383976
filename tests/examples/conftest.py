"""What an example finds: Prefect, sample media in the working directory, and a key in the environment."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from prefect_foxapi.emulator import Emulator

ROOT = Path(__file__).parents[2]


@pytest.fixture
def foxapi(prefect_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """An emulator that the environment names."""
    for sample in (ROOT / "flows" / "samples").iterdir():
        shutil.copy(sample, tmp_path)
    monkeypatch.chdir(tmp_path)
    with Emulator(duration=0.05) as emulator:
        monkeypatch.setenv("FOXAPI_API_KEY", emulator.api_key)
        monkeypatch.setenv("FOXAPI_BASE_URL", emulator.url)
        yield emulator
