"""The state machine until FoxAPI has accepted a submission."""

from __future__ import annotations

from pathlib import Path

import pytest

from prefect_foxapi.errors import LedgerError
from prefect_foxapi.ledger import Lease, Ledger, State, Submission
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


async def test_the_first_claims_and_the_others_get_the_row(ledger: Ledger, other: Ledger, clock: Clock) -> None:
    first = await claimed(ledger)
    assert (first.attempt, first.previous, first.deadline) == (1, None, clock.now + DEADLINE)
    row = await kept(other, by="task-2")
    assert (row.state, row.token, row.generation_id) == (State.SUBMITTING, first.token, None)
    assert (row.account, row.base_url, row.model, row.kind) == (ACCOUNT, BASE_URL, "gpt-5.5", "llm")
    assert row.claimant == claimant("task-1")
    assert "host:1, flow run flow-run of 'my-flow', task run task-1" in str(row.claimant)


async def test_accepted_can_be_collected_by_anybody(ledger: Ledger, other: Ledger, clock: Clock) -> None:
    await ledger.accepted(await claimed(ledger), "gen-1", credits=2)
    clock.step(10 * DEADLINE)
    row = await kept(other)
    assert (row.state, row.generation_id, row.credits) == (State.SUBMITTED, "gen-1", 2.0)
    assert row.accepted_at == clock.now - 10 * DEADLINE


async def test_refused_frees_the_key_at_once(ledger: Ledger, other: Ledger) -> None:
    await ledger.rejected(await claimed(ledger), "429")
    assert await row_of(other) is None
    assert (await claimed(other)).attempt == 1


async def test_lost_is_ambiguous(ledger: Ledger, other: Ledger) -> None:
    await ledger.unknown(await claimed(ledger), "read timeout")
    row = await kept(other, by="task-2")
    assert (row.state, row.reason) == (State.AMBIGUOUS, "read timeout")


async def test_a_deadline_that_is_past_makes_ambiguous(ledger: Ledger, other: Ledger, clock: Clock) -> None:
    await claimed(ledger)
    clock.step(DEADLINE - 0.001)
    assert (await kept(other)).state is State.SUBMITTING
    clock.step(0.001)
    assert (await kept(other)).state is State.AMBIGUOUS
    clock.step(-DEADLINE)
    assert (await kept(other)).state is State.AMBIGUOUS, "clocks that go back change nothing that was decided"


async def test_ambiguous_is_submitted_again_only_where_the_caller_says_so(ledger: Ledger) -> None:
    await ledger.unknown(await claimed(ledger), "reset")
    again = await claimed(ledger, by="task-2", on_ambiguous="resubmit")
    assert (again.attempt, again.previous) == (2, State.AMBIGUOUS)
    assert (await kept(ledger, by="task-3", on_ambiguous="resubmit")).state is State.SUBMITTING
    _, decisions = await ledger.history("key")
    assert [(one.action, one.found, one.by) for one in decisions] == [
        ("resubmit", State.AMBIGUOUS, str(claimant("task-2")))
    ]


async def test_a_late_arrival_is_recorded(ledger: Ledger, other: Ledger, clock: Clock) -> None:
    late = await claimed(ledger)
    clock.step(DEADLINE)
    assert (await kept(other)).state is State.AMBIGUOUS
    await ledger.accepted(late, "gen-1")
    row = await kept(other)
    assert (row.state, row.generation_id, row.reason) == (State.SUBMITTED, "gen-1", None)


async def test_a_late_arrival_leaves_the_key_to_who_claimed_it_since(ledger: Ledger, other: Ledger) -> None:
    late = await claimed(ledger)
    await ledger.unknown(late, "read timeout")
    second = await claimed(other, by="task-2", on_ambiguous="resubmit")
    await ledger.accepted(late, "gen-1")
    assert (await kept(other)).token == second.token
    await other.accepted(second, "gen-2")
    assert (await kept(ledger)).generation_id == "gen-2"
    found = await ledger.find_generation("gen-1")
    assert found is not None
    assert (found.state, found.token, found.current) == (State.SUBMITTED, late.token, False)
    assert [row.generation_id for row in await ledger.unsettled()] == ["gen-1", "gen-2"]


