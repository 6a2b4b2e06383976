"""What one answer means for all that wait: the shared cool-down after a 429, empty credits, and places in the queue."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest

from prefect_foxapi.client.retry import RetryPolicy
from prefect_foxapi.errors import InsufficientCredits, RateLimited
from prefect_foxapi.hooks import CooldownStarted, HookEvent, RetryScheduled
from prefect_foxapi.models.generations import GenerationSnapshot
from tests.conftest import MakeClient
from tests.support.clocks import RunningClock, SteppedClock
from tests.support.raw_http_server import (
    GENERATION_ID,
    Held,
    RawServer,
    Received,
    answer,
    chunk,
    event,
    generation,
    refusal,
    streams,
)

BODY = {"model": "gpt-5.5", "messages": [{"role": "user", "content": "count 1 to 3"}]}
SUBMIT, TASK, STREAM = "POST /v1/llm/generations", "GET /v1/tasks", f"GET /v1/llm/generations/{GENERATION_ID}/stream"


def begun(*awaitables: Awaitable[Any]) -> list[asyncio.Future[Any]]:
    return [asyncio.ensure_future(awaitable) for awaitable in awaitables]


async def settle() -> None:
    """Let whatever can go on do so, over real sockets."""
    await asyncio.sleep(0.05)


async def first_chunk(client: Any) -> str:
    async for found in client.stream(GENERATION_ID):
        return found.text
    raise AssertionError("no chunk")


async def test_429_cools_down_every_request_of_the_client(make_client: MakeClient, events: list[HookEvent]) -> None:
    clock = SteppedClock()
    script = {
        SUBMIT: [answer(generation())],
        TASK: [refusal(429, headers={"Retry-After": "7"}), answer(generation("processing"))],
        STREAM: [streams(chunk("hi"), event("done", {"total_chunks": 1}))],
    }
    async with RawServer(script) as server:
        client = make_client(server.url, clock=clock, sleep=clock.sleep)
        (throttled,) = begun(client.get(GENERATION_ID))
        await clock.sleepers(1)
        others = begun(client.submit(BODY), client.get(GENERATION_ID), first_chunk(client))
        await clock.sleepers(4)
        clock.advance(6.9)
        await settle()
        assert len(server.requests) == 1
        clock.advance(2.5)
        found = await asyncio.wait_for(asyncio.gather(throttled, *others), 5)
        assert [item.status for item in found if isinstance(item, GenerationSnapshot)] == [
            *("processing", "pending", "processing")
        ]
        assert len(server.requests) == 5
    assert [type(event) for event in events] == [CooldownStarted, RetryScheduled]
    assert isinstance(events[0], CooldownStarted)
    assert 7 <= events[0].seconds < 8


async def test_another_client_is_not_cooled_down(make_client: MakeClient) -> None:
    clock = SteppedClock()
    async with RawServer([refusal(429, headers={"Retry-After": "7"}), answer(generation())]) as server:
        one = make_client(server.url, clock=clock, sleep=clock.sleep)
        other = make_client(server.url, clock=clock, sleep=clock.sleep)
        (throttled,) = begun(one.get(GENERATION_ID))
        await clock.sleepers(1)
        assert (await asyncio.wait_for(other.get(GENERATION_ID), 5)).status == "pending"
        clock.advance(10)
        await asyncio.wait_for(throttled, 5)


async def test_cool_down_grows_while_answers_are_429_and_ends_with_success(
    make_client: MakeClient, running_clock: RunningClock, events: list[HookEvent]
) -> None:
    replies = [*[refusal(429)] * 3, answer(generation()), refusal(429), answer(generation())]
    async with RawServer(replies) as server:
        client = make_client(server.url, retry=RetryPolicy(initial=1, jitter=0))
        await client.submit(BODY)
        await client.submit(BODY)
    assert [event.seconds for event in events if isinstance(event, CooldownStarted)] == [1.0, 2.0, 4.0, 1.0]


async def test_refusals_of_requests_that_were_on_their_way_together_count_once(
    make_client: MakeClient, events: list[HookEvent]
) -> None:
    clock = SteppedClock()
    held = Held(refusal(429))
    script = [*[held] * 8, answer(generation())]
    async with RawServer(script) as server:
        client = make_client(server.url, clock=clock, sleep=clock.sleep, retry=RetryPolicy(initial=1, jitter=0))
        asked = begun(*(client.get(GENERATION_ID) for _ in range(8)))
        await server.has_received(8)
        held.release()
        await clock.sleepers(8)
        assert [event.seconds for event in events if isinstance(event, CooldownStarted)] == [1.0]
        clock.advance(2)
        await asyncio.wait_for(asyncio.gather(*asked), 5)
    assert len(server.requests) == 16


async def test_those_that_waited_come_back_spread_out(make_client: MakeClient) -> None:
    clock = SteppedClock()
    async with RawServer([refusal(429, headers={"Retry-After": "10"}), answer(generation())]) as server:
        client = make_client(server.url, clock=clock, sleep=clock.sleep)
        asked = begun(*(client.get(GENERATION_ID) for _ in range(1)))
        await clock.sleepers(1)
        asked += begun(*(client.get(GENERATION_ID) for _ in range(40)))
        await clock.sleepers(41)
        back: list[int] = []
        for _ in range(11):
            clock.advance(10.0 if not back else 0.1)
            await settle()
            back.append(len(server.requests) - 1)
        assert back[0] < 20
        assert back[-1] == 41
        await asyncio.wait_for(asyncio.gather(*asked), 5)


async def test_cancelled_while_cooling_down_sends_nothing(make_client: MakeClient) -> None:
    clock = SteppedClock()
    async with RawServer([refusal(429, headers={"Retry-After": "7"}), answer(generation())]) as server:
        client = make_client(server.url, clock=clock, sleep=clock.sleep)
        (submission,) = begun(client.submit(BODY))
        await clock.sleepers(1)
        submission.cancel()
        with pytest.raises(asyncio.CancelledError):
            await submission
        clock.advance(10)
        await settle()
        assert len(server.requests) == 1


async def test_submission_gives_up_when_the_budget_does_not_reach(make_client: MakeClient) -> None:
    async with RawServer([refusal(429, headers={"Retry-After": "7"})]) as server:
        client = make_client(server.url, retry=RetryPolicy(budget=20, jitter=0))
        with pytest.raises(RateLimited) as caught:
            await client.submit(BODY)
    assert caught.value.retryable
    assert len(server.requests) == 3


async def test_standing_in_line_is_no_part_of_the_budget(make_client: MakeClient) -> None:
    clock, in_front, behind = SteppedClock(), Held(answer(generation())), Held(answer(generation()))
    late = refusal(429, headers={"Retry-After": "1"})
    async with RawServer([in_front, late, behind, answer(generation())]) as server:
        client = make_client(server.url, max_connections=1, clock=clock, sleep=clock.sleep, retry=RetryPolicy(budget=9))
        (first,) = begun(client.submit(BODY))
        await server.has_received(1)
        (second, third) = begun(client.submit(BODY), client.submit(BODY))
        await settle()
        clock.advance(600)
        in_front.release()
        await server.has_received(2)
        # Refused, it stands in line again, behind the third.
        await clock.sleepers(1)
        clock.advance(2)
        await server.has_received(3)
        clock.advance(600)
        behind.release()
        await asyncio.wait_for(asyncio.gather(first, second, third), 5)
        assert len(server.requests) == 4


# Empty credits


async def test_402_stops_every_submission_that_waits(make_client: MakeClient) -> None:
    held = Held(refusal(402, "insufficient_quota", message="empty"))
    async with RawServer([held, answer(generation())]) as server:
        client = make_client(server.url, max_connections=1)
        submissions = begun(*(client.submit(BODY) for _ in range(6)))
        await server.has_received(1)
        held.release()
        ends = await asyncio.gather(*submissions, return_exceptions=True)
        assert [type(end) for end in ends] == [InsufficientCredits] * 6
        assert {end.status for end in ends if isinstance(end, InsufficientCredits)} == {402}
        # Each has an error of its own: raising one in six places would tangle their tracebacks.
        assert len({id(end) for end in ends}) == 6
        assert len(server.requests) == 1
        # Who asks later may have more luck: somebody may have topped up.
        assert (await client.submit(BODY)).id == GENERATION_ID
        assert len(server.requests) == 2


async def test_402_stops_submissions_that_cool_down(make_client: MakeClient) -> None:
    clock = SteppedClock()
    held = Held(refusal(402))
    async with RawServer([held, refusal(429, headers={"Retry-After": "7"}), answer(generation())]) as server:
        client = make_client(server.url, clock=clock, sleep=clock.sleep)
        submissions = begun(client.submit(BODY))
        await server.has_received(1)
        submissions += begun(client.submit(BODY))
        await clock.sleepers(1)
        held.release()
        await settle()
        clock.advance(10)
        ends = await asyncio.gather(*submissions, return_exceptions=True)
        assert [type(end) for end in ends] == [InsufficientCredits] * 2
        assert len(server.requests) == 2


async def test_402_does_not_stop_reads(make_client: MakeClient) -> None:
    async with RawServer({SUBMIT: [refusal(402)], TASK: [answer(generation("processing"))]}) as server:
        client = make_client(server.url)
        with pytest.raises(InsufficientCredits):
            await client.submit(BODY)
        assert (await client.get(GENERATION_ID)).status == "processing"


# Places


async def test_no_more_requests_at_once_than_allowed(make_client: MakeClient) -> None:
    held = Held(answer(generation()))
    async with RawServer([held]) as server:
        client = make_client(server.url, max_connections=3)
        asked = begun(*(client.get(GENERATION_ID) for _ in range(10)))
        await server.has_received(3)
        await settle()
        assert len(server.requests) == 3
        held.release()
        await asyncio.gather(*asked)
    assert len(server.requests) == 10
    assert server.connections <= 4


async def test_streams_leave_room_for_reads(make_client: MakeClient) -> None:
    """A stream lasts as long as its generation: it must not take the place of a poll."""

    async def open_streams(request: Received, peer: Any) -> None:
        await streams(chunk("hi"), then=None)(request, peer)

    async with RawServer({STREAM: [open_streams], TASK: [answer(generation())]}) as server:
        client = make_client(server.url, max_connections=1, max_streams=2)
        reading = [client.stream(GENERATION_ID) for _ in range(3)]
        for stream in reading[:2]:
            assert (await anext(stream)).text == "hi"
        (third,) = begun(anext(reading[2]))
        await settle()
        assert len(server.asked(STREAM)) == 2
        assert (await client.get(GENERATION_ID)).status == "pending"
        await reading[0].aclose()
        assert (await asyncio.wait_for(third, 5)).text == "hi"
        for stream in reading:
            await stream.aclose()
