"""What is refused, with which status, type and code, and that it costs nothing."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from prefect_foxapi.emulator import Emulator, FaultRule, Model

USER = [{"role": "user", "content": "hi"}]


def part(kind: str, url: Any = "https://example.com/x") -> dict[str, Any]:
    return {"type": kind, kind: {"url": url}}


def chat(model: str = "gpt-5.5", *parts: Any, **further: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": list(parts)}] if parts else USER, **further}


def message(**fields: Any) -> dict[str, Any]:
    return {"model": "gpt-5.5", "messages": [fields]}


REFUSED: list[tuple[str, Any]] = [
    ("malformed", "no JSON"),
    ("malformed", []),
    ("malformed", {"messages": USER}),
    ("malformed", {"model": 5, "messages": USER}),
    ("malformed", {"model": "gpt-5.5"}),
    ("malformed", {"model": "gpt-5.5", "messages": "hi"}),
    ("malformed", {"model": "gpt-5.5", "messages": ["hi"]}),
    ("bad_value", {"model": "gpt-5.5", "messages": []}),
    ("malformed", message(content="hi")),
    ("bad_value", message(role="wizard", content="hi")),
    ("malformed", message(role="user")),
    ("malformed", message(role="user", content=None)),
    ("malformed", message(role="user", content={"type": "text"})),
    ("bad_value", message(role="user", content=[])),
    ("malformed", message(role="tool", content="42")),
    ("malformed", chat("gpt-5.5", "hi")),
    ("malformed", chat("gpt-5.5", {"text": "hi"})),
    ("malformed", chat("gpt-5.5", {"type": "text"})),
    ("malformed", chat("gpt-5.5", {"type": "image_url", "image_url": "https://example.com/x.png"})),
    ("malformed", chat("gpt-5.5", {"type": "image_url"})),
    ("malformed", chat("gpt-5.5", part("image_url", ""))),
    ("unknown_content", chat("gpt-5.5", {"type": "smell_url", "smell_url": {"url": "https://example.com/x"}})),
    ("unknown_model", chat("gpt-0")),
    ("lacking_capability", chat("gpt-5.5", part("video_url"))),
    ("lacking_capability", chat("gpt-5.5", part("audio_url"))),
    ("lacking_capability", chat("gpt-5.5", part("file_url"))),
    ("lacking_capability", chat("kimi-k2.6", part("file_url"))),
    ("lacking_capability", chat("claude-opus-4-7", part("video_url"), max_tokens=64)),
    ("lacking_capability", chat("claude-opus-4-7", part("audio_url"), max_tokens=64)),
    ("model_rule", chat("gemini-2.5-flash-lite", part("video_url"), part("video_url"))),
    ("bad_value", chat("claude-opus-4-7")),
    ("bad_value", chat("claude-opus-4-7", max_tokens=None)),
    ("bad_value", chat("gpt-5.5", max_tokens=15)),
    ("bad_value", chat("gemini-3-pro-preview", max_tokens=0)),
    ("malformed", chat("gpt-5.5", max_tokens="64")),
    ("malformed", chat("gpt-5.5", max_tokens=True)),
    ("malformed", chat("gpt-5.5", stream="yes")),
    ("malformed", chat("gpt-5.5", temperature="hot")),
    ("bad_value", chat("gpt-5.5", temperature=2.1)),
    ("bad_value", chat("gpt-5.5", top_p=-0.1)),
    ("malformed", chat("gpt-5.5", stop=5)),
    ("malformed", chat("gpt-5.5", stop=[5])),
    ("bad_image", chat("gpt-5.5", part("image_url", "photo.png"))),
    ("bad_image", chat("gpt-5.5", part("image_url", "ftp://example.com/x.png"))),
    ("bad_image", chat("gpt-5.5", part("image_url", "data:image/png;base64,a!b"))),
    ("bad_image", chat("gpt-5.5", part("image_url", "http://[half"))),
    ("bad_value", chat("gemini-3-pro-preview", part("audio_url", "data:audio/wav"))),
    ("bad_value", chat("gpt-5.5", response_format={"type": "json_schema", "json_schema": {"schema": {"type": "x"}}})),
    ("bad_value", chat("gpt-5.5", response_format={"type": "json_schema"})),
    ("bad_value", chat("gpt-5.5", tools=[{"function": {"name": "f", "parameters": {"$ref": "#/$defs/none"}}}])),
]

ACCEPTED: list[dict[str, Any]] = [
    chat("gpt-5.5", max_tokens=16),
    chat("gpt-5.5", max_tokens=None, temperature=None, top_p=None, stop=None, stream=None),
    chat("claude-opus-4-7", part("image_url"), part("file_url"), max_tokens=1),
    chat("kimi-k2.6", part("image_url"), stop=["a", "b"], temperature=0, top_p=1),
    chat("gemini-2.5-flash-lite", part("video_url"), part("audio_url"), part("file_url"), part("image_url")),
    chat("gpt-5.5", {"type": "image_url", "image_url": {"url": "https://example.com/x", "detail": "low"}, "more": 1}),
    chat("gpt-5.5", frequency_penalty=0.5, seed=7, an_unknown_one={"deep": [1]}),
    {"model": "gpt-5.5", "messages": [{"role": "assistant", "content": None, "tool_calls": [{"id": "c"}]}]},
    {"model": "gpt-5.5", "messages": [{"role": "tool", "content": "42", "tool_call_id": "c"}]},
    {"model": "gpt-5.5", "messages": [{"role": "system", "content": ""}]},
]


def told(response: httpx.Response) -> tuple[int, str, str]:
    error = response.json()["error"]
    return response.status_code, error["type"], error["code"]


def assert_refused(response: httpx.Response, expected: dict[str, Any]) -> None:
    wanted = expected["body"]["error"]
    assert told(response) == (expected["status"], wanted["type"], wanted["code"])
    assert list(response.json()) == ["error"]
    assert list(response.json()["error"]) == list(wanted)
    assert response.json()["error"]["message"].rpartition(" request_id: ")[2].startswith("req-")


@pytest.mark.parametrize(("name", "body"), REFUSED)
def test_a_refusal_costs_nothing(
    name: str, body: Any, api: httpx.Client, emulator: Emulator, wire: Callable[[str], Any]
) -> None:
    content = body if isinstance(body, str) else json.dumps(body)
    assert_refused(api.post("/v1/llm/generations", content=content), wire("errors")[name])
    assert emulator.ledger() == []
    assert emulator.balance == 1_000_000


@pytest.mark.parametrize("depth", [300, 600, 100_000])
def test_deep_bodies_are_accepted_or_refused(depth: int, api: httpx.Client, emulator: Emulator) -> None:
    nested = "[" * depth + "]" * depth
    content = json.dumps(chat("gpt-5.5", metadata=0)).replace('"metadata": 0', f'"metadata": {nested}')
    assert api.post("/v1/llm/generations", content=content).status_code in (200, 400)
    assert api.get("/v1/account/credits").status_code == 200


@pytest.mark.parametrize("body", ACCEPTED)
def test_what_is_in_order_is_accepted_and_kept_as_it_came(
    body: dict[str, Any], api: httpx.Client, emulator: Emulator
) -> None:
    assert api.post("/v1/llm/generations", json=body).status_code == 200
    assert emulator.ledger()[0].body == body


@pytest.mark.parametrize("key", [None, "", "Bearer", "Bearer sk-wrong", "Basic sk-emulator", "sk-emulator"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/llm/generations"),
        ("POST", "/v1/images/generations"),
        ("GET", "/v1/tasks/task-llm-1-abcdefgh"),
        ("GET", "/v1/llm/generations/task-llm-1-abcdefgh/stream"),
        ("GET", "/v1/configs/llm_generations_models"),
        ("POST", "/v1/files/upload/base64"),
        ("GET", "/v1/account/credits"),
    ],
)
def test_every_call_wants_the_key(
    key: str | None, method: str, path: str, emulator: Emulator, connect: Any, wire: Callable[[str], Any]
) -> None:
    with_key = connect(emulator, authorization=key)
    assert_refused(with_key.request(method, path, json=chat()), wire("errors")["unauthenticated"])


@pytest.mark.parametrize(
    "agent",
    [
        None,
        "",
        "python-httpx/0.28.1",
        "python-requests/2.34.2",
        "Python-urllib/3.11",
        "python-urllib3/2.8.0",
        "Python/3.11 aiohttp/3.14.5",
    ],
)
def test_the_cdn_refuses_the_agent_of_a_bare_library(agent: str | None, emulator: Emulator, connect: Any) -> None:
    response = connect(emulator, **{"user-agent": agent}).get("/v1/account/credits")
    assert (response.status_code, response.text) == (403, "error code: 1010")
    assert response.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize("agent", ["prefect-foxapi/0.1.0", "mine/1 python-httpx/0.28.1", "curl/8.5.0"])
def test_the_cdn_lets_other_agents_pass(agent: str, emulator: Emulator, connect: Any) -> None:
    assert connect(emulator, **{"user-agent": agent}).get("/v1/account/credits").status_code == 200


def test_the_cdn_can_be_turned_off(start: Any, connect: Any) -> None:
    lenient = start(refuse_library_agents=False)
    assert connect(lenient, **{"user-agent": "python-httpx/0.28.1"}).get("/v1/account/credits").status_code == 200


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_of_more_than_20_mb(
    chunked: bool, api: httpx.Client, emulator: Emulator, wire: Callable[[str], Any]
) -> None:
    data = base64.b64encode(bytes(15_000_001)).decode()
    body = json.dumps(chat("gpt-5.5", part("image_url", f"data:image/png;base64,{data}"))).encode()
    content = iter([body[:1000], body[1000:]]) if chunked else body
    assert_refused(api.post("/v1/llm/generations", content=content), wire("errors")["too_large"])
    assert emulator.ledger() == []


def test_an_empty_balance(start: Any, connect: Any, wire: Callable[[str], Any]) -> None:
    emulator = start(credits=2)
    api = connect(emulator)
    statuses = [api.post("/v1/llm/generations", json=chat()).status_code for _ in range(3)]
    assert statuses == [200, 200, 402]
    assert_refused(api.post("/v1/llm/generations", json=chat()), wire("errors")["no_credits"])
    assert api.get("/v1/account/credits").json()["balance"] == 0
    assert len(emulator.ledger()) == 2


@pytest.mark.parametrize(
    "path", ["/v1/tasks/task-llm-1-abcdefgh", "/v1/llm/generations/task-llm-1-abcdefgh/stream", "/v1/nothing"]
)
def test_what_does_not_exist(path: str, api: httpx.Client, wire: Callable[[str], Any]) -> None:
    assert_refused(api.get(path), wire("errors")["not_found"])


def test_no_stream_without_stream_true(api: httpx.Client, submit: Any, wire: Callable[[str], Any]) -> None:
    path = f"/v1/llm/generations/{submit()['id']}/stream"
    assert_refused(api.get(path), wire("errors")["not_found"])


@pytest.mark.parametrize("offset", ["-1", "x", "1.5", "²", "9" * 5000])
def test_an_offset_that_is_no_number(offset: str, api: httpx.Client, submit: Any, wire: Callable[[str], Any]) -> None:
    path = f"/v1/llm/generations/{submit(stream=True)['id']}/stream"
    assert_refused(api.get(path, params={"offset": offset}), wire("errors")["bad_value"])


@pytest.mark.parametrize(("name", "status"), [("rate_limited", 429), ("internal", 500), ("unavailable", 503)])
def test_errors_by_rule_look_like_the_contracts(
    name: str, status: int, api: httpx.Client, emulator: Emulator, wire: Callable[[str], Any]
) -> None:
    emulator.add_fault(FaultRule("status", status=status))
    assert_refused(api.get("/v1/account/credits"), wire("errors")[name])


@pytest.mark.parametrize(
    ("name", "path", "body"),
    [
        ("malformed", "/v1/images/generations", {"model": "gpt-image-2"}),
        ("malformed", "/v1/videos/generations", {"prompt": "a fox"}),
        ("unknown_model", "/v1/audios/generations", {"model": "none", "prompt": "a fox"}),
        ("bad_value", "/v1/images/generations", {"model": "gpt-image-2", "prompt": "a fox", "n": 5}),
    ],
)
def test_refused_media(name: str, path: str, body: Any, api: httpx.Client, wire: Callable[[str], Any]) -> None:
    assert_refused(api.post(path, json=body), wire("errors")[name])


def test_a_model_that_makes_something_else(api: httpx.Client) -> None:
    response = api.post("/v1/videos/generations", json={"model": "gpt-image-2", "prompt": "a fox"})
    assert told(response) == (422, "invalid_request_error", "model_not_supported")


def test_a_key_without_models(start: Any, connect: Any) -> None:
    api = connect(start(models=()))
    assert api.get("/v1/configs/llm_generations_models").json() == {"object": "list", "data": []}
    assert told(api.post("/v1/llm/generations", json=chat())) == (422, "invalid_request_error", "model_not_found")


def test_models_of_ones_own(start: Any, connect: Any) -> None:
    api = connect(start(models=[Model("fox-1", ("text",)), Model("fox-embed", ("vision",))]))
    assert [model["id"] for model in api.get("/v1/configs/llm_generations_models").json()["data"]] == [
        "fox-1",
        "fox-embed",
    ]
    assert api.post("/v1/llm/generations", json=chat("fox-1")).status_code == 200
    assert told(api.post("/v1/llm/generations", json=chat("fox-1", part("image_url"))))[2] == (
        "model_not_support_capability"
    )
    assert told(api.post("/v1/llm/generations", json=chat("fox-embed")))[2] == "model_not_supported"
