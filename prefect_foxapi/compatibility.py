"""Module paths of version 0.1.0, under which stored results name their classes.

Prefect's result storage and pickles hold `prefect_foxapi.messages.UserMessage` and its like. Those paths stay
importable, and the classes keep them as their `__module__`, so that each version reads what the other one stored.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from types import FunctionType, ModuleType
from typing import Any

_PACKAGE = __package__ or "prefect_foxapi"

# Where the public names of each former module are now.
_MOVED = {
    "attachments": ("models.attachments",),
    "background": ("tasks.event_loop",),
    "catalogue": ("models.requests", "models.account"),
    "identity": ("models.generation_key", "models.requests", "tasks.caching"),
    "messages": ("models.messages", "models.requests"),
    "origin": ("client.config",),
    "output": ("models.structured_output",),
    "pairs": ("tasks.factory",),
    "policies": ("client.poll_policy", "client.retry"),
    "responses": ("client.responses", "redaction"),
    "retries": ("tasks.retries",),
    "signals": ("hooks",),
    "sse": ("client.streaming.sse", "client.streaming.accumulator", "client.streaming.reader"),
    "streaming": ("client.streaming.reconnect",),
    "upkeep": ("tasks.account", "tasks.settlement"),
    "waiting": ("client.waiter",),
}

# Names that also changed, by former module.
_RENAMED = {
    "policies": {"Reading": "ProgressReading"},
    "signals": {
        "CoolingDown": "CooldownStarted",
        "RequestRepeated": "RetryScheduled",
        "Signal": "HookEvent",
        "StreamDisagreed": "StreamResultMismatch",
        "StreamGaveWay": "StreamFellBackToPolling",
        "tell": "emit",
    },
}


class _MovedModule(ModuleType):
    """A module that imports its names from their new homes when they are asked for."""

    def __init__(self, name: str, homes: tuple[str, ...]) -> None:
        super().__init__(f"{_PACKAGE}.{name}", f"Names that moved to {', '.join(homes)}.")
        self._homes = homes
        self._renamed = _RENAMED.get(name, {})

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_"):
            for home in self._homes:
                names = vars(import_module(f"{_PACKAGE}.{home}"))
                found = self._renamed.get(name, name)
                if found in names:
                    return names[found]
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")


def install() -> None:
    """Make the former module paths importable."""
    package = sys.modules[_PACKAGE]
    for name, homes in _MOVED.items():
        module = _MovedModule(name, homes)
        sys.modules[module.__name__] = module
        setattr(package, name, module)


def keep_stored_path(namespace: dict[str, Any], module: str) -> None:
    """Give the public classes of a module, and their methods, the path under which 0.1.0 stored them.

    Args:
        namespace: The `globals()` of the module that defines the classes. It must not postpone annotations: pydantic
            would look for their names under the other path.
        module: The path.
    """
    for name, value in namespace.items():
        if isinstance(value, type) and value.__module__ == namespace["__name__"] and not name.startswith("_"):
            value.__module__ = module
            for member in vars(value).values():
                if isinstance(member, FunctionType) and member.__module__ == namespace["__name__"]:
                    member.__module__ = module


def keep_stored_function(function: Callable[..., Any], module: str, name: str) -> None:
    """Give a function the path under which 0.1.0 stored it.

    A pickle of a class that is derived from `Generation`, such as `Generation[Product]`, names the functions that the
    class uses.

    Args:
        function: The function.
        module: The module of its path, from which it is importable.
        name: Its name there.
    """
    function.__module__ = module
    function.__name__ = function.__qualname__ = name
