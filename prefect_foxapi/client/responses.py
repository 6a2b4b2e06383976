"""Responses: their data, or the typed error for a status, a body or a transport's exception.

Only a failed submission can be ambiguous, since only submissions are paid for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import httpx

from prefect_foxapi.client.retry import retry_after_seconds
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
from prefect_foxapi.redaction import redacted

_EXCERPT = 200
# FoxAPI may quote a request in a message, with all its attachments.
_LONGEST_MESSAGE = 2000
_REQUEST_ID = re.compile(r"request[_ ]id:?\s*([A-Za-z0-9._:-]+)", re.IGNORECASE)

_BY_STATUS: Mapping[int, type[FoxAPIError]] = {
    400: InvalidRequest,
    401: AuthenticationError,
    402: InsufficientCredits,
    403: AuthenticationError,
    404: NotFound,
    413: InvalidRequest,
    422: InvalidRequest,
    429: RateLimited,
}
_BY_CODE: Mapping[str, type[FoxAPIError]] = {
    "no_available_model": UnknownModel,
    "model_not_found": UnknownModel,
    "model_not_supported": UnknownModel,
    "model_not_support_capability": UnsupportedContent,
    "unsupported_content_type": UnsupportedContent,
    "model_rule_violation": ModelRuleViolation,
    "no_compatible_channel": ServiceUnavailable,
    "unsupported_advanced_options": ServiceUnavailable,
    "service_unavailable_error": ServiceUnavailable,
}
_REMEDIES: Mapping[type[FoxAPIError], str] = {
    AuthenticationError: "check the API key, and what it may do",
    InsufficientCredits: "top up the balance",
    UnknownModel: "list_models() names the models of this key",
}

# A proxy may answer with one of these after it has forwarded the request.
_AMBIGUOUS_STATUSES = frozenset({408, 409, 425, 499})
_AMBIGUOUS_REMEDY = (
    "it cannot be determined whether it was accepted and billed; it is not retried automatically "
    '(on_ambiguous="resubmit" allows that)'
)


def is_ambiguous(error: BaseException) -> bool:
    """Return whether the submission that ended with an error may have been accepted.

    Every error but a definite rejection is ambiguous: a cancelled request may have been accepted too.

    Args:
        error: The error.
    """
    return isinstance(error, AmbiguousSubmission) or not isinstance(error, FoxAPIError)


def error_from_response(
    response: httpx.Response, body: bytes, *, paid: bool, generation_id: str | None = None
) -> FoxAPIError:
    """Return the error for a response without success.

    Args:
        response: Status and headers.
        body: The body, as far as it could be read.
        paid: Whether the request was a submission.
        generation_id: The generation that the request concerned, or None.
    """
    status = response.status_code
    details = _error_details(body)
    message = str(details.get("message") or _excerpt(body) or response.reason_phrase or "no message")
    message = redacted(message[:_LONGEST_MESSAGE])
    found = _REQUEST_ID.search(message)
    request_id = details.get("request_id") or (found and found.group(1)) or response.headers.get("x-request-id")
    data: dict[str, Any] = {
        "status": status,
        "type": _text(details.get("type")),
        "code": _text(details.get("code")),
        "request_id": _text(request_id),
        "generation_id": generation_id,
    }
    said = f"FoxAPI answered {status}: {message}"
    if paid and (status < 400 or status >= 500 or status in _AMBIGUOUS_STATUSES):
        where = f" (to {redacted(response.headers['location'])})" if "location" in response.headers else ""
        return AmbiguousSubmission(f"{said}{where}; {_AMBIGUOUS_REMEDY}", **data)
    if status >= 500:
        return ServiceUnavailable(said, **data)
    if status == 429:
        return RateLimited(said, retry_after=retry_after_seconds(response.headers.get("retry-after")), **data)
    if status < 400 or (status in (403, 404) and not details):
        return UnreadableResponse(f"{said}; this is not FoxAPI itself", excerpt=_excerpt(body), **data)
    if status == 403 and "/files/" in response.request.url.path:
        return InvalidRequest(f"{said}; free some storage, or upload with auto_cleanup=True", **data)
    kind = _BY_STATUS.get(status, InvalidRequest)
    if status == 422:
        kind = _BY_CODE.get(str(data["code"]), _BY_CODE.get(str(data["type"]), kind))
    remedy = f"; {_REMEDIES[kind]}" if kind in _REMEDIES else ""
    if issubclass(kind, InvalidRequest):
        data["field"] = _text(details.get("param"))
    return kind(f"{said}{remedy}", **data)


def decode_json(response: httpx.Response, body: bytes, *, paid: bool, generation_id: str | None = None) -> Any:
    """Return the JSON data of a successful response.

    Args:
        response: Status and headers.
        body: The body.
        paid: Whether the request was a submission.
        generation_id: The generation that the request concerned, or None.

    Raises:
        UnreadableResponse: The body is not JSON, and the request was free.
        AmbiguousSubmission: The body is not JSON, and the request was a submission.
    """
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        status = response.status_code
        raise unreadable_response("JSON", body, paid=paid, generation_id=generation_id, status=status) from None


def unreadable_response(
    expected: str,
    body: Any,
    *,
    paid: bool = False,
    generation_id: str | None = None,
    detail: str = "",
    status: int | None = 200,
) -> FoxAPIError:
    """Return the error for a successful response whose body is not the expected one.

    Args:
        expected: What the body should have been, with its article.
        body: The body, or its JSON data.
        paid: Whether the request was a submission.
        generation_id: The generation that the request concerned, or None.
        detail: What is wrong with the body.
        status: The HTTP status.
    """
    excerpt = _excerpt(body)
    said = f"FoxAPI's answer is not {expected}{f' ({detail})' if detail else ''}: {excerpt!r}"
    if paid:
        return AmbiguousSubmission(f"{said}; {_AMBIGUOUS_REMEDY}", status=status, generation_id=generation_id)
    return UnreadableResponse(said, excerpt=excerpt, status=status, generation_id=generation_id)


@contextmanager
def translate_transport_errors(*, paid: bool, generation_id: str | None = None) -> Generator[None, None, None]:
    """Raise the typed error for an exception of the transport.

    Submissions need a transport that reports a connection as failed only if nothing was sent; see `transport.py`.

    Args:
        paid: Whether the request is a submission.
        generation_id: The generation that the request concerns, or None.

    Raises:
        ServiceUnavailable: The connection was not established, or it broke during a request that is free.
        AmbiguousSubmission: The connection broke during a submission.
    """
    try:
        yield
    except FoxAPIError:
        raise
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError) as error:
        raise ServiceUnavailable(
            f"FoxAPI cannot be reached ({_described(error)}); nothing was sent", generation_id=generation_id
        ) from error
    except Exception as error:
        if paid:
            raise AmbiguousSubmission(
                f"No answer to the submission ({_described(error)}); {_AMBIGUOUS_REMEDY}"
            ) from error
        raise ServiceUnavailable(
            f"The connection to FoxAPI broke ({_described(error)})", generation_id=generation_id
        ) from error


async def read_body(response: httpx.Response, limit: int) -> bytes:
    """Return the body of a response.

    Args:
        response: A response whose body was not read yet.
        limit: Bytes that the body may have.

    Raises:
        ValueError: The body is larger.
    """
    blocks: list[bytes] = []
    size = 0
    async for block in response.aiter_bytes():
        size += len(block)
        if size > limit:
            raise ValueError(f"the body is larger than {limit} bytes")
        blocks.append(block)
    return b"".join(blocks)


def _error_details(body: bytes) -> dict[str, Any]:
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(data, dict):
        return {}
    fields = cast("dict[str, Any]", data)
    error = fields.get("error", fields)
    return cast("dict[str, Any]", error) if isinstance(error, dict) else {"message": error}


def _excerpt(body: Any) -> str:
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else json.dumps(body, default=repr)
    return redacted(text[: 4 * _EXCERPT])[:_EXCERPT]


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _described(error: BaseException) -> str:
    text = redacted(str(error))
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
