"""Retries of tasks and flows: none of them pays for what was paid for, or may have been."""

from __future__ import annotations

from typing import Any

import pytest
from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from prefect_foxapi import FoxAPICredentials, GenerationFailed, agenerate, generate, is_retryable
from prefect_foxapi.emulator import Emulator
from tests.pay_once.callers import Caller
from tests.pay_once.programs import MODEL, POLL

pytestmark = pytest.mark.usefixtures("home")

THREE: dict[str, Any] = {"retries": 3, "retry_delay_seconds": 0}


def submissions(emulator: Emulator) -> int:
    return emulator.counts().get(("POST", "submit"), 0)


@pytest.mark.parametrize("fault", [{"kind": "reset_after"}, {"kind": "hang", "processed": True, "seconds": 0.1}])
@pytest.mark.parametrize("condition", [None, is_retryable])
async def test_retries_never_repeat_what_nobody_can_know(
    fault: dict[str, Any], condition: Any, ask: Caller, emulator: Emulator
) -> None:
    emulator.add_fault(**fault, endpoint="submit")
    outcome = await ask(**THREE, retry_condition_fn=condition)
    assert outcome["error"] == "AmbiguousSubmission"
    assert submissions(emulator) == 1 == len(emulator.ledger())


async def test_answer_that_breaks_off_behind_the_id_is_collected(ask: Caller, emulator: Emulator) -> None:
    emulator.add_fault(kind="truncated", endpoint="submit")
    outcome = await ask(**THREE)
    assert outcome["id"] == emulator.ledger()[0].generation_id
    assert submissions(emulator) == 1 == len(emulator.ledger())


@pytest.mark.parametrize("condition", [None, is_retryable])
async def test_retries_never_pay_again_for_what_failed(condition: Any, ask: Caller, emulator: Emulator) -> None:
    emulator.script("the same", fail={"code": "upstream_error", "message": "no luck"})
    outcome = await ask(**THREE, retry_condition_fn=condition)
    assert outcome["error"] == "GenerationFailed"
    assert submissions(emulator) == 1 == len(emulator.ledger())


@pytest.mark.parametrize(("status", "error"), [(401, "AuthenticationError"), (422, "InvalidRequest")])
async def test_a_refusal_is_final_with_the_condition_and_costs_nothing_without(
    status: int, error: str, ask: Caller, emulator: Emulator
) -> None:
    emulator.add_fault(kind="status", status=status, endpoint="submit")
    assert (await ask(**THREE, retry_condition_fn=is_retryable))["error"] == error
    assert submissions(emulator) == 1
    assert (await ask(**THREE))["error"] == error
    assert submissions(emulator) == 5
    assert emulator.ledger() == []


async def test_retries_go_on_waiting(ask: Caller, emulator: Emulator) -> None:
    emulator.script("the same", "at last", duration=2.0)
    state = await ask.state(options={"retries": 50, "retry_condition_fn": is_retryable}, timeout=0.3)
    assert state.name == "Completed"
    assert submissions(emulator) == 1 == len(emulator.ledger())


@pytest.mark.parametrize("caching", [{}, {"cache_policy": NO_CACHE}, {"refresh_cache": True}])
async def test_a_flow_that_is_retried_goes_on(
    caching: dict[str, Any], emulator: Emulator, credentials: FoxAPICredentials
) -> None:
    seen: list[tuple[str, ...]] = []

    @flow(retries=2)
    async def unlucky() -> None:
        asking = agenerate.with_options(**caching) if caching else agenerate
        asked = [await asking("the same", model=MODEL, credentials=credentials, poll=POLL) for _ in range(2)]
        seen.append(tuple(generation.generation_id for generation in asked))
        if len(seen) < 3:
            raise RuntimeError("after paying")

    await unlucky()
    assert len(seen) == 3
    assert len(set(seen)) == 1
    # Without a cache, each of the two calls pays; but none of them once more for each attempt of the flow.
    assert len(emulator.ledger()) == len(set(seen[0])) == (2 if caching else 1)


def test_a_task_around_it_can_be_retried(emulator: Emulator, credentials: FoxAPICredentials) -> None:
    seen: list[str] = []

    @task(retries=2, cache_policy=NO_CACHE)
    def unlucky() -> None:
        seen.append(generate("the same", model=MODEL, credentials=credentials, poll=POLL).origin)
        if len(seen) < 3:
            raise RuntimeError("after paying")

    @flow
    def around() -> None:
        unlucky()

    around()
    assert seen[0] == "billed"
    assert set(seen[1:]) == {"replayed"}
    assert len(emulator.ledger()) == 1


async def test_a_failure_is_paid_for_anew_by_the_next_attempt_of_a_flow(
    emulator: Emulator, credentials: FoxAPICredentials
) -> None:
    emulator.script("the same", fail={"code": "upstream_error", "message": "no luck"}, count=1)
    seen: list[str] = []

    @flow(retries=1)
    async def again() -> None:
        try:
            seen.append((await agenerate("the same", model=MODEL, credentials=credentials, poll=POLL)).origin)
        except GenerationFailed:
            seen.append("failed")
            raise

    await again()
    assert seen == ["failed", "billed"]
    assert len(emulator.ledger()) == 2
