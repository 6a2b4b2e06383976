"""A griffe extension: shows the tasks of `name, aname = task_pair(_name)` with the signature of their coroutine.

griffe reads the source and does not run it, so that it knows nothing of such tasks.
"""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import griffe

_PAIR = re.compile(r"^(\w+), (\w+) = task_pair\(\s*(\w+)", re.MULTILINE)


class TaskPairs(griffe.Extension):
    """Adds the tasks of each module."""

    def on_module_members(self, *, mod: griffe.Module, **kwargs: Any) -> None:
        """Add the tasks of a module."""
        if not isinstance(mod.filepath, Path):
            return
        for synchronous, asynchronous, coroutine in _PAIR.findall(mod.filepath.read_text(encoding="utf-8")):
            for name in (synchronous, asynchronous):
                task = copy.copy(mod.members[coroutine])
                task.name = name
                task.labels = {"async"} if name == asynchronous else set()
                mod.set_member(name, task)
