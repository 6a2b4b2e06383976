"""Several processes on one ledger, some of which die."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack
from typing import Any

import pytest

from prefect_foxapi.ledger import Lease, Ledger, State
from tests.support.factories import DEADLINE, Clock, MakeLedger, claim, claimed, kept, row_of
from tests.support.subprocesses import Child, claim_and_hang, claim_at_once, run_program


def _at_once(
    url: str, keys: list[str], *, processes: int, warm: bool = True, **options: Any
) -> list[tuple[int, list[str]]]:
    with ExitStack() as stack:
        children = [stack.enter_context(Child(claim_at_once, url, keys, options, warm)) for _ in range(processes)]
        assert [child.receive() for child in children] == ["ready"] * processes
        for child in children:
            child.pipe.send("go")
        return [child.receive() for child in children]


def test_one_flight_from_two_processes_with_twenty_coroutines_each(url: str) -> None:
    (first, tokens), (second, others) = _at_once(url, ["key"] * 20, processes=2)
    assert first + second == 1
    assert len({*tokens, *others}) == 1


async def test_one_flight_over_rows_that_are_there(url: str, make_ledger: MakeLedger) -> None:
    """Nothing is inserted then: it is the row that they must not both move."""
    ledger = make_ledger(url)
    keys = [f"key-{n}" for n in range(200)]
    for mine in await asyncio.gather(*(claimed(ledger, key) for key in keys)):
        await ledger.unknown(mine, "reset")
    found = await asyncio.to_thread(_at_once, url, keys, processes=3, on_ambiguous="resubmit")
    assert sum(count for count, _ in found) == len(keys)
    assert found[0][1] == found[1][1] == found[2][1]


async def test_twenty_processes_start_on_a_fresh_ledger(url: str, make_ledger: MakeLedger) -> None:
    found = await asyncio.to_thread(_at_once, url, ["key"], processes=20, warm=False)
    assert sum(count for count, _ in found) == 1
    row = await row_of(make_ledger(url))
    assert row is not None
    assert {token for _, tokens in found for token in tokens} == {row.token}


@pytest.mark.parametrize("generation_id", [None, "gen-1"])
async def test_a_killed_process_loses_nothing(url: str, make_ledger: MakeLedger, generation_id: str | None) -> None:
    with Child(claim_and_hang, url, generation_id) as child:
        mine: Lease = child.receive()
        child.kill()
    clock = Clock(time.time())
    ledger: Ledger = make_ledger(url, clock=clock)
    row = await kept(ledger)
    if generation_id is not None:
        assert (row.state, row.generation_id) == (State.SUBMITTED, "gen-1"), "at once, and by anybody"
        return
    assert row.state is State.SUBMITTING
    clock.now = mine.deadline
    row = await kept(ledger)
    assert (row.state, row.token) == (State.AMBIGUOUS, mine.token)
    assert isinstance(await claim(ledger, on_ambiguous="resubmit", deadline=DEADLINE), Lease)


_AT_EXIT = """
import asyncio, sys, threading
from contextlib import suppress
from prefect_foxapi.tasks.event_loop import background
from prefect_foxapi.ledger import Ledger
from tests.support.factories import claimed

ledger = Ledger(sys.argv[1])
begun = threading.Event()

async def submit():
    mine = await claimed(ledger)
    begun.set()
    try:
        await asyncio.sleep(60)
    finally:
        await ledger.accepted(mine, "gen-1")

def call():
    with suppress(asyncio.CancelledError):
        background().call(submit())

background().on_close(ledger.aclose)
threading.Thread(target=call, daemon=True).start()
begun.wait()
"""


async def test_what_arrives_while_the_process_ends_is_recorded(url: str, make_ledger: MakeLedger) -> None:
    await run_program(_AT_EXIT, url)
    # Not from a spill file: those are elsewhere.
    row = await kept(make_ledger(url, clock=Clock(time.time())))
    assert (row.state, row.generation_id) == (State.SUBMITTED, "gen-1")
