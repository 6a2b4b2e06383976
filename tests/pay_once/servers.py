"""A real Prefect server, as a process of its own."""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

_READY_WITHIN = 120.0
_GONE_WITHIN = 60.0
# Ends the server as soon as no process holds the FIFO open for writing: its users closed it, or died.
_KEEP = 'fifo=$1; shift; ("$@" </dev/null & read _ <"$fifo"; kill $!; wait $!) &'
# Services that no test looks at, and that would use the processor.
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
    """Start a Prefect server with a database of its own in `home`; yields its API's URL."""
    with _used(home, {} if records_task_runs else _RECORDERS) as url:
        yield url
    _wait_until_gone(url)


@contextmanager
def shared_prefect_server(home: Path) -> Iterator[str]:
    """The Prefect server in `home`, started by its first user; it ends with its last one."""
    with _used(home, _RECORDERS) as url:
        yield url


@contextmanager
def _used(home: Path, settings: dict[str, str]) -> Iterator[str]:
    home.mkdir(parents=True, exist_ok=True)
    fifo, known = home / "users", home / "url"
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        first = not fifo.exists()
        if first:
            os.mkfifo(fifo)
            known.write_text(_start(home, fifo, settings))
        url = known.read_text()
        # Waits for the keeper to read.
        user = os.open(fifo, os.O_WRONLY)
        try:
            if first:
                _wait_until_ready(url, home / "server.log")
        except BaseException:
            os.close(user)
            raise
    try:
        yield url
    finally:
        os.close(user)


def _start(home: Path, fifo: Path, settings: dict[str, str]) -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    others = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    server = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with (home / "server.log").open("w") as output:
        subprocess.run(
            ["sh", "-c", _KEEP, "sh", str(fifo), *server],
            env={**others, **_QUIET, **settings, "PREFECT_HOME": str(home)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            check=True,
        )
    return f"http://127.0.0.1:{port}/api"


def _wait_until_ready(url: str, log: Path) -> None:
    give_up = time.monotonic() + _READY_WITHIN
    while not _answers(url):
        if time.monotonic() > give_up:
            raise RuntimeError(f"the Prefect server did not start: {log.read_text()[-2000:]}")
        time.sleep(0.1)


def _wait_until_gone(url: str) -> None:
    give_up = time.monotonic() + _GONE_WITHIN
    while _answers(url):
        assert time.monotonic() < give_up, "the Prefect server did not end"
        time.sleep(0.1)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=2).is_success
    except httpx.TransportError:
        return False
