"""What a synchronous call through the background loop costs, beside asyncio's own way into another thread's loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from statistics import median

from prefect_foxapi.tasks.event_loop import BackgroundLoop

CALLS = 1_000
ROUNDS = 5


async def nothing() -> None:
    """Costs nothing itself."""


def microseconds(call: Callable[[], object]) -> float:
    """Median of several rounds, per call."""
    rounds: list[float] = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        for _ in range(CALLS):
            call()
        rounds.append((time.perf_counter() - started) / CALLS * 1e6)
    return median(rounds)


def run() -> list[dict[str, str]]:
    """The rows of this benchmark: what, ours, baseline, ratio, target."""
    loop = BackgroundLoop()
    plain = microseconds(lambda: asyncio.run_coroutine_threadsafe(nothing(), loop.loop).result())
    ours = microseconds(lambda: loop.call(nothing()))

    async def awaited() -> float:
        started = time.perf_counter()
        for _ in range(CALLS):
            await loop.acall(nothing())
        return (time.perf_counter() - started) / CALLS * 1e6

    async def awaited_plainly() -> float:
        started = time.perf_counter()
        for _ in range(CALLS):
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(nothing(), loop.loop))
        return (time.perf_counter() - started) / CALLS * 1e6

    theirs, mine = (median(asyncio.run(once()) for _ in range(ROUNDS)) for once in (awaited_plainly, awaited))
    loop.close()
    return [
        _row("a call from a thread, beside run_coroutine_threadsafe", ours, plain),
        _row("a call from another event loop, beside run_coroutine_threadsafe", mine, theirs),
    ]


def _row(what: str, ours: float, baseline: float) -> dict[str, str]:
    return {
        "what": what,
        "ours": f"{ours:.0f} µs",
        "baseline": f"{baseline:.0f} µs",
        "ratio": f"{ours / baseline:.2f}",
        "target": "≤ 1000 µs",
    }
