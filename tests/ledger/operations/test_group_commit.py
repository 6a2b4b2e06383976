"""Group commit: together where possible, and nobody suffers for another."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest
import sqlalchemy.exc

from prefect_foxapi.errors import LedgerError
from prefect_foxapi.ledger import Lease, Ledger, State, Submission
from prefect_foxapi.ledger.database.errors import is_about_data
from tests.support.factories import (
    DEADLINE,
    OWNER,
    RESULT,
    Clock,
    MakeLedger,
    claim,
    claimant,
    claimed,
    identity,
    kept,
    row_of,
    sqlite_url,
)


class TickingClock(Clock):
    """A clock that shows how often it was looked at: once in each transaction."""

    def __call__(self) -> float:
        self.now += 0.001
        return self.now


async def test_what_waits_at_the_same_time_shares_transactions(url: str, make_ledger: MakeLedger) -> None:
    ledger = make_ledger(url, clock=TickingClock(), retention=None)

    async def whole(n: int) -> None:
        await ledger.accepted(await claimed(ledger, f"key-{n}", deadline=DEADLINE), f"gen-{n}")
        assert await ledger.completed(f"gen-{n}", RESULT, **OWNER)

    await asyncio.gather(*(whole(n) for n in range(500)))
    rows = await ledger.find(f"key-{n}" for n in range(500))
    assert len(rows) == 500
    assert {row.generation_id for row in rows.values()} == {f"gen-{n}" for n in range(500)}
    for moments in (
        {row.claimed_at for row in rows.values()},
        {row.accepted_at for row in rows.values()},
        {row.finished_at for row in rows.values()},
    ):
        assert len(moments) <= 5


async def test_of_many_equal_claims_in_one_batch_one_has_it(ledger: Ledger) -> None:
    found = await asyncio.gather(*(claim(ledger, f"key-{n % 3}", by=f"task-{n}") for n in range(30)))
    assert sum(isinstance(one, Lease) for one in found) == 3
    assert len({one.token for one in found}) == 3
    assert {one.state for one in found if isinstance(one, Submission)} == {State.SUBMITTING}


async def test_two_ledgers_that_claim_many_in_other_orders_agree(ledger: Ledger, other: Ledger) -> None:
    keys = [f"key-{n}" for n in range(300)]
    first, second = await asyncio.gather(
        asyncio.gather(*(claim(ledger, key) for key in keys)),
        asyncio.gather(*(claim(other, key) for key in reversed(keys))),
    )
    for mine, theirs in zip(first, reversed(second), strict=True):
        assert mine.token == theirs.token
        assert isinstance(mine, Lease) != isinstance(theirs, Lease)


async def test_ten_thousand_are_looked_up_at_once(ledger: Ledger) -> None:
    keys = [f"key-{n}" for n in range(2500)]
    await asyncio.gather(*(ledger.publish(identity(key), claimant(), f"gen-{key}", RESULT) for key in keys))
    found = await ledger.find([*keys, *(f"absent-{n}" for n in range(7500))])
    assert set(found) == set(keys)
    assert all(row.result == RESULT for row in found.values())


async def test_one_that_cannot_be_written_does_not_harm_the_others(ledger: Ledger) -> None:
    def ask(n: int, flow_name: str) -> asyncio.Task[Lease | Submission]:
        who = claimant(f"task-{n}", flow_name=flow_name)
        return asyncio.create_task(ledger.claim(identity(f"key-{n}"), who, deadline=DEADLINE))

    tasks = [ask(n, "no text \ud800" if n == 3 else "flow") for n in range(8)]
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert [n for n, one in enumerate(found) if isinstance(one, Lease)] == [0, 1, 2, 4, 5, 6, 7]
    assert isinstance(found[3], LedgerError)
    assert found[3].key == "key-3"
    assert isinstance(await claim(ledger, "key-3"), Lease)


async def test_a_cancelled_acceptance_is_recorded_nevertheless(ledger: Ledger) -> None:
    mine = await claimed(ledger)
    for turns in range(6):
        task = asyncio.create_task(ledger.accepted(mine, "gen-1"))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        if turns == 1:
            # Queued by then, and not more.
            assert (await kept(ledger)).generation_id == "gen-1"
    assert (await kept(ledger)).generation_id == "gen-1"


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 10, 20, 50, 100, 200])
async def test_a_cancelled_claim_is_given_back(ledger: Ledger, turns: int) -> None:
    tasks = [asyncio.create_task(claim(ledger, f"key-{n}", by=f"task-{n}")) for n in range(20)]
    for _ in range(turns):
        await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    for n, end in enumerate(ends):
        found = await claim(ledger, f"key-{n}")
        assert isinstance(found, Submission if isinstance(end, Lease) else Lease)


async def test_a_claim_that_waits_for_the_lock_is_given_back(make_ledger: MakeLedger, tmp_path: Path) -> None:
    ledger, path = make_ledger(sqlite_url(tmp_path)), tmp_path / "ledger" / "ledger.db"
    await row_of(ledger)
    lock = sqlite3.connect(path, isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    begun = asyncio.create_task(claim(ledger, "begun"))
    await asyncio.sleep(0.01)
    queued = asyncio.create_task(claim(ledger, "queued"))
    accepted = asyncio.create_task(ledger.accepted(await _foreign_claim(tmp_path), "gen-9"))
    await asyncio.sleep(0)
    for task in (begun, queued, accepted):
        task.cancel()
    await asyncio.wait([begun, queued, accepted])
    lock.execute("COMMIT")
    lock.close()
    assert isinstance(await claim(ledger, "begun"), Lease)
    assert isinstance(await claim(ledger, "queued"), Lease)
    (first, _), (only,) = (await ledger.history("begun"))[0], (await ledger.history("queued"))[0]
    assert first.state is State.REFUSED
    assert first.reason
    assert only.state is State.SUBMITTING, "what was not begun was dropped"
    assert (await kept(ledger, "foreign")).generation_id == "gen-9"


async def _foreign_claim(folder: Path) -> Lease:
    elsewhere = Ledger(f"sqlite:///{folder / 'elsewhere.db'}")
    found = await claimed(elsewhere, "foreign")
    await elsewhere.aclose()
    return found


def test_the_end_of_the_event_loop_loses_no_acceptance(url: str) -> None:
    """As `asyncio.run` ends: every task is cancelled, the ledger's own as well."""
    loop = asyncio.new_event_loop()
    ledger = Ledger(url)

    async def begin(turns: int) -> None:
        mine = await claimed(ledger, f"key-{turns}")
        task = asyncio.create_task(ledger.accepted(mine, f"gen-{turns}"))
        for _ in range(turns):
            await asyncio.sleep(0)
        doomed = asyncio.all_tasks() - {asyncio.current_task()}
        assert task in doomed or task.done()
        for one in doomed:
            one.cancel()
        await asyncio.gather(*doomed, return_exceptions=True)

    try:
        for turns in (1, 2, 3, 5, 8, 13):
            loop.run_until_complete(begin(turns))
            row = loop.run_until_complete(row_of(ledger, f"key-{turns}"))
            assert row is not None
            assert row.generation_id == f"gen-{turns}"
    finally:
        loop.run_until_complete(ledger.aclose())
        loop.close()


