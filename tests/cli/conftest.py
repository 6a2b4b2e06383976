"""Runs of the command, in this process with a Prefect home of its own, or as a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prefect.settings import PREFECT_HOME, temporary_settings

from prefect_foxapi.cli.main import main

SCRIPT = str(Path(sys.executable).with_name("prefect-foxapi"))


@dataclass(frozen=True)
class Run:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)


Command = Callable[..., Run]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Prefect's home: the default ledger is in it."""
    folder = tmp_path / "home"
    folder.mkdir()
    # Relative paths, too, stay within the test.
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PREFECT_INTEGRATIONS_FOXAPI_LEDGER_URL", raising=False)
    with temporary_settings({PREFECT_HOME: folder}):
        yield folder


@pytest.fixture
def command(home: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs the command in this process; `--json` where `json=True`."""

    def run(*arguments: str, json: bool = False) -> Run:
        capsys.readouterr()
        code = main([*arguments, "--json"] if json else arguments)
        printed = capsys.readouterr()
        return Run(code, printed.out, printed.err)

    return run


def run_process(*command: str, **environment: str) -> Run:
    """Run a program with nothing else in its environment."""
    done = subprocess.run(
        command,
        env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return Run(done.returncode, done.stdout, done.stderr)
