"""An id that another key was billed for is not taken: two requests would have one answer."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from prefect_foxapi.client.client import FoxAPIClient
from prefect_foxapi.client.config import ClientConfig
from prefect_foxapi.engine.calls import CacheScope, GenerationCall
from prefect_foxapi.engine.recorder import LedgerRecorder, submit_recorded
from prefect_foxapi.errors import AmbiguousSubmission, LedgerError
from prefect_foxapi.hooks import HookEvent, RecordingFailed, SubmissionRecorded
from prefect_foxapi.ledger import Claimant, Lease, Ledger, State
from prefect_foxapi.models.requests import GenerationRequest
from tests.support.factories import (
    DEADLINE,
    ERROR,
    OWNER,
    RESULT,
    Clock,
    MakeLedger,
    claimant,
    claimed,
    identity,
    kept,
    row_of,
    sqlite_url,
    submitted,
)
from tests.support.raw_http_server import GENERATION_ID, RawServer, answer, generation


async def test_id_of_another_key_makes_the_submission_ambiguous(ledger: Ledger, other: Ledger) -> None:
    await submitted(ledger, "key-1", "gen-1")
    lease = await claimed(other, "key-2")
    with pytest.raises(AmbiguousSubmission) as caught:
        await other.accepted(lease, "gen-1")
    assert (caught.value.key, caught.value.generation_id, caught.value.retryable) == ("key-2", None, False)
    assert {"key-1", "key-2", "gen-1"} <= set(str(caught.value).replace(",", "").split())
    row = await kept(ledger, "key-2")
    assert (row.state, row.generation_id, row.accepted_at) == (State.AMBIGUOUS, None, None)
    assert row.reason
    assert "key-1" in row.reason
    assert "gen-1" in row.reason
    # The outcome of the id is that of its own key alone.
    assert await ledger.completed("gen-1", RESULT, **OWNER)
    assert (await kept(ledger, "key-1")).state is State.COMPLETED
    assert (await kept(ledger, "key-2")).state is State.AMBIGUOUS


async def test_nothing_is_paid_again_without_a_decision(ledger: Ledger) -> None:
    await submitted(ledger, "key-1", "gen-1")
    lease = await claimed(ledger, "key-2")
    with pytest.raises(AmbiguousSubmission):
        await ledger.accepted(lease, "gen-1")
    assert (await kept(ledger, "key-2", by="task-2")).state is State.AMBIGUOUS
    again = await claimed(ledger, "key-2", by="task-2", on_ambiguous="resubmit")
    await ledger.accepted(again, "gen-2")
    assert (await kept(ledger, "key-2")).generation_id == "gen-2"


async def test_equal_ids_in_one_transaction(ledger: Ledger) -> None:
    leases = [await claimed(ledger, f"key-{number}") for number in range(5)]
    outcomes = await asyncio.gather(*(ledger.accepted(lease, "gen-1") for lease in leases), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [type(None), *[AmbiguousSubmission] * 4]
    assert [(await kept(ledger, lease.key)).generation_id for lease in leases] == ["gen-1", *[None] * 4]


async def test_equal_ids_in_concurrent_transactions(make_ledger: MakeLedger, url: str) -> None:
    ledgers = [make_ledger(url) for _ in range(4)]
    for turn in range(10):
        leases = [await claimed(one, f"{turn}-{number}") for number, one in enumerate(ledgers)]
        accepting = (one.accepted(lease, f"gen-{turn}") for one, lease in zip(ledgers, leases, strict=True))
        outcomes = await asyncio.gather(*accepting, return_exceptions=True)
        assert sorted(type(outcome).__name__ for outcome in outcomes) == [*["AmbiguousSubmission"] * 3, "NoneType"]


@pytest.mark.parametrize("end", ["completed", "failed", "forgotten"])
async def test_id_of_a_generation_that_has_ended(ledger: Ledger, end: str) -> None:
    await submitted(ledger, "key-1", "gen-1")
    if end == "completed":
        await ledger.completed("gen-1", RESULT, **OWNER)
    elif end == "failed":
        await ledger.failed("gen-1", ERROR, **OWNER)
    else:
        await ledger.settle("key-1", "forget", by="me")
    lease = await claimed(ledger, "key-2")
    with pytest.raises(AmbiguousSubmission):
        await ledger.accepted(lease, "gen-1")
    assert (await kept(ledger, "key-2")).generation_id is None


async def test_id_of_another_account_of_the_same_foxapi(ledger: Ledger) -> None:
    await submitted(ledger, "key-1", "gen-1")
    lease = await ledger.claim(identity("key-2", account="account-2"), claimant(), deadline=DEADLINE)
    assert isinstance(lease, Lease)
    with pytest.raises(AmbiguousSubmission):
        await ledger.accepted(lease, "gen-1")


async def test_another_foxapi_may_have_the_same_id(ledger: Ledger) -> None:
    await submitted(ledger, "key-1", "gen-1")
    lease = await ledger.claim(identity("key-2", base_url="http://127.0.0.1:8017"), claimant(), deadline=DEADLINE)
    assert isinstance(lease, Lease)
    await ledger.accepted(lease, "gen-1")


async def test_late_answer_with_the_id_of_another_key(ledger: Ledger, clock: Clock) -> None:
    lease = await claimed(ledger, "key-2")
    clock.step(DEADLINE + 1)
    assert (await kept(ledger, "key-2")).state is State.AMBIGUOUS
    await submitted(ledger, "key-1", "gen-1")
    with pytest.raises(AmbiguousSubmission):
        await ledger.accepted(lease, "gen-1")
    row = await kept(ledger, "key-2")
    assert (row.state, row.generation_id) == (State.AMBIGUOUS, None)


async def test_acceptance_that_is_recorded_again_changes_nothing(ledger: Ledger, other: Ledger) -> None:
    lease = await submitted(ledger, "key-1", "gen-1")
    for one in (ledger, other, ledger):
        await one.accepted(lease, "gen-1")
    row = await kept(ledger, "key-1")
    assert (row.state, row.generation_id) == (State.SUBMITTED, "gen-1")


async def test_acceptance_of_a_published_result_is_recorded_again(ledger: Ledger) -> None:
    lease = await submitted(ledger, "salted", "gen-1")
    await ledger.completed("gen-1", RESULT, **OWNER)
    assert await ledger.publish(identity("plain"), claimant(), "gen-1", RESULT)
    await ledger.accepted(lease, "gen-1")
    assert (await kept(ledger, "salted")).state is State.COMPLETED


async def test_claim_that_the_database_lost_stays_visible(make_ledger: MakeLedger, tmp_path: Path) -> None:
    lost = make_ledger(sqlite_url(tmp_path / "lost"))
    lease = await claimed(lost, "key-2")
    ledger = make_ledger(sqlite_url(tmp_path / "kept"))
    await submitted(ledger, "key-1", "gen-1")
    with pytest.raises(AmbiguousSubmission):
        await ledger.accepted(lease, "gen-1")
    assert (await kept(ledger, "key-2")).state is State.AMBIGUOUS


async def test_recovery_file_with_the_id_of_another_key_is_set_aside(make_ledger: MakeLedger, tmp_path: Path) -> None:
    ledger = make_ledger(sqlite_url(tmp_path), recovery_folder=None)
    lease = await claimed(ledger, "key-2")
    database, away = tmp_path / "ledger", tmp_path / "away"
    file = database / "ledger.db"
    shutil.move(file, away)
    with pytest.raises(LedgerError):
        await ledger.accepted(lease, "gen-1")
    shutil.move(away, file)
    (spilled,) = (database / "ledger.db.spill").iterdir()
    content = spilled.read_bytes()
    spilled.unlink()
    await submitted(ledger, "key-1", "gen-1")
    spilled.write_bytes(content)
    assert (await row_of(ledger, "key-1")) is not None
    await claimed(ledger, "key-3")
    assert [path.suffix for path in (database / "ledger.db.spill").iterdir()] == [".rejected"]
    row = await kept(ledger, "key-2")
    assert (row.state, row.generation_id) == (State.AMBIGUOUS, None)


async def test_service_that_answers_all_submissions_with_one_id(ledger: Ledger) -> None:
    events: list[HookEvent] = []
    async with RawServer([answer(generation())]) as server, FoxAPIClient("sk-test", base_url=server.url) as client:
        keys = ["ab" * 32, "cd" * 32]
        for key in keys:
            call = GenerationCall(
                request=GenerationRequest.build(key, model="gpt-5.5"),
                config=ClientConfig("sk-test", base_url=server.url, allow_http=True),
                account="me",
                key=key,
                digests={},
                cache_scope=CacheScope(),
                claimant=Claimant.here(),
            )
            recorder = LedgerRecorder(ledger, call, asked_at=0.0, hooks=(events.append,))
            submission = submit_recorded(client, call.request.body(), recorder)
            if key == keys[0]:
                await submission
            else:
                with pytest.raises(AmbiguousSubmission) as caught:
                    await submission
                assert all(name in str(caught.value) for name in (*keys, GENERATION_ID))
        assert len(server.asked("POST")) == 2
    assert [type(event) for event in events] == [SubmissionRecorded, RecordingFailed]
