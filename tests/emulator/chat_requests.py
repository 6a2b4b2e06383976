"""Bodies of chat requests, and checks of error responses."""

from __future__ import annotations

from typing import Any

import httpx

USER = [{"role": "user", "content": "hi"}]


def part(kind: str, url: Any = "https://example.com/x") -> dict[str, Any]:
    """Return an attachment."""
    return {"type": kind, kind: {"url": url}}


def chat(model: str = "gpt-5.5", *parts: Any, **fields: Any) -> dict[str, Any]:
    """Return a body with a user message of these parts."""
    return {"model": model, "messages": [{"role": "user", "content": list(parts)}] if parts else USER, **fields}


def message(**fields: Any) -> dict[str, Any]:
    """Return a body with a message of these fields."""
    return {"model": "gpt-5.5", "messages": [fields]}


def error_of(response: httpx.Response) -> tuple[int, str, str]:
    """Return the status, the type and the code of an error response."""
    error = response.json()["error"]
    return response.status_code, error["type"], error["code"]


def assert_refused(response: httpx.Response, expected: dict[str, Any]) -> None:
    """Check that a response is the expected error, with all its keys and a request id."""
    error = expected["body"]["error"]
    assert error_of(response) == (expected["status"], error["type"], error["code"])
    assert list(response.json()) == ["error"]
    assert list(response.json()["error"]) == list(error)
    assert response.json()["error"]["message"].rpartition(" request_id: ")[2].startswith("req-")
