"""FoxAPI answers 404 for what was paid for: for a moment, or for good."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from prefect import flow
from pydantic import SecretStr

from prefect_foxapi import (
    AmbiguousSubmission,
    FoxAPICredentials,
    GenerationTimeout,
    PollPolicy,
    asubmit_generation,
    await_for_generation,
)
from prefect_foxapi.emulator import Emulator
from tests.pay_once.callers import Caller, result_of
from tests.pay_once.programs import MODEL

pytestmark = pytest.mark.usefixtures("home")


async def test_a_lasting_404_is_paid_for_once_more_at_the_most(ask: Caller, emulator: Emulator, home: Path) -> None:
    await submitted_long_ago(emulator, home)
    emulator.add_fault(kind="vanish")
    error = result_of(await ask.state(on_ambiguous="resubmit", timeout=60))
    assert isinstance(error, AmbiguousSubmission)
    assert len(emulator.ledger()) == 2
    assert error.generation_id == emulator.ledger()[-1].generation_id
    assert (await ask())["error"] == "AmbiguousSubmission"
    assert len(emulator.ledger()) == 2


async def test_who_pays_again_has_no_more_time_to_wait(ask: Caller, emulator: Emulator, home: Path) -> None:
    await submitted_long_ago(emulator, home)
    emulator.add_fault(kind="delay", endpoint="task", seconds=3.0, count=1)
    emulator.add_fault(kind="vanish", after=1, count=1)
    begun = time.monotonic()
    error = result_of(await ask.state(on_ambiguous="resubmit", timeout=4.0, poll=PollPolicy(interval=0.2)))
    assert isinstance(error, GenerationTimeout)
    assert error.generation_id == emulator.ledger()[-1].generation_id
    assert time.monotonic() - begun < 6.5
    assert len(emulator.ledger()) == 2


async def test_without_permission_it_is_ambiguous(ask: Caller, emulator: Emulator, home: Path) -> None:
    await submitted_long_ago(emulator, home)
    emulator.add_fault(kind="vanish")
    for _ in range(2):
        assert (await ask())["error"] == "AmbiguousSubmission"
    assert len(emulator.ledger()) == 1


async def test_an_early_404_is_waited_out_from_the_submission_on(
    emulator: Emulator, credentials: FoxAPICredentials
) -> None:
    emulator.add_fault(kind="vanish", count=2)

    @flow
    async def in_two_steps() -> str:
        submitted = await asubmit_generation("the same", model=MODEL, credentials=credentials)
        return (await await_for_generation(submitted.generation_id, credentials=credentials)).origin

    assert await in_two_steps() == "resumed"
    assert len(emulator.ledger()) == 1


async def submitted_long_ago(emulator: Emulator, home: Path) -> None:
    """What nobody takes any more for something that FoxAPI does not know yet."""
    emulator.script("the same", "at last", duration=3600.0)

    @flow
    async def submits() -> None:
        block = FoxAPICredentials(api_key=SecretStr(emulator.api_key), base_url=emulator.url)
        await asubmit_generation("the same", model=MODEL, credentials=block)

    await submits()
    with closing(sqlite3.connect(home / "foxapi" / "ledger.db")) as ledger, ledger:
        ledger.execute("UPDATE foxapi_submissions SET accepted_at = accepted_at - 3600")
