"""Streams of an emulator over real sockets: whatever becomes of them, the answer is whole and paid for once."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.settings import PREFECT_HOME, temporary_settings
from pydantic import SecretStr

from prefect_foxapi import (
    FoxAPIClient,
    FoxAPICredentials,
    GenerationFailed,
    NotFound,
    astream_generation,
    await_for_generation,
    stream_generation,
)
from prefect_foxapi.client.poll_policy import PollPolicy
from prefect_foxapi.client.retry import RetryPolicy
from prefect_foxapi.client.streaming.reader import StreamReader
from prefect_foxapi.client.waiter import GenerationWaiter
from prefect_foxapi.emulator import Emulator
from prefect_foxapi.hooks import HookEvent, StreamFellBackToPolling, StreamResultMismatch, StreamResumed
from prefect_foxapi.models.completions import ChatCompletionChunk
from prefect_foxapi.models.generations import GenerationSnapshot
from prefect_foxapi.tasks.event_loop import close_background
from tests.support.callbacks import Taken

ROOT = Path(__file__).parents[3]
THINKING = "gemini-3-pro-preview"
OFTEN = PollPolicy(interval=0.01)
SCRIPTED = {"answer": "Zwölf Boxkämpfer jagen Viktor\n\nquer über den Deich. \U0001f98a", "reasoning": "Was\nfehlt? ß."}


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    """Its generations end at once: a stream sends all that it has."""
    with Emulator(duration=0) as running:
        running.script("boxers", **SCRIPTED)
        yield running


@pytest.fixture
async def client(emulator: Emulator, events: list[HookEvent]) -> AsyncIterator[FoxAPIClient]:
    async with client_of(emulator, events) as made:
        yield made


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A Prefect home, and so a ledger, of the test's own."""
    with temporary_settings({PREFECT_HOME: tmp_path}):
        yield tmp_path
    close_background()


def client_of(emulator: Emulator, events: list[HookEvent]) -> FoxAPIClient:
    retry = RetryPolicy(initial=0.01, maximum=0.01)
    return FoxAPIClient(emulator.api_key, base_url=emulator.url, hooks=(events.append,), retry=retry)


def credentials_of(emulator: Emulator) -> FoxAPICredentials:
    return FoxAPICredentials(api_key=SecretStr(emulator.api_key), base_url=emulator.url)


async def submitted(client: FoxAPIClient, prompt: str = "boxers", **further: Any) -> GenerationSnapshot:
    body = {"model": THINKING, "messages": [{"role": "user", "content": prompt}], "stream": True, **further}
    return await client.submit(body)


async def streamed(client: FoxAPIClient, generation_id: str, **options: Any) -> tuple[StreamReader, Taken]:
    """Wait by stream; the generation's own text is that of the script."""
    taken = Taken()
    snapshot, reader = await GenerationWaiter(client, generation_id, age=0.0, policy=OFTEN).by_stream(taken, **options)
    completion = snapshot.completion()
    assert completion is not None
    assert completion.choices[0].message.content == SCRIPTED["answer"]
    return reader, taken


def is_whole(reader: StreamReader, taken: Taken) -> bool:
    return (
        reader.complete
        and (reader.answer.text, reader.answer.reasoning) == (SCRIPTED["answer"], SCRIPTED["reasoning"])
        and (taken.text, taken.reasoning) == (SCRIPTED["answer"], SCRIPTED["reasoning"])
    )


def seen(events: list[HookEvent], kind: type[HookEvent]) -> int:
    return sum(isinstance(signal, kind) for signal in events)


# Breaks


async def test_whole_stream(client: FoxAPIClient, events: list[HookEvent]) -> None:
    reader, taken = await streamed(client, (await submitted(client)).id)
    assert is_whole(reader, taken)
    assert reader.answer.finish_reason == "stop"
    assert len(taken.chunks) == reader.total_chunks
    assert not any(
        isinstance(signal, StreamResumed | StreamFellBackToPolling | StreamResultMismatch) for signal in events
    )


