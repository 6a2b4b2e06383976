"""Databases that the ledger lives in: one transaction after the other, durable when it returns.

SQLite runs in threads of its own, without an async driver: a batch then costs one change of threads instead of one for
each statement. PostgreSQL is spoken to with asyncpg.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol, TypeVar

import sqlalchemy as sa
from sqlalchemy import URL, Connection, Engine, event, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from prefect_foxapi.errors import LedgerError
from prefect_foxapi.ledger import schema
from prefect_foxapi.ledger.failures import is_contention, is_disconnect
from prefect_foxapi.ledger.picture import Conflict

__all__ = ["Database", "PostgreSQL", "SQLite", "open_database"]

T = TypeVar("T")

_BUSY = 30.0
"""How long to wait for another process's transaction, in seconds."""
_CONNECT = 10.0
_THREADS = 2
_TRIES = 20


class Database(Protocol):
    """Where the ledger lives.

    Attributes:
        where: Its name for messages, without a password.
        spill_folder: Where to keep what cannot be written to it, by default.
    """

    where: str
    spill_folder: Path | None

    def exists(self) -> bool:
        """Whether there is anything yet, as far as that can be seen without connecting."""
        ...

    async def transact(self, work: Callable[[Connection], T], *, write: bool) -> T:
        """Do `work` in one transaction, durable on return; with the schema made on first use."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...


def open_database(url: str, *, synchronous: str = "FULL") -> Database:
    """Return the database that `url` names, without touching it yet.

    Args:
        url: `sqlite:///path`, `postgresql://…`, or the same with `+aiosqlite` and `+asyncpg`. SQLite takes
            `?timeout=`, the seconds to wait for another process's lock.
        synchronous: SQLite's setting. Anything but `FULL` and `EXTRA` can lose what was paid for when the power fails.

    Raises:
        LedgerError: The URL names no database that can hold a ledger.
    """
    try:
        parsed = make_url(url.replace("postgres://", "postgresql://", 1) if url.startswith("postgres:") else url)
    except ArgumentError:
        # Without its cause, which may show the URL and with it a password.
        raise LedgerError("the ledger's URL cannot be understood; sqlite:///path or postgresql://… will do") from None
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        if parsed.database in (None, "", ":memory:") or "memory" in parsed.query.get("mode", ""):
            raise LedgerError("a ledger in memory would forget what was paid for: give a path (sqlite:///path)")
        timeout = _patience(parsed)
        return SQLite(Path(str(parsed.database)).expanduser(), synchronous=synchronous, timeout=timeout)
    if backend == "postgresql":
        return PostgreSQL(parsed)
    raise LedgerError(f"a ledger cannot live in {backend!r}: use sqlite:///path or postgresql://…")


def _patience(url: URL) -> float:
    try:
        return float(str(url.query.get("timeout", _BUSY)))
    except ValueError:
        raise LedgerError(f"the ledger's URL: timeout={url.query['timeout']!r} is no number of seconds") from None


class SQLite:
    """A ledger in a private file, on a local disk."""

    def __init__(self, path: Path, *, synchronous: str = "FULL", timeout: float = _BUSY) -> None:
        self._path = path.absolute()
        self._timeout = timeout
        self._synchronous = synchronous
        self.where = f"sqlite:///{self._path}"
        self.spill_folder: Path | None = self._path.with_name(f"{self._path.name}.spill")
        self._engine: Engine | None = None
        self._ready = False
        self._identity: tuple[int, int] | None = None
        self._preparing = asyncio.Lock()
        # One for the writer, one so that readers need not wait for it.
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="foxapi-ledger")
        self._turns = threading.Semaphore(_THREADS)
        _used_here.add(self)

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
        with self._turns, self._engine.connect() as connection:
            connection.execution_options(foxapi_write=write)
            with connection.begin():
                return work(connection)

    def rest(self) -> Callable[[], None]:
        """Let running transactions end, close every connection, and begin nothing until what this returns is called."""
        turns = sum(self._turns.acquire(timeout=self._timeout) for _ in range(_THREADS))
        if self._engine is not None:
            self._engine.dispose()
        return lambda: self._turns.release(turns) if turns else None

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
# which the child writes. Nothing is open while a process forks, then.
_used_here: weakref.WeakSet[SQLite] = weakref.WeakSet()
_go_on: list[Callable[[], None]] = []
_forking = threading.Lock()


def _before_fork() -> None:
    _forking.acquire()
    _go_on.extend(database.rest() for database in list(_used_here))


def _after_fork() -> None:
    while _go_on:
        _go_on.pop()()
    _forking.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)


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


class PostgreSQL:
    """A ledger that several machines share."""

    def __init__(self, url: URL) -> None:
        url = url.set(drivername="postgresql+asyncpg")
        if "sslmode" in url.query:
            # libpq's name for it; asyncpg's is ssl.
            url = url.update_query_dict({"ssl": url.query["sslmode"]}).difference_update_query(["sslmode"])
        self.where = url.set(drivername="postgresql").render_as_string(hide_password=True)
        self.spill_folder: Path | None = None
        self._ready = False
        self._preparing = asyncio.Lock()
        self._engine: AsyncEngine = create_async_engine(
            url,
            connect_args={"timeout": _CONNECT, "command_timeout": _BUSY},
            isolation_level="READ COMMITTED",
            pool_size=1,
            max_overflow=2,
            pool_timeout=_BUSY,
            hide_parameters=True,
        )

    def exists(self) -> bool:
        """Only the server can tell."""
        return True

    async def transact(self, work: Callable[[Connection], T], *, write: bool) -> T:
        """Do `work` in one transaction, again where another one was in the way or an idle connection had died."""
        if not self._ready:
            async with self._preparing:
                if not self._ready:
                    if await self._repeat(schema.found) != schema.VERSION:
                        await self._repeat(schema.ensure)
                    self._ready = True
        return await self._repeat(work)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._engine.dispose()

    async def _repeat(self, work: Callable[[Connection], T]) -> T:
        fresh = False
        for _ in range(_TRIES):
            try:
                async with self._engine.begin() as connection:
                    return await connection.run_sync(work)
            except Conflict:
                continue
            except Exception as error:
                if is_disconnect(error) and not fresh:
                    fresh = True
                    # Those that wait in the pool are likely to be dead as well.
                    await self._engine.dispose()
                elif not is_contention(error):
                    raise
        raise LedgerError(f"the ledger {self.where} is too busy: {_TRIES} transactions in a row met another one")
