"""What is open while a process forks is not the child's: databases close it before, or the child forgets it."""

from __future__ import annotations

import os
import threading
import weakref
from typing import Protocol

__all__ = ["watch"]


class Forkable(Protocol):
    """What has to be told of forks."""

    def before_fork(self) -> None:
        """In the thread that forks, whatever it is, and for a bounded time."""
        ...

    def after_fork(self, *, child: bool) -> None:
        """In the same thread, of the parent and of the child, where it is the only one."""
        ...


# Held while the process forks: a database that is made meanwhile would not be told of it.
_lock = threading.Lock()
_watched: weakref.WeakSet[Forkable] = weakref.WeakSet()


def watch(database: Forkable) -> None:
    """Tell `database` of every fork from now on."""
    with _lock:
        _watched.add(database)


def _before() -> None:
    _lock.acquire()
    for database in list(_watched):
        database.before_fork()


def _after(*, child: bool) -> None:
    for database in list(_watched):
        database.after_fork(child=child)
    _lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before,
        after_in_parent=lambda: _after(child=False),
        after_in_child=lambda: _after(child=True),
    )