async def test_drop_at_every_chunk(client: FoxAPIClient, emulator: Emulator, events: list[HookEvent]) -> None:
    generation_id = (await submitted(client)).id
    _, unbroken = await streamed(client, generation_id)
    for sent in range(len(unbroken.chunks) + 1):
        emulator.add_fault(kind="sse_drop", chunks=sent, count=1)
        reader, taken = await streamed(client, generation_id)
        assert is_whole(reader, taken)
        assert taken.plain == unbroken.plain
        assert seen(events, StreamResumed) == sent + 1


@pytest.mark.parametrize("at_once", [1, 3])
async def test_every_connection_drops(
    client: FoxAPIClient, emulator: Emulator, events: list[HookEvent], at_once: int
) -> None:
    generation_id = (await submitted(client)).id
    emulator.add_fault(kind="sse_drop", chunks=at_once)
    reader, taken = await streamed(client, generation_id)
    assert is_whole(reader, taken)
    assert len(taken.chunks) // at_once - 1 <= seen(events, StreamResumed) <= len(taken.chunks) // at_once + 1


async def test_connection_that_brings_nothing_again_and_again(
    client: FoxAPIClient, emulator: Emulator, events: list[HookEvent]
) -> None:
    generation_id = (await submitted(client)).id
    emulator.add_fault(kind="sse_drop", chunks=4, count=1)
    emulator.add_fault(kind="sse_drop", chunks=0)
    reader, taken = await streamed(client, generation_id)
    assert len(taken.chunks) == reader.offset == 4
    assert seen(events, StreamFellBackToPolling) == 1


async def test_silence(client: FoxAPIClient, emulator: Emulator, events: list[HookEvent]) -> None:
    generation_id = (await submitted(client)).id
    emulator.add_fault(kind="sse_silence", chunks=5, seconds=60, count=1)
    started = time.monotonic()
    reader, taken = await streamed(client, generation_id, silence=0.1)
    assert is_whole(reader, taken)
    assert time.monotonic() - started < 10
    assert seen(events, StreamResumed) == 1


async def test_no_done(client: FoxAPIClient, emulator: Emulator, events: list[HookEvent]) -> None:
    generation_id = (await submitted(client)).id
    emulator.add_fault(kind="sse_no_done", count=1)
    reader, taken = await streamed(client, generation_id)
    assert is_whole(reader, taken)
    assert seen(events, StreamResumed) == 1


async def test_never_done(client: FoxAPIClient, emulator: Emulator, events: list[HookEvent]) -> None:
    generation_id = (await submitted(client)).id
    emulator.add_fault(kind="sse_no_done")
    reader, taken = await streamed(client, generation_id)
    assert not reader.finished
    assert (taken.text, taken.reasoning) == (SCRIPTED["answer"], SCRIPTED["reasoning"])
    assert seen(events, StreamFellBackToPolling) == 1


async def test_connections_that_are_refused_reset_and_cut(
    client: FoxAPIClient, emulator: Emulator, events: list[HookEvent]
) -> None:
    generation_id = (await submitted(client)).id
    emulator.add_fault(kind="reset_before", endpoint="stream", count=1)
    emulator.add_fault(kind="status", endpoint="stream", status=503, count=1)
    emulator.add_fault(kind="cdn_403", endpoint="stream", count=1)
    reader, taken = await streamed(client, generation_id)
    assert is_whole(reader, taken)
    # A connection that was kept and turns out to be closed may be made again below us.
    assert emulator.counts()["GET", "stream"] == 4
    assert seen(events, StreamResumed) >= 2


# Ends that are not `done`


async def test_error_event_of_a_generation_that_goes_well(
    client: FoxAPIClient, emulator: Emulator, events: list[HookEvent]
) -> None:
    generation_id = (await submitted(client)).id
    emulator.add_fault(kind="sse_error", chunks=3)
    reader, taken = await streamed(client, generation_id)
    assert reader.failure == "A fault of the emulator."
    assert len(taken.chunks) == 3
    assert seen(events, StreamFellBackToPolling) == 1


async def test_generation_that_fails(client: FoxAPIClient, emulator: Emulator) -> None:
    emulator.script("bad luck", fail={"code": "content_filter", "message": "That was too much."})
    generation_id = (await submitted(client, "bad luck")).id
    with pytest.raises(GenerationFailed, match="too much") as raised:
        await GenerationWaiter(client, generation_id, age=0.0, policy=OFTEN).by_stream()
    assert (raised.value.code, raised.value.generation_id) == ("content_filter", generation_id)


