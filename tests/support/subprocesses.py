"""Subprocesses for tests of the ledger."""

from __future__ import annotations

import asyncio
import multiprocessing
import resource
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from prefect_foxapi.errors import LedgerError
from prefect_foxapi.ledger import Lease, Ledger
from tests.support.factories import claim, claimed, submitted

_CONTEXT = multiprocessing.get_context("forkserver" if sys.platform != "win32" else "spawn")
# Importing costs more than all the rest: the processes are forked from one that has done it.
_CONTEXT.set_forkserver_preload(["tests.support.subprocesses"])


class Child:
    """A process that runs `function(pipe, *arguments)`. It is killed at the end of the `with` block."""

    def __init__(self, function: Callable[..., None], *arguments: Any) -> None:
        self.pipe, theirs = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(target=function, args=(theirs, *arguments), daemon=True)
        self._process.start()
        theirs.close()

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.pipe.close()

    def receive(self) -> Any:
        """Return what the process sends next."""
        assert self.pipe.poll(60), "the process says nothing"
        return self.pipe.recv()

    def kill(self) -> None:
        """End it as `kill -9` does."""
        self._process.kill()
        self._process.join()


def run(function: Callable[..., None], *arguments: Any) -> Any:
    """Run a function in a process and return what it sends."""
    with Child(function, *arguments) as child:
        return child.receive()


# The PostgreSQL server of the tests has no fsync.
_EXPECTED_WARNING = """
import logging
logging.getLogger("prefect_foxapi.ledger.database.postgresql").addFilter(lambda told: "fsync" not in told.msg)
"""


async def run_program(program: str, url: str) -> None:
    """Run a program in a new interpreter without pytest. It has to exit with 0 and print nothing."""
    # Python 3.12 warns of every fork of a process with threads; Prefect's users do it all the same.
    command = [sys.executable, "-W", "ignore:This process:DeprecationWarning", "-c", _EXPECTED_WARNING + program, url]
    process = await asyncio.create_subprocess_exec(
        *command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        said, _ = await asyncio.wait_for(process.communicate(), 60)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert (said.decode(), process.returncode) == ("", 0)


def claim_at_once(pipe: Connection, url: str, keys: list[str], options: dict[str, Any], warm: bool) -> None:
    """Wait for a message, then claim all keys at once. Sends the number of leases, and the token of each key.

    If `warm`, the ledger is connected before the message; otherwise it is still untouched.
    """

    async def main() -> tuple[int, list[str]]:
        ledger = Ledger(url)
        if warm:
            await ledger.find([])
        pipe.send("ready")
        pipe.recv()
        found = await asyncio.gather(*(claim(ledger, key, f"task-{n}", **options) for n, key in enumerate(keys)))
        await ledger.aclose()
        return sum(isinstance(one, Lease) for one in found), [one.token for one in found]

    try:
        pipe.send(asyncio.run(main()))
    except LedgerError as error:
        pipe.send(error)


def claim_and_hang(pipe: Connection, url: str, generation_id: str | None) -> None:
    """Claim a key, perhaps submit it, and wait to be killed."""

    async def main() -> None:
        ledger = Ledger(url)
        mine = await claimed(ledger)
        if generation_id is not None:
            await ledger.accepted(mine, generation_id)
        pipe.send(mine)
        await asyncio.Event().wait()

    asyncio.run(main())


def hold_lock(pipe: Connection, path: Path) -> None:
    """Hold SQLite's write lock until a message arrives."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    pipe.send("locked")
    pipe.recv()
    connection.execute("COMMIT")
    connection.close()
    pipe.send("free")


def run_into_full_disk(pipe: Connection, url: str, recovery_folder: Path, limit: int) -> None:
    """Submit while no file can grow beyond `limit` bytes, then read the ledger without the limit."""
    # The signal would end the process before the system call can fail.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def limit_files(size: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    async def main() -> dict[str, Any]:
        ledger = Ledger(url, recovery_folder=recovery_folder)
        said: dict[str, Any] = {}
        await submitted(ledger, "before", "gen-0")
        mine = await claimed(ledger)
        limit_files(limit)
        try:
            await claim(ledger, "another")
        except LedgerError as error:
            said["claim"] = error
        try:
            await ledger.accepted(mine, "gen-1")
        except LedgerError as error:
            said["accepted"] = error
        said["spilled"] = {path.name: path.read_text() for path in recovery_folder.glob("*/*")}
        limit_files(resource.RLIM_INFINITY)
        said["later"] = await claim(ledger)
        said["another"] = await claim(ledger, "another")
        said["left"] = list(recovery_folder.glob("*/*"))
        await ledger.aclose()
        return said

    pipe.send(asyncio.run(main()))
