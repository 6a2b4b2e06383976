"""The archive that version 0.1.0 left, unpacked and put to use."""

from __future__ import annotations

import gc
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prefect.settings import PREFECT_HOME, temporary_settings
from prefect_foxapi.background import close_background

HERE = Path(__file__).parent
# What the archive holds is older than what a ledger keeps by default.
RETENTION = "PREFECT_INTEGRATIONS_FOXAPI_LEDGER_RETENTION_DAYS"


@contextmanager
def in_home(home: Path) -> Iterator[Path]:
    """Prefect's home, and with it a result storage and a ledger."""
    with pytest.MonkeyPatch.context() as environment, temporary_settings({PREFECT_HOME: home}):
        environment.setenv(RETENTION, "100000")
        try:
            yield home
        finally:
            close_background()
            # So that what was left open is not found in another test's time.
            gc.collect()


def unpack(folder: Path) -> Path:
    """Unpack the fixture; returns the home in it."""
    with tarfile.open(HERE / "v0_1_0.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return folder / "home"
