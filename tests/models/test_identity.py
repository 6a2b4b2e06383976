"""The identity suite: pairs of requests with different keys, and with the same, whatever a process asked before."""

from __future__ import annotations

import json
import mimetypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.models.golden.request_pairs import keys, shuffled

ROOT = Path(__file__).parents[2]
KEYS = ROOT / "tests" / "models" / "golden" / "request_pairs.json"
GOLDEN: dict[str, str] = json.loads(KEYS.read_text(encoding="utf-8"))
# This one, and those of other environments that `make setup PYTHON=…` made.
INTERPRETERS = [Path(sys.executable), *sorted(ROOT.glob(".venv-*/bin/python"))]


def pairs(group: str) -> list[str]:
    return [name.removeprefix(f"{group}: ").removesuffix(" (a)") for name in GOLDEN if name.startswith(group)][::2]


@pytest.fixture(scope="module")
def found() -> dict[str, str]:
    return keys()


def test_there_are_enough_pairs() -> None:
    assert len(pairs("different")) >= 60
    assert len(pairs("same")) >= 60


@pytest.mark.parametrize("pair", pairs("different"))
def test_different_requests_have_different_keys(pair: str, found: dict[str, str]) -> None:
    assert found[f"different: {pair} (a)"] != found[f"different: {pair} (b)"]


@pytest.mark.parametrize("pair", pairs("same"))
def test_equal_requests_have_the_same_key(pair: str, found: dict[str, str]) -> None:
    assert found[f"same: {pair} (a)"] == found[f"same: {pair} (b)"]


def test_keys_of_the_pairs_are_those_of_all_time(found: dict[str, str]) -> None:
    """They are equal in all versions of Python, too: each of them compares with the same file."""
    assert found == GOLDEN


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_keys_do_not_depend_on_what_was_asked_before(seed: int, found: dict[str, str]) -> None:
    assert keys(shuffled(seed)) == found


@pytest.mark.parametrize("interpreter", INTERPRETERS, ids=lambda path: path.parts[-3])
def test_fresh_processes_make_the_same_keys_in_any_order(interpreter: Path) -> None:
    made: list[str] = []
    for hash_seed, order in (("1", []), ("4242", ["reversed"])):
        command = [str(interpreter), "-m", "tests.models.golden.request_pairs", *order]
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
        made.append(run.stdout)
    assert made[0] == made[1]
    assert json.loads(made[0]) == GOLDEN


def test_media_types_that_a_process_registers_do_not_count(found: dict[str, str]) -> None:
    extensions = (".csv", ".png", ".xyz", ".wav", ".md")
    for extension in extensions:
        mimetypes.add_type("text/of-this-process", extension)
    try:
        assert keys() == found
    finally:
        mimetypes.init()
    assert mimetypes.guess_type("a.csv")[0] == "text/csv"
