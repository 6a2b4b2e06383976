"""Every documented error response on a real socket: the error's class and data, and how often the request is sent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from prefect_foxapi.client.client import FoxAPIClient
from prefect_foxapi.client.retry import RetryPolicy
from prefect_foxapi.errors import (
    AmbiguousSubmission,
    AuthenticationError,
    FoxAPIError,
    InsufficientCredits,
    InvalidRequest,
    ModelRuleViolation,
    NotFound,
    RateLimited,
    ServiceUnavailable,
    UnknownModel,
    UnreadableResponse,
    UnsupportedContent,
)
from tests.conftest import API_KEY, MakeClient
from tests.support.clocks import RunningClock
from tests.support.raw_http_server import GENERATION_ID, RawServer, answer, breaks_off, generation, refusal

ATTEMPTS = 3
POLICY = RetryPolicy(attempts=ATTEMPTS, jitter=0)
BODY = {"model": "gpt-5.5", "messages": [{"role": "user", "content": "count 1 to 3"}]}
MESSAGE = "said by the service (request_id: req-0123456789abcdef)"


@dataclass(frozen=True)
class Submission:
    """A documented error response, and how often each kind of request is sent that gets it."""

    status: int
    type: str | None
    code: str | None
    submission: type[FoxAPIError]
    read: type[FoxAPIError]
    sent_submission: int = 1
    sent_read: int = 1


def final(status: int, type: str | None, code: str | None, kind: type[FoxAPIError]) -> Submission:
    return Submission(status, type, code, kind, kind)


def broken(status: int, type: str | None, code: str | None) -> Submission:
    return Submission(status, type, code, AmbiguousSubmission, ServiceUnavailable, sent_read=ATTEMPTS)


def later(code: str) -> Submission:
    return Submission(422, "invalid_request_error", code, ServiceUnavailable, ServiceUnavailable, sent_read=ATTEMPTS)


INVALID = "invalid_request_error"
TABLE = [
    final(400, INVALID, None, InvalidRequest),
    final(401, "authentication_error", "invalid_api_key", AuthenticationError),
    final(401, "authentication_error", None, AuthenticationError),
    final(402, "insufficient_quota", "insufficient_quota", InsufficientCredits),
    final(403, "forbidden", None, AuthenticationError),
    final(404, "not_found", "not_found", NotFound),
    final(413, "file_too_large_error", None, InvalidRequest),
    *(final(422, INVALID, code, UnknownModel) for code in ("no_available_model", "model_not_found")),
    final(422, INVALID, "model_not_supported", UnknownModel),
    final(422, INVALID, "model_not_support_capability", UnsupportedContent),
    final(422, INVALID, "unsupported_content_type", UnsupportedContent),
    final(422, INVALID, "model_rule_violation", ModelRuleViolation),
    *(final(422, INVALID, code, InvalidRequest) for code in ("invalid_param", "invalid_file_type")),
    final(422, INVALID, "invalid_image_url", InvalidRequest),
    final(422, "model_not_found", None, UnknownModel),
    final(422, INVALID, "a_code_that_is_new", InvalidRequest),
    *(later(code) for code in ("no_compatible_channel", "unsupported_advanced_options", "service_unavailable_error")),
    Submission(422, "service_unavailable_error", None, ServiceUnavailable, ServiceUnavailable, sent_read=ATTEMPTS),
    Submission(429, "rate_limit_error", None, RateLimited, RateLimited, ATTEMPTS, ATTEMPTS),
    broken(500, "server_error", None),
    broken(500, "internal_error", "internal_error"),
    broken(502, "service_unavailable", None),
    broken(503, "service_unavailable", "all_platforms_exhausted"),
    broken(504, None, None),
    # Not documented: a proxy may answer with these after it has forwarded the request.
    *(Submission(status, None, None, AmbiguousSubmission, InvalidRequest) for status in (408, 409, 425, 499)),
    final(418, None, None, InvalidRequest),
    broken(529, None, "overloaded"),
]
rows = pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.status} {row.code or row.type}")


@rows
async def test_submission(make_client: MakeClient, row: Submission) -> None:
    async with RawServer([refusal(row.status, row.type, row.code, MESSAGE)]) as server:
        with pytest.raises(FoxAPIError) as caught:
            await make_client(server.url, retry=POLICY).submit(BODY)
    assert type(caught.value) is row.submission
    assert_tells_all(caught.value, row)
    assert len(server.requests) == row.sent_submission


@rows
async def test_read(make_client: MakeClient, row: Submission) -> None:
    async with RawServer([refusal(row.status, row.type, row.code, MESSAGE)]) as server:
        with pytest.raises(FoxAPIError) as caught:
            await make_client(server.url, retry=POLICY).get(GENERATION_ID)
    assert type(caught.value) is row.read
    assert_tells_all(caught.value, row)
    assert caught.value.generation_id == GENERATION_ID
    assert len(server.requests) == row.sent_read


def assert_tells_all(error: FoxAPIError, row: Submission) -> None:
    assert (error.status, error.type, error.code) == (row.status, row.type, row.code)
    assert error.request_id == "req-0123456789abcdef"
    assert MESSAGE in str(error)
    assert API_KEY not in f"{error!r} {vars(error)}"


@pytest.mark.parametrize("status", [403, 404, 500, 502, 503])
@pytest.mark.parametrize("paid", [True, False])
async def test_error_page_of_the_cdn(make_client: MakeClient, status: int, paid: bool) -> None:
    page = "<!DOCTYPE html><title>Just a moment…</title>error code: 1010" + "." * 500
    async with RawServer([answer(page, status)]) as server:
        client = make_client(server.url, retry=POLICY)
        with pytest.raises(FoxAPIError) as caught:
            await (client.submit(BODY) if paid else client.get(GENERATION_ID))
    refused = status in (403, 404)
    expected = UnreadableResponse if refused else AmbiguousSubmission if paid else ServiceUnavailable
    assert type(caught.value) is expected
    assert caught.value.status == status
    assert "error code: 1010" in str(caught.value)
    if isinstance(caught.value, UnreadableResponse):
        assert caught.value.excerpt == page[:200]
    assert len(server.requests) == (1 if paid else ATTEMPTS)


@pytest.mark.parametrize("page", ["", "<html>hello</html>", b"\xff\xfe", "null", "[]", '"text"', '{"id": "a/b"}', "{}"])
@pytest.mark.parametrize("paid", [True, False])
async def test_success_that_is_not_what_was_asked_for(make_client: MakeClient, page: str | bytes, paid: bool) -> None:
    async with RawServer([answer(page)]) as server:
        client = make_client(server.url, retry=POLICY)
        with pytest.raises(FoxAPIError) as caught:
            await (client.submit(BODY) if paid else client.get(GENERATION_ID))
    assert type(caught.value) is (AmbiguousSubmission if paid else UnreadableResponse)
    assert caught.value.status == 200
    assert len(server.requests) == (1 if paid else ATTEMPTS)


ODD: list[dict[str, Any]] = [
    {"stream": {}},
    {"stream": {"url": None}},
    {"type": None},
    {"created": 1776874482.5},
    {"usage": []},
    {"usage": {"credits_reserved": 10**400}},
    {"status": None},
    {"results": "later"},
    {"progress": "a little"},
]


@pytest.mark.parametrize("odd", ODD, ids=str)
async def test_the_id_that_was_paid_for_is_kept_however_odd_the_answer_is(
    make_client: MakeClient, odd: dict[str, Any]
) -> None:
    async with RawServer([answer({**generation(), **odd})]) as server:
        snapshot = await make_client(server.url).submit(BODY)
    assert (snapshot.id, snapshot.status, snapshot.credits) == (GENERATION_ID, "pending", None)


async def test_refusal_whose_body_breaks_off_is_still_a_refusal(make_client: MakeClient) -> None:
    """The status alone says it: nothing was paid."""
    async with RawServer([breaks_off({"error": {"message": "no"}}, status=402)]) as server:
        with pytest.raises(InsufficientCredits) as caught:
            await make_client(server.url).submit(BODY)
    assert caught.value.status == 402
    assert len(server.requests) == 1


async def test_read_that_fails_for_a_while_succeeds(make_client: MakeClient, running_clock: RunningClock) -> None:
    replies = [
        refusal(503),
        refusal(429, headers={"Retry-After": "7"}),
        answer("<html>"),
        answer("error code: 1010", 403),
        refusal(422, code="no_compatible_channel"),
        answer(generation("processing")),
    ]
    async with RawServer(replies) as server:
        assert (await make_client(server.url).get(GENERATION_ID)).status == "processing"
    assert len(server.requests) == 6


async def test_upload_that_is_refused_for_want_of_storage(make_client: MakeClient) -> None:
    async with RawServer([refusal(403, "storage_full", None, "storage is full")]) as server:
        with pytest.raises(InvalidRequest, match="auto_cleanup=True") as caught:
            await make_client(server.url).upload(b"x", name="x.png", auto_cleanup=False)
    assert caught.value.status == 403
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [500, 503])
async def test_upload_is_repeated_like_a_read(make_client: MakeClient, status: int) -> None:
    uploaded = answer({"id": "f", "filename": "x.png", "url": "https://e.org/x.png", "size": 1, "created": 1})
    async with RawServer([refusal(status), uploaded]) as server:
        assert (await make_client(server.url).upload(b"x", name="x.png")).size == 1
    assert len(server.requests) == 2


# Retry-After


async def test_retry_after_in_seconds(make_client: MakeClient, running_clock: RunningClock) -> None:
    started = running_clock.now
    async with RawServer([refusal(429, headers={"Retry-After": "7"}), answer(generation())]) as server:
        await make_client(server.url).submit(BODY)
    assert 7 <= running_clock.now - started <= 9
    assert [request.json for request in server.requests] == [BODY, BODY]


async def test_retry_after_as_a_date(make_client: MakeClient, running_clock: RunningClock) -> None:
    started = running_clock.now
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=20), usegmt=True)
    async with RawServer([refusal(429, headers={"Retry-After": date}), answer(generation())]) as server:
        await make_client(server.url).submit(BODY)
    assert 17 <= running_clock.now - started <= 23
    assert len(server.requests) == 2


async def test_retry_after_that_is_too_long_is_cut(make_client: MakeClient, running_clock: RunningClock) -> None:
    started = running_clock.now
    async with RawServer([refusal(429, headers={"Retry-After": "86400"}), answer(generation())]) as server:
        await make_client(server.url, retry=RetryPolicy(retry_after_maximum=30, jitter=0)).submit(BODY)
    assert 30 <= running_clock.now - started <= 32
    assert len(server.requests) == 2


async def test_retry_after_is_told_when_the_budget_is_used_up(make_client: MakeClient) -> None:
    async with RawServer([refusal(429, headers={"Retry-After": "7.5"})]) as server:
        with pytest.raises(RateLimited) as caught:
            await make_client(server.url, retry=RetryPolicy(budget=5)).submit(BODY)
    assert caught.value.retry_after == 7.5
    assert len(server.requests) == 1


async def test_field_that_foxapi_names(make_client: MakeClient) -> None:
    async with RawServer([refusal(422, INVALID, "invalid_param", param="messages.0.content")]) as server:
        with pytest.raises(InvalidRequest) as caught:
            await make_client(server.url).submit(BODY)
    assert caught.value.field == "messages.0.content"


# The other reads have the same manners.

Read = Callable[[FoxAPIClient], Awaitable[Any]]


@pytest.mark.parametrize(
    ("read", "target", "good"),
    [
        (lambda client: client.models(), "/v1/configs/llm_generations_models", {"object": "list", "data": []}),
        (lambda client: client.capabilities(), "/v1/configs/llm_generations_models", {"data": [{"id": "x"}]}),
        (lambda client: client.credits(), "/v1/account/credits", {"balance": 5}),
    ],
)
async def test_other_reads(make_client: MakeClient, read: Read, target: str, good: Any) -> None:
    async with RawServer([refusal(503), answer("<html>"), answer([]), answer(good)]) as server:
        await read(make_client(server.url))
    assert [request.target for request in server.requests] == [target] * 4
    async with RawServer([refusal(401)]) as server:
        with pytest.raises(AuthenticationError):
            await read(make_client(server.url))
    assert len(server.requests) == 1
    async with RawServer([answer("<html>")]) as server:
        with pytest.raises(UnreadableResponse):
            await read(make_client(server.url, retry=POLICY))
    assert len(server.requests) == ATTEMPTS
