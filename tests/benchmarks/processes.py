"""The processes of a benchmark: an emulator, a client that is measured, and Prefect's server, each by itself."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[2]
API_KEY = "sk-emulator"
HEADERS = {"Authorization": f"Bearer {API_KEY}", "User-Agent": "hand-written/1"}

_STARTS_WITHIN = 60.0


@contextmanager
def emulator(*options: str) -> Iterator[str]:
    """An emulator; yields its URL."""
    command = [sys.executable, "-m", "prefect_foxapi.emulator", "--port", "0", "--credits", "100000000", *options]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.search(r"http://\S+", line)
            if found is None:
                raise RuntimeError(f"the emulator did not start: {line!r}")
            yield found.group()
        finally:
            process.terminate()


@contextmanager
def prefect_server(home: Path) -> Iterator[str]:
    """A Prefect server with a home of its own; yields the URL of its API."""
    port = _free_port()
    url = f"http://127.0.0.1:{port}/api"
    environment = {**os.environ, "PREFECT_HOME": str(home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with (home / "server.log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            _until_healthy(f"{url}/health")
            yield url
        finally:
            process.terminate()
            process.wait()


def measured(module: str, mode: str, environment: Mapping[str, str] | None = None, **arguments: Any) -> dict[str, Any]:
    """Run `mode` of a benchmark's module in a process with a Prefect home of its own; returns what it reports."""
    with tempfile.TemporaryDirectory() as home:
        quiet = {"PREFECT_HOME": home, "PREFECT_LOGGING_LEVEL": "WARNING", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
        command = [sys.executable, "-m", module, mode, json.dumps(arguments)]
        everything = {**os.environ, **quiet, **(environment or {})}
        done = subprocess.run(command, cwd=ROOT, env=everything, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{module} {mode} failed:\n{done.stderr[-4000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def report(modes: Mapping[str, Any]) -> None:
    """What a process does that `measured` started."""
    _, soft_and_hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft_and_hard, soft_and_hard))
    print(json.dumps(modes[sys.argv[1]](**json.loads(sys.argv[2]))))


def megabytes() -> float:
    """The most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "linux" else 1024**2)


def quantile(values: list[float], share: float) -> float:
    """The value below which a share of all lies."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def _free_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def _until_healthy(url: str) -> None:
    deadline = time.monotonic() + _STARTS_WITHIN
    while True:
        try:
            if httpx.get(url).is_success:
                return
        except httpx.TransportError:
            pass
        if time.monotonic() > deadline:
            raise RuntimeError(f"Prefect's server is not there after {_STARTS_WITHIN:.0f} s")
        time.sleep(0.2)
