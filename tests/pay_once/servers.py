"""A real Prefect server, as a process of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

_READY_WITHIN = 90.0
# Ends the server when whoever started it closes the pipe, or is gone, in whatever way.
_KEEP = '"$@" </dev/null & read _; kill $!; wait $!'
# What a server does besides, and these tests never look at: it would take the processor from what is tested.
_QUIET = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_LATE_RUNS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "false",
}
_RECORDERS = {
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_ENABLED": "false",
}


@contextmanager
def prefect_server(home: Path, *, records_task_runs: bool = False) -> Iterator[str]:
    """Start a Prefect server with a database of its own in `home`, and give its API's URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")},
        **_QUIET,
        **({} if records_task_runs else _RECORDERS),
        "PREFECT_HOME": str(home),
    }
    home.mkdir(parents=True, exist_ok=True)
    server = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    log = home / "server.log"
    with log.open("w") as output:
        keeper = subprocess.Popen(
            ["sh", "-c", _KEEP, "sh", *server], env=environment, stdin=subprocess.PIPE, stdout=output, stderr=output
        )
    assert keeper.stdin is not None
    try:
        _wait_until_ready(f"http://127.0.0.1:{port}/api/health", log)
        yield f"http://127.0.0.1:{port}/api"
    finally:
        keeper.stdin.close()
        keeper.wait(60)


def _wait_until_ready(url: str, log: Path) -> None:
    give_up = time.monotonic() + _READY_WITHIN
    while time.monotonic() < give_up:
        try:
            if httpx.get(url, timeout=2).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise RuntimeError(f"the Prefect server did not start: {log.read_text()[-2000:]}")
