"""Requests that are refused: with which status, type and code; none is billed."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from prefect_foxapi.emulator import Emulator
from tests.emulator.chat_requests import USER, assert_refused, chat, error_of, message, part

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
    chat("gpt-5.5", frequency_penalty=0.5, seed=7, an_unknown_field={"deep": [1]}),
    {"model": "gpt-5.5", "messages": [{"role": "assistant", "content": None, "tool_calls": [{"id": "c"}]}]},
    {"model": "gpt-5.5", "messages": [{"role": "tool", "content": "42", "tool_call_id": "c"}]},
    {"model": "gpt-5.5", "messages": [{"role": "system", "content": ""}]},
]


@pytest.mark.parametrize(("name", "body"), REFUSED)
def test_refused_requests_are_not_billed(
    name: str, body: Any, api: httpx.Client, emulator: Emulator, payload: Callable[[str], Any]
) -> None:
    content = body if isinstance(body, str) else json.dumps(body)
    assert_refused(api.post("/v1/llm/generations", content=content), payload("errors")[name])
    assert emulator.ledger() == []
    assert emulator.balance == 1_000_000


@pytest.mark.parametrize("body", ACCEPTED)
def test_valid_requests_are_accepted_and_recorded_as_sent(
    body: dict[str, Any], api: httpx.Client, emulator: Emulator
) -> None:
    assert api.post("/v1/llm/generations", json=body).status_code == 200
    assert emulator.ledger()[0].body == body


def test_insufficient_balance(start: Any, connect: Any, payload: Callable[[str], Any]) -> None:
    emulator = start(credits=2)
    api = connect(emulator)
    statuses = [api.post("/v1/llm/generations", json=chat()).status_code for _ in range(3)]
    assert statuses == [200, 200, 402]
    assert_refused(api.post("/v1/llm/generations", json=chat()), payload("errors")["no_credits"])
    assert api.get("/v1/account/credits").json()["balance"] == 0
    assert len(emulator.ledger()) == 2


def test_stream_of_a_task_without_stream(api: httpx.Client, submit: Any, payload: Callable[[str], Any]) -> None:
    path = f"/v1/llm/generations/{submit()['id']}/stream"
    assert_refused(api.get(path), payload("errors")["not_found"])


@pytest.mark.parametrize("offset", ["-1", "x", "1.5", "²", "9" * 5000])
def test_invalid_offset(offset: str, api: httpx.Client, submit: Any, payload: Callable[[str], Any]) -> None:
    path = f"/v1/llm/generations/{submit(stream=True)['id']}/stream"
    assert_refused(api.get(path, params={"offset": offset}), payload("errors")["bad_value"])


@pytest.mark.parametrize(
    ("name", "path", "body"),
    [
        ("malformed", "/v1/images/generations", {"model": "gpt-image-2"}),
        ("malformed", "/v1/videos/generations", {"prompt": "a fox"}),
        ("unknown_model", "/v1/audios/generations", {"model": "none", "prompt": "a fox"}),
        ("bad_value", "/v1/images/generations", {"model": "gpt-image-2", "prompt": "a fox", "n": 5}),
    ],
)
def test_refused_media_requests(
    name: str, path: str, body: Any, api: httpx.Client, payload: Callable[[str], Any]
) -> None:
    assert_refused(api.post(path, json=body), payload("errors")[name])


def test_model_of_another_kind(api: httpx.Client) -> None:
    response = api.post("/v1/videos/generations", json={"model": "gpt-image-2", "prompt": "a fox"})
    assert error_of(response) == (422, "invalid_request_error", "model_not_supported")
