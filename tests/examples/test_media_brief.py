"""The first example as a newcomer runs it: in a process of its own, twice."""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "flows" / "samples"


def run_demo(home: Path, folder: Path, port: int) -> str:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("FOXAPI_", "PREFECT_"))}
    environment |= {"PREFECT_HOME": str(home), "FOXAPI_EMULATOR_PORT": str(port)}
    environment["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
    environment["PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"] = "90"
    done = subprocess.run(
        [sys.executable, ROOT / "flows" / "media_brief.py"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.timeout(600)  # two flow runs, each with a temporary server of Prefect's
def test_two_runs_pay_once(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    first = run_demo(tmp_path / "home", tmp_path, port)
    assert "using an emulator" in first
    assert re.search(r"5 generations \(5 billed\): 5 submitted", first)

    brief = json.loads((tmp_path / "brief.json").read_text(encoding="utf-8"))
    written = json.dumps(brief)
    for sample in ("photo.jpg", "clip.mp4", "speech.mp3", "report.pdf"):
        digest = hashlib.sha256((SAMPLES / sample).read_bytes()).hexdigest()[:12]
        assert digest in written, sample
    assert len(brief["items"]) == 4

    second = run_demo(tmp_path / "home", tmp_path, port)
    assert re.search(r"5 generations \(5 cached\): 0 submitted", second)
    assert json.loads((tmp_path / "brief.json").read_text(encoding="utf-8")) == brief
