"""Each kind of fault as a client sees it on a real socket, and whether the submission is billed."""

from __future__ import annotations

import email.utils
import json
import pickle
import socket
import time
from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from typing import Any, get_args

import httpx
import pytest
from httpx_sse import connect_sse
from pydantic import ValidationError

from prefect_foxapi.emulator import Emulator, FaultRule
from prefect_foxapi.emulator.state.faults import Endpoint, FaultKind

BODY = {"model": "gpt-5.5", "messages": [{"role": "user", "content": "count 1 to 3"}]}
Submit = Callable[[], httpx.Response]


@pytest.fixture
def post(api: httpx.Client) -> Submit:
    return lambda: api.post("/v1/llm/generations", json=BODY)


def billed(emulator: Emulator) -> int:
    return sum(emulator.times().values())


def read_until_closed(response: httpx.Response) -> bytes:
    """Returns the bytes before the connection is closed, which must happen."""
    received: list[bytes] = []
    with pytest.raises(httpx.RemoteProtocolError):
        received.extend(response.iter_raw())
    return b"".join(received)


@pytest.mark.parametrize("processed", [False, True])
@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_error_status(status: int, processed: bool, post: Submit, emulator: Emulator) -> None:
    emulator.add_fault(FaultRule("status", endpoint="submit", status=status, processed=processed, count=1))
    assert post().status_code == status
    assert billed(emulator) == int(processed)
    assert post().status_code == 200
    assert billed(emulator) == 1 + processed


def test_custom_error(post: Submit, emulator: Emulator) -> None:
    emulator.add_fault(kind="status", status=422, code="no_compatible_channel", type="odd", message="Later.")
    error = post().json()["error"]
    assert (error["code"], error["type"]) == ("no_compatible_channel", "odd")
    assert error["message"].startswith("Later. request_id: ")


def test_retry_after_in_seconds_and_as_a_date(post: Submit, emulator: Emulator) -> None:
    emulator.add_fault(FaultRule("status", status=429, retry_after=7, count=1))
    emulator.add_fault(FaultRule("status", status=429, retry_after=60, retry_after_date=True, count=1))
    emulator.add_fault(FaultRule("status", status=429, retry_after="soon", count=1))
    assert post().headers["retry-after"] == "7"
    when = email.utils.parsedate_to_datetime(post().headers["retry-after"]).timestamp()
    assert 55 < when - time.time() < 65
    assert post().headers["retry-after"] == "soon"
    assert "retry-after" not in post().headers


def test_cdn_page(post: Submit, emulator: Emulator) -> None:
    emulator.add_fault(FaultRule("cdn_403", count=1))
    response = post()
    assert (response.status_code, response.headers["content-type"]) == (403, "text/html; charset=utf-8")
    assert "error code: 1010" in response.text
    assert billed(emulator) == 0


@pytest.mark.parametrize(("kind", "cost"), [("reset_before", 0), ("reset_after", 1)])
def test_reset(kind: Any, cost: int, post: Submit, emulator: Emulator) -> None:
    emulator.add_fault(FaultRule(kind, endpoint="submit", count=1))
    with pytest.raises(httpx.ReadError):
        post()
    assert billed(emulator) == cost
    assert post().status_code == 200
    assert emulator.counts()["POST", "submit"] == 2


def test_reset_sends_an_rst(emulator: Emulator) -> None:
    emulator.add_fault(FaultRule("reset_before"))
    content = json.dumps(BODY).encode()
    head = (
        f"POST /v1/llm/generations HTTP/1.1\r\nhost: x\r\nuser-agent: raw/1\r\ncontent-length: {len(content)}\r\n"
        f"authorization: Bearer {emulator.api_key}\r\n\r\n"
    )
    with socket.create_connection(httpx.URL(emulator.url).netloc.decode().split(":"), timeout=5) as connection:
        connection.sendall(head.encode() + content)
        with pytest.raises(ConnectionResetError):
            connection.recv(1)


