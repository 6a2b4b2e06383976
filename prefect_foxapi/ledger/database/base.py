"""The interface of the databases, and the choice of one by URL."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

from sqlalchemy import URL, Connection, make_url
from sqlalchemy.exc import ArgumentError

from prefect_foxapi.errors import LedgerError
from prefect_foxapi.ledger.database.sqlite import SQLite

__all__ = ["Database", "open_database"]

T = TypeVar("T")

_LOCK_TIMEOUT = 30.0
"""Seconds to wait for a lock that another process holds."""


class Database(Protocol):
    """A database that holds a ledger.

    Attributes:
        where: Its URL for messages, without the password.
        recovery_folder: Default folder of the recovery log, if the database has one.
    """

    where: str
    recovery_folder: Path | None

    def exists(self) -> bool:
        """Return whether the database exists, as far as can be seen without connecting to it."""
        ...

    async def transact(self, work: Callable[[Connection], T], *, write: bool) -> T:
        """Run `work` in a transaction, which is durable on return. The first call creates the schema."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...


def open_database(url: str, *, synchronous: str = "FULL") -> Database:
    """Return the database of a URL, without connecting to it.

    Args:
        url: `sqlite:///path`, `postgresql://…`, or the same with `+aiosqlite` and `+asyncpg`. SQLite takes
            `?timeout=`, the seconds to wait for another process's lock.
        synchronous: SQLite's `PRAGMA synchronous`. With anything but `FULL` and `EXTRA`, a power failure can lose paid
            generations.

    Raises:
        LedgerError: The URL is invalid, or its database cannot hold a ledger.
    """
    try:
        parsed = make_url(url.replace("postgres://", "postgresql://", 1) if url.startswith("postgres:") else url)
    except (ArgumentError, ValueError):
        parsed = None
    if parsed is None or "@" in (parsed.host or ""):
        # Without the cause and the URL, any part of which may be of the password.
        raise LedgerError(
            "the ledger's URL is invalid: use sqlite:///path or postgresql://user:password@host/database, and "
            "percent-encode @ : / in a password"
        )
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        if parsed.database in (None, "", ":memory:") or "memory" in parsed.query.get("mode", ""):
            raise LedgerError("a ledger in memory would be lost with the process: use a file (sqlite:///path)")
        timeout = _lock_timeout(parsed)
        return SQLite(Path(str(parsed.database)).expanduser(), synchronous=synchronous, timeout=timeout)
    if backend == "postgresql":
        # Imported here, so that users of SQLite do not wait for asyncpg.
        from prefect_foxapi.ledger.database.postgresql import PostgreSQL

        return PostgreSQL(parsed, timeout=_LOCK_TIMEOUT)
    raise LedgerError(f"a {backend!r} database cannot hold a ledger: use sqlite:///path or postgresql://…")


def _lock_timeout(url: URL) -> float:
    try:
        return float(str(url.query.get("timeout", _LOCK_TIMEOUT)))
    except ValueError:
        raise LedgerError(f"the ledger's URL: timeout={url.query['timeout']!r} is not a number of seconds") from None
