"""The extra `emulator`: its packages, and the error where one of them is missing."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PACKAGES = ("jsonschema", "python_multipart", "referencing", "rstr", "sse_starlette", "starlette", "uvicorn")

# Import fails as if the package was not installed.
BLOCKED = """
import sys
from importlib.abc import MetaPathFinder

class Missing(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == sys.argv[1]:
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, Missing())
try:
    {statement}
except ImportError as error:
    print(error.name, "|", error)
"""


def import_without(package: str, statement: str) -> tuple[str, str]:
    """Return the name and the message of the ImportError that a statement raises without a package."""
    program = BLOCKED.format(statement=statement)
    ended = subprocess.run([sys.executable, "-c", program, package], capture_output=True, text=True, check=True)
    name, _, message = ended.stdout.partition(" | ")
    return name, message


def declared_in(requirements: list[str]) -> set[str]:
    return {re.split(r"[\s<>=!~\[;]", requirement, maxsplit=1)[0].lower() for requirement in requirements}


@pytest.mark.parametrize("package", PACKAGES)
@pytest.mark.parametrize(
    "statement", ["from prefect_foxapi.emulator import Emulator", "import prefect_foxapi.emulator.state.clock"]
)
def test_missing_package_names_the_extra(package: str, statement: str) -> None:
    name, message = import_without(package, statement)
    assert name.partition(".")[0] == package
    assert "pip install 'prefect-foxapi[emulator]'" in message


def test_missing_module_of_the_emulator_is_not_blamed_on_the_extra() -> None:
    name, message = import_without("prefect_foxapi", "import prefect_foxapi.emulator")
    assert name == "prefect_foxapi"
    assert "prefect-foxapi[emulator]" not in message


def test_extra_declares_the_packages() -> None:
    extra = declared_in(PROJECT["optional-dependencies"]["emulator"])
    distributions = packages_distributions()
    assert extra == {distributions[package][0].lower() for package in PACKAGES}
    assert extra.isdisjoint(declared_in(PROJECT["dependencies"]))
