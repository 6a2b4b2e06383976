"""What decoding a body may produce is bounded, for every answer and for streams."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
import tracemalloc
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from prefect_foxapi.client.client import FoxAPIClient
from prefect_foxapi.client.retry import RetryPolicy
from prefect_foxapi.client.waiter import GenerationWaiter
from prefect_foxapi.errors import AmbiguousSubmission, FoxAPIError, InvalidRequest, NotFound, ServiceUnavailable
from prefect_foxapi.models.requests import SUBMIT_PATH
from tests.conftest import MakeClient
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
)

MIB = 1024 * 1024
ONCE = RetryPolicy(attempts=1)
BODY = {"model": "gpt-5.5"}
DONE = answer(generation("completed", "mine"))
REFUSED = ["gzip, gzip", "gzip,gzip,gzip", "gzip, identity", "br", "zstd", "deflate", "deflate, gzip", "odd"]


def bomb(size: int = 1024 * MIB, *, beginning: bytes = b"") -> bytes:
    """About a thousandth of `size`."""
    packer = zlib.compressobj(9, wbits=31)
    block = b" " * MIB
    return b"".join([packer.compress(beginning), *(packer.compress(block) for _ in range(size // MIB)), packer.flush()])


BOMB = bomb()


def encoded(body: bytes, encoding: str = "gzip", status: int = 200) -> Reply:
    return answer(body, status, {"Content-Encoding": encoding, "Content-Type": "application/json"})


def encoded_stream(*blocks: bytes, encoding: str = "gzip") -> Reply:
    async def reply(request: Received, peer: Peer) -> None:
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: {encoding}\r\n"
        await peer.send(f"{head}Connection: close\r\n\r\n".encode())
        for block in blocks:
            await peer.send(block)
            await asyncio.sleep(0.01)
        peer.close()

    return reply


@asynccontextmanager
async def bounded(*, memory: int = 100 * MIB, longest_block: float = 1.0) -> AsyncIterator[None]:
    """Assert that the memory stays bounded and that other tasks run meanwhile."""
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.001)
            longest = max(longest, time.monotonic() - before)

    watching = asyncio.create_task(watch())
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        watching.cancel()
    assert peak < memory
    assert longest < longest_block


async def test_gzip_is_asked_for_and_decoded(make_client: MakeClient) -> None:
    packed = gzip.compress(json.dumps(generation("completed", "mine" * 100_000)).encode())
    async with RawServer([encoded(packed), encoded(packed, "x-gzip"), encoded(packed, " GZIP ")]) as server:
        client = make_client(server.url)
        snapshots = [await client.get(GENERATION_ID) for _ in range(3)]
        await client.submit(BODY)
    assert [received.header("accept-encoding") for received in server.requests] == ["gzip"] * 4
    for snapshot in snapshots:
        completion = snapshot.completion()
        assert completion
        assert completion.choices[0].message.content == "mine" * 100_000


@pytest.mark.parametrize("encoding", REFUSED)
async def test_other_encodings_are_refused_before_they_are_decoded(make_client: MakeClient, encoding: str) -> None:
    twice = gzip.compress(BOMB)
    async with RawServer([encoded(twice, encoding)]) as server:
        client = make_client(server.url, retry=ONCE)
        async with bounded(memory=2 * MIB):
            with pytest.raises(ServiceUnavailable):
                await client.get(GENERATION_ID)
            with pytest.raises(AmbiguousSubmission):
                await client.submit(BODY)
    assert len(server.requests) == 2


@pytest.mark.parametrize("call", ["get", "models", "credits", "upload", "submit"])
async def test_bomb_is_cut_off(make_client: MakeClient, call: str) -> None:
    async def ask(client: FoxAPIClient) -> None:
        arguments = {"get": [GENERATION_ID], "upload": [b"x"], "submit": [BODY]}.get(call, [])
        await getattr(client, call)(*arguments)

    async with RawServer([encoded(BOMB)]) as server, bounded():
        with pytest.raises(FoxAPIError) as caught:
            await ask(make_client(server.url, retry=ONCE))
    assert type(caught.value) is (AmbiguousSubmission if call == "submit" else ServiceUnavailable)
    assert len(server.requests) == 1


async def test_bomb_behind_an_id_is_an_acceptance(make_client: MakeClient) -> None:
    beginning = json.dumps(generation()).encode()[:-1]
    async with RawServer([encoded(bomb(beginning=beginning))]) as server, bounded():
        snapshot = await make_client(server.url, retry=ONCE).submit(BODY)
    assert snapshot.id == GENERATION_ID


@pytest.mark.parametrize(("status", "kind"), [(422, InvalidRequest), (404, FoxAPIError), (503, AmbiguousSubmission)])
async def test_bomb_of_an_error_keeps_its_status(make_client: MakeClient, status: int, kind: type[FoxAPIError]) -> None:
    async with RawServer([encoded(BOMB, status=status)]) as server, bounded(memory=10 * MIB):
        with pytest.raises(kind) as caught:
            await make_client(server.url, retry=ONCE).submit(BODY)
    assert caught.value.status == status


async def test_streams_ask_for_no_encoding(make_client: MakeClient) -> None:
    async with RawServer(
        [encoded_stream(chunk("a"), event("done", {"total_chunks": 1}), encoding="identity")]
    ) as server:
        texts = [chunk.text async for chunk in make_client(server.url).stream(GENERATION_ID)]
    assert texts == ["a"]
    assert server.requests[0].header("accept-encoding") == "identity"


@pytest.mark.parametrize("encoding", ["gzip", "gzip, gzip"])
@pytest.mark.parametrize("filler", [b"\n", b": ping\n\n", b"data: x\n", chunk("a")])
async def test_stream_with_an_encoding_is_replaced_by_polling(
    make_client: MakeClient, encoding: str, filler: bytes
) -> None:
    packer = zlib.compressobj(9, wbits=31)
    block = filler * (MIB // len(filler))
    packed = b"".join([*(packer.compress(block) for _ in range(300)), packer.flush()])
    script = {
        f"GET {SUBMIT_PATH}": [encoded_stream(packed, encoding=encoding)],
        "GET /v1/tasks": [DONE],
    }
    async with RawServer(script) as server, bounded(memory=5 * MIB):
        waiter = GenerationWaiter(make_client(server.url, retry=ONCE), GENERATION_ID, age=0.0)
        snapshot, _ = await waiter.by_stream()
    assert snapshot.has_result


async def test_status_of_a_stream_counts_where_its_body_is_a_bomb(make_client: MakeClient) -> None:
    error = gzip.compress(json.dumps({"error": {"message": "no"}}).encode())
    async with RawServer([encoded(error, status=404)]) as server:
        with pytest.raises(NotFound):
            [_ async for _ in make_client(server.url, retry=ONCE).stream(GENERATION_ID)]
    async with RawServer([encoded(BOMB, status=422)]) as server, bounded(memory=10 * MIB):
        with pytest.raises(InvalidRequest):
            [_ async for _ in make_client(server.url, retry=ONCE).stream(GENERATION_ID)]
