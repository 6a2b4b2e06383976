"""A ledger in PostgreSQL, through asyncpg."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import asyncpg  # pyright: ignore[reportMissingTypeStubs]
from sqlalchemy import URL, Connection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from prefect_foxapi.errors import LedgerError
from prefect_foxapi.ledger.database import fork_safety as forks
from prefect_foxapi.ledger.database import schema
from prefect_foxapi.ledger.database.errors import Conflict, is_contention, is_disconnect

__all__ = ["PostgreSQL"]

T = TypeVar("T")

logger = logging.getLogger(__name__)

_CONNECT = 10.0
_TRIES = 20

# In each transaction, because a pooler may run every one of them in another session. `remote_apply` waits for more than
# `on`; every other value for less.
_AT_BEGIN = """SELECT set_config('synchronous_commit',
CASE current_setting('synchronous_commit') WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, true);"""
_DURABILITY = """SELECT current_setting('synchronous_commit') AS synchronous_commit, current_setting('fsync') AS fsync,
current_setting('full_page_writes') AS full_page_writes, (SELECT min(relname) FROM pg_class
WHERE oid = ANY (ARRAY[{}]::regclass[]) AND relpersistence <> 'p') AS unlogged"""


class _Connection(asyncpg.Connection):
    """A connection whose transactions are durable, and that a forked child does not close."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)  # pyright: ignore[reportUnknownMemberType]
        self._opened_by = os.getpid()

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str:
        # asyncpg begins its transactions here. Settings in the same message need no round trip of their own.
        if query.startswith("BEGIN"):
            query += _AT_BEGIN
        return await super().execute(query, *args, timeout=timeout)  # pyright: ignore[reportUnknownMemberType]

    def terminate(self) -> None:
        # A forked child shares the socket with its parent. Its garbage collector must not end the parent's session.
        if os.getpid() == self._opened_by:
            super().terminate()


class PostgreSQL:
    """A ledger in a PostgreSQL database, which several machines can share.

    Args:
        url: The URL of the database.
        timeout: Seconds to wait for a connection from the pool, and for each statement.
    """

    def __init__(self, url: URL, *, timeout: float) -> None:
        url = url.set(drivername="postgresql+asyncpg")
        if "sslmode" in url.query:
            # asyncpg calls libpq's `sslmode` `ssl`.
            url = url.update_query_dict({"ssl": url.query["sslmode"]}).difference_update_query(["sslmode"])
        self.where = url.set(drivername="postgresql").render_as_string(hide_password=True)
        self.recovery_folder: Path | None = None
        self._ready = False
        self._preparing = asyncio.Lock()
        self._engine: AsyncEngine = create_async_engine(
            url,
            connect_args={"timeout": _CONNECT, "command_timeout": timeout, "connection_class": _Connection},
            isolation_level="READ COMMITTED",
            pool_size=1,
            max_overflow=2,
            pool_timeout=timeout,
            hide_parameters=True,
        )
        forks.watch(self)

    def exists(self) -> bool:
        """Return true: only the server knows."""
        return True

    async def transact(self, work: Callable[[Connection], T], *, write: bool) -> T:
        """Run `work` in a transaction. Repeat it after a conflict, and once after an idle connection broke."""
        if not self._ready:
            async with self._preparing:
                if not self._ready:
                    if await self._repeat(schema.found) != schema.VERSION:
                        await self._repeat(schema.ensure)
                    await self._repeat(self._check_durability)
                    self._ready = True
        return await self._repeat(work)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._engine.dispose()

    def before_fork(self) -> None:
        """Do nothing: the parent keeps its connections."""

    def after_fork(self, *, child: bool) -> None:
        """Make the child open its own connections."""
        if child:
            self._preparing = asyncio.Lock()
            self._engine.sync_engine.dispose(close=False)

    def _check_durability(self, connection: Connection) -> None:
        """Raise if a crash of the server can lose commits, and warn if a power failure can."""
        names = ", ".join(f"'{name}'" for name in schema.generations.metadata.tables)
        found = connection.exec_driver_sql(_DURABILITY.format(names)).one()
        if found.unlogged is not None:
            raise LedgerError(
                f"the ledger {self.where} would be emptied by a crash of the server: its table {found.unlogged} is not "
                f"logged. Run ALTER TABLE {found.unlogged} SET LOGGED"
            )
        if found.synchronous_commit not in ("on", "remote_apply"):
            raise LedgerError(f"the ledger {self.where} is not durable: asyncpg {asyncpg.__version__} is not supported")
        if "off" in (found.fsync, found.full_page_writes):
            logger.warning(
                "The server of the ledger %s has fsync = %s and full_page_writes = %s: a power failure can lose paid "
                "generations",
                self.where,
                found.fsync,
                found.full_page_writes,
            )

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
                    # Other connections in the pool have probably broken as well.
                    await self._engine.dispose()
                elif not is_contention(error):
                    raise
        raise LedgerError(f"the ledger {self.where} is too busy: {_TRIES} transactions in a row met a conflict")
