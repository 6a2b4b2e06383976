"""Responses: their data, or the typed error for a status, a body or a transport's exception.

Only a failed submission can be ambiguous, since only submissions are paid for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
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
from prefect_foxapi.models.base import checked_generation_id
from prefect_foxapi.redaction import redacted

_EXCERPT = 200
# What is kept of a body that cannot be read to its end. The id of a generation stands at its beginning.
_BEGINNING = 64 * 1024
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

# What a gateway may call the generation that it wraps in an object of its own.
_WRAPPERS = frozenset({"data", "task", "generation", "result", "response"})
_DEEPEST_WRAPPER = 3
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:,]', re.DOTALL)
# Python converts no longer ones from text.
_MOST_DIGITS = 4300

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


def decode_json(response: httpx.Response, body: bytes, *, generation_id: str | None = None) -> Any:
    """Return the JSON data of a successful response to a request that was free.

    What follows an object, and numbers of any length, do not make it unreadable.

    Args:
        response: Status and headers.
        body: The body.
        generation_id: The generation that the request concerned, or None.

    Raises:
        UnreadableResponse: The body is not JSON.
    """
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        pass
    with suppress(ValueError, RecursionError):
        data = _first_value(body.decode("utf-8-sig"))
        if isinstance(data, dict):
            return cast("dict[str, Any]", data)
    raise unreadable_response("JSON", body, generation_id=generation_id, status=response.status_code)


def decode_submission(response: httpx.Response, body: bytes) -> dict[str, Any]:
    """Return the generation that FoxAPI accepted: at least its `id`, which is what was paid for.

    Args:
        response: Status and headers.
        body: The body, as far as it was received.

    Raises:
        AmbiguousSubmission: The body has no id, or several.
    """
    data = _lenient_json(body)
    accepted = _accepted_in(data, body)
    if accepted is None:
        expected = "JSON" if data is None else "a GenerationSnapshot"
        raise unreadable_response(expected, body if data is None else data, paid=True, status=response.status_code)
    return accepted


def has_generation(body: bytes) -> bool:
    """Return whether the body of an answer to a submission, which may be incomplete, has the id of a generation."""
    return _accepted_in(_lenient_json(body), body) is not None


def _lenient_json(body: bytes) -> Any:
    with suppress(ValueError, RecursionError):
        return json.loads(body)
    with suppress(ValueError, RecursionError):
        return _first_value(body.decode("utf-8-sig", "replace"))
    return None


def _accepted_in(data: Any, body: bytes) -> dict[str, Any] | None:
    wrapped = unwrapped(data)
    if _has_id(wrapped):
        return wrapped
    found = None if isinstance(data, dict) else _id_in(body.decode("utf-8-sig", "replace"))
    return None if found is None else {"id": found}


def unwrapped(data: Any, generation_id: str | None = None) -> Any:
    """Return the object of a generation from data that may wrap it, as in `{"data": {"id": …}}`, or the data.

    Args:
        data: The JSON data of a response.
        generation_id: The generation to look for; by default the outermost one.
    """
    level: list[Any] = [data]
    for _ in range(_DEEPEST_WRAPPER + 1):
        found = [item for item in level if _has_id(item) and generation_id in (None, item["id"])]
        if found:
            return found[0] if len({item["id"] for item in found}) == 1 else data
        objects = [cast("dict[str, Any]", item) for item in level if isinstance(item, dict)]
        inner = [value for item in objects for name, value in item.items() if name in _WRAPPERS]
        level = [part for value in inner for part in (cast("list[Any]", value) if isinstance(value, list) else [value])]
    return data


def _has_id(item: Any) -> bool:
    return isinstance(item, dict) and _is_id(cast("dict[str, Any]", item).get("id"))


def _is_id(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(checked_generation_id(value))
    except ValueError:
        return False


def _first_value(text: str) -> Any:
    decoder = json.JSONDecoder(strict=False, parse_int=_number)
    return decoder.raw_decode(text.lstrip())[0]


def _number(digits: str) -> int | float:
    return int(digits) if len(digits) <= _MOST_DIGITS else float(digits)


def _id_in(text: str) -> str | None:
    """Return the generation id in text that is not JSON, or None where it has none or several at one depth."""
    parents: list[str | None] = []
    found: dict[int, set[str]] = {}
    name: str | None = None
    last = ""
    for part in (match.group() for match in _TOKEN.finditer(text)):
        is_value = last == ":"
        if part in ("{", "["):
            parents.append(name if is_value else "data" if last in ("[", ",") else None)
            name = None
        elif part in ("}", "]"):
            del parents[-1:]
        elif part == ":":
            name = last[1:-1]
        elif is_value and name == "id" and _is_id(part[1:-1]) and all(parent in _WRAPPERS for parent in parents[1:]):
            found.setdefault(len(parents), set()).add(part[1:-1])
        last = part
    ids = found[min(found)] if found else set[str]()
    return ids.pop() if len(ids) == 1 else None


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


async def read_body(response: httpx.Response, body: bytearray, limit: int) -> None:
    """Read the body of a response. The beginning of what was received before an error stays in `body`.

    Args:
        response: A response whose body was not read yet.
        body: Receives the body.
        limit: Bytes that the decoded body may have.

    Raises:
        ValueError: The body is larger, or has an encoding that is not decoded.
    """
    try:
        async for block in response.aiter_bytes():
            body += block
            if len(body) > limit:
                raise ValueError(f"the body is larger than {limit} bytes")
    except Exception:
        del body[_BEGINNING:]
        raise


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
