"""Reading a stream over real sockets: drops and resumes, ends of every kind, and the way back to polling."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from prefect_foxapi.client.client import FoxAPIClient
from prefect_foxapi.client.poll_policy import Durations, PollPolicy
from prefect_foxapi.client.retry import RetryPolicy
from prefect_foxapi.client.streaming.reader import StreamReader
from prefect_foxapi.client.waiter import GenerationWaiter
from prefect_foxapi.emulator import Emulator
from prefect_foxapi.errors import (
    FoxAPIError,
    GenerationFailed,
    GenerationTimeout,
    NotFound,
    RateLimited,
    ServiceUnavailable,
    UnreadableResponse,
)
from prefect_foxapi.hooks import (
    CooldownStarted,
    HookEvent,
    StreamFellBackToPolling,
    StreamResultMismatch,
    StreamResumed,
)
from prefect_foxapi.models.completions import ChatCompletionChunk
from prefect_foxapi.models.generations import GenerationSnapshot
from prefect_foxapi.models.requests import GenerationRequest
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
    closes,
    event,
    generation,
    refusal,
    resets,
    streams,
)

STREAM, TASK = f"GET /v1/llm/generations/{GENERATION_ID}/stream", "GET /v1/tasks"
WORDS = ["Der ", "schnelle ", "brau", "ne ", "Fuchs \U0001f98a", " springt.", ""]
TEXT = "".join(WORDS)
CHUNKS = [*(chunk(word) for word in WORDS), chunk(finish_reason="stop")]
DONE = event("done", {"total_chunks": len(CHUNKS)})
WHOLE = streams(*CHUNKS, DONE)


def offset_of(request: Received) -> int:
    return int(request.target.rpartition("offset=")[2])


def from_offset(play: Callable[[list[bytes]], Reply]) -> Reply:
    """Replays from the requested offset, as FoxAPI does."""

    async def reply(request: Received, peer: Peer) -> None:
        await play([*CHUNKS, DONE][offset_of(request) :])(request, peer)

    return reply


async def read(client: FoxAPIClient, **options: Any) -> str:
    return "".join([part.text async for part in client.stream(GENERATION_ID, **options)])


# Reading alone


async def test_stream_is_asked_for_from_its_beginning(make_client: MakeClient) -> None:
    async with RawServer([WHOLE]) as server:
        assert await read(make_client(server.url)) == TEXT
    (received,) = server.requests
    assert received.target == f"/v1/llm/generations/{GENERATION_ID}/stream?offset=0"
    assert received.header("accept") == "text/event-stream"
    assert (received.header("user-agent") or "").startswith("prefect-foxapi/")


async def test_chunks_come_as_they_are_sent(make_client: MakeClient) -> None:
    """Nothing in between gathers them up."""
    gate = asyncio.Event()

    async def one_by_one(request: Received, peer: Peer) -> None:
        await streams(CHUNKS[0], then=lambda peer: None)(request, peer)
        await gate.wait()
        await peer.send(b"".join([*CHUNKS[1:], DONE]))
        peer.close()

    async with RawServer([one_by_one]) as server:
        stream = make_client(server.url).stream(GENERATION_ID)
        assert (await asyncio.wait_for(anext(stream), 1)).text == WORDS[0]
        gate.set()
        assert [part.text async for part in stream][: len(WORDS) - 1] == WORDS[1:]


@pytest.mark.parametrize("ending", [Peer.close, Peer.reset], ids=["closed", "reset"])
@pytest.mark.parametrize("received", range(len(CHUNKS) + 1))
async def test_drop_after_any_chunk(
    make_client: MakeClient, events: list[HookEvent], received: int, ending: Callable[[Peer], None]
) -> None:
    async def drops(request: Received, peer: Peer) -> None:
        await streams(*CHUNKS[:received], then=lambda peer: None)(request, peer)
        # What was sent has to arrive before the reset, which takes with it what did not.
        await asyncio.sleep(0.03)
        ending(peer)

    async with RawServer([drops, from_offset(lambda rest: streams(*rest))]) as server:
        assert await read(make_client(server.url)) == TEXT
    assert [offset_of(request) for request in server.requests] == [0, received]
    (resumed,) = events
    assert isinstance(resumed, StreamResumed)
    assert (resumed.generation_id, resumed.offset) == (GENERATION_ID, received)


@pytest.mark.parametrize("cut", range(1, len(CHUNKS[4]), 9))
async def test_drop_in_the_middle_of_a_chunk(make_client: MakeClient, cut: int) -> None:
    torn = streams(*CHUNKS[:4], CHUNKS[4][:cut])
    async with RawServer([torn, from_offset(lambda rest: streams(*rest))]) as server:
        assert await read(make_client(server.url)) == TEXT
    assert [offset_of(request) for request in server.requests] == [0, 4]


async def test_drop_after_every_chunk(make_client: MakeClient, running_clock: RunningClock) -> None:
    """Only failures in a row count: a stream that goes on may break as often as it likes."""
    async with RawServer([from_offset(lambda rest: streams(*rest[:1]))]) as server:
        client = make_client(server.url, retry=RetryPolicy(attempts=2, jitter=0))
        assert await read(client) == TEXT
    assert [offset_of(request) for request in server.requests] == list(range(len(CHUNKS) + 1))
    assert sum(running_clock.slept) == 0


async def test_first_resumption_is_at_once_and_later_ones_are_not(
    make_client: MakeClient, running_clock: RunningClock
) -> None:
    async with RawServer([*[refusal(503)] * 4, WHOLE]) as server:
        client = make_client(server.url, retry=RetryPolicy(initial=1, jitter=0))
        assert await read(client) == TEXT
    assert running_clock.slept == [0, 1.0, 2.0, 4.0]


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (refusal(500), ServiceUnavailable),
        (refusal(503), ServiceUnavailable),
        (closes, ServiceUnavailable),
        (resets, ServiceUnavailable),
        (streams(), ServiceUnavailable),
        (answer("error code: 1010", 403), UnreadableResponse),
        (refusal(429), RateLimited),
        (streams(event("chunk", "not a chunk")), UnreadableResponse),
        (streams(b"data: {broken\n\n"), UnreadableResponse),
        (answer("<html>maintenance</html>"), ServiceUnavailable),
    ],
)
async def test_stream_that_cannot_be_had(make_client: MakeClient, reply: Reply, kind: type[FoxAPIError]) -> None:
    async with RawServer([reply]) as server:
        with pytest.raises(FoxAPIError) as caught:
            await read(make_client(server.url, retry=RetryPolicy(attempts=3, jitter=0)))
    assert type(caught.value) is kind
    # aiohttp by itself repeats a read once whose connection ended before an answer.
    assert len(server.requests) in {3, 6}


async def test_stream_that_is_not_there(make_client: MakeClient) -> None:
    async with RawServer([refusal(404, "not_found")]) as server:
        with pytest.raises(NotFound) as caught:
            await read(make_client(server.url))
    assert len(server.requests) == 1
    assert caught.value.generation_id == GENERATION_ID


async def test_stream_that_ends_with_an_error(make_client: MakeClient) -> None:
    async with RawServer([streams(CHUNKS[0], event("error", {"message": "upstream died"}))]) as server:
        with pytest.raises(GenerationFailed, match="upstream died"):
            await read(make_client(server.url))
    assert len(server.requests) == 1


async def test_silence_is_a_break(make_client: MakeClient) -> None:
    silent = streams(*CHUNKS[:2], then=None)
    async with RawServer([silent, from_offset(lambda rest: streams(*rest))]) as server:
        assert await asyncio.wait_for(read(make_client(server.url), silence=0.1), 5) == TEXT
    assert [offset_of(request) for request in server.requests] == [0, 2]


async def test_comments_keep_a_stream_alive(make_client: MakeClient) -> None:
    async def thinks_for_a_while(request: Received, peer: Peer) -> None:
        await streams(CHUNKS[0], then=lambda peer: None)(request, peer)
        for _ in range(8):
            await asyncio.sleep(0.05)
            await peer.send(b": keep-alive\n\n")
        await peer.send(b"".join([*CHUNKS[1:], DONE]))
        peer.close()

    async with RawServer([thinks_for_a_while]) as server:
        assert await read(make_client(server.url), silence=0.2) == TEXT
    assert len(server.requests) == 1


async def test_429_on_a_stream_cools_everything_down(make_client: MakeClient, events: list[HookEvent]) -> None:
    async with RawServer([refusal(429, headers={"Retry-After": "5"}), WHOLE]) as server:
        assert await read(make_client(server.url)) == TEXT
    assert any(isinstance(event, CooldownStarted) for event in events)


async def test_stream_that_is_left_early_is_closed(make_client: MakeClient) -> None:
    async with RawServer([streams(*CHUNKS, then=None)]) as server:
        stream = make_client(server.url).stream(GENERATION_ID)
        await anext(stream)
        assert server.open_connections == 1
        await stream.aclose()
        await asyncio.sleep(0.02)
        assert server.open_connections == 0


# Waiting by stream


def wait_of(client: FoxAPIClient, **options: Any) -> GenerationWaiter:
    return GenerationWaiter(client, GENERATION_ID, **{"model": "gpt-5.5", "age": 0.0, **options})


async def test_end_comes_from_the_stream_and_the_rest_from_the_generation(
    make_client: MakeClient, running_clock: RunningClock, events: list[HookEvent]
) -> None:
    heard: list[ChatCompletionChunk] = []
    thoughts = [chunk(reasoning="six times "), chunk(reasoning="seven"), chunk("42", finish_reason="stop")]
    script = {STREAM: [streams(*thoughts, event("done", {}))], TASK: [answer(generation("completed", "42"))]}
    async with RawServer(script) as server:
        snapshot, reader = await wait_of(make_client(server.url)).by_stream(heard.append)
    assert (reader.answer.text, reader.answer.reasoning) == ("42", "six times seven")
    assert [part.reasoning for part in heard] == ["six times ", "seven", ""]
    assert snapshot.completion()
    assert [(request.method, request.path) for request in server.requests] == [
        *(("GET", f"/v1/llm/generations/{GENERATION_ID}/stream"), ("GET", f"/v1/tasks/{GENERATION_ID}"))
    ]
    assert sum(running_clock.slept) == 0
    assert not any(isinstance(event, StreamResultMismatch | StreamFellBackToPolling) for event in events)


@pytest.mark.parametrize("text", [TEXT + "!", ""])
async def test_stream_and_generation_that_disagree(make_client: MakeClient, events: list[HookEvent], text: str) -> None:
    async with RawServer({STREAM: [WHOLE], TASK: [answer(generation("completed", text))]}) as server:
        snapshot, reader = await wait_of(make_client(server.url)).by_stream()
    assert reader.answer.text == TEXT
    completion = snapshot.completion()
    assert completion
    assert completion.choices[0].message.content == text
    assert StreamResultMismatch(GENERATION_ID) in events


async def test_result_that_lags_behind_the_stream_is_asked_for_often(
    make_client: MakeClient, running_clock: RunningClock
) -> None:
    """The generation is over: it is not waited for as if it had just begun."""
    lagging = [answer(generation("processing", progress=99))] * 3 + [answer(generation("completed"))] * 2
    script = {STREAM: [WHOLE], TASK: [*lagging, answer(generation("completed", TEXT))]}
    async with RawServer(script) as server:
        await wait_of(make_client(server.url), age=30.0).by_stream()
    assert len(server.asked(TASK)) == 6
    assert sum(running_clock.slept) < 3


@pytest.mark.parametrize(
    "replies",
    [
        [refusal(404)],
        [streams(*CHUNKS[:3]), refusal(404)],
        [streams(CHUNKS[0], event("error", {"message": "stream broke"}))],
        [refusal(503)],
        [closes],
        [streams(b"data: nonsense\n\n")],
        [answer("<html>no stream</html>")],
        [answer("", 302, {"Location": "/elsewhere"})],
    ],
)
async def test_wait_goes_on_by_polling(make_client: MakeClient, events: list[HookEvent], replies: list[Reply]) -> None:
    heard: list[str] = []
    script = {STREAM: replies, TASK: [answer(generation("processing")), answer(generation("completed", TEXT))]}
    async with RawServer(script) as server:
        client = make_client(server.url, retry=RetryPolicy(attempts=2, jitter=0))
        snapshot, _ = await wait_of(client).by_stream(lambda part: heard.append(part.text))
    assert snapshot.has_result
    assert len(server.asked(TASK)) == 2
    assert TEXT.startswith("".join(heard))
    gave_way = [event for event in events if isinstance(event, StreamFellBackToPolling)]
    assert [event.generation_id for event in gave_way] == [GENERATION_ID]
    assert gave_way[0].reason


async def test_generation_that_failed_behind_its_stream(make_client: MakeClient, running_clock: RunningClock) -> None:
    failed = answer(generation("failed", error={"code": "upstream_error", "message": "the whole story"}))
    script = {STREAM: [streams(event("error", {"message": "failed"}))], TASK: [failed]}
    async with RawServer(script) as server:
        with pytest.raises(GenerationFailed, match="the whole story") as caught:
            await wait_of(make_client(server.url), age=5.0).by_stream()
    assert caught.value.code == "upstream_error"
    assert sum(running_clock.slept) < 1


async def test_final_error_of_a_stream_ends_the_wait(make_client: MakeClient) -> None:
    async with RawServer({STREAM: [refusal(401)]}) as server:
        with pytest.raises(FoxAPIError) as caught:
            await wait_of(make_client(server.url)).by_stream()
    assert caught.value.status == 401
    assert len(server.requests) == 1


async def test_time_is_up_in_a_stream(make_client: MakeClient) -> None:
    async with RawServer({STREAM: [streams(CHUNKS[0], then=None)]}) as server:
        client = make_client(server.url, clock=time.monotonic, sleep=asyncio.sleep)
        with pytest.raises(GenerationTimeout) as caught:
            await asyncio.wait_for(wait_of(client, timeout=0.2).by_stream(), 5)
        assert caught.value.generation_id == GENERATION_ID
        assert caught.value.elapsed == pytest.approx(0.2, abs=0.15)
        await asyncio.sleep(0.02)
        assert server.open_connections == 0


async def test_listener_that_breaks_does_not_lose_the_generation(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[str] = []

    def breaks_at_the_second(part: ChatCompletionChunk) -> None:
        heard.append(part.text)
        if len(heard) == 2:
            raise RuntimeError("listener down")

    script = {STREAM: [WHOLE], TASK: [answer(generation("completed", TEXT))]}
    async with RawServer(script) as server:
        snapshot, reader = await wait_of(make_client(server.url)).by_stream(breaks_at_the_second)
    assert snapshot.has_result
    assert reader.answer.text == TEXT
    assert heard == WORDS[:2]
    assert caplog.records[-1].levelno == logging.ERROR


async def test_streams_teach_how_long_generations_take(make_client: MakeClient, running_clock: RunningClock) -> None:
    duration_stats = Durations()

    async def takes_half_a_minute(request: Received, peer: Peer) -> None:
        running_clock.now += 30
        await WHOLE(request, peer)

    script = {STREAM: [takes_half_a_minute], TASK: [answer(generation("completed", TEXT))]}
    async with RawServer(script) as server:
        await wait_of(make_client(server.url), age=10.0, duration_stats=duration_stats).by_stream()
    sample = duration_stats.of("gpt-5.5")
    assert sample
    assert sample.seconds == pytest.approx((40.0,))


# Against the emulator, in real time


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(duration=0.3, api_key="sk-test-0123456789abcdef") as running:
        running.script(when="story", answer=TEXT, reasoning="think, then tell")
        yield running


@pytest.fixture
async def client(make_client: MakeClient, emulator: Emulator) -> FoxAPIClient:
    return make_client(emulator.url, clock=time.monotonic, sleep=asyncio.sleep)


async def told(client: FoxAPIClient, silence: float = 60.0) -> tuple[GenerationSnapshot, StreamReader]:
    request = GenerationRequest.build("Tell a story.", model="gpt-5.5", stream=True)
    snapshot = await client.submit(request)
    return await GenerationWaiter(client, snapshot.id, model="gpt-5.5", age=0.0).by_stream(silence=silence)


def assert_whole(found: tuple[GenerationSnapshot, StreamReader]) -> None:
    completion = found[0].completion()
    assert completion
    message = completion.choices[0].message
    assert message.content == TEXT == found[1].answer.text
    # Only streams have reasoning.
    assert message.reasoning_content is None
    assert found[1].answer.reasoning == "think, then tell"
    assert found[1].answer.finish_reason == completion.choices[0].finish_reason == "stop"
    assert found[1].complete


async def test_emulated_stream(client: FoxAPIClient, emulator: Emulator, events: list[HookEvent]) -> None:
    assert_whole(await told(client))
    assert emulator.counts()["GET", "stream"] == 1
    assert emulator.counts()["GET", "task"] == 1
    assert not any(
        isinstance(event, StreamResumed | StreamFellBackToPolling | StreamResultMismatch) for event in events
    )


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "sse_drop", "chunks": 0},
        {"kind": "sse_drop", "chunks": 2},
        {"kind": "sse_silence", "chunks": 1, "seconds": 5},
        {"kind": "sse_no_done"},
        {"kind": "status", "status": 503},
        {"kind": "reset_before"},
        {"kind": "cdn_403"},
    ],
    ids=str,
)
async def test_emulated_stream_that_breaks(client: FoxAPIClient, emulator: Emulator, fault: dict[str, Any]) -> None:
    emulator.add_fault(endpoint="stream", count=2, **fault)
    assert_whole(await told(client, silence=0.5))
    assert emulator.counts()["GET", "stream"] == 3
    assert len(emulator.ledger()) == 1


async def test_emulated_error_event(client: FoxAPIClient, emulator: Emulator, events: list[HookEvent]) -> None:
    emulator.add_fault(endpoint="stream", kind="sse_error", chunks=1)
    snapshot, _ = await told(client)
    assert snapshot.has_result
    assert any(isinstance(event, StreamFellBackToPolling) for event in events)
    assert len(emulator.ledger()) == 1


async def test_emulated_generation_without_a_stream(client: FoxAPIClient, events: list[HookEvent]) -> None:
    snapshot = await client.submit(GenerationRequest.build("Tell a story.", model="gpt-5.5"))
    found, reader = await GenerationWaiter(client, snapshot.id, age=0.0, policy=PollPolicy(interval=0.2)).by_stream()
    assert found.has_result
    assert reader.answer.text == ""
    assert any(isinstance(event, StreamFellBackToPolling) for event in events)
