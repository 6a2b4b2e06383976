"""The key goes to one origin and nowhere else, whatever an answer says; and what comes back is bounded."""

from __future__ import annotations

import gzip
import logging
import pickle
from typing import Any

import pytest

from prefect_foxapi.client.client import FoxAPIClient
from prefect_foxapi.client.config import checked_base_url
from prefect_foxapi.client.retry import RetryPolicy
from prefect_foxapi.client.waiter import GenerationWaiter
from prefect_foxapi.errors import (
    AmbiguousSubmission,
    AuthenticationError,
    FoxAPIError,
    InvalidRequest,
    NotFound,
    ServiceUnavailable,
    UnreadableResponse,
)
from tests.conftest import API_KEY, MakeClient
from tests.support.raw_http_server import GENERATION_ID, RawServer, answer, chunk, event, generation, refusal, streams

BODY = {"model": "gpt-5.5", "messages": [{"role": "user", "content": "count 1 to 3"}]}
ONCE = RetryPolicy(attempts=1)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(make_client: MakeClient, status: int) -> None:
    async with RawServer([answer(generation())]) as elsewhere:
        async with RawServer([answer("", status, {"Location": f"{elsewhere.url}/v1/llm/generations"})]) as server:
            client = make_client(server.url, retry=RetryPolicy(attempts=2, jitter=0))
            with pytest.raises(AmbiguousSubmission) as lost:
                await client.submit(BODY)
            with pytest.raises(UnreadableResponse) as unreadable_response:
                await client.get(GENERATION_ID)
            with pytest.raises(UnreadableResponse):
                await client.upload(b"x", name="x.png")
            with pytest.raises(UnreadableResponse):
                await anext(client.stream(GENERATION_ID))
        assert elsewhere.connections == 0
    assert lost.value.status == unreadable_response.value.status == status
    assert elsewhere.url in str(lost.value)
    assert len(server.asked("POST /v1/llm")) == 1
    assert all(request.header("authorization") == f"Bearer {API_KEY}" for request in server.requests)


async def test_stream_url_of_an_answer_is_never_called(make_client: MakeClient) -> None:
    async with RawServer([streams(chunk("stolen"))]) as elsewhere:
        link = {"url": f"{elsewhere.url}/v1/llm/generations/{GENERATION_ID}/stream"}
        script = {
            "POST /v1/llm/generations": [answer(generation(stream=link))],
            f"GET /v1/llm/generations/{GENERATION_ID}/stream": [streams(chunk("hi"), event("done", {}))],
            "GET /v1/tasks": [answer(generation("completed", "hi", stream=link))],
        }
        async with RawServer(script) as server:
            client = make_client(server.url)
            snapshot = await client.submit({**BODY, "stream": True})
            assert snapshot.stream
            assert snapshot.stream.url == link["url"]
            _, reader = await GenerationWaiter(client, snapshot.id).by_stream()
            assert reader.answer.text == "hi"
        assert elsewhere.connections == 0


@pytest.mark.parametrize(
    "identity",
    [
        "",
        "..",
        "../account/credits",
        "a/b",
        "a?b=1",
        "a#b",
        "a b",
        "a%2fb",
        "a\r\nX-Evil: 1",
        "a\n",
        "//evil.org/x",
        "ä",
    ],
)
async def test_no_id_can_change_where_a_request_goes(make_client: MakeClient, identity: str) -> None:
    async with RawServer([answer(generation())]) as server:
        client = make_client(server.url)
        with pytest.raises(InvalidRequest) as caught:
            await client.get(identity)
        assert caught.value.field == "generation_id"
        with pytest.raises(InvalidRequest):
            await anext(client.stream(identity))
        with pytest.raises(InvalidRequest):
            await GenerationWaiter(client, identity).by_polling()
        with pytest.raises(InvalidRequest):
            await GenerationWaiter(client, identity).by_stream()
    assert server.connections == 0


async def test_id_stays_one_segment_of_the_path(make_client: MakeClient) -> None:
    async with RawServer([answer(generation("processing", id="task:1._-A"))]) as server:
        await make_client(server.url).get("task:1._-A")
    assert server.requests[0].target == "/v1/tasks/task:1._-A?sync_upstream=true"


# What can be a key, and what an origin


@pytest.mark.parametrize("key", ["", " ", "sk-a\nX: y", "sk-a b", "sk-ä", "sk-\x00", "\x7fsk"])
def test_what_cannot_be_a_key(key: str) -> None:
    with pytest.raises(AuthenticationError) as caught:
        FoxAPIClient(key)
    assert not key.strip() or key.strip() not in str(caught.value)


