"""The state machine after FoxAPI has accepted a submission."""

from __future__ import annotations

import pytest

from prefect_foxapi.errors import LedgerError
from prefect_foxapi.ledger import Lease, Ledger, State
from tests.support.factories import (
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


async def test_a_result_is_kept_for_everybody(ledger: Ledger, other: Ledger, clock: Clock) -> None:
    await submitted(ledger)
    clock.step(8)
    assert await other.completed("gen-1", RESULT, **OWNER, credits=3, tokens=(5, 7))
    row = await kept(ledger, by="task-2")
    assert (row.state, row.result, row.result_kept, row.finished_at) == (State.COMPLETED, RESULT, True, clock.now)
    assert (row.credits, row.prompt_tokens, row.completion_tokens) == (3.0, 5, 7)
    assert row == await row_of(other)


async def test_the_first_outcome_stays(ledger: Ledger) -> None:
    await submitted(ledger)
    assert await ledger.completed("gen-1", RESULT, **OWNER)
    assert await ledger.completed("gen-1", {"other": 1}, **OWNER)
    assert not await ledger.failed("gen-1", ERROR, **OWNER)
    assert (await kept(ledger)).result == RESULT

    await submitted(ledger, "key-2", "gen-2")
    assert await ledger.failed("gen-2", ERROR, **OWNER)
    assert not await ledger.completed("gen-2", RESULT, **OWNER)
    assert (await kept(ledger, "key-2")).error == ERROR


async def test_an_outcome_is_for_its_account_and_key_alone(ledger: Ledger) -> None:
    await submitted(ledger)
    assert not await ledger.completed("gen-1", RESULT, **{**OWNER, "account": "account-2"})
    assert not await ledger.completed("gen-1", RESULT, **OWNER, key="another")
    assert not await ledger.failed("gen-1", ERROR, **{**OWNER, "account": "account-2"})
    await ledger.vanished("gen-1", **{**OWNER, "account": "account-2"})
    assert not await ledger.completed("unknown", RESULT, **OWNER)
    assert (await kept(ledger)).state is State.SUBMITTED
    assert await ledger.completed("gen-1", RESULT, **OWNER, key="key")


async def test_an_outcome_is_for_its_foxapi_alone(ledger: Ledger) -> None:
    await submitted(ledger)
    elsewhere = {**OWNER, "base_url": "http://127.0.0.1:8017"}
    await ledger.vanished("gen-1", **elsewhere)
    assert not await ledger.completed("gen-1", RESULT, **elsewhere)
    assert not await ledger.failed("gen-1", ERROR, **elsewhere)
    assert (await kept(ledger)).state is State.SUBMITTED


async def test_stale_results_are_paid_anew(ledger: Ledger, clock: Clock) -> None:
    await submitted(ledger)
    await ledger.completed("gen-1", RESULT, **OWNER, expires_at=clock.now + 100)
    clock.step(49.5)
    assert (await kept(ledger, max_age=50)).state is State.COMPLETED
    clock.step(0.5)
    again = await claimed(ledger, by="task-2", max_age=50)
    assert (again.attempt, again.previous) == (2, State.COMPLETED)
    await ledger.rejected(again, "429")
    assert (await kept(ledger)).state is State.COMPLETED
    clock.step(50)
    assert isinstance(await claim(ledger), Lease), "its URL is dead"


async def test_results_can_be_kept_out(url: str, make_ledger: MakeLedger, clock: Clock) -> None:
    ledger = make_ledger(url, keep_results=False)
    await submitted(ledger)
    await ledger.completed("gen-1", RESULT, **OWNER)
    row = await kept(ledger)
    assert (row.state, row.generation_id, row.result, row.result_kept) == (State.COMPLETED, "gen-1", None, False)
    await ledger.vanished("gen-1", **OWNER)
    row = await kept(ledger)
    assert row.state is State.AMBIGUOUS, "one 404 does not pay again"
    assert row.reason == "FoxAPI no longer has the result of generation gen-1"
    await ledger.completed("gen-1", RESULT, **OWNER)
    assert (await kept(ledger)).state is State.COMPLETED, "and may have been wrong"


async def test_what_was_not_kept_and_expired_is_paid_anew(url: str, make_ledger: MakeLedger, clock: Clock) -> None:
    ledger = make_ledger(url, keep_results=False)
    await submitted(ledger)
    await ledger.completed("gen-1", RESULT, **OWNER, expires_at=clock.now + 100)
    clock.step(100)
    await ledger.vanished("gen-1", **OWNER)
    assert (await claimed(ledger)).attempt == 2


async def test_a_result_that_is_kept_outlives_the_generation(ledger: Ledger) -> None:
    await submitted(ledger)
    await ledger.completed("gen-1", RESULT, **OWNER)
    await ledger.vanished("gen-1", **OWNER)
    assert (await kept(ledger)).result == RESULT


async def test_a_generation_that_foxapi_no_longer_knows_is_ambiguous(ledger: Ledger) -> None:
    first = await submitted(ledger)
    await ledger.vanished("gen-1", **OWNER)
    row = await kept(ledger, by="task-2")
    assert (row.state, row.generation_id) == (State.AMBIGUOUS, "gen-1")
    assert row.reason == "FoxAPI no longer knows generation gen-1"
    await ledger.accepted(first, "gen-1")
    assert (await kept(ledger)).state is State.AMBIGUOUS, "the same news again does not bring it back"
    await ledger.completed("gen-1", RESULT, **OWNER)
    assert (await kept(ledger)).state is State.COMPLETED, "a result does"


async def test_the_result_of_a_superseded_submission_answers_an_ambiguous_key(ledger: Ledger) -> None:
    late = await claimed(ledger)
    await ledger.unknown(late, "reset")
    second = await claimed(ledger, by="task-2", on_ambiguous="resubmit")
    await ledger.accepted(late, "gen-1")
    await ledger.unknown(second, "reset")
    assert (await kept(ledger)).generation_id == "gen-1"
    await ledger.completed("gen-1", RESULT, **OWNER)
    assert (await kept(ledger)).result == RESULT


async def test_the_result_of_a_superseded_submission_does_not_replace_another(ledger: Ledger) -> None:
    late = await claimed(ledger)
    await ledger.unknown(late, "reset")
    await submitted(ledger, generation_id="gen-2", by="task-2", on_ambiguous="resubmit")
    await ledger.accepted(late, "gen-1")
    await ledger.completed("gen-1", {"n": 1}, **OWNER)
    assert (await kept(ledger)).state is State.SUBMITTED
    await ledger.completed("gen-2", {"n": 2}, **OWNER)
    assert (await kept(ledger)).result == {"n": 2}
    found = await ledger.find_generation("gen-1")
    assert found is not None
    assert (found.state, found.result, found.current) == (State.COMPLETED, {"n": 1}, False)


async def test_publish_lets_a_result_answer_another_key(ledger: Ledger, clock: Clock) -> None:
    await submitted(ledger, "refreshed", "gen-1")
    await ledger.completed("gen-1", RESULT, **OWNER, credits=3)
    assert await ledger.publish(identity(), claimant(), "gen-1", RESULT, finished_at=clock.now - 10, tokens=(1, 2))
    row = await kept(ledger)
    assert (row.state, row.result, row.billed) == (State.COMPLETED, RESULT, False)
    assert (row.finished_at, row.prompt_tokens) == (clock.now - 10, 1)
    assert [(one.submissions, one.credits) for one in await ledger.usage()] == [(1, 3.0)], "it was paid for once"
    found = await ledger.find_generation("gen-1")
    assert found is not None
    assert found.key == "refreshed"


async def test_publish_replaces_what_is_over(ledger: Ledger) -> None:
    await submitted(ledger)
    await ledger.completed("gen-1", {"n": 1}, **OWNER)
    assert await ledger.publish(identity(), claimant(), "gen-2", {"n": 2})
    assert (await kept(ledger)).result == {"n": 2}
    await submitted(ledger, "failed", "gen-3")
    await ledger.failed("gen-3", ERROR, **OWNER)
    assert await ledger.publish(identity("failed"), claimant(), "gen-2", {"n": 2})
    assert (await kept(ledger, "failed")).result == {"n": 2}


async def test_publish_does_not_put_an_older_result_in_place_of_a_newer(ledger: Ledger, clock: Clock) -> None:
    assert await ledger.publish(identity(), claimant(), "gen-2", {"n": 2})
    clock.step(10)
    assert not await ledger.publish(identity(), claimant(), "gen-1", {"n": 1}, finished_at=clock.now - 20)
    assert (await kept(ledger)).result == {"n": 2}
    assert (await kept(ledger, max_age=15)).state is State.COMPLETED


async def test_publish_never_disturbs_what_is_not_over(ledger: Ledger) -> None:
    first = await claimed(ledger)
    assert not await ledger.publish(identity(), claimant(), "gen-9", RESULT)
    assert (await kept(ledger)).state is State.SUBMITTING
    await ledger.unknown(first, "reset")
    assert not await ledger.publish(identity(), claimant(), "gen-9", RESULT)
    assert (await kept(ledger)).state is State.AMBIGUOUS
    await ledger.accepted(first, "gen-1")
    assert not await ledger.publish(identity(), claimant(), "gen-9", RESULT)
    assert (await kept(ledger)).generation_id == "gen-1"
    with pytest.raises(LedgerError) as caught:
        await ledger.publish(identity(account="account-2"), claimant(), "gen-9", RESULT)
    assert caught.value.key == "key"
    assert (await kept(ledger)).account == "account-1"


async def test_publish_refused_claims_give_back_what_was_published(ledger: Ledger, clock: Clock) -> None:
    await ledger.publish(identity(), claimant(), "gen-9", RESULT)
    await ledger.rejected(await claimed(ledger, max_age=0), "429")
    assert (await kept(ledger)).result == RESULT


@pytest.mark.parametrize("value", [1.5, True, "é\u0000\ud800", None, [{"deep": [1, 2]}]])
async def test_results_come_back_as_they_were(ledger: Ledger, value: object) -> None:
    await submitted(ledger)
    await ledger.completed("gen-1", {"value": value}, **OWNER)
    assert (await kept(ledger)).result == {"value": value}


async def test_what_is_no_json_never_reaches_the_ledger(ledger: Ledger) -> None:
    await submitted(ledger)
    with pytest.raises(TypeError):
        await ledger.completed("gen-1", {"value": object()}, **OWNER)
    assert (await kept(ledger)).state is State.SUBMITTED


async def test_uploads_are_remembered_while_they_live(ledger: Ledger, other: Ledger, clock: Clock) -> None:
    await ledger.remember_upload("digest", **OWNER, url="https://files/1", expires_at=clock.now + 100)
    assert await other.find_upload("digest", **OWNER) == "https://files/1"
    assert await other.find_upload("other", **OWNER) is None
    assert await other.find_upload("digest", account="account-2", base_url=BASE_URL) is None
    clock.step(100)
    assert await other.find_upload("digest", **OWNER) is None
    await other.remember_upload("digest", **OWNER, url="https://files/2", expires_at=clock.now + 100)
    assert await ledger.find_upload("digest", **OWNER) == "https://files/2"


async def test_deadlines_in_the_past_are_ambiguous_at_once(ledger: Ledger) -> None:
    await claimed(ledger, deadline=-DEADLINE)
    assert (await kept(ledger)).state is State.AMBIGUOUS
