"""A stream that goes on and on without an end is given up for the generation, which has one."""

from __future__ import annotations

import asyncio
import time

import pytest

from prefect_foxapi.client.retry import RetryPolicy
from prefect_foxapi.client.waiter import GenerationWaiter
from prefect_foxapi.errors import GenerationFailed, ServiceUnavailable
from prefect_foxapi.hooks import HookEvent, StreamFellBackToPolling
from tests.conftest import MakeClient
from tests.support.clocks import RunningClock
from tests.support.raw_http_server import (
    GENERATION_ID,
    Peer,
    RawServer,
    Received,
    Reply,
    answer,
    chunk,
    event,
    generation,
    streams,
)

STREAM, TASK = f"GET /v1/llm/generations/{GENERATION_ID}/stream", "GET /v1/tasks"
COMPLETED = answer(generation("completed", "the whole answer"))
RETRY = RetryPolicy(attempts=4, jitter=0)
# Fifty times at once, then with the delays of the retry policy.
MOST_CONNECTIONS = 50 + RETRY.attempts

ENDLESS: dict[str, Reply] = {
    "one chunk": streams(chunk("a")),
    "one chunk and a reset": streams(chunk("a"), then=lambda peer: peer.reset()),
    "many chunks": streams(*[chunk("a")] * 200),
    "empty chunks": streams(event("chunk", {"choices": []})),
    "half an event": streams(chunk("a"), b"data: {"),
    "another choice": streams(event("chunk", {"choices": [{"index": 1, "delta": {"content": "b"}}]})),
    "unreadable after a chunk": streams(chunk("a"), b"event: chunk\ndata: {]\n\n"),
}


@pytest.mark.parametrize("reply", ENDLESS.values(), ids=ENDLESS.keys())
async def test_endless_stream_is_replaced_by_polling(
    make_client: MakeClient, running_clock: RunningClock, events: list[HookEvent], reply: Reply
) -> None:
    async with RawServer({STREAM: [reply], TASK: [COMPLETED]}) as server:
        waiter = GenerationWaiter(make_client(server.url, retry=RETRY), GENERATION_ID, age=0.0)
        async with asyncio.timeout(20):
            snapshot, _ = await waiter.by_stream()
    completion = snapshot.completion()
    assert completion
    assert completion.choices[0].message.content == "the whole answer"
    assert len(server.asked(STREAM)) <= MOST_CONNECTIONS
    assert [type(event) for event in events].count(StreamFellBackToPolling) == 1
    pauses = [seconds for seconds in running_clock.slept if seconds]
    assert pauses[: RETRY.attempts - 2] == [RETRY.delay(n, None, lambda: 0.0) for n in range(1, RETRY.attempts - 1)]


async def test_endless_stream_of_a_generation_that_failed(make_client: MakeClient) -> None:
    failed = answer(generation("failed", error={"message": "no luck"}))
    async with RawServer({STREAM: [ENDLESS["one chunk"]], TASK: [failed]}) as server:
        with pytest.raises(GenerationFailed):
            async with asyncio.timeout(20):
                await GenerationWaiter(make_client(server.url, retry=RETRY), GENERATION_ID, age=0.0).by_stream()


async def test_endless_stream_without_a_generation_to_fall_back_to(make_client: MakeClient) -> None:
    async with RawServer([ENDLESS["one chunk"]]) as server:
        with pytest.raises(ServiceUnavailable):
            async with asyncio.timeout(20):
                [_ async for _ in make_client(server.url, retry=RETRY).stream(GENERATION_ID)]
    assert len(server.requests) <= MOST_CONNECTIONS


def _lasting(seconds: float, clock: RunningClock, *blocks: bytes) -> Reply:
    async def reply(request: Received, peer: Peer) -> None:
        clock.now += seconds
        await streams(*blocks)(request, peer)

    return reply


@pytest.mark.parametrize(
    ("seconds", "blocks"), [(2.0, [chunk("a")] * 5), (60.0, [chunk("a")])], ids=["with chunks", "long"]
)
async def test_long_stream_outlives_any_number_of_connections(
    make_client: MakeClient, running_clock: RunningClock, seconds: float, blocks: list[bytes]
) -> None:
    replies = [*[_lasting(seconds, running_clock, *blocks)] * 80, streams(chunk("a"), event("done", {}))]
    async with RawServer(replies) as server:
        stream = make_client(server.url, retry=RETRY).stream(GENERATION_ID)
        assert len([piece async for piece in stream]) == 80 * len(blocks) + 1
    assert sum(running_clock.slept) == 0


async def test_connections_per_second_are_bounded(make_client: MakeClient) -> None:
    """With the clock of the machine, as in production."""
    async with RawServer({STREAM: [ENDLESS["one chunk"]], TASK: [answer(generation("processing"))]}) as server:
        client = make_client(server.url, clock=time.monotonic, sleep=asyncio.sleep, retry=RetryPolicy())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.5):
                await GenerationWaiter(client, GENERATION_ID, age=0.0).by_stream()
    assert len(server.asked(STREAM)) <= 54
