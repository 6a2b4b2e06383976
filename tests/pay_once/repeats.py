"""A child program that asks for many generations a second time, and measures what that costs."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.cache_policies import INPUTS, TASK_SOURCE

from prefect_foxapi import agenerate
from tests.pay_once.fork_server import emit
from tests.pay_once.programs import MODEL, credentials


@task(cache_policy=INPUTS + TASK_SOURCE, result_serializer="json")
async def bare(prompt: str) -> dict[str, Any]:
    """A cached task that does nothing, for what Prefect itself costs."""
    return {"text": prompt}


def ask_twice(base_url: str, api_key: str, count: int, go: str, report: str) -> None:
    """Ask for `count` generations and for as many results of a bare task, both twice; report seconds of the second.

    Args:
        go: A file to wait for before anything is asked for a second time.
    """
    block = credentials(base_url, api_key)
    prompts = [f"number {n}" for n in range(count)]

    async def ours(prompt: str) -> None:
        await agenerate(prompt, model=MODEL, credentials=block)

    async def both() -> dict[str, Any]:
        await _timed(ours, prompts)
        await _timed(bare, prompts)
        emit("asked")
        while not Path(go).exists():
            await asyncio.sleep(0.01)
        return {"ours": await _timed(ours, prompts), "bare": await _timed(bare, prompts)}

    Path(report).write_text(json.dumps(asyncio.run(both())))


async def _timed(one: Callable[[str], Coroutine[Any, Any, Any]], prompts: list[str]) -> dict[str, float]:
    @flow
    async def all_at_once() -> dict[str, float]:
        wall, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*map(one, prompts))
        return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}

    return await all_at_once()
