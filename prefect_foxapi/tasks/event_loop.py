"""The one background event loop of a process, on which every generation of every task is submitted and awaited.

Synchronous tasks hand their coroutine to it, and asynchronous ones too: whatever threads and event loops their flows
run in, they share one pool of connections, one cool-down after a 429, and one ledger.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import os
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Generic, TypeVar

import anyio

T = TypeVar("T")

# A thread that waits in one blocking call does not see an exception that is raised in it from outside, such as a
# time-out of Prefect's; waking up now and then lets it.
_LOOK_UP_EVERY = 0.5
_SHUTDOWN_WITHIN = 10.0


class _Job(Generic[T]):
    """A coroutine on the background loop: `finished` comes to its end when the coroutine really has."""

    def __init__(self, loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T]) -> None:
        self.finished: concurrent.futures.Future[T] = concurrent.futures.Future()
        self._loop = loop
        self._coroutine = coroutine
        self.task: asyncio.Task[T] | None = None

    def start(self) -> None:
        try:
            # This also carries the caller's context over, and with it Prefect's run logger and the current span.
            self._loop.call_soon_threadsafe(self._begin)
        except RuntimeError:
            self.give_up()
            raise

    def _begin(self) -> None:
        self.task = self._loop.create_task(self._coroutine)
        self.task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[T]) -> None:
        if task.cancelled():
            self.finished.set_exception(asyncio.CancelledError())
        elif (error := task.exception()) is not None:
            self.finished.set_exception(error)
        else:
            self.finished.set_result(task.result())

    def give_up(self) -> None:
        with suppress(concurrent.futures.InvalidStateError):
            self.finished.set_exception(asyncio.CancelledError())
            self._coroutine.close()

    def cancel(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._cancel)
        except RuntimeError:
            # On a loop that was closed meanwhile there is nothing left to cancel.
            self.give_up()

    def _cancel(self) -> None:
        # The loop takes things in the order in which they are handed over: without a task, the coroutine never was.
        if self.task is None:
            self.give_up()
        else:
            self.task.cancel()


class BackgroundLoop:
    """An event loop in a daemon thread.

    Attributes:
        patience: Seconds that closing waits for coroutines which see something to its end: a submission on the wire.
    """

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._closers: list[Callable[[], Coroutine[Any, Any, None]]] = []
        self._jobs: set[_Job[Any]] = set()
        self._ending = False
        self.patience = 60.0
        self._thread = threading.Thread(target=self._run, name="prefect-foxapi", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        while not self._ending:
            # A coroutine that ends with one of these ends the loop as well, and with it everybody else's.
            with suppress(SystemExit, KeyboardInterrupt):
                self.loop.run_forever()

    def on_close(self, closer: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Have something closed before the loop ends."""
        self._closers.append(closer)

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine here, in the caller's context, and wait for it in this thread.

        What interrupts the waiting cancels the coroutine, and lets it come to its end before it goes on.

        Raises:
            RuntimeError: This is the background loop's own thread, which would wait for itself for ever.
        """
        if threading.current_thread() is self._thread:
            coroutine.close()
            raise RuntimeError(
                "a synchronous task was called where the background loop runs, in `on_delta` for instance: "
                "hand over to another thread"
            )
        job = _Job(self.loop, coroutine)
        try:
            self._start(job)
            _wait(job.finished)
        except BaseException:
            job.cancel()
            _wait(job.finished)
            raise
        return job.finished.result()

    async def acall(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine here, in the caller's context, and wait for it in another event loop, with the same care."""
        job = _Job(self.loop, coroutine)
        self._start(job)
        finished = asyncio.wrap_future(job.finished)
        try:
            return await asyncio.shield(finished)
        except asyncio.CancelledError:
            job.cancel()
            # anyio cancels again and again until it works, and Prefect's time-outs are anyio's.
            with anyio.CancelScope(shield=True):
                while not finished.done():
                    with suppress(asyncio.CancelledError):
                        await asyncio.wait({finished})
            if not finished.cancelled():
                finished.exception()
            raise

    def _start(self, job: _Job[Any]) -> None:
        self._jobs.add(job)
        job.finished.add_done_callback(lambda _: self._jobs.discard(job))
        job.start()

    def close(self) -> None:
        """Cancel what still runs, close what was opened, and end the loop."""
        if not self._thread.is_alive():
            return
        asyncio.run_coroutine_threadsafe(self._cancel_jobs(), self.loop)
        concurrent.futures.wait([job.finished for job in list(self._jobs)], timeout=self.patience)
        closing = asyncio.run_coroutine_threadsafe(self._close(), self.loop)
        concurrent.futures.wait([closing], timeout=_SHUTDOWN_WITHIN)
        self._ending = True
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(timeout=_SHUTDOWN_WITHIN)
        if not self._thread.is_alive():
            self.loop.close()
            # What came too late to be cancelled never began; nobody shall wait for it.
            for job in list(self._jobs):
                job.give_up()

    async def _cancel_jobs(self) -> None:
        # Only they know what they have to see to its end: a task that sends what is paid for is one of its own.
        for job in list(self._jobs):
            if job.task is not None:
                job.task.cancel()

    async def _close(self) -> None:
        for closer in reversed(self._closers):
            await closer()
        running = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await self.loop.shutdown_asyncgens()


def _wait(finished: concurrent.futures.Future[Any]) -> None:
    while not concurrent.futures.wait([finished], timeout=_LOOK_UP_EVERY).done:
        pass


_lock = threading.Lock()
_current: BackgroundLoop | None = None
_of_the_parent: list[BackgroundLoop | None] = []


def background() -> BackgroundLoop:
    """The background loop of this process, started when it is first needed."""
    global _current
    with _lock:
        if _current is None:
            _current = BackgroundLoop()
        return _current


@atexit.register
def close_background() -> None:
    """End the background loop, if there is one; the next use starts another."""
    global _current
    with _lock:
        ending, _current = _current, None
    if ending is not None:
        ending.close()


def _forget_in_child() -> None:
    """A forked child has no thread of its parent's. It must not close the loop either, whose epoll they share."""
    global _current, _lock
    _of_the_parent.append(_current)
    _current = None
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