async def test_stream_that_is_gone_after_15_minutes(events: list[HookEvent]) -> None:
    with Emulator(duration=10, stepped=True) as emulator:
        emulator.script("boxers", **SCRIPTED)
        async with client_of(emulator, events) as client:
            generation_id = (await submitted(client)).id
            emulator.advance(10 + 15 * 60 - 1)
            reader, taken = await streamed(client, generation_id)
            assert is_whole(reader, taken)
            emulator.advance(1)
            reader, taken = await streamed(client, generation_id)
            assert not taken.chunks
            assert seen(events, StreamFellBackToPolling) == 1
            with pytest.raises(NotFound):
                await anext(client.stream(generation_id))


async def test_stream_that_goes_while_it_is_read(events: list[HookEvent]) -> None:
    with Emulator(duration=10, stepped=True) as emulator:
        emulator.script("boxers", **SCRIPTED)
        async with client_of(emulator, events) as client:
            generation_id = (await submitted(client)).id
            taken = Taken()

            def late(chunk: ChatCompletionChunk) -> None:
                taken(chunk)
                if len(taken.chunks) == 2:
                    emulator.advance(16 * 60)

            emulator.advance(10)
            emulator.add_fault(kind="sse_drop", chunks=2, count=1)
            snapshot, _ = await GenerationWaiter(client, generation_id, age=0.0, policy=OFTEN).by_stream(late)
            assert snapshot.has_result
            assert len(taken.chunks) == 2
            assert seen(events, StreamFellBackToPolling) == 1


async def test_stream_that_was_never_offered(client: FoxAPIClient, events: list[HookEvent]) -> None:
    snapshot = await submitted(client, stream=False)
    assert snapshot.stream is None
    _, taken = await streamed(client, snapshot.id)
    assert not taken.chunks
    assert seen(events, StreamFellBackToPolling) == 1


# What comes


@pytest.mark.parametrize("drops", [False, True])
async def test_tool_calls(client: FoxAPIClient, emulator: Emulator, drops: bool) -> None:
    properties = {"city": {"type": "string"}, "days": {"type": "integer"}}
    schema = {"type": "object", "properties": properties, "required": ["city", "days"]}
    tools = [{"type": "function", "function": {"name": "weather", "parameters": schema}}]
    generation_id = (await submitted(client, "What is the weather?", tools=tools)).id
    if drops:
        emulator.add_fault(kind="sse_drop", chunks=1)
    snapshot, reader = await GenerationWaiter(client, generation_id, age=0.0, policy=OFTEN).by_stream()
    completion = snapshot.completion()
    assert completion is not None
    assert reader.answer.tool_calls == completion.choices[0].message.tool_calls
    assert set(json.loads(reader.answer.tool_calls[0].function.arguments)) == {"city", "days"}
    assert reader.answer.finish_reason == completion.choices[0].finish_reason == "tool_calls"


async def test_deltas_come_when_they_are_sent(events: list[HookEvent]) -> None:
    with Emulator(duration=10, stepped=True) as emulator:
        emulator.script("boxers", **SCRIPTED)
        async with client_of(emulator, events) as client:
            generation_id = (await submitted(client)).id
            taken = Taken()
            waiting = asyncio.ensure_future(
                GenerationWaiter(client, generation_id, age=0.0, policy=OFTEN).by_stream(taken)
            )
            counts: list[int] = []
            for _ in range(20):
                emulator.advance(0.5)
                await asyncio.sleep(0.02)
                counts.append(len(taken.chunks))
            snapshot, reader = await waiting
            assert counts[0] == 0
            assert counts == sorted(counts)
            assert len(set(counts)) > 8
            assert snapshot.has_result
            assert is_whole(reader, taken)


async def test_stream_that_is_left_early_closes_its_connection() -> None:
    with Emulator(duration=0.2) as slow:
        async with FoxAPIClient(slow.api_key, base_url=slow.url, max_streams=1) as only:
            generation_id = (await submitted(only)).id
            async for _ in only.stream(generation_id):
                break
            # With the place of the first still taken, this would wait for ever.
            chunks = [chunk async for chunk in only.stream(generation_id)]
            assert chunks[-1].choices[0].finish_reason == "stop"