async def test_closing_finishes_what_is_queued(url: str, make_ledger: MakeLedger) -> None:
    ledger = make_ledger(url)
    mine = await claimed(ledger)
    task = asyncio.create_task(ledger.accepted(mine, "gen-1"))
    await asyncio.sleep(0)
    await ledger.aclose()
    await task
    assert (await kept(make_ledger(url))).generation_id == "gen-1"
    with pytest.raises(LedgerError) as caught:
        await claim(ledger)
    assert caught.value.nothing_was_paid
    with pytest.raises(LedgerError):
        await row_of(ledger)
    await ledger.aclose()


async def test_a_worker_that_is_cancelled_before_it_begins_leaves_nobody_waiting(
    url: str, make_ledger: MakeLedger
) -> None:
    ledger = make_ledger(url, retention=None)
    mine = await claimed(ledger)
    accepting = asyncio.ensure_future(ledger.accepted(mine, "gen-1"))
    await asyncio.sleep(0)
    for task in asyncio.all_tasks() - {accepting, asyncio.current_task()}:
        task.cancel()
    await asyncio.wait_for(accepting, 10)
    assert (await kept(ledger)).generation_id == "gen-1"
    await asyncio.wait_for(ledger.aclose(), 10)


async def test_closing_finishes_what_a_cancelled_worker_left(url: str, make_ledger: MakeLedger) -> None:
    ledger = make_ledger(url, retention=None)
    mine = await claimed(ledger)
    accepting = asyncio.ensure_future(ledger.accepted(mine, "gen-1"))
    await asyncio.sleep(0)
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    await asyncio.wait_for(ledger.aclose(), 10)
    assert accepting.cancelled()
    assert (await kept(make_ledger(url))).generation_id == "gen-1"


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("cannot schedule new futures after shutdown"),
        asyncio.CancelledError(),
        sqlalchemy.exc.TimeoutError("QueuePool limit of size 1 overflow 2 reached"),
        sqlite3.OperationalError("database or disk is full"),
        sqlalchemy.exc.DBAPIError("INSERT", {}, sqlite3.OperationalError("disk I/O error")),
        AttributeError("a mistake in here"),
    ],
    ids=repr,
)
def test_what_may_work_another_time_is_not_the_datas_fault(error: BaseException) -> None:
    assert not is_about_data(error)
