"""Prints what users can name in a version of the package: importable names, parameters of tasks, fields of the block.

Run with version 0.1.0, it made `v0_1_0.json`:

    python tests/compatibility/make_snapshot.py > v0_1_0.json
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[2]))

from prefect import Task

import prefect_foxapi
from prefect_foxapi import FoxAPICredentials
from tests.compatibility.pickles import imported_by_value

# Of these, all that they define.
WHOLE = (
    *("attachments", "credentials", "errors", "messages", "models", "policies", "retries", "settings"),
    *("tasks", "upkeep"),
)
# Of these, what users have a reason to import.
PARTS = {
    "client": ["FoxAPIClient"],
    "identity": ["GenerationCachePolicy", "SubmissionPolicy", "generation_key"],
    "output": ["OutputSchema", "output_schema"],
    "pairs": ["encode_for_storage", "task_pair"],
    "signals": [
        *("CoolingDown", "Hook", "RequestRepeated", "Signal", "StatusChanged", "StreamDisagreed", "StreamGaveWay"),
        "StreamResumed",
    ],
    "version": ["__version__"],
}
PACKAGES = ("emulator", "ledger")
TYPE_VARIABLES = {"P", "R", "T"}


def names() -> dict[str, dict[str, str | None]]:
    """The names of each module; for a class, with the module and the name that it gives as its own."""
    listed = {name: list(_defined(name)) for name in WHOLE}
    listed.update({name: list(_module(name).__all__) for name in PACKAGES}, **PARTS)
    return {f"prefect_foxapi.{module}": {name: _own(module, name) for name in listed[module]} for module in listed}


def _module(name: str) -> Any:
    return importlib.import_module(f"prefect_foxapi.{name}")


def _defined(module: str) -> Iterator[str]:
    """Public classes, functions, tasks and type aliases, without constants."""
    path = _module(module).__file__
    for node in ast.parse(Path(path).read_text(encoding="utf-8")).body:
        found: list[str] = []
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found = [node.name]
        elif isinstance(node, ast.Assign):
            found = [name.id for target in node.targets for name in ast.walk(target) if isinstance(name, ast.Name)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found = [node.target.id]
        for name in found:
            if not name.startswith("_") and not name.isupper() and name not in TYPE_VARIABLES:
                yield name


def _own(module: str, name: str) -> str | None:
    value = getattr(_module(module), name)
    return f"{value.__module__}:{value.__qualname__}" if inspect.isclass(value) else None


def parameters() -> dict[str, list[list[str]]]:
    """The parameters of each task: name, kind and default."""
    tasks = {name: getattr(prefect_foxapi, name) for name in prefect_foxapi.__all__}
    return {name: parameters_of(task) for name, task in tasks.items() if isinstance(task, Task)}


def parameters_of(task: Task[..., Any]) -> list[list[str]]:
    """The parameters of a task."""
    return [
        [name, parameter.kind.name, "" if parameter.default is parameter.empty else repr(parameter.default)]
        for name, parameter in inspect.signature(task.fn).parameters.items()
    ]


def block() -> dict[str, str]:
    """The fields of the credentials block with their defaults."""
    fields = {name: field.get_default() for name, field in FoxAPICredentials.model_fields.items()}
    return {name: repr(default) for name, default in fields.items()}


if __name__ == "__main__":
    snapshot = {
        "names": names(),
        "public": prefect_foxapi.__all__,
        "parameters": parameters(),
        "block": block(),
        "by_value": imported_by_value(),
    }
    json.dump(snapshot, sys.stdout, indent=1)
    print()