async def test_a_late_arrival_hides_no_ambiguous_submission(ledger: Ledger, other: Ledger) -> None:
    """Should the late one fail at FoxAPI, the key would be free, and the ambiguous one perhaps paid for."""
    late = await claimed(ledger)
    await ledger.unknown(late, "read timeout")
    second = await claimed(other, by="task-2", on_ambiguous="resubmit")
    await other.unknown(second, "read timeout")
    await ledger.accepted(late, "gen-1")
    assert (await kept(other)).generation_id == "gen-1"
    await ledger.failed("gen-1", ERROR, **OWNER)
    row = await kept(other, by="task-3")
    assert (row.state, row.token) == (State.AMBIGUOUS, second.token)


async def test_a_refusal_gives_back_what_arrived_late_meanwhile(ledger: Ledger, other: Ledger) -> None:
    late = await claimed(ledger)
    await ledger.unknown(late, "read timeout")
    second = await claimed(other, by="task-2", on_ambiguous="resubmit")
    await ledger.accepted(late, "gen-1")
    await other.rejected(second, "402")
    assert (await kept(other)).generation_id == "gen-1"


async def test_a_late_arrival_keeps_others_from_paying_after_a_failure(ledger: Ledger, other: Ledger) -> None:
    late = await claimed(ledger)
    await ledger.unknown(late, "read timeout")
    await submitted(other, generation_id="gen-2", by="task-2", on_ambiguous="resubmit")
    await other.failed("gen-2", ERROR, **OWNER)
    await ledger.accepted(late, "gen-1")
    assert (await kept(other, by="task-3")).generation_id == "gen-1"


async def test_accepted_wins_over_refused(ledger: Ledger) -> None:
    confused = await claimed(ledger)
    await ledger.rejected(confused, "429")
    await ledger.accepted(confused, "gen-1")
    await ledger.rejected(confused, "429")
    await ledger.unknown(confused, "timeout")
    assert (await kept(ledger)).generation_id == "gen-1"


async def test_one_claim_cannot_lead_to_two_generations(ledger: Ledger) -> None:
    first = await submitted(ledger)
    await ledger.accepted(first, "gen-1")
    with pytest.raises(LedgerError) as caught:
        await ledger.accepted(first, "gen-2")
    assert (caught.value.generation_id, caught.value.key) == ("gen-2", "key")
    assert (await kept(ledger)).generation_id == "gen-1"


async def test_refused_restores_an_ambiguous_row(ledger: Ledger) -> None:
    lost = await claimed(ledger)
    await ledger.unknown(lost, "reset")
    await ledger.rejected(await claimed(ledger, on_ambiguous="resubmit"), "429")
    row = await kept(ledger)
    assert (row.state, row.token, row.reason) == (State.AMBIGUOUS, lost.token, "reset")


async def test_refused_restores_a_failed_row(ledger: Ledger) -> None:
    await submitted(ledger)
    await ledger.failed("gen-1", ERROR, **OWNER)
    again = await claimed(ledger, by="task-2")
    assert (again.attempt, again.previous) == (2, State.FAILED)
    await ledger.rejected(again, "429")
    row = await row_of(ledger)
    assert row is not None
    assert (row.state, row.error, row.attempt) == (State.FAILED, ERROR, 1)


async def test_refused_restores_a_stale_result(ledger: Ledger, clock: Clock) -> None:
    await submitted(ledger)
    await ledger.completed("gen-1", RESULT, **OWNER)
    clock.step(100)
    await ledger.rejected(await claimed(ledger, by="task-2", max_age=100), "429")
    row = await kept(ledger, max_age=101)
    assert (row.state, row.result, row.finished_at) == (State.COMPLETED, RESULT, clock.now - 100)


async def test_a_late_refusal_frees_the_key(ledger: Ledger, other: Ledger, clock: Clock) -> None:
    slow = await claimed(ledger)
    clock.step(DEADLINE)
    assert (await kept(other)).state is State.AMBIGUOUS
    await ledger.rejected(slow, "connection refused")
    assert (await claimed(other)).attempt == 1


async def test_a_refusal_goes_back_past_other_refusals(ledger: Ledger, clock: Clock) -> None:
    first = await claimed(ledger, by="task-1")
    await ledger.unknown(first, "reset")
    second = await claimed(ledger, by="task-2", on_ambiguous="resubmit")
    clock.step(DEADLINE)
    third = await claimed(ledger, by="task-3", on_ambiguous="resubmit")
    await ledger.rejected(second, "429")
    assert (await kept(ledger)).token == third.token
    await ledger.rejected(third, "429")
    assert (await kept(ledger)).token == first.token


