"""Classifies the errors of databases, and explains them to users."""

from __future__ import annotations

import asyncio
import sqlite3

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from prefect_foxapi.errors import LedgerError

__all__ = ["Conflict", "concerns_all", "explain", "is_about_data", "is_contention", "is_disconnect"]

# By a part of SQLite's message.
_SQLITE = {
    "database is locked": "another process has locked the ledger for too long: find the one that hangs, then try again",
    "disk is full": "the disk is full: free some space, then try again",
    "disk i/o error": "the disk failed, or a limit on file sizes was reached: check both, then try again",
    "not a database": "the file is not a ledger, or is damaged: restore a backup, or move the file away with "
    "its -wal and -shm files (then its generations may be paid for again)",
    "malformed": "the file is damaged: save it with `sqlite3 FILE .recover`, or restore a backup",
    "readonly database": "the file cannot be written: give this user the permission to write it and its folder",
    "unable to open": "the file cannot be opened: check its folder and the permissions",
}
# By SQLSTATE, or its class of two characters.
_POSTGRESQL = {
    "08": "the database server went away: check that it runs, then try again",
    "25006": "the database is read-only (a standby?): use the URL of the primary",
    "28": "the database refused the user or the password: check the ledger's URL",
    "3D000": "there is no such database: create it, or check the ledger's URL",
    "42501": "the user lacks a permission: grant it CREATE on the schema, and ALL on its tables",
    "53100": "the database's disk is full: free some space there, then try again",
    "53300": "the database has no connection left: raise max_connections, or run fewer processes",
    "53": "the database has run out of a resource: see its log",
    "57": "the database server is shutting down or starting up: try again when it runs",
    "58": "the database's disk failed: see its log",
}
# Deadlock, serialization failure, and a row that another transaction has just inserted.
_CONTENTION = {"40P01", "40001", "23505"}


class Conflict(Exception):
    """Another transaction changed the same rows first. Nothing was written, and the work has to be repeated."""


def sqlstate(error: BaseException | None) -> str:
    """Return the SQLSTATE of a PostgreSQL error, or an empty string."""
    while error is not None:
        code = getattr(error, "sqlstate", None) or getattr(getattr(error, "orig", None), "sqlstate", None)
        if isinstance(code, str):
            return code
        error = error.__cause__
    return ""


def is_disconnect(error: BaseException) -> bool:
    """Return whether the connection broke, so that a new one may work."""
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    # Errors that asyncpg raises itself have no SQLSTATE, and SQLAlchemy does not classify all of them.
    by_client = not sqlstate(error) and type(_original(error)).__module__.startswith("asyncpg.")
    return (by_client and not is_about_data(error)) or sqlstate(error) in ("57P01", "57P02")


def _original(error: BaseException) -> BaseException:
    # SQLAlchemy's error has the adapter's error as its `orig`, whose cause is the driver's error.
    if isinstance(error, DBAPIError) and error.orig is not None:
        error = error.orig
        return error.__cause__ or error
    return error


def is_contention(error: BaseException) -> bool:
    """Return whether a concurrent transaction caused the error: nothing was written, and the work can be repeated."""
    return sqlstate(error) in _CONTENTION


def is_about_data(error: BaseException) -> bool:
    """Return whether a value caused the error, so that no later attempt can succeed."""
    if is_contention(error):
        return False
    original = _original(error)
    # The classes of SQLAlchemy and of asyncpg have the same names.
    by_name = type(original).__name__ in ("DataError", "IntegrityError")
    return by_name or isinstance(original, (UnicodeError, OverflowError)) or sqlstate(error)[:2] in ("22", "23")


def concerns_all(error: BaseException) -> bool:
    """Return whether every operation of a transaction would fail with this error, so that retrying each is useless."""
    if isinstance(error, (LedgerError, OSError, asyncio.TimeoutError, sqlite3.Error, OperationalError, InterfaceError)):
        return True
    return is_disconnect(error) or sqlstate(error)[:2] in ("08", "25", "28", "3D", "42", "53", "57", "58")


def explain(error: BaseException, where: str) -> LedgerError:
    """Return the error for users. `where` is the URL of the ledger without its password."""
    if isinstance(error, LedgerError):
        # Several callers can get the same failure: each adds its own data and gets its own traceback.
        return LedgerError(error.message, key=error.key, generation_id=error.generation_id)
    return LedgerError(f"the ledger {where} cannot be read or written: {_remedy(error)}")


def _remedy(error: BaseException) -> str:
    code = sqlstate(error)
    remedy = _POSTGRESQL.get(code) or _POSTGRESQL.get(code[:2])
    if remedy:
        return remedy
    # FileNotFoundError is the Unix socket of a server that does not run: SQLite's folders are created on first use.
    if isinstance(error, (ConnectionError, FileNotFoundError, asyncio.TimeoutError, TimeoutError)):
        return (
            "the database server does not answer, or another session holds a lock: check that the server runs, and the "
            "ledger's URL"
        )
    original: object = error.orig if isinstance(error, DBAPIError) else error
    text = str(original).lower()
    for fragment, remedy in _SQLITE.items():
        if fragment in text:
            return remedy
    if isinstance(error, OSError):
        return f"{error.strerror or 'the database server cannot be reached'}: check the ledger's URL or path"
    if is_disconnect(error) or isinstance(error, InterfaceError):
        return "the connection to the database server broke: check that it runs, then try again"
    return f"{type(original).__name__}; the cause is chained to this error"
