"""The words of the package: names are terms of the field, and texts are plain."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "prefect_foxapi"
FILES = sorted(PACKAGE.rglob("*.py"))
TESTS = sorted(path for path in (ROOT / "tests").rglob("*.py") if path.parent.name != "compatibility")
TEXTS = [*FILES, *(ROOT / "docs").rglob("*.md"), *(ROOT / "flows").rglob("*.py"), *ROOT.glob("*.md")]

RENAMED_MODULES = frozenset(
    re.findall(
        r"\S+",
        """
        occasions journal lookups pairs collecting waiting sending signals upkeep delivery origin output identity
        catalogue retrying policies picture spill commits failures forks transitions rows store gate gateway problems
        facts leaves instances shapes asking by_hand kills traces zygote world children rawserver
        """,
    )
)
RENAMED = frozenset(
    re.findall(
        r"\S+",
        """
        Occasion current_occasion occasion SubmissionJournal LedgerJournal journal sending FoundInstead Ask Found
        Wanted want Picture picture strays recall Claimed Subject Row Spill Commits _owed behind Forkable
        _nobody_else_to_suffer Delivery Lookups Collector Wait Source Sender turn turn_to_submit waiting_since
        stood_in_line _noted Signal tell RequestRepeated CoolingDown StreamGaveWay StreamDisagreed Wire _Written
        error_of decoded unreadable typed_transport_errors _UNDECIDED _unfinished _worth_a_poll Reading learned
        GenerationService _WAYS _about _CLAIMS guarded Call _instead _spoiled Gateway Books Problem Writer MadeMedia
        ScriptBook FaultPlan client_identity checked_origin read_credits base64_text _still_listening
        """,
    )
)
OLD_FASHIONED = re.compile(r"\b(whoever|nobody|for ever|shall|contract §\s*\d+)\b|contract §", re.IGNORECASE)


def defined_names(tree: ast.Module) -> Iterator[str]:
    """The names of classes, functions, parameters, attributes and variables that a module defines or uses."""
    for node in ast.walk(tree):
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.Attribute(attr=name) | ast.arg(arg=name) | ast.Name(id=name):
                yield name
            case _:
                pass


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_names_are_terms_of_the_field(path: Path) -> None:
    assert path.stem not in RENAMED_MODULES
    assert set(defined_names(ast.parse(path.read_text(encoding="utf-8")))) & RENAMED == set()


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_tests_use_the_same_names(path: Path) -> None:
    assert path.stem not in RENAMED_MODULES
    tree = ast.parse(path.read_text(encoding="utf-8"))
    classes = {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    assert classes & RENAMED == set()


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_text_is_plain(path: Path) -> None:
    assert [found.group() for found in OLD_FASHIONED.finditer(path.read_text(encoding="utf-8"))] == []
