"""What people decide about what is unsettled, and what is deleted by and by."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from prefect_foxapi.errors import InvalidRequest
from prefect_foxapi.ledger import Ledger, State
from tests.support.factories import (
    ACCOUNT,
    BASE_URL,
    DEADLINE,
    ERROR,
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
    submitted,
)

DAY = 86400.0


async def test_a_permission_is_good_for_one_claim(ledger: Ledger, other: Ledger, clock: Clock) -> None:
    await ledger.unknown(await claimed(ledger), "reset")
    row = await ledger.settle("key", "allow_resubmit", by="ann")
    assert row is not None
    assert (row.state, row.permitted) == (State.AMBIGUOUS, True)
    second = await claimed(other, by="task-2")
    assert (second.attempt, second.previous) == (2, State.AMBIGUOUS)
    await other.unknown(second, "reset")
    assert (await kept(ledger, by="task-3")).state is State.AMBIGUOUS
    _, decisions = await ledger.history("key")
    assert [(one.action, one.by, one.at, one.found) for one in decisions] == [
        ("allow_resubmit", "ann", clock.now, State.AMBIGUOUS)
    ]


async def test_a_refusal_gives_the_permission_back(ledger: Ledger) -> None:
    await ledger.unknown(await claimed(ledger), "reset")
    await ledger.settle("key", "allow_resubmit")
    await ledger.rejected(await claimed(ledger, by="task-2"), "429")
    row = await row_of(ledger)
    assert row is not None
    assert (row.state, row.permitted) == (State.AMBIGUOUS, True)
    await ledger.unknown(await claimed(ledger, by="task-3"), "reset")
    assert (await kept(ledger)).state is State.AMBIGUOUS


async def test_a_late_arrival_ends_the_permission(ledger: Ledger) -> None:
    late = await claimed(ledger)
    await ledger.unknown(late, "reset")
    await ledger.settle("key", "allow_resubmit")
    await ledger.accepted(late, "gen-1")
    assert (await kept(ledger)).state is State.SUBMITTED
    await ledger.vanished("gen-1", **OWNER)
    assert (await kept(ledger)).state is State.AMBIGUOUS, "the permission was for another kind of ambiguous"
    await ledger.settle("key", "allow_resubmit")
    assert (await claimed(ledger)).attempt == 2


async def test_what_the_deadline_makes_ambiguous_can_be_settled_at_once(ledger: Ledger, clock: Clock) -> None:
    await claimed(ledger)
    clock.step(DEADLINE)
    assert [row.key for row in await ledger.unsettled()] == ["key"]
    await ledger.settle("key", "allow_resubmit")
    assert (await claimed(ledger)).attempt == 2


@pytest.mark.parametrize("state", [State.AMBIGUOUS, State.SUBMITTED, State.SUBMITTING])
async def test_forget_frees_the_key(ledger: Ledger, clock: Clock, state: State) -> None:
    first = await claimed(ledger)
    if state is State.SUBMITTED:
        await ledger.accepted(first, "gen-1")
    elif state is State.AMBIGUOUS:
        await ledger.unknown(first, "reset")
    else:
        clock.step(DEADLINE)
    assert await ledger.settle("key", "forget", by="ann") is None
    assert await row_of(ledger) is None
    assert await ledger.unsettled() == []
    (row,), (decision,) = await ledger.history("key")
    assert (row.state, row.current, row.reason) == (State.FORGOTTEN, False, "given up by ann")
    assert (decision.action, decision.by) == ("forget", "ann")
    assert (await claimed(ledger, by="task-2")).attempt == 1


async def test_an_answer_after_all_makes_forgetting_needless(ledger: Ledger) -> None:
    first = await claimed(ledger)
    await ledger.unknown(first, "reset")
    await ledger.settle("key", "forget")
    await ledger.accepted(first, "gen-1")
    assert (await kept(ledger)).generation_id == "gen-1"


async def test_the_result_of_a_forgotten_generation_is_recorded_and_no_more(ledger: Ledger) -> None:
    await submitted(ledger)
    await ledger.settle("key", "forget")
    await ledger.completed("gen-1", RESULT, **OWNER)
    assert await row_of(ledger) is None
    found = await ledger.find_generation("gen-1")
    assert found is not None
    assert (found.state, found.result, found.current) == (State.COMPLETED, RESULT, False)


async def test_forget_takes_what_was_superseded_as_well(ledger: Ledger) -> None:
    late = await claimed(ledger)
    await ledger.unknown(late, "reset")
    await submitted(ledger, generation_id="gen-2", on_ambiguous="resubmit")
    await ledger.completed("gen-2", RESULT, **OWNER)
    await ledger.accepted(late, "gen-1")
    assert [row.generation_id for row in await ledger.unsettled()] == ["gen-1"]
    await ledger.settle("key", "forget")
    assert await ledger.unsettled() == []
    assert (await kept(ledger)).result == RESULT


async def test_actions_that_do_not_fit_say_what_does(ledger: Ledger) -> None:
    async def refused(action: Any) -> InvalidRequest:
        before = await row_of(ledger)
        with pytest.raises(InvalidRequest) as caught:
            await ledger.settle("key", action)
        assert caught.value.key == "key"
        assert await row_of(ledger) == before
        return caught.value

    await refused("forget")
    await refused("allow_resubmit")
    first = await claimed(ledger)
    for action in ("forget", "allow_resubmit"):
        error = await refused(action)
        assert error.generation_id is None
        assert (State.SUBMITTING in str(error), f"{DEADLINE:.0f} s" in str(error)) == (True, True)
    await ledger.accepted(first, "gen-1")
    error = await refused("allow_resubmit")
    assert (error.generation_id, State.SUBMITTED in str(error)) == ("gen-1", True)
    await ledger.completed("gen-1", RESULT, **OWNER)
    for action in ("forget", "allow_resubmit"):
        error = await refused(action)
        assert (error.generation_id, State.COMPLETED in str(error)) == ("gen-1", True)
    assert (await refused("collect")).field == "action"
    assert (await ledger.history("key"))[1] == []


async def test_unsettled_lists_what_is_open(ledger: Ledger, clock: Clock) -> None:
    await claimed(ledger, "past")
    clock.step(DEADLINE)
    await submitted(ledger, "submitted", "gen-1")
    await ledger.unknown(await claimed(ledger, "ambiguous"), "reset")
    await claimed(ledger, "live")
    await submitted(ledger, "completed", "gen-2")
    await ledger.completed("gen-2", RESULT, **OWNER)
    await submitted(ledger, "failed", "gen-3")
    await ledger.failed("gen-3", ERROR, **OWNER)
    await ledger.rejected(await claimed(ledger, "refused"), "429")
    await ledger.claim(identity("foreign", account="account-2"), claimant(), deadline=-1)
    keys = {row.key for row in await ledger.unsettled()}
    assert keys == {"past", "submitted", "ambiguous", "foreign"}
    assert {row.key for row in await ledger.unsettled(ACCOUNT)} == {"past", "submitted", "ambiguous"}


async def test_usage_by_day_model_and_flow(ledger: Ledger, clock: Clock) -> None:
    clock.now = 1_800_000_000 // DAY * DAY
    await submitted(ledger, "1", "gen-1")
    await ledger.completed("gen-1", RESULT, **OWNER, credits=2, tokens=(10, 20))
    await submitted(ledger, "2", "gen-2")
    await ledger.completed("gen-2", RESULT, **OWNER, credits=0.5, tokens=(1, 2))
    await submitted(ledger, "3", "gen-3")
    await ledger.failed("gen-3", ERROR, **OWNER)
    await ledger.unknown(await claimed(ledger, "4"), "reset")
    await ledger.rejected(await claimed(ledger, "5"), "402")
    clock.step(DAY)
    other_flow = claimant(flow_name=None)
    found = await ledger.claim(identity("6", model="kimi-k2.6"), other_flow, deadline=DEADLINE)
    await ledger.accepted(found, "gen-6", credits=7)  # type: ignore[arg-type]
    today, yesterday = await ledger.usage()
    assert (today.day, today.model, today.flow_name, today.submissions) == ("2027-01-16", "kimi-k2.6", None, 1)
    assert today.credits == 7
    assert (yesterday.day, yesterday.model, yesterday.flow_name) == ("2027-01-15", "gpt-5.5", "my-flow")
    assert (yesterday.submissions, yesterday.ambiguous, yesterday.failed) == (3, 1, 1)
    assert (yesterday.credits, yesterday.prompt_tokens, yesterday.completion_tokens) == (2.5, 11, 22)
    assert await ledger.usage(since=clock.now) == [today]


async def test_what_is_finished_goes_after_the_retention(url: str, make_ledger: MakeLedger, clock: Clock) -> None:
    ledger = make_ledger(url, retention=30 * DAY)
    await submitted(ledger, "completed", "gen-1")
    await ledger.completed("gen-1", RESULT, **OWNER)
    await submitted(ledger, "failed", "gen-2")
    await ledger.failed("gen-2", ERROR, **OWNER)
    await ledger.rejected(await claimed(ledger, "refused"), "429")
    await submitted(ledger, "submitted", "gen-3")
    await ledger.unknown(await claimed(ledger, "ambiguous"), "reset")
    await claimed(ledger, "live", deadline=1000 * DAY)
    await ledger.unknown(await claimed(ledger, "permitted"), "reset")
    await submitted(ledger, "permitted", "gen-4", on_ambiguous="resubmit")
    await ledger.remember_upload("d", account=ACCOUNT, base_url=BASE_URL, url="u", expires_at=clock.now + DAY)
    clock.step(30 * DAY)
    assert await ledger.prune() == 0, "not a second too early"
    await submitted(ledger, "young", "gen-5")
    await ledger.completed("gen-5", RESULT, **OWNER)
    clock.step(6 * 3600)
    # By itself, since some hours have passed.
    await claim(ledger, "anything")
    await ledger.aclose()
    later = make_ledger(url, retention=None)
    left = {(row.key, row.state) for row in await later.recent(1000)}
    assert left == {
        ("submitted", State.SUBMITTED),
        ("ambiguous", State.AMBIGUOUS),
        ("live", State.SUBMITTING),
        ("permitted", State.SUBMITTED),
        ("young", State.COMPLETED),
        ("anything", State.SUBMITTING),
    }
    assert (await later.history("permitted"))[1] == []
    assert await later.prune() == 0, "no retention, no deletion"


async def test_what_a_refusal_would_give_back_stays(ledger: Ledger, clock: Clock) -> None:
    await submitted(ledger)
    await ledger.completed("gen-1", RESULT, **OWNER)
    clock.step(DAY)
    again = await claimed(ledger, by="task-2", max_age=1)
    clock.step(DAY)
    assert await ledger.prune(0) == 0
    await ledger.rejected(again, "429")
    assert (await kept(ledger)).result == RESULT


async def test_pruning_goes_on_until_all_is_gone(ledger: Ledger, clock: Clock) -> None:
    keys = [f"key-{n}" for n in range(1203)]
    await asyncio.gather(*(ledger.publish(identity(key), claimant(), f"gen-{key}", RESULT) for key in keys))
    clock.step(1)
    assert await ledger.prune(0) == 1203
    assert await ledger.find(keys) == {}


async def test_pruning_keeps_no_paid_generation_from_being_recorded(
    url: str, make_ledger: MakeLedger, clock: Clock
) -> None:
    keys = [f"key-{n}" for n in range(3003)]
    before = make_ledger(url, retention=None)
    await asyncio.gather(*(before.publish(identity(key), claimant(), f"gen-{key}", RESULT) for key in keys))
    clock.step(2 * DAY)
    ledger = make_ledger(url, retention=DAY)
    # By itself, since this one never did it yet.
    mine = await claimed(ledger)
    await ledger.accepted(mine, "gen-1")
    assert len(await before.find(keys)) > 500
    while await before.find(keys):
        await asyncio.sleep(0.01)
    assert (await kept(ledger)).generation_id == "gen-1"