async def test_key_is_stripped(make_client: MakeClient) -> None:
    async with RawServer([answer(generation())]) as server, FoxAPIClient(" sk-x\n", base_url=server.url) as client:
        await client.get(GENERATION_ID)
    assert server.requests[0].header("authorization") == "Bearer sk-x"


@pytest.mark.parametrize(
    ("base_url", "origin"),
    [
        ("https://api.foxapi.cc", "https://api.foxapi.cc"),
        (" https://api.foxapi.cc/ ", "https://api.foxapi.cc"),
        ("https://API.FoxAPI.cc:443", "https://api.foxapi.cc"),
        ("https://api.foxapi.cc:8443//", "https://api.foxapi.cc:8443"),
        ("http://127.0.0.1:8017", "http://127.0.0.1:8017"),
        ("http://localhost:80", "http://localhost"),
        ("http://[::1]:8017", "http://[::1]:8017"),
    ],
)
def test_origins(base_url: str, origin: str) -> None:
    assert checked_base_url(base_url, allow_http=False) == origin


@pytest.mark.parametrize(
    ("base_url", "said"),
    [
        ("", "is not an http(s) URL"),
        ("api.foxapi.cc", "is not an http(s) URL"),
        ("ftp://api.foxapi.cc", "is not an http(s) URL"),
        ("https://", "is not an http(s) URL"),
        ("https://api.foxapi.cc:port", "is not a URL"),
        ("https://api.foxapi.cc/v1", "https://api.foxapi.cc/ for example, without /v1"),
        ("https://api.foxapi.cc/?a=b", "without /v1 or anything else"),
        ("https://api.foxapi.cc/#x", "without /v1 or anything else"),
        ("https://user:secret@api.foxapi.cc", "without /v1 or anything else"),
        ("http://api.foxapi.cc", "allow_http=True"),
        ("http://127.0.0.1.evil.org", "allow_http=True"),
        ("http://localhost.evil.org", "allow_http=True"),
    ],
)
def test_what_cannot_be_an_origin(base_url: Any, said: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        FoxAPIClient(API_KEY, base_url=base_url)
    assert caught.value.field == "base_url"
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)


async def test_unencrypted_where_it_is_allowed() -> None:
    async with FoxAPIClient(API_KEY, base_url="http://gateway.internal:8080", allow_http=True) as client:
        assert client.base_url == "http://gateway.internal:8080"


async def test_key_is_in_no_repr_no_log_and_no_error(make_client: MakeClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    echo = f"you sent Authorization: Bearer {API_KEY}"
    async with RawServer([refusal(401, message=echo), refusal(404, message=echo), answer(echo, 403)]) as server:
        client = make_client(server.url, retry=ONCE)
        assert API_KEY not in f"{client!r} {client}"
        errors: list[FoxAPIError] = []
        for _ in range(3):
            with pytest.raises(FoxAPIError) as caught:
                await client.get(GENERATION_ID)
            errors.append(caught.value)
    assert [type(error) for error in errors] == [AuthenticationError, NotFound, UnreadableResponse]
    for error in errors:
        assert API_KEY not in f"{error!r} {error} {vars(error)}"
        assert API_KEY.encode() not in pickle.dumps(error)
    ours = [record for record in caplog.records if record.name.startswith("prefect_foxapi")]
    assert API_KEY not in str([record.getMessage() for record in ours])


# Answers that are too large

LARGE = 65 * 1024 * 1024


@pytest.mark.parametrize("paid", [True, False])
async def test_answer_that_is_small_on_the_wire_and_large_in_memory(make_client: MakeClient, paid: bool) -> None:
    bomb = gzip.compress(b'{"id": "' + b"a" * LARGE + b'"}', compresslevel=1)
    assert len(bomb) < 1_000_000
    async with RawServer([answer(bomb, headers={"Content-Encoding": "gzip"})]) as server:
        client = make_client(server.url, retry=ONCE)
        with pytest.raises(AmbiguousSubmission if paid else FoxAPIError, match="67108864"):
            await (client.submit(BODY) if paid else client.get(GENERATION_ID))


async def test_answer_without_an_end(make_client: MakeClient) -> None:
    async def floods(request: Any, peer: Any) -> None:
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            await peer.send(b"400000\r\n" + b" " * 0x400000 + b"\r\n")

    async with RawServer([floods]) as server:
        with pytest.raises(ServiceUnavailable, match="67108864"):
            await make_client(server.url, retry=ONCE).get(GENERATION_ID)


async def test_compressed_answer(make_client: MakeClient) -> None:
    body = gzip.compress(b'{"id": "task-1", "status": "processing"}')
    async with RawServer([answer(body, headers={"Content-Encoding": "gzip"})]) as server:
        client = make_client(server.url)
        assert (await client.get("task-1")).status == "processing"
        assert (await client.submit(BODY)).id == "task-1"
