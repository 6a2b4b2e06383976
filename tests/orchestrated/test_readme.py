"""What the README shows runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from prefect_foxapi.emulator import Emulator

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


@pytest.fixture
def environment(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    monkeypatch.setenv("FOXAPI_API_KEY", emulator.api_key)
    monkeypatch.setenv("FOXAPI_BASE_URL", emulator.url)
    return emulator


def run(block: str, tmp_path: Path) -> dict[str, Any]:
    # From a file, since Prefect reads a flow's source.
    path = tmp_path / "example.py"
    path.write_text(block, encoding="utf-8")
    names: dict[str, Any] = {"__name__": "example", "__file__": str(path)}
    exec(compile(block, str(path), "exec"), names)
    return names


def test_every_example_is_known() -> None:
    assert [re.search(r"^(?:async )?def (\w+)", block, re.MULTILINE).group(1) for block in BLOCKS] == [
        "capital",
        "read_leaflet",
        "greet",
    ]


def test_the_first_flow(environment: Emulator, tmp_path: Path) -> None:
    environment.script(when="capital of France", answer="Paris.")
    capital = run(BLOCKS[0], tmp_path)["capital"]
    assert capital("France") == "Paris."
    assert capital("France") == "Paris."
    assert len(environment.ledger()) == 1


def test_media_and_a_typed_answer(environment: Emulator, tmp_path: Path) -> None:
    names = run(BLOCKS[1].replace("from __future__", ""), tmp_path)
    product = names["read_leaflet"](Path(__file__).parents[2] / "flows" / "samples")
    assert isinstance(product, names["Product"])


def test_testing_with_the_emulator(tmp_path: Path) -> None:
    run(BLOCKS[2], tmp_path)["test_greet"]()
