"""Prefect's cache and the ledger below it, with the emulator's books as the judge."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from prefect import State, flow, task
from prefect.cache_policies import INPUTS, NO_CACHE
from prefect.settings import PREFECT_TASKS_DISABLE_CACHING, PREFECT_TASKS_REFRESH_CACHE, temporary_settings
from pydantic import BaseModel

from prefect_foxapi import FoxAPICredentials, Generation, agenerate, await_for_generation
from prefect_foxapi.emulator import Emulator
from tests.pay_once.callers import Caller, result_of, told
from tests.pay_once.fork_server import ForkServer
from tests.pay_once.programs import MODEL, POLL

ASK = "tests.pay_once.callers:ask_once"
pytestmark = pytest.mark.usefixtures("home")


class Capital(BaseModel):
    city: str


async def test_a_repeat_is_cached_and_asks_nobody(
    ask: Caller, emulator: Emulator, elsewhere: ForkServer, tmp_path: Path
) -> None:
    first = await ask()
    assert (first["state"], first["origin"]) == ("Completed", "billed")
    counts = emulator.counts()
    assert await ask() == {**first, "state": "Cached", "origin": "replayed"}
    report = tmp_path / "report.json"
    child = elsewhere.run(ASK, base_url=emulator.url, api_key=emulator.api_key, report=str(report))
    assert child.wait() == 0
    assert json.loads(report.read_text()) == [{**first, "state": "Cached", "origin": "replayed"}]
    assert emulator.counts() == counts


async def test_a_typed_repeat_is_cached_with_its_type(ask: Caller, emulator: Emulator) -> None:
    states = [await ask.state(output_type=Capital) for _ in range(2)]
    assert [state.name for state in states] == ["Completed", "Cached"]
    assert all(isinstance(generation_of(state).parsed, Capital) for state in states)
    assert len(emulator.ledger()) == 1


async def test_cache_expiration_bounds_the_age_of_a_result_in_the_ledger_too(ask: Caller, emulator: Emulator) -> None:
    at_once = timedelta(microseconds=1)
    first, second = [await ask(cache_expiration=at_once) for _ in range(2)]
    assert first["id"] != second["id"]
    assert second["origin"] == "billed"
    assert (await ask(cache_expiration=timedelta(hours=1)))["id"] == second["id"]
    assert (await ask(cache_expiration=timedelta(hours=1)))["state"] == "Cached"
    assert len(emulator.ledger()) == 2


async def test_refresh_cache_pays_and_later_calls_have_the_new_result(
    ask: Caller, emulator: Emulator, home: Path
) -> None:
    first = await ask()
    fresh = await ask(refresh_cache=True)
    assert (fresh["state"], fresh["origin"]) == ("Completed", "billed")
    assert fresh["id"] != first["id"]
    assert await ask() == {**fresh, "state": "Cached", "origin": "replayed"}
    shutil.rmtree(home / "storage")
    assert await ask() == {**fresh, "origin": "replayed"}
    assert len(emulator.ledger()) == 2


async def test_the_setting_to_refresh_does_the_same(ask: Caller, emulator: Emulator) -> None:
    first = await ask()
    with temporary_settings({PREFECT_TASKS_REFRESH_CACHE: True}):
        fresh = await ask()
        kept = await ask(refresh_cache=False)
    assert fresh["id"] != first["id"]
    assert (kept["id"], kept["state"]) == (fresh["id"], "Cached")
    assert len(emulator.ledger()) == 2


async def test_no_cache_pays_each_time_and_shares_with_nobody(ask: Caller, emulator: Emulator) -> None:
    outcomes = [await ask(cache_policy=policy) for policy in (NO_CACHE, NO_CACHE)]
    usual = await ask()
    assert len({outcome["id"] for outcome in [*outcomes, usual]}) == 3 == len(emulator.ledger())
    assert {outcome["origin"] for outcome in outcomes} == {"billed"}


async def test_another_cache_policy_still_pays_once(ask: Caller, emulator: Emulator) -> None:
    first, second = [await ask(cache_policy=INPUTS) for _ in range(2)]
    assert (second["state"], second["id"]) == ("Cached", first["id"])
    assert await ask() == {**first, "origin": "replayed"}
    assert len(emulator.ledger()) == 1


async def test_results_that_are_not_stored_are_still_paid_for_once(ask: Caller, emulator: Emulator) -> None:
    first, second = [await ask(persist_result=False) for _ in range(2)]
    assert (first["origin"], second["origin"]) == ("billed", "replayed")
    assert len(emulator.ledger()) == 1
    assert (await ask(persist_result=False, cache_policy=NO_CACHE))["origin"] == "billed"
    assert len(emulator.ledger()) == 2


async def test_the_setting_to_disable_caching_is_no_cache_for_all(ask: Caller, emulator: Emulator) -> None:
    with temporary_settings({PREFECT_TASKS_DISABLE_CACHING: True}):
        origins = [(await ask(persist_result=stored))["origin"] for stored in (None, False)]
    assert origins == ["billed", "billed"]
    assert len(emulator.ledger()) == 2


async def test_the_options_of_a_task_around_it_are_not_its_own(
    emulator: Emulator, credentials: FoxAPICredentials
) -> None:
    @task(cache_policy=NO_CACHE, refresh_cache=True)
    async def mine() -> str:
        return (await agenerate.fn("the same", model=MODEL, credentials=credentials, poll=POLL)).origin

    @flow
    async def twice() -> list[str]:
        return [await mine(), await mine()]

    assert await twice() == ["billed", "replayed"]
    assert len(emulator.ledger()) == 1


async def test_another_sample_is_another_generation(ask: Caller, emulator: Emulator) -> None:
    ids = [generation_of(await ask.state(sample=sample)).generation_id for sample in (0, 1, 2, 1)]
    assert len(set(ids)) == 3 == len(emulator.ledger())
    assert ids[1] == ids[3]


async def test_what_prefect_lost_comes_from_the_ledger(ask: Caller, emulator: Emulator, home: Path) -> None:
    first = await ask()
    counts = emulator.counts()
    shutil.rmtree(home / "storage")
    assert await ask() == {**first, "origin": "replayed"}
    assert emulator.counts() == counts


async def test_a_record_that_was_half_written_does_no_harm(ask: Caller, emulator: Emulator, home: Path) -> None:
    first = await ask()
    [record] = (home / "storage").iterdir()
    whole = record.read_bytes()
    for size in (0, len(whole) // 2, len(whole) - 1):
        record.write_bytes(whole[:size])
        assert (await ask())["id"] == first["id"]
    assert len(emulator.ledger()) == 1


async def test_a_failure_is_not_cached(ask: Caller, emulator: Emulator) -> None:
    emulator.script("the same", fail={"code": "upstream_error", "message": "no luck"}, count=1)
    first, second = [await ask() for _ in range(2)]
    assert (first["state"], first["error"]) == ("Failed", "GenerationFailed")
    assert (second["state"], second["origin"]) == ("Completed", "billed")
    assert len(emulator.ledger()) == 2


async def test_what_nobody_can_know_is_not_cached_and_not_paid_for_again(ask: Caller, emulator: Emulator) -> None:
    emulator.add_fault(kind="reset_after", endpoint="submit", count=1)
    outcomes = [await ask() for _ in range(3)]
    assert [(o["state"], o["error"]) for o in outcomes] == [("Failed", "AmbiguousSubmission")] * 3
    assert emulator.counts()["POST", "submit"] == 1 == len(emulator.ledger())
    allowed = await ask.state(on_ambiguous="resubmit")
    assert generation_of(allowed).origin == "billed"
    assert (await ask())["state"] == "Cached"
    assert len(emulator.ledger()) == 2


async def test_an_answer_of_the_wrong_type_is_not_cached_but_not_lost(ask: Caller, emulator: Emulator) -> None:
    emulator.script("the same", '{"town": "Paris"}')
    for _ in range(2):
        outcome = told(await ask.state(output_type=Capital))
        assert (outcome["state"], outcome["error"]) == ("Failed", "OutputInvalid")
    assert len(emulator.ledger()) == 1


async def test_links_to_media_are_not_kept_by_prefect(emulator: Emulator, credentials: FoxAPICredentials) -> None:
    headers = {"Authorization": f"Bearer {emulator.api_key}", "User-Agent": "pay-once-tests/1"}
    with httpx.Client(base_url=emulator.url, headers=headers) as client:
        models = {"model": "gpt-image-2", "prompt": "a fox"}
        answer = client.post("/v1/images/generations", json=models)
        generation_id = answer.raise_for_status().json()["id"]

    states: list[State] = []

    @flow
    async def wait() -> None:
        waiting = await_for_generation.with_options(cache_policy=INPUTS)
        states.append(await waiting(generation_id, credentials=credentials, return_state=True))

    await wait()
    await wait()
    assert [state.name for state in states] == ["Completed", "Completed"]
    assert generation_of(states[0]).results


def generation_of(state: State[Any]) -> Generation[Any]:
    result = result_of(state)
    assert isinstance(result, Generation)
    return result
