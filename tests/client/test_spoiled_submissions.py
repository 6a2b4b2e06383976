"""A successful answer to a submission that has a readable id is an acceptance, whatever else is wrong with it."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import Any

import pytest

from prefect_foxapi.errors import AmbiguousSubmission, InvalidRequest
from tests.conftest import MakeClient
from tests.support.raw_http_server import (
    GENERATION_ID,
    Peer,
    RawServer,
    Received,
    Reply,
    answer,
    breaks_off,
    generation,
    http,
)

BODY = {"model": "gpt-5.5", "messages": [{"role": "user", "content": "count 1 to 3"}]}
GOOD = json.dumps(generation()).encode()
SPOILED: dict[str, bytes] = {
    "a bad byte in a string": GOOD.replace(b"gpt-5.5", b"gpt\xff5.5"),
    "a bad byte between fields": GOOD.replace(b', "object"', b',\xff "object"'),
    "a bad byte before the id": GOOD.replace(b'{"id"', b'{\xfe"id"'),
    "a control character": GOOD.replace(b"gpt-5.5", b"gpt\n\x005.5"),
    "a quote that is missing": GOOD.replace(b'"object":', b'"object:'),
    "an escape that is none": GOOD.replace(b"gpt-5.5", rb"gpt\x5.5"),
    "trailing garbage": GOOD + b"<html>502 Bad Gateway</html>",
    "another object behind it": GOOD + b'\n{"id": "log-1"}',
    "garbage before it": b")]}',\n" + GOOD,
    "a byte-order mark": b"\xef\xbb\xbf" + GOOD,
    "UTF-16": GOOD.decode().encode("utf-16"),
    "a comma too many": GOOD[:-1] + b",}",
    "single words": GOOD.replace(b"null", b"undefined"),
    "cut off": GOOD[:80],
    "a number of 5,000 digits": GOOD.replace(b'"progress": 0', b'"progress": ' + b"9" * 5000),
    "100,000 levels": GOOD.replace(b'"results": null', b'"results": ' + b"[" * 100_000),
    "nested in data": json.dumps({"code": 0, "data": generation()}).encode(),
    "nested in a list": json.dumps({"data": [generation()]}).encode(),
    "nested twice": json.dumps({"response": {"task": generation()}}).encode(),
    "beside another object": json.dumps({"user": {"id": "u-1"}, "data": generation()}).encode(),
    "nested, with a bad byte": b'{"data": ' + GOOD.replace(b"gpt", b"\xff") + b"}",
    "nested, with an error": json.dumps({"error": {"id": "e-1"}, "data": generation()}).encode() + b"\xff",
}


async def _resets(request: Received, peer: Peer) -> None:
    await peer.send(http(200, GOOD[:100], {"Content-Type": "application/json"}, length=len(GOOD)))
    await asyncio.sleep(0.05)
    peer.reset()


async def _stays_open(request: Received, peer: Peer) -> None:
    await peer.send(http(200, GOOD[:100], {"Content-Type": "application/json"}, length=len(GOOD)))
    await peer.reader.read()


async def _refuses_and_stays_open(request: Received, peer: Peer) -> None:
    await peer.send(http(422, b'{"error"', {"Content-Type": "application/json"}, length=100))
    await peer.reader.read()


BROKEN: dict[str, Reply] = {
    "closed": breaks_off(generation()),
    "reset": _resets,
    "silent until the deadline": _stays_open,
    "a truncated encoding": answer(gzip.compress(GOOD)[:-9], headers={"Content-Encoding": "gzip"}),
}


@pytest.mark.parametrize("body", SPOILED.values(), ids=SPOILED.keys())
async def test_spoiled_json_with_an_id_is_an_acceptance(make_client: MakeClient, body: bytes) -> None:
    async with RawServer([answer(body, headers={"Content-Type": "application/json"})]) as server:
        snapshot = await make_client(server.url).submit(BODY)
    assert (snapshot.id, snapshot.status) == (GENERATION_ID, "pending")
    assert len(server.requests) == 1


@pytest.mark.parametrize("reply", BROKEN.values(), ids=BROKEN.keys())
async def test_body_that_breaks_off_behind_the_id_is_an_acceptance(make_client: MakeClient, reply: Reply) -> None:
    async with RawServer([reply]) as server:
        snapshot = await make_client(server.url, submit_timeout=0.3, connect_timeout=0.3).submit(BODY)
    assert snapshot.id == GENERATION_ID
    assert len(server.requests) == 1


async def test_refusal_that_breaks_off_at_the_deadline_is_a_refusal(make_client: MakeClient) -> None:
    async with RawServer([_refuses_and_stays_open]) as server:
        with pytest.raises(InvalidRequest):
            await make_client(server.url, submit_timeout=0.3, connect_timeout=0.3).submit(BODY)


@pytest.mark.parametrize(
    "body",
    [
        GOOD[:20],
        GOOD.replace(b"task-llm", b"task\xffllm"),
        b'{"error": {"id": "e-1", "message": "no"}}\xff',
        b'{"user": {"id": "u-1"}}',
        b'{"data": [{"id": "a"}, {"id": "b"}]}',
        b'{"results": [{"id": "chatcmpl-1"}]},',
        b'{"text": "{\\"id\\": \\"a\\"}"\xff}',
        b'<html id="a">',
        b'"id"',
    ],
)
async def test_body_without_one_id_is_ambiguous(make_client: MakeClient, body: bytes) -> None:
    async with RawServer([answer(body)]) as server:
        with pytest.raises(AmbiguousSubmission):
            await make_client(server.url).submit(BODY)
    assert len(server.requests) == 1


WRAPPED: list[Any] = [
    {"code": 0, "data": generation("completed", "mine")},
    {"id": "req-1", "task": generation("completed", "mine")},
    {"data": [generation("completed", "another's", id="other"), generation("completed", "mine")]},
    json.dumps(generation("completed", "mine")) + "\n<!-- cached -->",
]


@pytest.mark.parametrize("body", WRAPPED)
async def test_result_is_found_where_the_acceptance_was(make_client: MakeClient, body: Any) -> None:
    async with RawServer([answer(body)]) as server:
        snapshot = await make_client(server.url).get(GENERATION_ID)
    completion = snapshot.completion()
    assert completion
    assert completion.choices[0].message.content == "mine"