@pytest.mark.parametrize("path", ["/v1/tasks/{}", "/v1/configs/llm_generations_models"])
def test_truncated_response(path: str, api: httpx.Client, post: Submit, emulator: Emulator) -> None:
    path = path.format(post().json()["id"])
    whole = api.get(path)
    emulator.add_fault(FaultRule("truncated", count=1))
    with api.stream("GET", path) as response:
        assert response.headers["content-length"] == whole.headers["content-length"]
        received = read_until_closed(response)
    assert received == whole.content[: len(whole.content) // 2]
    assert api.get(path).content == whole.content


def test_truncated_submission_is_billed(post: Submit, emulator: Emulator) -> None:
    emulator.add_fault(FaultRule("truncated", endpoint="submit", count=1))
    with pytest.raises(httpx.RemoteProtocolError):
        post()
    assert billed(emulator) == 1


@pytest.mark.parametrize("processed", [False, True])
def test_hang(processed: bool, api: httpx.Client, emulator: Emulator) -> None:
    emulator.add_fault(FaultRule("hang", endpoint="submit", seconds=60, processed=processed, count=1))
    with pytest.raises(httpx.ReadTimeout):
        api.post("/v1/llm/generations", json=BODY, timeout=0.2)
    assert billed(emulator) == int(processed)


def test_hang_ends_without_a_response(api: httpx.Client, emulator: Emulator) -> None:
    emulator.add_fault(FaultRule("hang", seconds=0.1, count=1))
    with pytest.raises(httpx.RemoteProtocolError), api.stream("POST", "/v1/llm/generations", json=BODY):
        pytest.fail("the response has begun")


def test_stop_ends_a_hang(start: Any) -> None:
    emulator = start()
    emulator.add_fault(FaultRule("hang", seconds=60))
    with socket.create_connection(httpx.URL(emulator.url).netloc.decode().split(":"), timeout=5) as connection:
        connection.sendall(
            b"GET /v1/account/credits HTTP/1.1\r\nhost: x\r\nuser-agent: raw/1\r\n"
            b"authorization: Bearer sk-emulator\r\n\r\n"
        )
        deadline = time.monotonic() + 5
        while not emulator.counts() and time.monotonic() < deadline:
            time.sleep(0.001)
        started = time.monotonic()
        emulator.stop()
        assert time.monotonic() - started < 1
        with pytest.raises(ConnectionResetError):
            connection.recv(1)


def test_delay(post: Submit, emulator: Emulator) -> None:
    emulator.add_fault(FaultRule("delay", seconds=0.2, count=1))
    started = time.monotonic()
    assert post().status_code == 200
    assert time.monotonic() - started >= 0.2
    assert billed(emulator) == 1


def test_late_results_of_one_generation(api: httpx.Client, post: Submit, emulator: Emulator) -> None:
    emulator.add_fault(FaultRule("late_results", seconds=5, count=1))
    late, usual = post().json()["id"], post().json()["id"]
    emulator.advance(10)
    assert api.get(f"/v1/tasks/{late}").json()["results"] is None
    assert api.get(f"/v1/tasks/{usual}").json()["results"]
    emulator.advance(5)
    assert api.get(f"/v1/tasks/{late}").json()["results"]


def test_task_vanishes(api: httpx.Client, post: Submit, emulator: Emulator) -> None:
    generation_id = post().json()["id"]
    emulator.add_fault(FaultRule("vanish", after=1, count=1))
    responses = [api.get(f"/v1/tasks/{generation_id}") for _ in range(3)]
    assert [response.status_code for response in responses] == [200, 404, 200]
    assert responses[1].json()["error"]["code"] == "not_found"


def test_generation_fails(api: httpx.Client, post: Submit, emulator: Emulator) -> None:
    emulator.add_fault(FaultRule("fail", code="content_policy", message="Not this.", count=1))
    generation_id = post().json()["id"]
    emulator.advance(10)
    task = api.get(f"/v1/tasks/{generation_id}").json()
    assert (task["status"], task["results"]) == ("failed", None)
    assert task["error"] == {"code": "content_policy", "message": "Not this.", "type": "task_error"}
    assert billed(emulator) == 1


@pytest.fixture
def stream(api: httpx.Client, emulator: Emulator) -> Callable[..., list[str]]:
    """Reads the names of the events in the stream of a finished generation."""
    emulator.script(when="", answer="one two three four five six seven")
    accepted = api.post("/v1/llm/generations", json={**BODY, "stream": True}).json()
    emulator.advance(10)

    def read(offset: int = 0, into: list[str] | None = None) -> list[str]:
        names: list[str] = [] if into is None else into
        with connect_sse(api, "GET", accepted["stream"]["url"], params={"offset": offset}) as source:
            names.extend(event.event for event in source.iter_sse())
        return names

    return read


@pytest.mark.parametrize("chunks", [0, 1, 4, 9])
def test_stream_drops_after_chunks(chunks: int, stream: Any, emulator: Emulator) -> None:
    emulator.add_fault(FaultRule("sse_drop", chunks=chunks, count=1))
    names: list[str] = []
    with pytest.raises(httpx.RemoteProtocolError):
        stream(into=names)
    assert names == ["chunk"] * chunks
    assert stream(offset=chunks) == ["chunk"] * (9 - chunks) + ["done"]


def test_stream_drop_counts_from_the_offset(stream: Any, emulator: Emulator) -> None:
    emulator.add_fault(FaultRule("sse_drop", chunks=2, count=1))
    names: list[str] = []
    with pytest.raises(httpx.RemoteProtocolError):
        stream(offset=5, into=names)
    assert names == ["chunk"] * 2


def test_stream_shorter_than_the_drop_is_complete(stream: Any, emulator: Emulator) -> None:
    emulator.add_fault(FaultRule("sse_drop", chunks=50))
    assert stream() == ["chunk"] * 9 + ["done"]


def test_stream_without_done(stream: Any, emulator: Emulator) -> None:
    emulator.add_fault(FaultRule("sse_no_done", count=1))
    assert stream() == ["chunk"] * 9
    assert stream() == ["chunk"] * 9 + ["done"]


def test_stream_with_an_error_event(stream: Any, emulator: Emulator) -> None:
    emulator.add_fault(FaultRule("sse_error", chunks=3, count=1))
    assert stream() == ["chunk"] * 3 + ["error"]


def test_silent_stream(start: Any, connect: Any) -> None:
    emulator = start(keep_alive=0.02)
    emulator.add_fault(FaultRule("sse_silence", chunks=2, seconds=0.3, count=1))
    api = connect(emulator)
    accepted = api.post("/v1/llm/generations", json={**BODY, "stream": True}).json()
    emulator.advance(10)
    started = time.monotonic()
    with api.stream("GET", accepted["stream"]["url"]) as response:
        received = read_until_closed(response)
    assert time.monotonic() - started >= 0.3
    assert received.count(b"event: chunk") == 2
    assert b"\n:" not in received


@pytest.mark.parametrize(
    ("endpoint", "method", "path"),
    [
        ("submit", "POST", "/v1/llm/generations"),
        ("submit", "POST", "/v1/images/generations"),
        ("task", "GET", "/v1/tasks/x"),
        ("stream", "GET", "/v1/llm/generations/x/stream"),
        ("models", "GET", "/v1/configs/llm_generations_models"),
        ("upload", "POST", "/v1/files/upload/base64"),
        ("upload", "POST", "/v1/files/upload/stream"),
        ("upload", "POST", "/v1/files/upload/url"),
        ("credits", "GET", "/v1/account/credits"),
    ],
)
def test_rules_are_for_an_endpoint_or_for_all(
    endpoint: Any, method: str, path: str, api: httpx.Client, emulator: Emulator
) -> None:
    others = [name for name in ("submit", "task", "stream", "models", "upload", "credits") if name != endpoint]
    for other in others:
        emulator.add_fault(kind="status", endpoint=other, status=500)
    assert api.request(method, path, json={}).status_code != 500
    emulator.add_fault(FaultRule("status", endpoint=endpoint, status=503, count=1))
    emulator.add_fault(FaultRule("status", status=504))
    assert [api.request(method, path, json={}).status_code for _ in range(2)] == [503, 504]
    emulator.clear_faults()
    assert api.request(method, path, json={}).status_code < 500


def test_after_and_count(api: httpx.Client, emulator: Emulator) -> None:
    emulator.add_fault(FaultRule("status", status=503, after=2, count=2))
    statuses = [api.get("/v1/account/credits").status_code for _ in range(6)]
    assert statuses == [200, 200, 503, 503, 200, 200]


def test_probabilities_are_repeatable(start: Any, connect: Any) -> None:
    def drawn(seed: int) -> list[int]:
        emulator = start(seed=seed)
        emulator.add_fault(FaultRule("status", status=503, probability=0.3))
        api = connect(emulator)
        return [api.get("/v1/account/credits").status_code for _ in range(100)]

    first = drawn(1)
    assert first == drawn(1) != drawn(2)
    assert 15 < first.count(503) < 45


@pytest.mark.parametrize(
    ("fields", "location", "reason"),
    [
        ({"kind": "explode"}, ("kind",), "literal_error"),
        ({"kind": "status", "endpoint": "nowhere"}, ("endpoint",), "literal_error"),
        ({"kind": "vanish", "endpoint": "submit"}, (), "value_error"),
        ({"kind": "truncated", "endpoint": "stream"}, (), "value_error"),
        ({"kind": "status", "probability": 1.5}, ("probability",), "less_than_equal"),
        ({"kind": "status", "retry_after_date": True}, ("status", "retry_after_date"), "value_error"),
        ({"kind": "status", "colour": "red"}, ("colour",), "unexpected_keyword_argument"),
        ({"endpoint": "task"}, ("kind",), "missing"),
    ],
)
def test_invalid_rules(fields: dict[str, Any], location: tuple[str, ...], reason: str, emulator: Emulator) -> None:
    with pytest.raises(ValidationError) as raised:
        emulator.add_fault(**fields)
    assert [(error["loc"], error["type"]) for error in raised.value.errors()] == [(location, reason)]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (FaultRule("hang", seconds=5), {"kind": "hang", "seconds": 5.0, "processed": False}),
        (FaultRule(kind="sse_drop", chunks=3), {"kind": "sse_drop", "chunks": 3}),
        (FaultRule("reset_before", "task", 0.5, status=404), {"kind": "reset_before"}),
    ],
)
def test_fault_has_the_fields_of_its_kind(rule: FaultRule, expected: dict[str, Any]) -> None:
    assert rule.fault.model_dump() == expected


def test_every_kind_has_a_class_and_acts_on_an_endpoint() -> None:
    faults = {kind: FaultRule(kind).fault for kind in get_args(FaultKind)}
    assert len({type(fault) for fault in faults.values()}) == len(faults) == 14
    for kind, fault in faults.items():
        for endpoint in get_args(Endpoint):
            rule = {"kind": kind, "endpoint": endpoint}
            if endpoint in {"*", *fault.endpoints}:
                assert FaultRule.parse(rule).fault == fault
            else:
                with pytest.raises(ValidationError):
                    FaultRule.parse(rule)


def test_rule_is_an_immutable_value() -> None:
    rule = FaultRule("status", status=503)
    with pytest.raises(FrozenInstanceError):
        rule.status = 500  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(ValidationError):
        rule.fault.status = 500  # pyright: ignore[reportAttributeAccessIssue]
    assert replace(rule, count=2) == FaultRule("status", status=503, count=2) != rule
    assert pickle.loads(pickle.dumps(rule)) == rule
    assert len({rule, FaultRule("status", status=503)}) == 1
