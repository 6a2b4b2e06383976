"""The wording of errors and log lines, kept in one place. Other tests assert fields, codes and classes."""

from __future__ import annotations

from tests.wording import EVENTS, SNAPSHOT, text


def test_wording() -> None:
    assert text() == SNAPSHOT.read_text(encoding="utf-8")


def test_every_event_has_a_line_of_its_own() -> None:
    lines = SNAPSHOT.read_text(encoding="utf-8").splitlines()
    assert len([line for line in lines if line.startswith("log ")]) == len(EVENTS)
    assert not [line for line in lines if line.endswith(": accepted")]
