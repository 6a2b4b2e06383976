"""What the documentation shows runs as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import prefect_foxapi
from prefect_foxapi.emulator import Emulator
from tests.examples.conftest import ROOT
from tests.examples.markdown import Example, examples

PAGES = sorted((ROOT / "docs").glob("*.md"))
EXAMPLES = [example for page in PAGES for example in examples(page)]
# A whole test file, with fixtures: it is for pytest to run.
WITH_FIXTURES = [example for example in EXAMPLES if example.runs and "@pytest.fixture" in example.code]
RUN = [example for example in EXAMPLES if example.runs and example not in WITH_FIXTURES]


@pytest.mark.parametrize("example", RUN, ids=str)
def test_example(example: Example, foxapi: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Changes of the environment in an example end with it.
    monkeypatch.setenv("PREFECT_INTEGRATIONS_FOXAPI_ON_AMBIGOUS", "")
    monkeypatch.delenv("PREFECT_INTEGRATIONS_FOXAPI_ON_AMBIGOUS")
    example.run(tmp_path)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("example", WITH_FIXTURES, ids=str)
def test_example_for_pytest(example: Example, tmp_path: Path) -> None:
    (tmp_path / "test_example.py").write_text(example.code, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_example.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


@pytest.mark.parametrize("example", [example for example in EXAMPLES if example.runs], ids=str)
def test_an_example_that_is_run_checks_something(example: Example) -> None:
    assert example.checks_something


def test_most_examples_are_run() -> None:
    assert len(WITH_FIXTURES) == 1
    assert len(RUN) > 3 * sum(not example.runs for example in EXAMPLES)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_has_one_title(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^# .+", text, re.MULTILINE)
    # The changelog and the page for contributors are the files of the project.
    assert len(titles) == (0 if "--8<--" in page.read_text(encoding="utf-8") else 1)


def test_the_api_page_has_every_public_name() -> None:
    listed = re.findall(
        r"^::: prefect_foxapi\.(\w+)$", (ROOT / "docs" / "api.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert len(listed) == len(set(listed))
    # A task stands for its asynchronous twin as well.
    twins = {f"a{name}" for name in listed}
    assert set(prefect_foxapi.__all__) - twins - {"__version__"} == set(listed)
