"""A ledger in a file.

SQLite runs in threads of its own, without an async driver: a batch then costs one change of threads instead of one for
each statement.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import URL, Connection, Engine, event

from prefect_foxapi.errors import LedgerError
from prefect_foxapi.ledger.database import fork_safety as forks
from prefect_foxapi.ledger.database import schema

__all__ = ["SQLite"]

T = TypeVar("T")

_THREADS = 2
_MARGIN = 1.0


class SQLite:
    """A ledger in a private file, on a local disk."""

    def __init__(self, path: Path, *, synchronous: str, timeout: float) -> None:
        self._path = path.absolute()
        self._timeout = timeout
        self._synchronous = synchronous
        self.where = f"sqlite:///{self._path}"
        self.recovery_folder: Path | None = self._path.with_name(f"{self._path.name}.spill")
        self._identity: tuple[int, int] | None = None
        self._begin()
        forks.watch(self)

    def _begin(self) -> None:
        self._engine: Engine | None = None
        self._ready = False
        self._preparing = asyncio.Lock()
        # One for the writer, one so that readers need not wait for it.
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="foxapi-ledger")
        self._slots = threading.Semaphore(_THREADS)
        self._held_slots = 0

    def exists(self) -> bool:
        """Whether the file is there."""
        return self._path.exists()

    async def transact(self, work: Callable[[Connection], T], *, write: bool) -> T:
        """Do `work` in one transaction. A transaction that was begun is finished, also if the caller is cancelled."""
        if not self._ready:
            async with self._preparing:
                if not self._ready:
                    await self._in_thread(self._prepare)
        return await self._in_thread(self._work, work, write)

    async def aclose(self) -> None:
        """Close the connections."""
        if self._engine is not None:
            await self._in_thread(self._engine.dispose)
        self._threads.shutdown(wait=False)

    async def _in_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        try:
            running = asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)
        except RuntimeError:
            # The interpreter ends and begins nothing in threads any more. What was paid for is written all the same.
            return function(*arguments)
        return await running

    def _work(self, work: Callable[[Connection], T], write: bool) -> T:
        assert self._engine is not None  # noqa: S101
        self._check_identity()
        with self._slots, self._engine.connect() as connection:
            connection.execution_options(foxapi_write=write)
            with connection.begin():
                return work(connection)

    def before_fork(self) -> None:
        """Let running transactions end, and close every connection; none is opened until the fork is over."""
        give_up = time.monotonic() + self._timeout + _MARGIN
        for _ in range(_THREADS):
            self._held_slots += self._slots.acquire(timeout=max(0, give_up - time.monotonic()))
        if self._engine is not None:
            self._engine.dispose()

    def after_fork(self, *, child: bool) -> None:
        """Go on; the child does so without anything of its parent's."""
        held, self._held_slots = self._held_slots, 0
        if not child:
            if held:
                self._slots.release(held)
            return
        if held < _THREADS and self._identity is not None:
            _open_in_parent.add(self._identity)
        # The parent's threads are not here, and one of them may have held a lock.
        self._begin()

    def _check_identity(self) -> None:
        # SQLite goes on writing into a deleted file, and everything written there is lost.
        try:
            found = self._path.stat()
        except FileNotFoundError:
            found = None
        if found is None or (found.st_dev, found.st_ino) != self._identity:
            raise LedgerError(f"the ledger {self.where} was deleted or replaced while in use: start this process again")

    def _prepare(self) -> None:
        _make_private_file(self._path)
        found = self._path.stat()
        self._identity = (found.st_dev, found.st_ino)
        if self._identity in _open_in_parent:
            raise LedgerError(
                f"the ledger {self.where} was being used when this process was forked, and took too long to close: "
                'start processes with multiprocessing\'s "spawn" method'
            )
        self._engine = engine = sa.create_engine(
            URL.create("sqlite", database=str(self._path)),
            connect_args={"timeout": self._timeout},
            pool_size=_THREADS,
            max_overflow=0,
            hide_parameters=True,
        )
        event.listen(engine, "connect", self._set_up)
        event.listen(engine, "begin", _on_begin)
        try:
            version = self._work(schema.found, False)
            if version != schema.VERSION:
                self._work(schema.ensure, True)
        except BaseException:
            engine.dispose()
            raise
        self._ready = True

    def _set_up(self, connection: sqlite3.Connection, _: object) -> None:
        try:
            # SQLAlchemy's way to begin transactions ourselves: sqlite3 would begin them late, and not immediate.
            connection.isolation_level = None
            connection.execute(f"PRAGMA synchronous={self._synchronous}")
            self._switch_to_wal(connection)
        except BaseException:
            connection.close()
            raise

    def _switch_to_wal(self, connection: sqlite3.Connection) -> None:
        give_up = time.monotonic() + self._timeout
        while True:
            try:
                connection.execute("PRAGMA journal_mode=WAL").fetchall()
            except sqlite3.OperationalError as error:
                # Where another process switches at the same time, SQLite does not wait by itself.
                if "locked" not in str(error) or time.monotonic() > give_up:
                    raise
                time.sleep(0.01)
            else:
                return


# SQLite believes that a forked child holds its parent's locks, which it does not: the parent would delete the log into
# which the child writes. Files that could not be closed before a fork are not to be opened in the child, then.
_open_in_parent: set[tuple[int, int]] = set()


def _on_begin(connection: Connection) -> None:
    write = connection.get_execution_options().get("foxapi_write")
    # Immediate: the lock comes first, then the look at what is there.
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _make_private_file(path: Path) -> None:
    """Make the file for this user alone, before SQLite does (its -wal and -shm files take over the mode)."""
    if not path.parent.exists():
        path.parent.parent.mkdir(parents=True, exist_ok=True)
        path.parent.mkdir(mode=0o700, exist_ok=True)
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return
    if os.name == "posix":
        # The file's name has to survive a power failure as well as its content.
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
