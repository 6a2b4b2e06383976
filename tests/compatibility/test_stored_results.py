"""Every request of then is answered by what 0.1.0 stored: by Prefect's results, or without them by the ledger."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from prefect import State

from tests.compatibility.archive import in_home, unpack
from tests.compatibility.calls import ask
from tests.compatibility.exchange import calls_of, difference_in_ledger, difference_in_storage, submissions


@dataclass
class Answers:
    """What each call gave, by name."""

    from_storage: dict[str, State[Any]]
    from_ledger: dict[str, State[Any]]
    ledger_before: list[tuple[Any, ...]]
    ledger_after: list[tuple[Any, ...]]


@pytest.fixture(scope="module")
def answers(prefect_api: None, manifest: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Answers]:
    with in_home(unpack(tmp_path_factory.mktemp("stored"))) as home:
        calls = calls_of(manifest["calls"])
        before = submissions(home)
        from_storage = ask(calls)
        shutil.rmtree(home / "storage")
        from_ledger = ask(call for call in calls if call.in_ledger)
        yield Answers(from_storage, from_ledger, before, submissions(home))


def test_nothing_is_submitted(answers: Answers) -> None:
    assert answers.ledger_before
    assert answers.ledger_after == answers.ledger_before


def test_every_call_is_answered_by_prefect(answers: Answers, manifest: dict[str, Any]) -> None:
    wrong = {
        name: difference_in_storage(manifest["calls"][name], state) for name, state in answers.from_storage.items()
    }
    assert {name: different for name, different in wrong.items() if different} == {}


def test_without_prefects_results_every_generation_comes_from_the_ledger(
    answers: Answers, manifest: dict[str, Any]
) -> None:
    assert len(answers.from_ledger) > 25
    wrong = {name: difference_in_ledger(manifest["calls"][name], state) for name, state in answers.from_ledger.items()}
    assert {name: different for name, different in wrong.items() if different} == {}
