"""The background event loop of a process, on which all tasks run their coroutines.

Synchronous and asynchronous tasks share it, in all threads and event loops of their flows. So they share connections,
cool-downs after a 429, and the ledger.
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

from prefect_foxapi.client.cancellation import await_to_completion

T = TypeVar("T")

# A thread in a blocking call does not see an exception that is raised in it from outside, such as a timeout of
# Prefect's, before it wakes up.
_WAKE_UP_INTERVAL = 0.5
_SHUTDOWN_TIMEOUT = 10.0
_SHUTDOWN_GRACE = 60.0


class _Job(Generic[T]):
    """A coroutine on the background loop. `finished` is done when the coroutine is."""

    def __init__(self, loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T]) -> None:
        self.finished: concurrent.futures.Future[T] = concurrent.futures.Future()
        self._loop = loop
        self._coroutine = coroutine
        self.task: asyncio.Task[T] | None = None

    def start(self) -> None:
        try:
            # This carries the caller's context over, with Prefect's run logger and the current span.
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
        # The loop runs callbacks in order: without a task, the coroutine has not started.
        if self.task is None:
            self.give_up()
        else:
            self.task.cancel()


class BackgroundLoop:
    """An event loop in a daemon thread.

    Attributes:
        shutdown_grace: Returns the seconds that closing waits for coroutines that finish a submission on the wire.
    """

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._closers: list[Callable[[], Coroutine[Any, Any, None]]] = []
        self._jobs: set[_Job[Any]] = set()
        self._ending = False
        self.shutdown_grace: Callable[[], float] = lambda: _SHUTDOWN_GRACE
        self._thread = threading.Thread(target=self._run, name="prefect-foxapi", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        while not self._ending:
            # A coroutine that raises one of these ends the loop, and with it all other coroutines.
            with suppress(SystemExit, KeyboardInterrupt):
                self.loop.run_forever()

    def on_close(self, closer: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Register a coroutine function that is called before the loop ends."""
        self._closers.append(closer)

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop, in the caller's context, and wait for it in this thread.

        An exception that interrupts the wait cancels the coroutine, and is raised when the coroutine has ended.

        Raises:
            RuntimeError: This is the loop's own thread, which would wait for itself.
        """
        if threading.current_thread() is self._thread:
            coroutine.close()
            raise RuntimeError(
                "a synchronous task was called on the thread of the background loop, for example in `on_delta`: "
                "call it on another thread"
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
        """Run a coroutine on the loop, in the caller's context, and wait for it in another event loop; see `call`."""
        job = _Job(self.loop, coroutine)
        self._start(job)
        finished = asyncio.wrap_future(job.finished)
        try:
            return await asyncio.shield(finished)
        except asyncio.CancelledError:
            job.cancel()
            await await_to_completion(finished)
            raise

    def _start(self, job: _Job[Any]) -> None:
        self._jobs.add(job)
        job.finished.add_done_callback(lambda _: self._jobs.discard(job))
        job.start()

    def close(self) -> None:
        """Cancel the coroutines, close what was registered with `on_close`, and end the loop."""
        if not self._thread.is_alive():
            return
        asyncio.run_coroutine_threadsafe(self._cancel_jobs(), self.loop)
        concurrent.futures.wait([job.finished for job in list(self._jobs)], timeout=self.shutdown_grace())
        closing = asyncio.run_coroutine_threadsafe(self._close(), self.loop)
        concurrent.futures.wait([closing], timeout=_SHUTDOWN_TIMEOUT)
        self._ending = True
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(timeout=_SHUTDOWN_TIMEOUT)
        if not self._thread.is_alive():
            self.loop.close()
            # What came too late to be cancelled has not started, and must not be waited for.
            for job in list(self._jobs):
                job.give_up()

    async def _cancel_jobs(self) -> None:
        # A submission on the wire is a task of its own, which its job waits for.
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
    while not concurrent.futures.wait([finished], timeout=_WAKE_UP_INTERVAL).done:
        pass


_lock = threading.Lock()
_current: BackgroundLoop | None = None
_parents_loops: list[BackgroundLoop | None] = []


def background() -> BackgroundLoop:
    """Return the background loop of this process, started when it is first needed."""
    global _current
    with _lock:
        if _current is None:
            _current = BackgroundLoop()
        return _current


@atexit.register
def close_background() -> None:
    """End the background loop, if there is one. The next use starts another."""
    global _current
    with _lock:
        ending, _current = _current, None
    if ending is not None:
        ending.close()


def _forget_in_child() -> None:
    """Forget the parent's loop, whose thread a forked child does not have and whose epoll it shares."""
    global _current, _lock
    _parents_loops.append(_current)
    _current = None
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
