"""The states of a generation, with a stepped clock."""

from __future__ import annotations

from typing import Any

import httpx

from prefect_foxapi.emulator import Emulator


def test_progress_follows_the_clock(api: httpx.Client, emulator: Emulator, submit: Any) -> None:
    generation_id = submit()["id"]
    seen: list[tuple[str, int]] = []
    for _ in range(12):
        task = api.get(f"/v1/tasks/{generation_id}").json()
        seen.append((task["status"], task["progress"]))
        emulator.advance(1)
    assert seen == [("pending", 0), *(("processing", 10 * n) for n in range(1, 10)), *[("completed", 100)] * 2]


def test_late_results_of_all_generations(start: Any, connect: Any) -> None:
    emulator = start(late_results=5)
    api = connect(emulator)
    body = {"model": "gpt-5.5", "messages": [{"role": "user", "content": "hi"}]}
    generation_id = api.post("/v1/llm/generations", json=body).json()["id"]
    seen: list[Any] = []
    for seconds in (10, 4, 1):
        emulator.advance(seconds)
        task = api.get(f"/v1/tasks/{generation_id}").json()
        seen.append((task["status"], task["progress"], bool(task["results"])))
    assert seen == [("completed", 50, False), ("completed", 50, False), ("completed", 100, True)]


def test_cancelled_by_script(api: httpx.Client, emulator: Emulator, submit: Any) -> None:
    emulator.script(when="count", cancel=True)
    generation_id = submit()["id"]
    emulator.advance(10)
    task = api.get(f"/v1/tasks/{generation_id}").json()
    assert (task["status"], task["results"], task["error"]) == ("cancelled", None, None)
