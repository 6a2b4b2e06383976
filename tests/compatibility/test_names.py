"""Names that users of 0.1.0 may have written down: imports, parameters of tasks, fields of the block, loggers."""

from __future__ import annotations

import importlib
import json
import logging
import pkgutil
from importlib.metadata import entry_points
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import prefect_foxapi
from tests.compatibility.make_snapshot import block, parameters
from tests.compatibility.pickles import imported_by_value

THEN: dict[str, Any] = json.loads(Path(__file__).with_name("v0_1_0.json").read_text(encoding="utf-8"))
# Stored results name their classes by these.
STORED = {f"prefect_foxapi.{name}" for name in ("credentials", "errors", "messages", "models")}
NAMES = [(module, name) for module, names in THEN["names"].items() for name in names]
CLASSES = [
    (module, name, own)
    for module, names in THEN["names"].items()
    for name, own in names.items()
    # `Wire` is a base class, which nothing is an instance of.
    if own and (module in STORED or name in {"PollPolicy", "RetryPolicy"}) and name != "Wire"
]


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_a_name_is_still_importable_where_it_was(module: str, name: str) -> None:
    assert hasattr(importlib.import_module(module), name)


@pytest.mark.parametrize(("module", "name", "own"), CLASSES)
def test_a_stored_class_still_gives_the_same_name(module: str, name: str, own: str) -> None:
    kind = getattr(importlib.import_module(module), name)
    assert f"{kind.__module__}:{kind.__qualname__}" == own
    # What imports it by that name gets the class itself, not another one.
    home, _, qualname = own.partition(":")
    assert getattr(importlib.import_module(home), qualname) is kind


@pytest.mark.parametrize("reference", THEN["by_value"])
def test_a_name_in_a_pickled_class_is_still_importable(reference: str) -> None:
    module, _, path = reference.partition(":")
    assert attrgetter(path)(importlib.import_module(module))


def test_a_pickled_class_needs_nothing_that_0_1_0_does_not_have() -> None:
    assert set(imported_by_value()) <= set(THEN["by_value"])


def test_public_names_are_still_there() -> None:
    assert set(THEN["public"]) <= set(prefect_foxapi.__all__)
    for module, name in NAMES:
        if name in THEN["public"]:
            assert getattr(importlib.import_module(module), name) is getattr(prefect_foxapi, name)


@pytest.mark.parametrize("task", THEN["parameters"])
def test_a_task_has_the_same_parameters_in_the_same_order(task: str) -> None:
    """Names of task runs and cache policies use them, and so do schedules and deployments."""
    assert len(THEN["parameters"]) == 18
    then = THEN["parameters"][task]
    known = {name for name, *_ in then}
    # Further parameters may be added, by keyword only.
    now = [row for row in parameters()[task] if row[0] in known or row[1] != "KEYWORD_ONLY"]
    assert now == then


def test_the_block_has_the_same_fields() -> None:
    """A saved block holds them."""
    assert block().items() >= THEN["block"].items()


def test_prefect_finds_the_block() -> None:
    (entry,) = [entry for entry in entry_points(group="prefect.collections") if entry.name == "prefect_foxapi"]
    assert entry.value == "prefect_foxapi.credentials"
    assert entry.load().FoxAPICredentials is prefect_foxapi.FoxAPICredentials


def test_every_logger_is_below_that_of_the_package() -> None:
    """Who sets the level or the handlers of `prefect_foxapi` sets those of all."""
    loggers = {
        f"{module.__name__}.{name}": value.name
        for module in modules()
        for name, value in vars(module).items()
        if isinstance(value, logging.Logger)
    }
    assert loggers
    strange = {where: name for where, name in loggers.items() if name.split(".")[0] != "prefect_foxapi"}
    assert strange == {}


def modules() -> list[ModuleType]:
    found = pkgutil.walk_packages(prefect_foxapi.__path__, "prefect_foxapi.")
    return [importlib.import_module(module.name) for module in found if not module.name.endswith("__main__")]
