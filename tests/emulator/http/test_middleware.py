"""The CDN, authentication, and the limit of the size of a body."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from prefect_foxapi.emulator import Emulator, FaultRule
from tests.emulator.chat_requests import assert_refused, chat, part


@pytest.mark.parametrize("depth", [300, 600, 100_000])
def test_deeply_nested_bodies_do_not_break_the_server(depth: int, api: httpx.Client, emulator: Emulator) -> None:
    nested = "[" * depth + "]" * depth
    content = json.dumps(chat("gpt-5.5", metadata=0)).replace('"metadata": 0', f'"metadata": {nested}')
    assert api.post("/v1/llm/generations", content=content).status_code in (200, 400)
    assert api.get("/v1/account/credits").status_code == 200


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
def test_every_endpoint_requires_the_api_key(
    key: str | None, method: str, path: str, emulator: Emulator, connect: Any, payload: Callable[[str], Any]
) -> None:
    with_key = connect(emulator, authorization=key)
    assert_refused(with_key.request(method, path, json=chat()), payload("errors")["unauthenticated"])


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
def test_cdn_refuses_default_library_agents(agent: str | None, emulator: Emulator, connect: Any) -> None:
    response = connect(emulator, **{"user-agent": agent}).get("/v1/account/credits")
    assert (response.status_code, response.text) == (403, "error code: 1010")
    assert response.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize("agent", ["prefect-foxapi/0.1.0", "mine/1 python-httpx/0.28.1", "curl/8.5.0"])
def test_cdn_accepts_other_agents(agent: str, emulator: Emulator, connect: Any) -> None:
    assert connect(emulator, **{"user-agent": agent}).get("/v1/account/credits").status_code == 200


def test_cdn_can_be_turned_off(start: Any, connect: Any) -> None:
    lenient = start(refuse_library_agents=False)
    assert connect(lenient, **{"user-agent": "python-httpx/0.28.1"}).get("/v1/account/credits").status_code == 200


@pytest.mark.parametrize("chunked", [False, True])
def test_body_of_more_than_20_mb(
    chunked: bool, api: httpx.Client, emulator: Emulator, payload: Callable[[str], Any]
) -> None:
    data = base64.b64encode(bytes(15_000_001)).decode()
    body = json.dumps(chat("gpt-5.5", part("image_url", f"data:image/png;base64,{data}"))).encode()
    content = iter([body[:1000], body[1000:]]) if chunked else body
    assert_refused(api.post("/v1/llm/generations", content=content), payload("errors")["too_large"])
    assert emulator.ledger() == []


@pytest.mark.parametrize(
    "path", ["/v1/tasks/task-llm-1-abcdefgh", "/v1/llm/generations/task-llm-1-abcdefgh/stream", "/v1/nothing"]
)
def test_unknown_tasks_and_routes(path: str, api: httpx.Client, payload: Callable[[str], Any]) -> None:
    assert_refused(api.get(path), payload("errors")["not_found"])


@pytest.mark.parametrize(("name", "status"), [("rate_limited", 429), ("internal", 500), ("unavailable", 503)])
def test_errors_by_rule_have_the_format_of_the_api(
    name: str, status: int, api: httpx.Client, emulator: Emulator, payload: Callable[[str], Any]
) -> None:
    emulator.add_fault(FaultRule("status", status=status))
    assert_refused(api.get("/v1/account/credits"), payload("errors")[name])
