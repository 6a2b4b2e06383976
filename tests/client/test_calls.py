"""Each call of the client, as it arrives on a real socket and as its answer comes back."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import itertools
import json
import re
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from prefect_foxapi.errors import InvalidRequest
from prefect_foxapi.models.requests import GenerationRequest
from prefect_foxapi.version import __version__
from tests.conftest import API_KEY, MakeClient
from tests.models.test_messages import SEED_MESSAGES, UNKNOWN_PARAMETERS, WRITTEN
from tests.support.clocks import RunningClock
from tests.support.raw_http_server import GENERATION_ID, RawServer, Received, answer, generation, refusal

WIRE = Path(__file__).parents[1] / "api_payloads"
UPLOADED = {"id": "file-1", "filename": "x.png", "url": "https://e.org/x.png", "size": 3, "created": 1776874481}


def wire(name: str) -> Any:
    return json.loads((WIRE / f"{name}.json").read_text(encoding="utf-8"))


async def sent(make_client: MakeClient, request: Any) -> Received:
    async with RawServer([answer(wire("seed_response"))]) as server:
        snapshot = await make_client(server.url).submit(request)
    assert snapshot.model_dump(mode="json", exclude_unset=True) == wire("seed_response")
    (received,) = server.requests
    return received


# Submissions


async def test_the_seed_s_request_arrives(make_client: MakeClient) -> None:
    request = GenerationRequest.build("count 1 to 3", model="gpt-5.5", stream=False, max_tokens=32)
    received = await sent(make_client, request)
    assert (received.method, received.target) == ("POST", "/v1/llm/generations")
    assert received.json == wire("seed_request")
    assert received.header("authorization") == f"Bearer {API_KEY}"
    assert received.header("content-type") == "application/json"
    assert received.header("user-agent") == f"prefect-foxapi/{__version__}"


@pytest.mark.parametrize("name", SEED_MESSAGES)
async def test_shapes_of_the_seed_arrive(make_client: MakeClient, name: str) -> None:
    for prompt in WRITTEN[name]:
        received = await sent(make_client, GenerationRequest.build(prompt, model="gemini-3-pro-preview"))
        assert received.json == {"model": "gemini-3-pro-preview", "messages": SEED_MESSAGES[name]}


async def test_unknown_parameters_arrive_as_they_are(make_client: MakeClient) -> None:
    received = await sent(make_client, GenerationRequest.build("hi", model="gpt-5.5", **UNKNOWN_PARAMETERS))
    assert {name: received.json[name] for name in UNKNOWN_PARAMETERS} == UNKNOWN_PARAMETERS


async def test_body_of_one_s_own_arrives_as_it_is(make_client: MakeClient) -> None:
    body = {"model": "painter", "prompt": "a fox \U0001f98a", "size": None, "nested": {"a": [1.5, True]}}
    async with RawServer([answer(wire("media_submitted"))]) as server:
        snapshot = await make_client(server.url).submit(body, path="/v1/images/generations")
    assert server.requests[0].json == body
    assert server.requests[0].target == "/v1/images/generations"
    assert snapshot.model_extra
    assert snapshot.model_extra["task_info"] == wire("media_submitted")["task_info"]


async def test_answer_with_a_stream(make_client: MakeClient) -> None:
    async with RawServer([answer(wire("submitted_with_stream"))]) as server:
        snapshot = await make_client(server.url).submit({"model": "gpt-5.5"})
    assert snapshot.stream
    assert snapshot.stream.url == f"/v1/llm/generations/{snapshot.id}/stream"


async def test_unknown_fields_of_an_answer_survive(make_client: MakeClient) -> None:
    fields = {"task_info": {"can_cancel": True}, "usage": {"credits_reserved": 4, "user_group": "default"}, "x": [None]}
    async with RawServer([answer({**generation(), **fields})]) as server:
        client = make_client(server.url)
        submitted, polled = await client.submit({"model": "m"}), await client.get(GENERATION_ID)
    for snapshot in (submitted, polled):
        kept = snapshot.model_dump(mode="json")
        assert {name: kept[name] for name in fields} == fields
        assert snapshot.credits == 4


# Reads


async def test_poll_refreshes_from_upstream(make_client: MakeClient) -> None:
    async with RawServer([answer(wire("task_completed"))]) as server:
        snapshot = await make_client(server.url).get(GENERATION_ID)
    (received,) = server.requests
    assert received.target == f"/v1/tasks/{GENERATION_ID}?sync_upstream=true"
    assert received.header("user-agent") == f"prefect-foxapi/{__version__}"
    assert received.body == b""
    assert snapshot.has_result


async def test_models(make_client: MakeClient) -> None:
    async with RawServer([answer(wire("models")), answer({"object": "list", "data": []})]) as server:
        client = make_client(server.url)
        models = await client.models()
        assert [model.model_dump(mode="json", exclude_unset=True) for model in models] == wire("models")["data"]
        assert await client.models() == ()


async def test_capabilities_are_asked_for_once_in_a_while(make_client: MakeClient, running_clock: RunningClock) -> None:
    async with RawServer([answer(wire("models"))]) as server:
        client = make_client(server.url)
        found = await asyncio.gather(*(client.capabilities() for _ in range(5)))
        assert len(server.requests) == 1
        assert all(item == found[0] for item in found)
        running_clock.now += 299
        await client.capabilities()
        assert len(server.requests) == 1
        running_clock.now += 2
        await client.capabilities()
        assert len(server.requests) == 2
    for model in wire("models")["data"]:
        assert found[0][model["id"]] == set(model["capabilities"])


async def test_list_of_models_that_fails_is_not_remembered_as_empty(make_client: MakeClient) -> None:
    async with RawServer([refusal(401), answer(wire("models"))]) as server:
        client = make_client(server.url)
        with pytest.raises(Exception, match="401"):
            await client.capabilities()
        assert await client.capabilities()


async def test_credits(make_client: MakeClient) -> None:
    async with RawServer([answer({"balance": "12.5", "used": 3, "plan": "pro"})]) as server:
        credits = await make_client(server.url).credits()
    assert (credits.balance, credits.used, credits.model_extra) == (12.5, 3.0, {"plan": "pro"})
    assert server.requests[0].target == "/v1/account/credits"


# Uploads


def form_of(received: Received) -> dict[str, tuple[str, bytes]]:
    """For each part of a multipart body its header and its content."""
    boundary = re.search(r"boundary=(\S+)", received.header("content-type") or "")
    assert boundary
    parts = received.body.split(b"--" + boundary.group(1).encode())[1:-1]
    heads = [part.strip(b"\r\n").partition(b"\r\n\r\n") for part in parts]
    named = {re.search(r'name="(\w+)"', head.decode()): (head.decode(), content) for head, _, content in heads}
    return {name.group(1): value for name, value in named.items() if name}


@pytest.mark.parametrize(("name", "auto_cleanup"), [(None, True), ('ünï "x".png', False)])
async def test_upload_of_a_file(make_client: MakeClient, tmp_path: Path, name: str | None, auto_cleanup: bool) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(bytes(range(256)) * 20_000)
    async with RawServer([answer(UPLOADED)]) as server:
        uploaded = await make_client(server.url).upload(path, name=name, auto_cleanup=auto_cleanup)
    (received,) = server.requests
    assert received.target == "/v1/files/upload/stream"
    form = form_of(received)
    head, content = form.pop("file")
    assert hashlib.sha256(content).digest() == hashlib.sha256(path.read_bytes()).digest()
    assert 'filename="photo.png"' in head
    assert "Content-Type: image/png" in head
    fields = {field: value.decode() for field, (_, value) in form.items()}
    assert fields == {"auto_cleanup": "true" if auto_cleanup else "false", **({"file_name": name} if name else {})}
    assert uploaded.model_dump(mode="json") == UPLOADED


async def test_upload_that_is_repeated_sends_the_whole_file_again(make_client: MakeClient, tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(b"content" * 50_000)
    async with RawServer([refusal(503), refusal(429), answer(UPLOADED)]) as server:
        await make_client(server.url).upload(path)
    assert [form_of(received)["file"][1] for received in server.requests] == [path.read_bytes()] * 3


async def test_upload_of_bytes(make_client: MakeClient) -> None:
    async with RawServer([answer(wire("upload"))]) as server:
        uploaded = await make_client(server.url).upload(b"\x00\xffbytes", name="x.bin")
    (received,) = server.requests
    assert received.target == "/v1/files/upload/base64"
    encoded = base64.b64encode(b"\x00\xffbytes").decode()
    assert received.json == {"file_data": encoded, "file_name": "x.bin", "auto_cleanup": True}
    assert uploaded.model_dump(mode="json") == wire("upload")


async def test_upload_of_a_url(make_client: MakeClient) -> None:
    async with RawServer([answer(UPLOADED)]) as server:
        await make_client(server.url).upload("https://e.org/a.png", auto_cleanup=False)
    (received,) = server.requests
    assert received.target == "/v1/files/upload/url"
    assert received.json == {"url": "https://e.org/a.png", "auto_cleanup": False}


@pytest.mark.parametrize("source", ["none.png", "empty.png", "."])
async def test_file_that_cannot_be_sent_is_not(make_client: MakeClient, tmp_path: Path, source: str) -> None:
    (tmp_path / "empty.png").touch()
    async with RawServer([answer(UPLOADED)]) as server:
        with pytest.raises(InvalidRequest):
            await make_client(server.url).upload(tmp_path / source)
    assert server.connections == 0


@pytest.mark.parametrize("source", ["file:///etc/passwd", "file:/etc/passwd", " FILE:///etc/passwd"])
async def test_local_file_as_a_url_is_not_uploaded(make_client: MakeClient, source: str) -> None:
    async with RawServer([answer(UPLOADED)]) as server:
        with pytest.raises(InvalidRequest) as caught:
            await make_client(server.url).upload(source)
    assert caught.value.field == "source"
    assert server.connections == 0


async def test_file_is_not_held_in_memory(make_client: MakeClient, tmp_path: Path) -> None:
    path = tmp_path / "large.bin"
    with path.open("wb") as file:
        file.truncate(48 * 1024 * 1024)

    async def swallows(received: Received, peer: Any) -> None:
        left = int(received.header("content-length") or 0)
        while left:
            left -= len(await peer.reader.read(2**20))
        await answer(UPLOADED)(received, peer)

    swallows.reads_body = False  # type: ignore[attr-defined]
    async with RawServer([swallows], buffer=2**16) as server:
        client = make_client(server.url)
        tracemalloc.start()
        await client.upload(path)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 8 * 1024 * 1024


async def test_a_cancelled_read_never_goes_on_as_if_it_were_not(make_client: MakeClient) -> None:
    for _ in range(5):
        for steps in itertools.count(0, 1):
            async with RawServer([answer({"data": []})]) as server:
                reading = asyncio.ensure_future(make_client(server.url).models())
                await server.has_received(1)
                for _ in range(steps):
                    await asyncio.sleep(0)
                if reading.done():
                    break
                reading.cancel()
                await asyncio.wait([reading])
                assert reading.cancelled(), f"{steps} steps of the event loop after the request arrived"
