"""What the README shows runs as it stands there."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

from prefect_foxapi.emulator import Emulator
from tests.examples.conftest import ROOT
from tests.examples.markdown import examples

README = ROOT / "README.md"
EXAMPLES = {re.search(r"^(?:async )?def (\w+)", example.code, re.M).group(1): example for example in examples(README)}


def test_every_example_is_known() -> None:
    assert list(EXAMPLES) == ["capital", "read_report", "capitals", "news"]
    assert all(example.runs for example in EXAMPLES.values())


def test_the_first_flow(foxapi: Emulator, tmp_path: Path) -> None:
    foxapi.script(when="capital of France", answer="Paris.")
    capital = EXAMPLES["capital"].run(tmp_path)["capital"]
    assert capital("France") == "Paris."
    assert len(foxapi.ledger()) == 1


def test_a_typed_answer_about_a_document(foxapi: Emulator, tmp_path: Path) -> None:
    names = EXAMPLES["read_report"].run(tmp_path)
    report = names["read_report"](tmp_path / "report.pdf")
    assert isinstance(report, names["Report"])
    assert len(foxapi.ledger()) == 1
    assert foxapi.counts()["POST", "upload"] == 1


def test_many_at_once(foxapi: Emulator, tmp_path: Path) -> None:
    EXAMPLES["capitals"].run(tmp_path)
    assert len(foxapi.ledger()) == 3


def test_a_scheduled_flow_pays_once_for_each_day(foxapi: Emulator, tmp_path: Path) -> None:
    news = EXAMPLES["news"].run(tmp_path)["news"]
    assert len(foxapi.ledger()) == 2
    news(date(2026, 5, 1))
    assert len(foxapi.ledger()) == 2
    # Without a parameter the day is that of the schedule.
    news()
    news()
    assert len(foxapi.ledger()) == 3


def test_links_lead_to_files() -> None:
    for page in [README, *(ROOT / "docs").glob("*.md")]:
        text = page.read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
            assert (page.parent / target).is_file(), f"{page.name}: {target}"


def test_it_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 130
