"""Prepares open databases for a fork: a child process must not use the connections of its parent."""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Generator
from contextlib import contextmanager
from typing import Protocol

__all__ = ["watch"]

logger = logging.getLogger(__name__)


class ForkAware(Protocol):
    """An object that is called before and after each fork of the process."""

    def before_fork(self) -> None:
        """Prepare for the fork, within a bounded time. Called in the thread that forks."""
        ...

    def after_fork(self, *, child: bool) -> None:
        """Resume work. Called in the same thread of both processes; it is the only thread of the child."""
        ...


# Held during a fork, so that no database is added between the two calls.
_lock = threading.Lock()
_watched: weakref.WeakSet[ForkAware] = weakref.WeakSet()


def watch(database: ForkAware) -> None:
    """Call `database` before and after every fork from now on."""
    with _lock:
        _watched.add(database)


def _before() -> None:
    _lock.acquire()
    for database in list(_watched):
        with _log_exceptions():
            database.before_fork()


def _after(*, child: bool) -> None:
    for database in list(_watched):
        with _log_exceptions():
            database.after_fork(child=child)
    _lock.release()


@contextmanager
def _log_exceptions() -> Generator[None, None, None]:
    try:
        yield
    except Exception:
        logger.exception("The ledger could not prepare for a fork of the process")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before,
        after_in_parent=lambda: _after(child=False),
        after_in_child=lambda: _after(child=True),
    )
