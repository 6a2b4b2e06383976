"""What the caching options of a task run mean for paying, for each task that pays, wherever it is defined."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect import Task, flow, task
from prefect.cache_policies import NO_CACHE

from prefect_foxapi import (
    agenerate,
    astream_generation,
    asubmit_generation,
    generate,
    stream_generation,
    submit_generation,
)
from prefect_foxapi.emulator import Emulator
from tests.compatibility.archive import in_home
from tests.compatibility.exchange import credentials

ASKING: dict[str, Any] = {"prompt": "the same", "model": "gpt-5.5"}
PAYING = [
    pytest.param(task, id=task.fn.__name__)
    for task in (
        *(generate, stream_generation, submit_generation),
        *(agenerate, astream_generation, asubmit_generation),
    )
]


@pytest.fixture
def emulator(prefect_api: None, tmp_path: Path) -> Iterator[Emulator]:
    with in_home(tmp_path / "home"), Emulator(duration=0.01) as emulator:
        yield emulator


def paid_after_each(tasks: list[Task[..., Any]], emulator: Emulator) -> list[int]:
    """Call tasks in a flow run, one after another. Returns how many submissions were paid for after each."""
    arguments = {**ASKING, "credentials": credentials(emulator.url)}
    paid: list[int] = []

    @flow
    def synchronously() -> None:
        for asking in tasks:
            asking(**arguments)
            paid.append(len(emulator.ledger()))

    @flow
    async def asynchronously() -> None:
        for asking in tasks:
            await asking(**arguments)
            paid.append(len(emulator.ledger()))

    if tasks[0].isasync:
        asyncio.run(asynchronously())
    else:
        synchronously()
    return paid


@pytest.mark.parametrize("paying", PAYING)
def test_options_of_our_tasks_are_about_paying(paying: Task[..., Any], emulator: Emulator) -> None:
    without_cache, refreshing = paying.with_options(cache_policy=NO_CACHE), paying.with_options(refresh_cache=True)
    calls = {
        "first": (paying, 1),
        "again": (paying, 1),
        "other options": (paying.with_options(name="renamed", retries=1), 1),
        "no cache": (without_cache, 2),
        "no cache, renamed": (without_cache.with_options(name="renamed"), 3),
        "refreshing": (refreshing, 4),
        "refreshing, renamed": (refreshing.with_options(name="renamed"), 5),
        "last": (paying, 5),
    }
    paid = paid_after_each([asking for asking, _ in calls.values()], emulator)
    assert dict(zip(calls, paid, strict=True)) == {name: expected for name, (_, expected) in calls.items()}


def test_options_of_a_task_made_of_our_function_are_about_paying(emulator: Emulator) -> None:
    mine = task(generate.fn, name="mine", cache_policy=NO_CACHE)
    assert paid_after_each([mine, mine], emulator) == [1, 2]


@pytest.mark.parametrize("module", ["flows.mine", "prefect_foxapi_extras.tasks", "__main__"])
def test_options_of_other_tasks_are_not(module: str, emulator: Emulator) -> None:
    def mine(**arguments: Any) -> str:
        return generate.fn(**arguments).text

    mine.__module__ = module
    without_cache = task(mine, cache_policy=NO_CACHE)
    refreshing = task(mine, persist_result=True, refresh_cache=True)
    assert paid_after_each([without_cache, without_cache, refreshing, refreshing], emulator) == [1, 1, 1, 1]
