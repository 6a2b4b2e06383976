"""What an answer means, without a wire: the errors' data, shapes that nobody documented, and secrets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from prefect_foxapi.client.responses import error_from_response, is_ambiguous, unreadable_response
from prefect_foxapi.errors import AmbiguousSubmission, FoxAPIError, InvalidRequest, UnreadableResponse
from prefect_foxapi.redaction import redacted

WIRE = Path(__file__).parents[1] / "api_payloads"
ERRORS: dict[str, dict[str, Any]] = json.loads((WIRE / "errors.json").read_text(encoding="utf-8"))


def error(status: int, body: Any, *, paid: bool = False, headers: dict[str, str] | None = None) -> FoxAPIError:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = httpx.Request("POST" if paid else "GET", "https://api.foxapi.cc/v1/tasks/x")
    return error_from_response(httpx.Response(status, headers=headers, request=request), content, paid=paid)


@pytest.mark.parametrize("name", ERRORS)
@pytest.mark.parametrize("paid", [True, False])
def test_documented_bodies(name: str, paid: bool) -> None:
    status, body = ERRORS[name]["status"], ERRORS[name]["body"]["error"]
    found = error(status, ERRORS[name]["body"], paid=paid)
    assert (found.status, found.type, found.code) == (status, body["type"], body["code"])
    assert found.request_id == "req-0123456789abcdef"
    assert body["message"] in str(found)
    assert isinstance(found, AmbiguousSubmission) == (paid and status >= 500)


@pytest.mark.parametrize(
    ("body", "headers", "request_id"),
    [
        ({"error": {"message": "no (request id: 20260422-abc)"}}, {}, "20260422-abc"),
        ({"error": {"message": "no. request_id: req_1.2"}}, {}, "req_1.2"),
        ({"error": {"message": "no", "request_id": "r-2"}}, {}, "r-2"),
        ({"error": {"message": "no"}}, {"x-request-id": "r-3"}, "r-3"),
        ({"error": {"message": "no request without an id"}}, {}, None),
    ],
)
def test_request_id_wherever_it_is(body: Any, headers: dict[str, str], request_id: str | None) -> None:
    assert error(400, body, headers=headers).request_id == request_id


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"error": {"message": "clear words"}}, "clear words"),
        ({"error": "a string"}, "a string"),
        ({"message": "without error around it"}, "without error around it"),
        ({"detail": "something else"}, '{"detail": "something else"}'),
        ({"error": {"message": None, "type": "t"}}, '"type": "t"'),
        ({"error": {"message": {"nested": 1}}}, "nested"),
        ({"error": None}, "null"),
        ([1, 2], "[1, 2]"),
        ("text", "text"),
        (b"<html>Bad gateway</html>", "<html>Bad gateway</html>"),
        (b"", "Bad Request"),
        (b"\xff\xfe\x00", "�"),
        (b"[" * 100_000, "[[["),
    ],
)
def test_message_of_any_body(body: Any, said: str) -> None:
    found = error(400, body)
    assert isinstance(found, InvalidRequest)
    assert said in str(found)
    assert len(str(found)) < 400


def test_long_bodies_are_cut() -> None:
    found = error(403, b"<html>" + b"x" * 100_000)
    assert isinstance(found, UnreadableResponse)
    assert found.excerpt == "<html>" + "x" * 194
    assert len(str(found)) < 400
    assert len(str(error(400, {"error": {"message": "y" * 100_000}}))) < 3000


def test_field_is_told() -> None:
    found = error(422, {"error": {"message": "no", "code": "invalid_param", "param": "messages.0"}})
    assert isinstance(found, InvalidRequest)
    assert found.field == "messages.0"


@pytest.mark.parametrize(
    "text",
    [
        "key sk-abcdef0123456789 is invalid",
        "Authorization: Bearer sk-abcdef0123456789",
        "Bearer abcdef0123456789",
        'you sent "sk-abcdef0123456789"',
        "{'api_key': 'sk-abcdef0123456789'}",
        "https://e.org/?key=sk-abcdef0123456789&x=1",
    ],
)
def test_keys_are_taken_out_of_whatever_is_said(text: str) -> None:
    assert "abcdef0123456789" not in redacted(text)
    for found in (
        error(401, {"error": {"message": text}}),
        error(401, text.encode()),
        error(500, {"error": {"message": text}}, paid=True),
        error(302, b"", headers={"location": text}, paid=True),
        error(403, text.encode()),
        unreadable_response("JSON", text.encode()),
        unreadable_response("JSON", {"said": text}, paid=True),
    ):
        assert "abcdef0123456789" not in f"{found} {found!r} {vars(found)}"


def test_ids_are_no_keys() -> None:
    """An answer that cannot be read may be all that is known of a generation that was paid for."""
    text = '{"id": "task-llm-1776874481-rj6bs3yb", "status": "pen'
    assert redacted(text) == text
    assert "task-llm-1776874481-rj6bs3yb" in str(unreadable_response("JSON", text.encode(), paid=True))


def test_only_a_clear_refusal_is_not_ambiguous() -> None:
    assert is_ambiguous(AmbiguousSubmission("x"))
    assert is_ambiguous(KeyboardInterrupt())
    assert is_ambiguous(MemoryError())
    assert not is_ambiguous(InvalidRequest("x"))
