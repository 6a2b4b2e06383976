"""The database that the ledger lives in: one transaction after the other, durable when it returns."""

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
"""How long to wait for another process's transaction, in seconds."""


class Database(Protocol):
    """Where the ledger lives.

    Attributes:
        where: Its name for messages, without a password.
        recovery_folder: Where to keep what cannot be written to it, by default.
    """

    where: str
    recovery_folder: Path | None

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
    except (ArgumentError, ValueError):
        parsed = None
    if parsed is None or "@" in (parsed.host or ""):
        # Without the cause or any part of the URL, which may be one of the password.
        raise LedgerError(
            "the ledger's URL cannot be understood; sqlite:///path or postgresql://user:password@host/database will "
            "do, and percent-encode @ : / in a password"
        )
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        if parsed.database in (None, "", ":memory:") or "memory" in parsed.query.get("mode", ""):
            raise LedgerError("a ledger in memory would forget what was paid for: give a path (sqlite:///path)")
        timeout = _lock_timeout(parsed)
        return SQLite(Path(str(parsed.database)).expanduser(), synchronous=synchronous, timeout=timeout)
    if backend == "postgresql":
        # Imported where it is used: who has a file need not wait for asyncpg.
        from prefect_foxapi.ledger.database.postgresql import PostgreSQL

        return PostgreSQL(parsed, timeout=_LOCK_TIMEOUT)
    raise LedgerError(f"a ledger cannot live in {backend!r}: use sqlite:///path or postgresql://…")


def _lock_timeout(url: URL) -> float:
    try:
        return float(str(url.query.get("timeout", _LOCK_TIMEOUT)))
    except ValueError:
        raise LedgerError(f"the ledger's URL: timeout={url.query['timeout']!r} is no number of seconds") from None
