"""The background loop: what it hands over, how it is interrupted, and how it ends."""

from __future__ import annotations

import asyncio
import contextvars
import ctypes
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio
import pytest

from prefect_foxapi.emulator import Emulator
from prefect_foxapi.tasks.event_loop import BackgroundLoop, background, close_background

ROOT = Path(__file__).parents[1]
asker = contextvars.ContextVar("asker", default="nobody")


@pytest.fixture
def loop() -> Iterator[BackgroundLoop]:
    running = BackgroundLoop()
    yield running
    running.close()


class Slow:
    """A coroutine that needs some time to end when it is cancelled."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.ended = False

    async def __call__(self) -> None:
        self.begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.05)
            self.ended = True


class Broken(Exception):
    pass


async def context_and_thread() -> tuple[str, int]:
    return asker.get(), threading.get_ident()


async def fail() -> None:
    raise Broken("as it was")


# Results, errors, context


def test_call_returns_and_carries_the_context(loop: BackgroundLoop) -> None:
    asker.set("a flow")
    assert loop.call(context_and_thread()) != ("a flow", threading.get_ident())
    assert loop.call(context_and_thread())[0] == "a flow"


async def test_acall_returns_and_carries_the_context(loop: BackgroundLoop) -> None:
    asker.set("an async flow")
    assert await loop.acall(context_and_thread()) == ("an async flow", loop.call(context_and_thread())[1])


def test_concurrent_calls_have_contexts_of_their_own(loop: BackgroundLoop) -> None:
    arrived = list[str]()

    async def meet() -> tuple[str, int]:
        arrived.append(asker.get())
        while len(arrived) < 8:
            await asyncio.sleep(0.001)
        return await context_and_thread()

    def ask(number: int) -> tuple[str, int]:
        asker.set(str(number))
        return loop.call(meet())

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(8)))
    assert [name for name, _ in answers] == [str(number) for number in range(8)]
    assert len({thread for _, thread in answers}) == 1


async def test_errors_come_back_as_they_are(loop: BackgroundLoop) -> None:
    with pytest.raises(Broken, match="as it was"):
        loop.call(fail())
    with pytest.raises(Broken, match="as it was"):
        await loop.acall(fail())


def test_all_threads_and_event_loops_of_a_process_share_one_loop() -> None:
    close_background()
    with ThreadPoolExecutor(8) as pool:
        threads = {thread for _, thread in pool.map(lambda _: background().call(context_and_thread()), range(32))}
    loops = [asyncio.run(background().acall(context_and_thread()))[1] for _ in range(2)]
    assert threads == set(loops)
    close_background()


def test_call_from_the_loop_itself_is_refused(loop: BackgroundLoop) -> None:
    async def call_again() -> None:
        loop.call(fail())

    with pytest.raises(RuntimeError, match="another thread"):
        loop.call(call_again())


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_exit_in_a_coroutine_leaves_the_loop_to_the_others(loop: BackgroundLoop, kind: type[BaseException]) -> None:
    async def leave() -> None:
        raise kind

    other = Slow()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(loop.call, other())
        assert other.begun.wait(5)
        with pytest.raises(kind):
            loop.call(leave())
        assert loop.call(context_and_thread())[1]
        assert not waiting.done()
        loop.close()
        with pytest.raises(asyncio.CancelledError):
            waiting.result(5)


# Interruption


async def test_cancelled_caller_waits_for_the_end(loop: BackgroundLoop) -> None:
    slow = Slow()
    caller = asyncio.ensure_future(loop.acall(slow()))
    while not slow.begun.is_set():
        await asyncio.sleep(0.001)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert slow.ended


async def test_caller_that_is_cancelled_again_and_again_waits_for_the_end(loop: BackgroundLoop) -> None:
    slow = Slow()
    caller = asyncio.ensure_future(loop.acall(slow()))
    while not slow.begun.is_set():
        await asyncio.sleep(0.001)
    while not caller.done():
        caller.cancel()
        await asyncio.sleep(0.001)
    assert caller.cancelled()
    assert slow.ended


async def test_caller_whose_loop_is_closed_is_cancelled(loop: BackgroundLoop) -> None:
    slow = Slow()
    caller = asyncio.ensure_future(loop.acall(slow()))
    while not slow.begun.is_set():
        await asyncio.sleep(0.001)
    # In another thread, as it is when the process ends; the caller hears of it when all is closed.
    closing = threading.Thread(target=loop.close)
    closing.start()
    closing.join()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert slow.ended


async def test_time_limit_of_anyio_waits_for_the_end(loop: BackgroundLoop) -> None:
    slow = Slow()
    with anyio.move_on_after(0.05) as scope:
        await loop.acall(slow())
    assert scope.cancelled_caught
    assert slow.ended


async def test_caller_is_cancelled_whatever_the_coroutine_makes_of_it(loop: BackgroundLoop) -> None:
    begun = threading.Event()

    async def insist() -> str:
        begun.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise Broken from None
        return "too late"

    caller = asyncio.ensure_future(loop.acall(insist()))
    while not begun.is_set():
        await asyncio.sleep(0.001)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller


def test_interrupted_thread_waits_for_the_end(loop: BackgroundLoop) -> None:
    slow, raised = Slow(), list[type[BaseException]]()

    def wait() -> None:
        try:
            loop.call(slow())
        except BaseException as error:
            raised.append(type(error))

    thread = threading.Thread(target=wait)
    thread.start()
    assert slow.begun.wait(5)
    # As Prefect interrupts a synchronous task that takes too long.
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(KeyboardInterrupt))
    thread.join(5)
    assert raised == [KeyboardInterrupt]
    assert slow.ended


@pytest.mark.parametrize("handed_over", [False, True])
def test_thread_interrupted_while_it_hands_over_leaves_nothing_running(
    loop: BackgroundLoop, monkeypatch: pytest.MonkeyPatch, handed_over: bool
) -> None:
    slow, hand_over = Slow(), loop.loop.call_soon_threadsafe

    def interrupted(callback: Callable[[], object]) -> None:
        monkeypatch.undo()
        if handed_over:
            hand_over(callback)
            assert slow.begun.wait(5)
        raise KeyboardInterrupt

    monkeypatch.setattr(loop.loop, "call_soon_threadsafe", interrupted)
    with pytest.raises(KeyboardInterrupt):
        loop.call(slow())
    assert slow.begun.is_set() == slow.ended == handed_over


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_lets_the_coroutine_end_first(number: signal.Signals) -> None:
    program = """