async def test_a_failure_is_paid_anew_by_another_task_run_only(ledger: Ledger, clock: Clock) -> None:
    await submitted(ledger, by="task-1")
    await ledger.failed("gen-1", ERROR, **OWNER)
    row = await kept(ledger, by="task-1")
    assert (row.state, row.error) == (State.FAILED, ERROR)
    assert (await claimed(ledger, by="task-2")).attempt == 2


async def test_a_failure_is_not_paid_anew_by_who_waited_for_it(ledger: Ledger, clock: Clock) -> None:
    asked_at = clock.now
    await submitted(ledger, by="task-1")
    clock.step(5)
    await ledger.failed("gen-1", ERROR, **OWNER)
    clock.step(5)
    assert (await kept(ledger, by="task-2", asked_at=asked_at)).state is State.FAILED
    assert (await claimed(ledger, by="task-2", asked_at=clock.now)).attempt == 2


async def test_without_a_task_run_a_failure_is_paid_anew(ledger: Ledger) -> None:
    nobody = claimant(task_run_id=None)
    first = await ledger.claim(identity(), nobody, deadline=DEADLINE)
    assert isinstance(first, Lease)
    await ledger.accepted(first, "gen-1")
    await ledger.failed("gen-1", ERROR, **OWNER)
    assert isinstance(await ledger.claim(identity(), nobody, deadline=DEADLINE), Lease)


@pytest.mark.parametrize("changes", [{"account": "account-2"}, {"base_url": "https://elsewhere"}])
async def test_a_row_of_somebody_else_is_an_error(ledger: Ledger, changes: dict[str, str]) -> None:
    await claimed(ledger)
    with pytest.raises(LedgerError) as caught:
        await ledger.claim(identity(**changes), claimant(), deadline=DEADLINE)
    assert caught.value.key == "key"
    assert isinstance(await claim(ledger), Submission)


async def test_an_acceptance_outlives_its_claim(ledger: Ledger, make_ledger: MakeLedger, tmp_path: Path) -> None:
    """The database was restored from a backup that is older than the claim, say."""
    first = await claimed(ledger)
    elsewhere = make_ledger(f"sqlite:///{tmp_path}/restored.db")
    await elsewhere.accepted(first, "gen-1")
    row = await kept(elsewhere)
    assert (row.generation_id, row.claimant, row.model) == ("gen-1", claimant(), "gpt-5.5")


@pytest.mark.parametrize("second", ["failed", "lost", "vanished"])
async def test_what_was_taken_for_lost_is_collected_before_anything_is_paid_again(ledger: Ledger, second: str) -> None:
    late = await claimed(ledger)
    await ledger.unknown(late, "reset")
    again = await claimed(ledger, by="task-2", on_ambiguous="resubmit")
    if second == "lost":
        await ledger.unknown(again, "reset")
    else:
        await ledger.accepted(again, "gen-2")
    await ledger.accepted(late, "gen-1")
    if second == "failed":
        await ledger.failed("gen-2", ERROR, **OWNER)
    elif second == "vanished":
        await ledger.vanished("gen-2", **OWNER)
    row = await kept(ledger, by="task-3", on_ambiguous="resubmit")
    assert (row.state, row.generation_id) == (State.SUBMITTED, "gen-1")
    row = await kept(ledger, by="task-4")
    assert (row.state, row.generation_id) == (State.SUBMITTED, "gen-1")


async def test_who_waited_for_what_became_ambiguous_does_not_submit_again(ledger: Ledger, clock: Clock) -> None:
    asked_at = clock.now
    clock.step(1)
    await ledger.unknown(await claimed(ledger), "502")
    waited = await kept(ledger, by="task-2", asked_at=asked_at, on_ambiguous="resubmit")
    assert waited.state is State.AMBIGUOUS
    clock.step(1)
    assert isinstance(await claim(ledger, by="task-3", asked_at=clock.now, on_ambiguous="resubmit"), Lease)


async def test_a_refusal_in_words_that_cannot_be_stored_is_noted_all_the_same(ledger: Ledger) -> None:
    await ledger.rejected(await claimed(ledger), "bad \ud800 \0 word")
    await ledger.unknown(await claimed(ledger, by="task-2"), "bad \ud800 \0 word")
    row = await kept(ledger)
    assert (row.state, row.reason) == (State.AMBIGUOUS, "bad ?  word")
