"""A process that has imported everything, and forks a child for every program that it is asked to run.

Importing Prefect takes longer than most of these programs run. The process has no thread and no signal loop when it
forks, so that a child is what a process of its own would be after its imports.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from queue import Empty, Queue
from types import TracebackType
from typing import Any

ROOT = Path(__file__).parents[2]
_WITHIN = 60.0


class Child:
    """A program that runs, and what it tells."""

    def __init__(self, pid: int, told: Queue[str]) -> None:
        self.pid = pid
        self.exit_code: int | None = None
        self._told = told

    def wait_until(self, word: str, within: float = _WITHIN) -> bool:
        """Wait until the program tells a word; False where it ended before."""
        while self.exit_code is None:
            try:
                told = self._told.get(timeout=within)
            except Empty:
                raise AssertionError(f"no {word!r} from process {self.pid} within {within} s") from None
            if told.startswith("ended "):
                self.exit_code = int(told.split()[1])
            elif told == word:
                return True
        return False

    def wait(self, within: float = _WITHIN) -> int:
        """Wait for the end, and give the exit code; that of a signal is negative."""
        self.wait_until("", within)
        assert self.exit_code is not None
        return self.exit_code

    def send(self, number: signal.Signals) -> int:
        """Send a signal, wait for the end, and give the exit code."""
        if self.exit_code is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)
        return self.wait()


class ForkServer:
    """Runs programs, one at a time: functions that take JSON data.

    Args:
        environment: What their environment has besides this process's.
        log: Where what they print goes.
    """

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        own = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "FOXAPI_"))}
        with log.open("a") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.pay_once.fork_server"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                cwd=ROOT,
                env={**own, **environment},
                text=True,
            )
        self._told: Queue[str] = Queue()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def __enter__(self) -> ForkServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._listener.join()
        self._process.stdout.close()

    def run(self, program: str, **arguments: Any) -> Child:
        """Begin a program, named `module:function`."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"program": program, "arguments": arguments}) + "\n")
        self._process.stdin.flush()
        word, _, pid = self._told.get(timeout=_WITHIN).partition(" ")
        assert word == "began", word
        return Child(int(pid), self._told)

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._told.put(line.strip())


def emit(word: str) -> None:
    """Tell the test a word, from within a program."""
    os.write(1, f"{word}\n".encode())


def _serve() -> None:
    for module in ("prefect.flow_engine", "prefect.task_engine", "prefect_foxapi.tasks.account", "httpx_aiohttp"):
        importlib.import_module(module)
    for line in sys.stdin:
        wanted = json.loads(line)
        module, _, name = wanted["program"].partition(":")
        program = getattr(importlib.import_module(module), name)
        if threading.active_count() != 1:
            raise RuntimeError("it is not safe to fork with threads")
        pid = os.fork()
        if pid == 0:
            emit(f"began {os.getpid()}")
            _become(program, wanted["arguments"])
        _, status = os.waitpid(pid, 0)
        emit(f"ended {os.waitstatus_to_exitcode(status)}")


def _become(program: Any, arguments: dict[str, Any]) -> None:
    random.seed()
    code = 0
    try:
        program(**arguments)
    except BaseException:
        traceback.print_exc()
        code = 1
    try:
        # What a process of its own does at its end; the interpreter of a forked one cannot always.
        importlib.import_module("prefect_foxapi.tasks.event_loop").close_background()
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve()
