"""What the package imports is what it says it needs."""

from __future__ import annotations

import ast
import sys
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PACKAGE = Path(__file__).parents[1] / "prefect_foxapi"
MODULES = sorted(PACKAGE.rglob("*.py"))


def required(extra: str = "") -> set[str]:
    wanted = [Requirement(line) for line in requires("prefect-foxapi") or ()]
    return {
        canonicalize_name(requirement.name)
        for requirement in wanted
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra})
    }


def imported_by(path: Path) -> set[str]:
    """The packages of others that a module imports."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and not node.level]
    return {name.split(".")[0] for name in names} - sys.stdlib_module_names - {PACKAGE.name}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_what_a_module_imports_is_required(path: Path) -> None:
    extra = "emulator" if path.is_relative_to(PACKAGE / "emulator") else ""
    distributions = packages_distributions()
    found = {name: {canonicalize_name(one) for one in distributions[name]} for name in imported_by(path)}
    assert {name for name, providers in found.items() if not providers & required(extra)} == set()
