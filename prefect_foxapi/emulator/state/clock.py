"""The time of the emulator: real, or stepped."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


class ClockStopped(Exception):
    """The server is stopping, which ends every wait."""


class Clock:
    """Unix time that can be moved forward.

    Args:
        stepped: Whether the time changes by `advance` only. Otherwise it runs, and `advance` adds to it.
        start: The time to start at (Unix seconds); by default the current time.
    """

    def __init__(self, *, stepped: bool = False, start: float | None = None) -> None:
        self.stepped = stepped
        base = time.time() if start is None else start
        # Whole seconds, and rounding in `now`, keep sums of steps exact.
        self._base = float(int(base)) if stepped else base
        self._started = time.monotonic()
        self._advanced = 0.0
        self._stopped = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sleepers: set[asyncio.Future[None]] = set()

    def now(self) -> float:
        """Return the time (Unix seconds)."""
        running = 0.0 if self.stepped else time.monotonic() - self._started
        return round(self._base + running + self._advanced, 6)

    def advance(self, seconds: float) -> None:
        """Move the time forward and wake the waits that it ends. It can be called from any thread.

        Raises:
            ValueError: `seconds` is negative.
        """
        if seconds < 0:
            raise ValueError("seconds must be 0 or more")
        self._advanced += seconds
        self._wake_from_any_thread()

    def stop(self) -> None:
        """End every wait with `ClockStopped`. It can be called from any thread."""
        self._stopped = True
        self._wake_from_any_thread()

    def resume(self) -> None:
        """Allow waits after `stop`."""
        self._stopped = False

    async def sleep_until(self, when: float) -> None:
        """Wait until the time is `when` (Unix seconds).

        Raises:
            ClockStopped: The server is stopping.
        """
        await self._sleep(lambda: when - self.now(), timed=not self.stepped)

    async def pause(self, seconds: float) -> None:
        """Wait in real time, even if the clock is stepped.

        Raises:
            ClockStopped: The server is stopping.
        """
        until = time.monotonic() + seconds
        await self._sleep(lambda: until - time.monotonic(), timed=True)

    async def _sleep(self, remaining: Callable[[], float], *, timed: bool) -> None:
        # The loop is set before the time is read, so that a concurrent `advance` wakes this wait.
        loop = self._loop = asyncio.get_running_loop()
        while (delay := remaining()) > 0:
            if self._stopped:
                raise ClockStopped
            woken: asyncio.Future[None] = loop.create_future()
            self._sleepers.add(woken)
            timer = loop.call_later(delay, _wake, woken) if timed else None
            try:
                await woken
            finally:
                self._sleepers.discard(woken)
                if timer is not None:
                    timer.cancel()

    def _wake_from_any_thread(self) -> None:
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._wake_all)

    def _wake_all(self) -> None:
        for sleeper in list(self._sleepers):
            _wake(sleeper)


def _wake(sleeper: asyncio.Future[None]) -> None:
    if not sleeper.done():
        sleeper.set_result(None)
