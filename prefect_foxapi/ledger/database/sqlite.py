"""A ledger in an SQLite file.

Transactions run in a thread pool, without an async driver: a batch then needs one switch of threads rather than one for
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
    """A ledger in a private file, on a local disk.

    Args:
        path: The file.
        synchronous: `PRAGMA synchronous` of its connections.
        timeout: Seconds to wait for locks.
    """

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
        # One thread for the writer, one for readers, which do not wait for it.
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="foxapi-ledger")
        self._slots = threading.Semaphore(_THREADS)
        self._held_slots = 0

    def exists(self) -> bool:
        """Return whether the file exists."""
        return self._path.exists()

    async def transact(self, work: Callable[[Connection], T], *, write: bool) -> T:
        """Run `work` in a transaction. Once begun, it is completed even if the caller is cancelled."""
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
            # The interpreter is shutting down and starts no more work in threads. Paid generations are still recorded.
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
        """Wait for running transactions, and close all connections. None is opened before the fork is over."""
        give_up = time.monotonic() + self._timeout + _MARGIN
        for _ in range(_THREADS):
            self._held_slots += self._slots.acquire(timeout=max(0, give_up - time.monotonic()))
        if self._engine is not None:
            self._engine.dispose()

    def after_fork(self, *, child: bool) -> None:
        """Resume transactions in the parent, and start afresh in the child."""
        held, self._held_slots = self._held_slots, 0
        if not child:
            if held:
                self._slots.release(held)
            return
        if held < _THREADS and self._identity is not None:
            _open_in_parent.add(self._identity)
        # The child has none of the parent's threads, one of which may have held a lock.
        self._begin()

    def _check_identity(self) -> None:
        # SQLite continues to write to a deleted file, and everything written to it is lost.
        try:
            found = self._path.stat()
        except FileNotFoundError:
            found = None
        if found is None or (found.st_dev, found.st_ino) != self._identity:
            raise LedgerError(f"the ledger {self.where} was deleted or replaced while in use: restart this process")

    def _prepare(self) -> None:
        _make_private_file(self._path)
        found = self._path.stat()
        self._identity = (found.st_dev, found.st_ino)
        if self._identity in _open_in_parent:
            raise LedgerError(
                f"the ledger {self.where} was in use when this process was forked, and could not be closed in time: "
                'start processes with the "spawn" method of multiprocessing'
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
            # As SQLAlchemy recommends. Otherwise sqlite3 itself begins transactions, late and not immediate.
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
                # SQLite does not wait if another process switches at the same time.
                if "locked" not in str(error) or time.monotonic() > give_up:
                    raise
                time.sleep(0.01)
            else:
                return


# In a forked child, SQLite assumes that it holds the locks of its parent, which it does not: the parent could delete
# the log that the child writes to. So the child must not open files that could not be closed before the fork.
_open_in_parent: set[tuple[int, int]] = set()


def _on_begin(connection: Connection) -> None:
    write = connection.get_execution_options().get("foxapi_write")
    # Immediate: the lock is taken before the first read.
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _make_private_file(path: Path) -> None:
    """Create the file for this user only. SQLite's -wal and -shm files inherit its mode."""
    if not path.parent.exists():
        path.parent.parent.mkdir(parents=True, exist_ok=True)
        path.parent.mkdir(mode=0o700, exist_ok=True)
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return
    if os.name == "posix":
        # The directory entry, too, must survive a power failure.
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
