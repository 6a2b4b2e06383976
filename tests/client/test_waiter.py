"""Waiting by polling: what is the end and what is not, and what becomes of outages, time limits and ids unknown."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from prefect_foxapi.client.client import FoxAPIClient
from prefect_foxapi.client.poll_policy import Durations, PollPolicy
from prefect_foxapi.client.retry import RetryPolicy
from prefect_foxapi.client.waiter import GenerationWaiter, WaitOptions
from prefect_foxapi.emulator import Emulator
from prefect_foxapi.errors import (
    AuthenticationError,
    FoxAPIError,
    GenerationFailed,
    GenerationTimeout,
    InvalidRequest,
    NotFound,
    UnreadableResponse,
)
from prefect_foxapi.hooks import HookEvent, StatusChanged
from prefect_foxapi.models.requests import GenerationRequest
from tests.conftest import MakeClient
from tests.support.clocks import RunningClock
from tests.support.raw_http_server import (
    GENERATION_ID,
    RawServer,
    answer,
    breaks_off,
    closes,
    generation,
    refusal,
    stays_silent,
)

PENDING, PROCESSING = answer(generation()), answer(generation("processing", progress=40))
DONE = answer(generation("completed", "1, 2, 3"))
WITHOUT_RESULTS = answer(generation("completed", progress=50))


def wait_of(client: FoxAPIClient, **options: Any) -> GenerationWaiter:
    return GenerationWaiter(client, GENERATION_ID, **{"model": "gpt-5.5", "age": 0.0, **options})


# Options


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[("timeout", value) for value in (0, -1, float("nan"), "5", [], True, -math.inf, 10**10, 10**400, 10**5000)],
        *[("poll", value) for value in (None, 5, "slow", {"interval": 5})],
        *[("stream", value) for value in (None, 1, "yes")],
        *[("on_delta", value) for value in (1, "print", [])],
    ],
    # pytest cannot write a whole number of 5,000 digits either.
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_option_that_is_wrong_is_named(field: str, value: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        WaitOptions(**{field: value})
    assert caught.value.field == field
    assert len(str(caught.value)) < 300


async def test_infinite_timeout_is_none_and_the_longest_one_is_waited_for(make_client: MakeClient) -> None:
    assert WaitOptions(timeout=math.inf).timeout is None
    async with RawServer([answer(generation("completed", "hi"))]) as server:
        timeout = WaitOptions(timeout=10**9).timeout
        assert (await wait_of(make_client(server.url), timeout=timeout).by_polling()).has_result


def test_options_are_frozen_data() -> None:
    options = WaitOptions()
    assert (options.timeout, options.poll, options.stream, options.on_delta) == (None, PollPolicy(), False, None)
    given = {"timeout": float("inf"), "poll": PollPolicy(interval=5), "stream": True, "on_delta": print}
    assert WaitOptions(**given) == WaitOptions(**given) != options
    assert hash(WaitOptions(**given)) == hash(WaitOptions(**given))
    with pytest.raises(FrozenInstanceError):
        options.timeout = 5  # type: ignore[misc]


# Polling


async def test_polls_until_the_result_is_there(
    make_client: MakeClient, running_clock: RunningClock, events: list[HookEvent]
) -> None:
    async with RawServer([PENDING, PENDING, PROCESSING, PROCESSING, WITHOUT_RESULTS, DONE]) as server:
        snapshot = await wait_of(make_client(server.url)).by_polling()
    assert snapshot.has_result
    assert len(server.requests) == 6
    assert len(running_clock.slept) == 6
    # Only changes are told, not every poll.
    told = [event for event in events if isinstance(event, StatusChanged)]
    assert [(event.status, event.progress) for event in told] == [
        *(("pending", 0.0), ("processing", 40.0), ("completed", 50.0))
    ]
    assert [event.elapsed for event in told] == sorted(event.elapsed for event in told)


@pytest.mark.parametrize("results", [None, []])
async def test_completed_without_results_is_not_the_end(
    make_client: MakeClient, running_clock: RunningClock, results: Any
) -> None:
    replies = [*[answer(generation("completed", results=results))] * 5, DONE]
    async with RawServer(replies) as server:
        snapshot = await wait_of(make_client(server.url)).by_polling()
    assert snapshot.has_result
    assert len(server.requests) == 6
    # Results come within seconds, so it is asked often, at first.
    later = running_clock.slept[1:]
    assert later[0] <= 0.25
    assert sum(later) < 3


@pytest.mark.parametrize("status", ["failed", "cancelled", "canceled"])
async def test_failed_and_cancelled(make_client: MakeClient, status: str) -> None:
    error = {"code": "upstream_error", "message": "out of luck", "type": "task_error"}
    async with RawServer([PROCESSING, answer(generation(status, error=error))]) as server:
        with pytest.raises(GenerationFailed) as caught:
            await wait_of(make_client(server.url)).by_polling()
    failure = caught.value
    assert (failure.generation_id, failure.code, failure.type) == (GENERATION_ID, "upstream_error", "task_error")
    assert failure.error == error
    assert str(failure) == f"generation {GENERATION_ID} failed: out of luck"
    assert not failure.retryable


@pytest.mark.parametrize(
    ("error", "said", "code"),
    [
        (None, "it is cancelled", None),
        ({}, "it is cancelled", None),
        ("just text", "just text", None),
        ({"message": None}, "no reason given", None),
        ({"code": 17}, "no reason given", "17"),
    ],
)
async def test_failure_that_says_little(make_client: MakeClient, error: Any, said: str, code: str | None) -> None:
    async with RawServer([answer(generation("cancelled", error=error))]) as server:
        with pytest.raises(GenerationFailed, match=said) as caught:
            await wait_of(make_client(server.url)).by_polling()
    assert caught.value.code == code


# Time limits


async def test_time_is_up(make_client: MakeClient, running_clock: RunningClock) -> None:
    started = running_clock.now
    async with RawServer([PENDING, answer(generation("processing", progress=40))]) as server:
        with pytest.raises(GenerationTimeout) as caught:
            await wait_of(make_client(server.url), timeout=60).by_polling()
    timeout = caught.value
    assert (timeout.generation_id, timeout.last_status, timeout.progress) == (GENERATION_ID, "processing", 40)
    assert timeout.elapsed == pytest.approx(60)
    assert running_clock.now - started == pytest.approx(60)
    assert f"wait_for_generation('{GENERATION_ID}')" in str(timeout)
    assert timeout.retryable


async def test_last_poll_comes_right_at_the_end_of_the_time(make_client: MakeClient) -> None:
    policy = PollPolicy(minimum=40, maximum=40)
    async with RawServer([PROCESSING, DONE]) as server:
        assert (await wait_of(make_client(server.url), timeout=50, policy=policy).by_polling()).has_result


async def test_time_is_up_while_a_poll_hangs(make_client: MakeClient) -> None:
    async with RawServer([PENDING, stays_silent]) as server:
        wait = wait_of(make_client(server.url), timeout=0.3, policy=PollPolicy(minimum=0.001, maximum=0.001))
        with pytest.raises(GenerationTimeout) as caught:
            await asyncio.wait_for(wait.by_polling(), 5)
    assert caught.value.last_status == "pending"


async def test_time_is_up_before_anything_was_heard(make_client: MakeClient) -> None:
    async with RawServer([refusal(503)]) as server:
        with pytest.raises(GenerationTimeout) as caught:
            await wait_of(make_client(server.url), timeout=300).by_polling()
    assert caught.value.last_status is None
    assert caught.value.progress is None
    assert len(server.requests) > 6
    # What the trouble was is the cause.
    assert isinstance(caught.value.__cause__, FoxAPIError)
    assert caught.value.__cause__.status == 503


async def test_without_a_limit_it_waits_for_an_hour(make_client: MakeClient, running_clock: RunningClock) -> None:
    async with RawServer([*[PROCESSING] * 100, DONE]) as server:
        await wait_of(make_client(server.url), policy=PollPolicy(interval=60)).by_polling()
    assert running_clock.now - 1000 > 75 * 60
    assert len(server.requests) == 101


# Outages


async def test_outage_is_not_the_end(make_client: MakeClient, running_clock: RunningClock) -> None:
    trouble = [refusal(503), closes, answer("<html>"), refusal(429), breaks_off(generation()), refusal(500)]
    async with RawServer([PROCESSING, *trouble * 10, DONE]) as server:
        snapshot = await wait_of(make_client(server.url, retry=RetryPolicy(attempts=2, jitter=0))).by_polling()
    assert snapshot.has_result
    assert len(server.requests) == 62


@pytest.mark.parametrize("age", [None, 0.0])
async def test_outage_is_waited_out_and_not_stormed(
    make_client: MakeClient, running_clock: RunningClock, age: float | None
) -> None:
    """Even a client that repeats nothing by itself does not ask without a pause."""
    async with RawServer([*[refusal(503)] * 50, DONE]) as server:
        client = make_client(server.url, retry=RetryPolicy(attempts=1))
        await asyncio.wait_for(wait_of(client, age=age, timeout=3600).by_polling(), 10)
    assert len(server.requests) == 51
    assert running_clock.now - 1000 > 50 * 0.2


async def test_final_error_ends_the_wait(make_client: MakeClient) -> None:
    async with RawServer([PROCESSING, refusal(401)]) as server:
        with pytest.raises(AuthenticationError) as caught:
            await wait_of(make_client(server.url)).by_polling()
    assert caught.value.generation_id == GENERATION_ID
    assert len(server.requests) == 2


# Ids that are not known


async def test_id_may_be_unknown_right_after_the_submission(make_client: MakeClient) -> None:
    async with RawServer([refusal(404), refusal(404), PROCESSING, DONE]) as server:
        assert (await wait_of(make_client(server.url), age=0.0).by_polling()).has_result


async def test_id_is_not_unknown_for_long(make_client: MakeClient, running_clock: RunningClock) -> None:
    async with RawServer([refusal(404)]) as server:
        with pytest.raises(NotFound) as caught:
            await wait_of(make_client(server.url), age=0.0).by_polling()
    assert 10 < running_clock.now - 1000 < 30
    assert caught.value.generation_id == GENERATION_ID


async def test_id_of_somebody_else_is_unknown_at_once(make_client: MakeClient, running_clock: RunningClock) -> None:
    async with RawServer([refusal(404)]) as server:
        with pytest.raises(NotFound):
            await wait_of(make_client(server.url), age=None).by_polling()
    assert len(server.requests) == 1
    assert sum(running_clock.slept) == 0


async def test_id_that_is_known_and_then_forgotten_is_lost(make_client: MakeClient) -> None:
    async with RawServer([PROCESSING, refusal(404)]) as server:
        with pytest.raises(NotFound):
            await wait_of(make_client(server.url), age=60.0).by_polling()
    assert len(server.requests) == 2


# Whose generation, how old, and what is learned


async def test_generation_of_unknown_age_is_asked_for_at_once(
    make_client: MakeClient, running_clock: RunningClock
) -> None:
    async with RawServer([DONE]) as server:
        await wait_of(make_client(server.url), age=None).by_polling()
    assert sum(running_clock.slept) == 0
    assert len(server.requests) == 1


async def test_fixed_interval(make_client: MakeClient, running_clock: RunningClock) -> None:
    async with RawServer([*[PROCESSING] * 4, DONE]) as server:
        await wait_of(make_client(server.url), policy=PollPolicy(interval=5)).by_polling()
    assert len(running_clock.slept) == 5
    assert all(4 <= delay <= 5 for delay in running_clock.slept)


async def test_what_is_learned_lets_the_next_wait_end_sooner(make_client: MakeClient) -> None:
    """A dozen generations of exactly 40 s: the first waits poll in the dark, later ones when the end is near."""
    duration_stats = Durations()
    polls: list[int] = []
    for _ in range(12):
        clock = RunningClock()
        ends_at = clock.now + 40

        async def reply(request: Any, peer: Any, clock: RunningClock = clock, ends_at: float = ends_at) -> None:
            await (DONE if clock.now >= ends_at else answer(generation("processing")))(request, peer)

        async with RawServer([reply]) as server:
            client = make_client(server.url, clock=clock, sleep=clock.sleep)
            await wait_of(client, duration_stats=duration_stats).by_polling()
        polls.append(len(server.requests))
        assert clock.now - ends_at < 15
    sample = duration_stats.of("gpt-5.5")
    assert sample
    assert all(20 <= seconds <= 50 for seconds in sample.seconds)
    assert 30 <= sorted(sample.seconds)[6] <= 46
    assert max(polls[-4:]) < polls[0]


async def test_wait_of_unknown_age_teaches_nothing(make_client: MakeClient) -> None:
    duration_stats = Durations()
    async with RawServer([PROCESSING, DONE]) as server:
        await wait_of(make_client(server.url), age=None, duration_stats=duration_stats).by_polling()
    assert duration_stats.of("gpt-5.5") is None


async def test_failed_generation_teaches_nothing(make_client: MakeClient) -> None:
    duration_stats = Durations()
    async with RawServer([PROCESSING, answer(generation("failed"))]) as server:
        with pytest.raises(GenerationFailed):
            await wait_of(make_client(server.url), duration_stats=duration_stats).by_polling()
    assert duration_stats.of("gpt-5.5") is None


async def test_cancelled_wait_ends_at_once(make_client: MakeClient) -> None:
    async with RawServer([stays_silent]) as server:
        waiting = asyncio.ensure_future(wait_of(make_client(server.url), age=None).by_polling())
        await server.has_received(1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(waiting, 1)


async def test_hook_that_breaks_does_not_break_the_wait(
    running_clock: RunningClock, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(event: HookEvent) -> None:
        raise RuntimeError("observer down")

    async with (
        RawServer([PROCESSING, DONE]) as server,
        FoxAPIClient(
            "sk-x", base_url=server.url, hooks=(broken,), clock=running_clock, sleep=running_clock.sleep
        ) as client,
    ):
        assert (await wait_of(client).by_polling()).has_result
    assert "A hook failed on StatusChanged" in caplog.text


async def test_answer_that_stays_unreadable_ends_with_the_time(make_client: MakeClient) -> None:
    async with RawServer([answer("<html>maintenance</html>")]) as server:
        with pytest.raises(GenerationTimeout) as caught:
            await wait_of(make_client(server.url), timeout=100).by_polling()
    assert isinstance(caught.value.__cause__, UnreadableResponse)


# Against the emulator, whose clock goes with the client's.


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(stepped=True, duration=8.0, api_key="sk-test-0123456789abcdef") as running:
        yield running


async def submitted(client: FoxAPIClient, prompt: str, **parameters: Any) -> str:
    return (await client.submit(GenerationRequest.build(prompt, model="gpt-5.5", **parameters))).id


async def emulated(
    make_client: MakeClient, emulator: Emulator, prompt: str = "count 1 to 3", **options: Any
) -> tuple[Any, float, int]:
    """Wait for a generation of the emulator's: what came, how long that took, and with how many polls."""
    clock = RunningClock(before_sleep=emulator.advance)
    client = make_client(emulator.url, clock=clock, sleep=clock.sleep)
    wait = GenerationWaiter(client, await submitted(client, prompt), **{"model": "gpt-5.5", "age": 0.0, **options})
    snapshot = await wait.by_polling()
    return snapshot, wait.elapsed, emulator.counts()["GET", "task"]


