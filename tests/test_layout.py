"""The house rules: who may import whom, how long a file may be, what has a docstring, what lies where."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "prefect_foxapi"

# From the ground up. A module imports only what stands before it, so never a higher floor, and never in a circle.
FLOORS = (
    ("version", "errors", "output", "models", "messages", "policies", "signals"),
    ("origin", "attachments", "catalogue", "retrying", "responses", "sse", "streaming"),
    ("transport", "sending", "client", "waiting"),
    ("settings", "credentials", "identity", "occasions", "ledger", "observability", "background"),
    (
        "journal",
        "delivery",
        "collecting",
        "lookups",
        "service",
        "pairs",
        "retries",
        "tasks",
        "upkeep",
        "ledger.__main__",
    ),
)
ORDER = [module for floor in FLOORS for module in floor]
WITHOUT_PREFECT = {module for floor in FLOORS[:3] for module in floor} | {"emulator"}

TOP_LEVEL = {
    *(".ci", ".gitignore", "LICENSE", "Makefile", "README.md", "pyproject.toml"),
    *("flows", "prefect_foxapi", "tests"),
}
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "misc"}

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
FILES = sorted(PACKAGE.rglob("*.py"))
names = pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())


def module_of(path: Path) -> str:
    """The room that a file belongs to: a module of the package, or one of its packages as a whole."""
    if path == PACKAGE / "ledger" / "__main__.py":
        # A command stands above all that it commands.
        return "ledger.__main__"
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


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


def rooms_imported_by(path: Path) -> set[str]:
    return {name.split(".")[1] for name in imported_by(path) if name.startswith(f"{PACKAGE.name}.")}


def test_every_module_has_its_floor() -> None:
    assert len(ORDER) == len(set(ORDER))
    assert {module_of(path) for path in FILES} == {*ORDER, "__init__", "emulator"}


@names
def test_imports_from_below_only(path: Path) -> None:
    module = module_of(path)
    if module == "__init__":
        return
    below = FLOORS[0] if module == "emulator" else [*ORDER[: ORDER.index(module)], module]
    assert rooms_imported_by(path) - {*below, module} == set()


@names
def test_prefect_stays_upstairs(path: Path) -> None:
    imported = list(imported_by(path))
    assert [name for name in imported if name.startswith("prefect._internal")] == []
    if module_of(path) in WITHOUT_PREFECT | {"__init__"}:
        assert [name for name in imported if name.split(".")[0] == "prefect"] == []


@pytest.mark.parametrize(
    ("imported", "absent"),
    [
        ("prefect_foxapi", ("prefect", "httpx", "pydantic")),
        ("prefect_foxapi.client, prefect_foxapi.waiting", ("prefect", "aiohttp", "fastapi", "sqlalchemy")),
        ("prefect_foxapi.emulator", ("prefect", "prefect_foxapi.client", "prefect_foxapi.messages", "sqlalchemy")),
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