import asyncio, signal, sys
from prefect_foxapi.tasks.event_loop import background

def leave(number, frame):
    sys.exit(7)

signal.signal(signal.SIGINT, leave)
signal.signal(signal.SIGTERM, leave)

async def submit():
    print("begun", flush=True)
    try:
        await asyncio.sleep(60)
    finally:
        await asyncio.sleep(0.05)
        print("ended", flush=True)

background().call(submit())
"""
    with _started(program) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "begun\n"
        child.send_signal(number)
        out, err = child.communicate(timeout=30)
    assert (out, err, child.returncode) == ("ended\n", "", 7)


# Ends


def test_close_cancels_and_closes_in_the_reverse_order(loop: BackgroundLoop) -> None:
    slow, closed = Slow(), list[str]()

    async def close(name: str) -> None:
        assert slow.ended
        closed.append(name)

    loop.on_close(lambda: close("first"))
    loop.on_close(lambda: close("second"))
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(loop.call, slow())
        assert slow.begun.wait(5)
        loop.close()
        with pytest.raises(asyncio.CancelledError):
            waiting.result(5)
    assert closed == ["second", "first"]


def test_close_leaves_what_a_coroutine_sees_to_its_end(loop: BackgroundLoop) -> None:
    begun, sent = threading.Event(), list[str]()

    async def send() -> None:
        begun.set()
        await asyncio.sleep(0.05)
        sent.append("an id")

    async def submit() -> None:
        sending = asyncio.ensure_future(send())
        try:
            await asyncio.shield(sending)
        except asyncio.CancelledError:
            await asyncio.wait({sending})
            raise

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(loop.call, submit())
        assert begun.wait(5)
        loop.close()
        with pytest.raises(asyncio.CancelledError):
            waiting.result(5)
    assert sent == ["an id"]


def test_closed_loop_takes_nothing_more(loop: BackgroundLoop) -> None:
    loop.close()
    with pytest.raises(RuntimeError, match="closed"):
        loop.call(fail())
    loop.close()


def test_next_use_starts_another() -> None:
    first = background()
    assert background() is first
    close_background()
    second = background()
    assert second is not first
    assert second.call(context_and_thread())
    close_background()
    close_background()


def test_forked_child_has_a_loop_of_its_own() -> None:
    program = """
import asyncio, os, sys, threading
from prefect_foxapi.tasks.event_loop import background, close_background

async def where():
    await asyncio.sleep(0.01)
    return os.getpid(), threading.current_thread().name

assert background().call(where()) == (os.getpid(), "prefect-foxapi")
child = os.fork()
if child == 0:
    assert background().call(where()) == (os.getpid(), "prefect-foxapi")
    grandchild = os.fork()
    if grandchild:
        assert os.waitpid(grandchild, 0)[1] == 0
    assert background().call(where()) == (os.getpid(), "prefect-foxapi")
    close_background()
    assert background().call(where()) == (os.getpid(), "prefect-foxapi")
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
assert background().call(where()) == (os.getpid(), "prefect-foxapi")
"""
    # Python 3.12 warns of every fork of a process with threads; Prefect's users do it all the same.
    with _started(program, "-W", "ignore:This process:DeprecationWarning") as child:
        _, err = child.communicate(timeout=30)
    assert (err, child.returncode) == ("", 0)


def test_process_ends_without_a_word() -> None:
    program = """
import asyncio, logging, sys, threading
from contextlib import suppress
from prefect_foxapi.tasks.event_loop import background
from prefect_foxapi.client.client import FoxAPIClient
from prefect_foxapi.errors import NotFound

begun = threading.Event()

async def use():
    client = FoxAPIClient("sk-emulator", base_url=sys.argv[1])
    background().on_close(client.aclose)
    begun.set()
    snapshot = await client.submit({"model": "gpt-5.5", "messages": [{"role": "user", "content": "hello"}]})
    await client.get(snapshot.id)
    async for chunk in client.stream(snapshot.id):
        return

# Else it tells of every import that took a tenth of a second.
logging.getLogger("asyncio").setLevel(logging.ERROR)

def call():
    with suppress(NotFound, asyncio.CancelledError):
        background().call(use())

call()
begun.clear()
threading.Thread(target=call, daemon=True).start()
begun.wait()
"""
    with Emulator(duration=0) as emulator, _started(program, "-X", "dev", arguments=[emulator.url]) as child:
        out, err = child.communicate(timeout=60)
    assert (out, err, child.returncode) == ("", "", 0)


def _started(program: str, *options: str, arguments: list[str] | None = None) -> subprocess.Popen[str]:
    """A Python of its own, in which warnings are errors."""
    command = [sys.executable, "-W", "error", *options, "-c", program, *(arguments or [])]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
