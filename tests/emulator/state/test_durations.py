"""Durations of generations."""

from __future__ import annotations

from typing import Any

import pytest

from prefect_foxapi.emulator import Fixed, LogNormal
from prefect_foxapi.emulator.state.durations import parse_duration


def test_duration_by_script_and_by_function(start: Any, connect: Any) -> None:
    emulator = start(duration=lambda model, body: 20.0 if body.get("slow") else 5.0)
    emulator.script(when="at once", duration=1)
    api = connect(emulator)

    def submit(prompt: str, **fields: Any) -> str:
        body = {"model": "gpt-5.5", "messages": [{"role": "user", "content": prompt}], **fields}
        return api.post("/v1/llm/generations", json=body).json()["id"]

    ids = [submit("at once"), submit("hi"), submit("hi", slow=True)]
    done: list[list[bool]] = []
    for seconds in (1, 4, 15):
        emulator.advance(seconds)
        done.append([api.get(f"/v1/tasks/{i}").json()["status"] == "completed" for i in ids])
    assert done == [[True, False, False], [True, True, False], [True, True, True]]


def test_durations_are_repeatable_and_within_bounds() -> None:
    first, second = (LogNormal(8, 0.8, low=0.4, high=180, seed=7) for _ in range(2))
    drawn = [first("m", {}) for _ in range(2000)]
    assert drawn == [second("m", {}) for _ in range(2000)]
    assert 7 < sorted(drawn)[1000] < 9
    assert 0.4 <= min(drawn) < max(drawn) <= 180
    jittered = Fixed(10, jitter=0.5)
    assert 5 <= min(jittered("m", {}) for _ in range(100)) < 7
    assert Fixed(3)("m", {}) == 3


@pytest.mark.parametrize("text", ["lognormal", "lognormal:x", "lognormal:8:1:2:3:4", "soon", "-1", "lognormal:0"])
def test_invalid_durations(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_duration(text)


def test_durations_from_the_command_line() -> None:
    assert parse_duration("2.5")("m", {}) == 2.5
    assert parse_duration("lognormal:8:0:0:3")("m", {}) == 3
