"""The keys of responses, their order and their types, compared with payloads of the real API."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from prefect_foxapi.emulator import Emulator

Payload = Callable[[str], Any]
SHAPES = (
    "plain_text",
    "text_array",
    "text_and_image",
    "text_and_video",
    "text_and_file",
    "multi_turn",
    "all_attachments",
)


def shape(value: Any) -> Any:
    """Return the keys in their order and the types; for a list, the shapes of its items."""
    if isinstance(value, dict):
        return [(name, shape(item)) for name, item in value.items()]
    if isinstance(value, list):
        return [shape(item) for item in value]
    return type(value).__name__


def without_usage(task: dict[str, Any], emulator: Emulator) -> dict[str, Any]:
    """Return the task as documented: production adds `usage`, which must agree with the billing ledger."""
    submission = next(entry for entry in emulator.ledger() if entry.generation_id == task["id"])
    assert task["usage"] == {"credits_reserved": submission.credits, "user_group": "default"}
    return {name: value for name, value in task.items() if name != "usage"}


def test_documented_request_and_response(api: httpx.Client, emulator: Emulator, payload: Payload) -> None:
    request, expected = payload("seed_request"), payload("seed_response")
    response = api.post("/v1/llm/generations", json=request)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    got = without_usage(response.json(), emulator)
    assert list(got) == list(expected)
    assert re.fullmatch(rf"task-llm-{int(emulator.now())}-[a-z0-9]{{8}}", got["id"])
    assert {**expected, "id": got["id"], "created": int(emulator.now())} == got
    assert emulator.ledger()[0].body == request


@pytest.mark.parametrize("name", SHAPES)
def test_documented_messages_are_accepted(
    name: str, submit: Callable[..., Any], emulator: Emulator, api: httpx.Client, payload: Payload
) -> None:
    messages = payload("seed_messages")[name]
    accepted = submit(messages, model="gemini-3-pro-preview")
    assert emulator.ledger()[0].body["messages"] == messages
    emulator.advance(10)
    content = api.get(f"/v1/tasks/{accepted['id']}").json()["results"][0]["choices"][0]["message"]["content"]
    urls = re.findall(r'https://[^"]+', str(messages).replace("'", '"'))
    assert [url for url in urls if url not in content] == []
    assert content.startswith("[emulated]")


def test_all_documented_messages_are_tested(payload: Payload) -> None:
    assert tuple(payload("seed_messages")) == SHAPES


def test_submission_with_a_stream(start: Any, connect: Any, payload: Payload) -> None:
    api = connect(start())
    expected = payload("submitted_with_stream")
    body = {"model": "claude-opus-4-7", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 64}
    got = api.post("/v1/llm/generations", json={**body, "stream": True}).json()
    assert got["usage"]["user_group"] == "default"
    assert shape(got) == shape(expected)
    assert got["stream"]["url"] == f"/v1/llm/generations/{got['id']}/stream"


def test_task_from_pending_to_completed(
    api: httpx.Client, emulator: Emulator, submit: Callable[..., Any], payload: Payload
) -> None:
    accepted = submit()
    url = f"/v1/tasks/{accepted['id']}?sync_upstream=true"
    assert api.get(url).json() == accepted
    emulator.advance(5)
    expected = {**payload("task_processing"), "id": accepted["id"], "created": accepted["created"]}
    assert without_usage(api.get(url).json(), emulator) == expected
    emulator.advance(5)
    completed = without_usage(api.get(url).json(), emulator)
    assert completed.pop("completed_at") == pytest.approx(emulator.now(), abs=0.001)
    assert shape(completed) == shape(payload("task_completed"))
    assert completed["results"][0]["choices"][0]["finish_reason"] == "stop"


def test_completed_without_results(api: httpx.Client, emulator: Emulator, submit: Any, payload: Payload) -> None:
    emulator.script(when="count", late_results=3)
    accepted = submit()
    emulator.advance(10)
    expected = {**payload("task_completed_without_results"), "id": accepted["id"], "created": accepted["created"]}
    assert without_usage(api.get(f"/v1/tasks/{accepted['id']}").json(), emulator) == expected
    emulator.advance(3)
    assert api.get(f"/v1/tasks/{accepted['id']}").json()["results"]


def test_failed(api: httpx.Client, emulator: Emulator, submit: Any, payload: Payload) -> None:
    expected = payload("task_failed")
    emulator.script(when="count", fail={"code": "upstream_error", "message": "The upstream gave up."})
    accepted = submit()
    emulator.advance(10)
    got = without_usage(api.get(f"/v1/tasks/{accepted['id']}").json(), emulator)
    assert {**expected, "id": accepted["id"], "created": accepted["created"]} == got
    assert list(got) == list(expected)


def test_usage_can_be_turned_off(start: Any, connect: Any, payload: Payload) -> None:
    api = connect(start(report_credits=False))
    assert list(api.post("/v1/llm/generations", json=payload("seed_request")).json()) == list(payload("seed_response"))


def test_models(api: httpx.Client, payload: Payload) -> None:
    expected = payload("models")
    got = api.get("/v1/configs/llm_generations_models").json()
    assert list(got) == list(expected)
    listed = {model["id"]: model for model in got["data"]}
    assert [listed[model["id"]] for model in expected["data"]] == expected["data"]


def test_upload(api: httpx.Client, payload: Payload) -> None:
    got = api.post("/v1/files/upload/base64", json={"file_data": "aGVsbG8=", "file_name": "photo.png"}).json()
    assert shape(got) == shape(payload("upload"))


def test_credits(api: httpx.Client, payload: Payload) -> None:
    assert shape(api.get("/v1/account/credits").json()) == shape(payload("credits"))


def test_media(api: httpx.Client, emulator: Emulator, payload: Payload) -> None:
    got = api.post("/v1/images/generations", json={"model": "gpt-image-2", "prompt": "a fox", "size": "1:1"}).json()
    assert shape(without_usage(got, emulator)) == shape(payload("media_submitted"))
    emulator.advance(10)
    assert shape(api.get(f"/v1/tasks/{got['id']}").json()["results"]) == shape(payload("media_results"))
