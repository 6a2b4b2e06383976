"""What is open while a process forks is not the child's: databases close it before, or the child forgets it."""

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
    """What has to be told of forks."""

    def before_fork(self) -> None:
        """In the thread that forks, whatever it is, and for a bounded time."""
        ...

    def after_fork(self, *, child: bool) -> None:
        """In the same thread, of the parent and of the child, where it is the only one."""
        ...


# Held while the process forks: a database that is made meanwhile would not be told of it.
_lock = threading.Lock()
_watched: weakref.WeakSet[ForkAware] = weakref.WeakSet()


def watch(database: ForkAware) -> None:
    """Tell `database` of every fork from now on."""
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
        logger.exception("A database was not made ready for a fork")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before,
        after_in_parent=lambda: _after(child=False),
        after_in_child=lambda: _after(child=True),
    )
