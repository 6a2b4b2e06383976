"""The ledger's command, beside a service that made what it settles."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from prefect import flow
from prefect.settings import PREFECT_API_URL

from prefect_foxapi import FoxAPICredentials, submit_generation
from prefect_foxapi.emulator import Emulator


def test_settle_collects(emulator: Emulator, credentials: FoxAPICredentials, prefect_home: Path) -> None:
    emulator.script(when="left behind", answer="found again")

    @flow
    def leave() -> str:
        return submit_generation("left behind", model="gpt-5.5", credentials=credentials).key

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "PREFECT_HOME": str(prefect_home),
            "PREFECT_API_URL": str(PREFECT_API_URL.value()),
            "FOXAPI_API_KEY": emulator.api_key,
            "FOXAPI_BASE_URL": emulator.url,
        }
        return subprocess.run(
            [sys.executable, "-m", "prefect_foxapi.ledger", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    key = leave()
    assert key[:12] in command("list").stdout
    assert "found again" in command("settle", key[:12], "collect").stdout
    assert key[:12] not in command("list").stdout
    assert command("settle", key[:12], "collect").returncode == 1
    assert len(emulator.ledger()) == 1