# Through the ledger


async def test_task_gives_what_the_stream_gave(emulator: Emulator, home: Path) -> None:
    taken = Taken()
    generation = await astream_generation.fn(
        "boxers", model=THINKING, credentials=credentials_of(emulator), on_delta=taken
    )
    assert (generation.text, generation.reasoning) == (SCRIPTED["answer"], SCRIPTED["reasoning"])
    assert (taken.text, taken.reasoning) == (SCRIPTED["answer"], SCRIPTED["reasoning"])
    assert generation.usage is not None
    assert generation.finish_reason == "stop"
    again = await astream_generation.fn("boxers", model=THINKING, credentials=credentials_of(emulator))
    assert (again.text, again.reasoning, again.origin) == (generation.text, generation.reasoning, "replayed")
    assert set(emulator.times().values()) == {1}


def test_listener_that_breaks_loses_nothing(emulator: Emulator, home: Path, caplog: pytest.LogCaptureFixture) -> None:
    calls: list[str] = []

    def broken(chunk: ChatCompletionChunk) -> None:
        calls.append(chunk.text)
        raise ValueError("no room")

    generation = stream_generation.fn("boxers", model=THINKING, credentials=credentials_of(emulator), on_delta=broken)
    assert (generation.text, generation.reasoning) == (SCRIPTED["answer"], SCRIPTED["reasoning"])
    assert len(calls) == 1
    assert any(record.exc_info and "no room" in str(record.exc_info[1]) for record in caplog.records)


KILLED = """
import os, signal, sys
from prefect_foxapi import FoxAPICredentials, stream_generation

count = 0

def on_delta(chunk):
    global count
    count += 1
    if count == 4:
        os.kill(os.getpid(), signal.SIGKILL)

credentials = FoxAPICredentials(api_key=sys.argv[1], base_url=sys.argv[2])
stream_generation.fn("boxers", model=sys.argv[3], credentials=credentials, on_delta=on_delta)
"""


async def killed_in_the_middle(emulator: Emulator, home: Path) -> str:
    """Run a stream in a process that dies at the fourth chunk; returns the generation's id."""
    environment = {**os.environ, "PREFECT_HOME": str(home)}
    arguments = [emulator.api_key, emulator.url, THINKING]
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", KILLED, *arguments, cwd=ROOT, env=environment)
    assert await child.wait() == -signal.SIGKILL
    (submission,) = emulator.ledger()
    return submission.generation_id


@pytest.mark.parametrize("how", ["the same call", "the id alone, elsewhere"])
async def test_crash_in_the_middle_is_read_on(emulator: Emulator, home: Path, how: str) -> None:
    generation_id = await killed_in_the_middle(emulator, home)
    credentials, taken = credentials_of(emulator), Taken()
    if how == "the same call":
        generation = await astream_generation.fn("boxers", model=THINKING, credentials=credentials, on_delta=taken)
        assert generation.origin == "resumed"
    else:
        with temporary_settings({PREFECT_HOME: home / "elsewhere"}):
            generation = await await_for_generation.fn(
                generation_id, credentials=credentials, stream=True, on_delta=taken
            )
    assert generation.generation_id == generation_id
    assert (generation.text, generation.reasoning) == (SCRIPTED["answer"], SCRIPTED["reasoning"])
    assert (taken.text, taken.reasoning) == (SCRIPTED["answer"], SCRIPTED["reasoning"])
    assert len(emulator.ledger()) == 1


async def test_many_streams_that_drop(emulator: Emulator, home: Path) -> None:
    emulator.add_fault(kind="sse_drop", chunks=3, probability=0.5)
    credentials = credentials_of(emulator)
    takers = [Taken() for _ in range(30)]
    generations = await asyncio.gather(
        *(
            astream_generation.fn(f"boxers {i}", model=THINKING, credentials=credentials, on_delta=taken)
            for i, taken in enumerate(takers)
        )
    )
    for generation, taken in zip(generations, takers, strict=True):
        assert (generation.text, generation.reasoning) == (SCRIPTED["answer"], SCRIPTED["reasoning"])
        assert taken.text == SCRIPTED["answer"]
    assert list(emulator.times().values()) == [1] * 30
