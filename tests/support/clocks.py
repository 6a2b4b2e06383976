"""Clocks that tests move, in place of `time.monotonic` and `asyncio.sleep`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class RunningClock:
    """Sleeping takes no time, and moves the clock: for one thing after another.

    Attributes:
        now: Seconds.
        slept: Every sleep, in seconds.
        before_sleep: Called with each of them.
    """

    def __init__(self, before_sleep: Callable[[float], None] = lambda seconds: None) -> None:
        self.now = 1000.0
        self.slept: list[float] = []
        self.before_sleep = before_sleep

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.before_sleep(seconds)
        wake = self.now + seconds
        await asyncio.sleep(0)
        self.now = max(self.now, wake)


class SteppedClock:
    """Sleepers wake when a test moves the clock: for several things at once."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.now + seconds, woken))
        await woken

    @property
    def asleep(self) -> int:
        """How many sleep."""
        return sum(not woken.done() for _, woken in self._sleepers)

    async def sleepers(self, count: int) -> None:
        """Wait until so many sleep."""
        for _ in range(2000):
            if self.asleep >= count:
                return
            await asyncio.sleep(0.001)
        raise AssertionError(f"only {self.asleep} of {count} sleep")

    def advance(self, seconds: float) -> None:
        self.now += seconds
        for wake, woken in self._sleepers:
            if wake <= self.now and not woken.done():
                woken.set_result(None)
