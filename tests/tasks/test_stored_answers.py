"""Answers that look like instructions to a reader of stored results pass through tasks and flows as data."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect import flow, task
from prefect.cache_policies import INPUTS

from prefect_foxapi import FoxAPICredentials, Generation, generate, submit_generation, wait_for_generation
from prefect_foxapi.emulator import Emulator

pytestmark = pytest.mark.usefixtures("prefect_home")

TRAP = "module_named_by_a_cached_answer"
ANSWERS: dict[str, Any] = {
    "tag": {"__type__": f"{TRAP}:X", "__value__": {"city": "Paris"}},
    "tag of a dict": {"__type__": "builtins:dict", "__value__": [["a", 1]]},
    "class of Prefect": {"items": [{"__class__": f"{TRAP}.X", "data": {"city": "Paris"}}]},
    "exception of Prefect": {"__exc_type__": f"{TRAP}.X", "message": "x"},
}
answers = pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS.keys())


@pytest.fixture(autouse=True)
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A module that can be imported, and must not be."""
    code = "from pydantic import BaseModel\n\n\nclass X(BaseModel):\n    city: str\n"
    (tmp_path / f"{TRAP}.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    assert sys.modules.pop(TRAP, None) is None


@pytest.fixture
def asked(emulator: Emulator, credentials: FoxAPICredentials, answer: Any) -> dict[str, Any]:
    emulator.script(when="JSON", answer=json.dumps(answer))
    return {"prompt": "JSON, please", "model": "gpt-5.5", "credentials": credentials}


@answers
def test_cached_result(emulator: Emulator, asked: dict[str, Any], answer: Any) -> None:
    @flow
    def ask() -> Any:
        state = generate(**asked, output_type=dict, return_state=True)
        return [state.name, state.result().parsed]

    assert ask() == ["Completed", answer]
    assert ask() == ["Cached", answer]
    assert len(emulator.ledger()) == 1


@answers
def test_flow_parameter(asked: dict[str, Any], answer: Any) -> None:
    @flow
    def inner(typed: Generation[dict[str, Any]], untyped: Generation, one_of: list[Generation[dict[str, Any]]]) -> Any:
        return [typed.parsed, untyped.parsed, one_of[0].parsed]

    @flow
    def outer() -> Any:
        made = generate(**asked, output_type=dict)
        return [*inner(made, made, [made]), *inner(*[made.model_dump()] * 2, [made.model_dump(mode="json")])]

    assert outer() == [answer] * 6


@answers
@pytest.mark.parametrize("annotation", [Generation, Generation[dict], Any])
def test_result_of_a_task_of_the_user(asked: dict[str, Any], answer: Any, annotation: Any) -> None:
    def remember(text: str) -> Any:
        return generate(**asked, output_type=dict)

    remember.__annotations__["return"] = annotation
    kept = task(persist_result=True, cache_policy=INPUTS, result_serializer="json")(remember)
    text = f"{annotation} {json.dumps(answer)}"

    @flow
    def ask() -> Any:
        state = kept(text, return_state=True)
        return [state.name, state.result().parsed]

    assert ask() == ["Completed", answer]
    assert ask() == ["Cached", answer]


@answers
def test_waited_for_and_kept(asked: dict[str, Any], answer: Any) -> None:
    kept = wait_for_generation.with_options(
        persist_result=True, cache_key_fn=lambda context, parameters: f"waited-{hash(str(answer))}"
    )

    @flow
    def ask() -> Any:
        submitted = submit_generation(**asked, output_type=dict)
        state = kept(submitted, credentials=asked["credentials"], output_type=dict, return_state=True)
        return [state.name, state.result().parsed]

    assert ask() == ["Completed", answer]
    assert ask() == ["Cached", answer]
