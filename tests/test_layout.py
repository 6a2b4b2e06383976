"""The layout rules that import-linter does not check: sizes of files and rooms, docstrings, lazy imports."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.layout import read_layout

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "prefect_foxapi"

TOP_LEVEL = {
    *(".ci", ".gitignore", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md", "constraints.txt"),
    *("docs", "flows", "mkdocs.yml", "prefect_foxapi", "pyproject.toml", "tests"),
}
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "misc"}

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
FILES = sorted(PACKAGE.rglob("*.py"))
names = pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())


def imported_by(path: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in it."""
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            base = ".".join(filter(None, [base, node.module or ""]))
            # `from package import module` imports that module, too.
            yield from (f"{base}.{alias.name}" for alias in node.names) if base == PACKAGE.name else [base]


@names
def test_private_parts_of_prefect_are_left_alone(path: Path) -> None:
    assert [name for name in imported_by(path) if name.startswith("prefect._internal")] == []


def test_no_import_runs_upward_or_in_a_circle() -> None:
    layout = read_layout()
    assert layout.upward == frozenset()
    assert layout.circles == frozenset()
    assert len(layout.rooms) <= 17
    assert len(layout.levels) <= 7


def test_no_room_is_crowded() -> None:
    crowded = {
        room.relative_to(ROOT).as_posix(): len(modules)
        for room in {path.parent for path in FILES} - {PACKAGE}
        if len(modules := [path for path in room.glob("*.py") if not path.stem.startswith("__")]) > 9
    }
    assert crowded == {}


@pytest.mark.parametrize(
    ("imported", "absent"),
    [
        ("prefect_foxapi", ("prefect", "httpx", "pydantic")),
        ("prefect_foxapi.client.client, prefect_foxapi.client.waiter", ("prefect", "aiohttp", "fastapi", "sqlalchemy")),
        (
            "prefect_foxapi.emulator",
            ("prefect", "prefect_foxapi.client.client", "prefect_foxapi.models.messages", "sqlalchemy"),
        ),
        ("prefect_foxapi.ledger", ("prefect", "fastapi")),
    ],
)
def test_importing_it_does_not_import(imported: str, absent: tuple[str, ...]) -> None:
    code = f"import sys, {imported}; print(*(name for name in {absent!r} if name in sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert run.stdout.split() == []


@names
def test_file_is_short_and_has_a_name_of_its_own(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400
    assert path.stem not in FORBIDDEN_NAMES


@names
def test_what_is_public_has_a_docstring(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    lacking = [] if ast.get_docstring(tree) or path.stem == "__init__" else ["the module itself"]
    # What lies within a package of ours is reached through it: there the methods of a family need not all be told.
    lacking += [
        name for name, node in public_definitions(tree, methods=path.parent == PACKAGE) if not ast.get_docstring(node)
    ]
    assert lacking == []


def public_definitions(tree: ast.Module | ast.ClassDef, *, methods: bool) -> Iterator[tuple[str, Definition]]:
    for node in tree.body:
        if not isinstance(node, Definition) or node.name.startswith("_"):
            continue
        yield node.name, node
        if methods and isinstance(node, ast.ClassDef):
            yield from ((f"{node.name}.{name}", inner) for name, inner in public_definitions(node, methods=False))


def test_the_top_level_holds_what_belongs_there() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert {name.split("/")[0] for name in listed.split("\0") if name} <= TOP_LEVEL


def test_no_file_is_left_that_says_what_is_still_to_do() -> None:
    mark = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|X" + r"XX)\b")
    texts = [*PACKAGE.rglob("*.py"), *(ROOT / "tests").rglob("*.py"), *(ROOT / "flows").rglob("*.py")]
    assert [path for path in texts if mark.search(path.read_text(encoding="utf-8"))] == []
