"""Module paths of version 0.1.0, under which stored results name their classes.

Prefect's result storage and pickles hold `prefect_foxapi.messages.UserMessage` and its like. Those paths stay
importable, and the classes keep them as their `__module__`, so that each version reads what the other one stored.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import FunctionType, ModuleType
from typing import Any

_PACKAGE = __package__ or "prefect_foxapi"

# Where the names of each module of 0.1.0 are now, for the modules that are gone or have become packages.
_MOVED = {
    "attachments": ("models.attachments", "models.content.digests"),
    "background": ("tasks.event_loop",),
    "catalogue": ("models.requests", "models.account"),
    "identity": ("models.generation_key", "models.requests", "tasks.caching"),
    "ledger": ("ledger.records",),
    "messages": ("models.messages", "models.requests"),
    "models": ("models.base", "models.completions", "models.account", "models.generations"),
    "origin": ("client.config",),
    "output": ("models.structured_output", "models.output.schema"),
    "pairs": ("tasks.factory",),
    "policies": ("client.poll_policy", "client.retry", "models.base"),
    "responses": ("client.responses", "redaction"),
    "retries": ("tasks.retries",),
    "signals": ("hooks",),
    "sse": ("client.streaming.sse", "client.streaming.accumulator", "client.streaming.reader"),
    "streaming": ("client.streaming.reconnect",),
    "upkeep": ("tasks.account", "tasks.settlement"),
    "waiting": ("client.waiter",),
}
# Names that also changed, by module of 0.1.0.
_RENAMED = {
    "ledger": {"Claimed": "Lease", "Row": "Submission", "Subject": "GenerationIdentity"},
    "models": {"Wire": "WireModel"},
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
# Modules of 0.1.0 that have become packages. They call `moved_name` themselves.
_PACKAGES = {"ledger", "models"}


def moved_name(module: str, name: str) -> Any:
    """Return a name of a module of 0.1.0 from its new home.

    Args:
        module: The module in 0.1.0, without the package.
        name: The name in 0.1.0.

    Raises:
        AttributeError: There is no such name.
    """
    if not name.startswith("__"):
        current = _RENAMED.get(module, {}).get(name, name)
        for home in _MOVED[module]:
            names = vars(import_module(f"{_PACKAGE}.{home}"))
            if current in names:
                return names[current]
    raise AttributeError(f"module '{_PACKAGE}.{module}' has no attribute {name!r}")


class _MovedModule(ModuleType):
    """A module of 0.1.0 that finds its names in their new homes."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{_PACKAGE}.{name}", f"Names that moved to {', '.join(_MOVED[name])}.")
        self._former_name = name

    def __getattr__(self, name: str) -> Any:
        return moved_name(self._former_name, name)


def install() -> None:
    """Make the former module paths importable."""
    package = sys.modules[_PACKAGE]
    for name in _MOVED.keys() - _PACKAGES:
        module = sys.modules[f"{_PACKAGE}.{name}"] = _MovedModule(name)
        setattr(package, name, module)


def keep_stored_path(namespace: dict[str, Any], module: str) -> None:
    """Give the classes and functions of a module the path under which 0.1.0 stored them.

    Args:
        namespace: The `globals()` of the module that defines them. It must not postpone annotations: pydantic would
            look for their names under the other path.
        module: The path.
    """
    own = [value for value in namespace.values() if isinstance(value, type | FunctionType)]
    own = [value for value in own if value.__module__ == namespace["__name__"]]
    methods = [value for owner in own if isinstance(owner, type) for value in vars(owner).values()]
    for value in (*own, *(method for method in methods if isinstance(method, FunctionType))):
        value.__module__ = module
