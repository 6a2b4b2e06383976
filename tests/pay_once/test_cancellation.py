"""Cancellations and time-outs: what was paid for is known, said, and collected by the next run."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from prefect import flow

from prefect_foxapi import FoxAPICredentials, GenerationTimeout, agenerate, generate
from prefect_foxapi.emulator import Emulator
from tests.pay_once.callers import Caller, result_of
from tests.pay_once.fork_server import ForkServer
from tests.pay_once.programs import MODEL, POLL

ASK = "tests.pay_once.callers:ask_once"
pytestmark = pytest.mark.usefixtures("home")


def line_of(generation_id: str) -> str:
    """The line of code that collects a generation."""
    return f"wait_for_generation('{generation_id}')"


async def until_submitted(emulator: Emulator) -> None:
    give_up = time.monotonic() + 20
    while not emulator.ledger():
        assert time.monotonic() < give_up
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("on_the_wire", [False, True], ids=["during the wait", "during the submission"])
async def test_cancelled(
    on_the_wire: bool,
    ask: Caller,
    emulator: Emulator,
    credentials: FoxAPICredentials,
    caplog: pytest.LogCaptureFixture,
) -> None:
    emulator.script("the same", "at last", duration=1.0)
    if on_the_wire:
        emulator.add_fault(kind="delay", endpoint="submit", seconds=0.5, count=1)

    @flow
    async def cancels() -> None:
        asking = asyncio.ensure_future(agenerate("the same", model=MODEL, credentials=credentials, poll=POLL))
        await until_submitted(emulator)
        await asyncio.sleep(0.0 if on_the_wire else 0.2)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    with caplog.at_level(logging.INFO):
        await cancels()
    [billed] = emulator.ledger()
    assert line_of(billed.generation_id) in caplog.text
    outcome = await ask()
    assert (outcome["id"], outcome["origin"]) == (billed.generation_id, "resumed")
    assert len(emulator.ledger()) == 1


async def test_one_who_joined_and_is_cancelled_says_so_too(
    emulator: Emulator, credentials: FoxAPICredentials, caplog: pytest.LogCaptureFixture
) -> None:
    emulator.script("the same", "at last", duration=1.0)

    @flow
    async def cancels() -> str:
        first = asyncio.ensure_future(agenerate("the same", model=MODEL, credentials=credentials, poll=POLL))
        await until_submitted(emulator)
        second = asyncio.ensure_future(agenerate("the same", model=MODEL, credentials=credentials, poll=POLL))
        await asyncio.sleep(0.3)
        caplog.clear()
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        return (await first).text

    with caplog.at_level(logging.INFO):
        assert await cancels() == "at last"
    [billed] = emulator.ledger()
    assert line_of(billed.generation_id) in caplog.text


async def test_prefects_timeout_in_an_async_flow(
    ask: Caller, emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    emulator.script("the same", "at last", duration=2.0)
    with caplog.at_level(logging.INFO):
        outcome = await ask(timeout_seconds=0.7)
    assert outcome["state"] == "TimedOut"
    [billed] = emulator.ledger()
    assert line_of(billed.generation_id) in caplog.text
    assert (await ask())["origin"] == "resumed"
    assert len(emulator.ledger()) == 1


@pytest.mark.parametrize("submitted", [False, True], ids=["in the main thread", "in a worker thread"])
def test_prefects_timeout_in_a_sync_flow(
    submitted: bool, emulator: Emulator, credentials: FoxAPICredentials, caplog: pytest.LogCaptureFixture
) -> None:
    emulator.script("the same", "at last", duration=2.0)
    arguments: dict[str, Any] = {"model": MODEL, "credentials": credentials, "poll": POLL}

    @flow
    def hurried() -> None:
        asking = generate.with_options(timeout_seconds=0.7)
        begun = time.monotonic()
        state = (
            asking.submit("the same", **arguments, return_state=True)
            if submitted
            else asking("the same", **arguments, return_state=True)
        )
        assert state.name == "TimedOut"
        assert time.monotonic() - begun < 1.9

    @flow
    def patient() -> str:
        return generate("the same", **arguments).origin

    with caplog.at_level(logging.INFO):
        hurried()
        assert line_of(emulator.ledger()[0].generation_id) in caplog.text
        assert patient() == "resumed"
    assert len(emulator.ledger()) == 1


async def test_the_waits_own_timeout(ask: Caller, emulator: Emulator) -> None:
    emulator.script("the same", "at last", duration=1.5)
    error = result_of(await ask.state(timeout=0.5))
    assert isinstance(error, GenerationTimeout)
    [billed] = emulator.ledger()
    assert error.generation_id == billed.generation_id
    assert line_of(billed.generation_id) in str(error)
    assert (await ask())["origin"] == "resumed"
    assert len(emulator.ledger()) == 1


@pytest.mark.parametrize("synchronous", [False, True], ids=["async flow", "sync flow"])
@pytest.mark.parametrize("on_the_wire", [False, True], ids=["during the wait", "during the submission"])
async def test_terminated(
    on_the_wire: bool, synchronous: bool, ask: Caller, emulator: Emulator, elsewhere: ForkServer, tmp_path: Path
) -> None:
    emulator.script("the same", "at last", duration=2.0)
    if on_the_wire:
        emulator.add_fault(kind="delay", endpoint="submit", seconds=1.0, count=1)
    report = tmp_path / "report.json"
    options = {"report": str(report), "synchronous": synchronous}
    child = elsewhere.run(ASK, base_url=emulator.url, api_key=emulator.api_key, **options)
    await until_submitted(emulator)
    await asyncio.sleep(0.0 if on_the_wire else 0.3)
    assert child.send(signal.SIGTERM) != 0
    [billed] = emulator.ledger()
    assert not report.exists()
    assert line_of(billed.generation_id) in (tmp_path / "elsewhere.log").read_text()
    again = elsewhere.run(ASK, base_url=emulator.url, api_key=emulator.api_key, **options)
    assert again.wait() == 0
    [outcome] = json.loads(report.read_text())
    assert (outcome["id"], outcome["text"], outcome["origin"]) == (billed.generation_id, "at last", "resumed")
    assert (await ask())["state"] == "Cached"
    assert len(emulator.ledger()) == 1