async def test_emulated_generation(make_client: MakeClient, emulator: Emulator) -> None:
    emulator.script(when="count", answer="1, 2, 3")
    snapshot, elapsed, polls = await emulated(make_client, emulator)
    assert snapshot.completion().choices[0].message.content == "1, 2, 3"
    assert 8 <= elapsed < 10
    assert polls <= 8
    assert set(emulator.times().values()) == {1}


async def test_emulated_late_results(make_client: MakeClient, emulator: Emulator) -> None:
    emulator.script(when="count", answer="late", late_results=4.0)
    snapshot, elapsed, _ = await emulated(make_client, emulator)
    assert snapshot.completion().choices[0].message.content == "late"
    assert 12 <= elapsed < 16


@pytest.mark.parametrize("fields", [{"fail": {"code": "upstream_error", "message": "no luck"}}, {"cancel": True}])
async def test_emulated_failure(make_client: MakeClient, emulator: Emulator, fields: dict[str, Any]) -> None:
    emulator.script(when="count", **fields)
    with pytest.raises(GenerationFailed) as caught:
        await emulated(make_client, emulator)
    assert caught.value.code == ("upstream_error" if "fail" in fields else caught.value.code)


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "status": 503},
        {"kind": "status", "status": 429, "retry_after": 3},
        {"kind": "cdn_403"},
        {"kind": "reset_before"},
        {"kind": "truncated"},
    ],
)
async def test_emulated_outage(make_client: MakeClient, emulator: Emulator, fault: dict[str, Any]) -> None:
    emulator.add_fault(endpoint="task", count=7, **fault)
    snapshot, _, polls = await emulated(make_client, emulator)
    assert snapshot.has_result
    assert polls >= 8
    assert len(emulator.ledger()) == 1
