"""What every request passes on its way in and out: the CDN, the API key, the faults."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from prefect_foxapi.emulator.http.broken_responses import HangingAnswer, LateAnswer, ResetAnswer, TruncatedAnswer
from prefect_foxapi.emulator.protocol.errors import Problem, malformed, not_found, too_large, unauthenticated
from prefect_foxapi.emulator.protocol.json_types import as_object, json_text
from prefect_foxapi.emulator.state.faults import FaultRule
from prefect_foxapi.emulator.state.service import Gateway

# A name of one's own before the library's is not a bare default.
_LIBRARY_AGENT = re.compile(
    r"(?:python-httpx|python-requests|python-urllib3?|go-http-client)/|python/[\d.]+ aiohttp/", re.IGNORECASE
)
_CDN_PAGE = b"<!DOCTYPE html><html><head><title>Access denied</title></head><body>error code: 1010</body></html>"


@dataclass(frozen=True)
class Call:
    """A request that was let in.

    Attributes:
        gateway: The service.
        request: The request.
        account: Its API key.
        fault: The fault rule that hit it.
    """

    gateway: Gateway
    request: Request
    account: str
    fault: FaultRule | None

    @property
    def origin(self) -> str:
        """The origin by which the client reaches the emulator."""
        return f"{self.request.url.scheme}://{self.request.url.netloc}"


Handler = Callable[[Call], Awaitable[Response]]


def guarded(gateway: Gateway, method: str, path: str, endpoint: str, handler: Handler) -> Route:
    """A route behind the CDN, the API key and the faults."""

    async def serve(request: Request) -> Response:
        gateway.books.requests[request.method, endpoint] += 1
        agent = request.headers.get("user-agent", "")
        if gateway.settings.refuse_library_agents and (not agent or _LIBRARY_AGENT.match(agent)):
            return Response("error code: 1010", 403, media_type="text/plain")
        account = _account(gateway, request)
        if account is None:
            return problem_answer(unauthenticated())
        fault = gateway.faults.draw(endpoint)
        refusal = None if fault is None else _instead(gateway, fault)
        try:
            if refusal is not None:
                async for _ in request.stream():
                    pass
                return refusal
            answer = await handler(Call(gateway, request, account, fault))
        except Problem as problem:
            answer = problem_answer(problem)
        except RecursionError:
            answer = problem_answer(malformed("The body is nested too deeply."))
        except ClientDisconnect:
            # Half a request was never made, and nobody is there to read the answer.
            return Response(status_code=400)
        return answer if fault is None else _spoiled(gateway, fault, answer)

    return Route(path, serve, methods=[method])


def json_answer(data: Any, status: int = 200) -> Response:
    """A JSON answer."""
    return Response(json_text(data).encode(), status, media_type="application/json")


def problem_answer(problem: Problem) -> Response:
    """An error answer."""
    answer = json_answer(problem.body(), problem.status)
    answer.headers.update(problem.headers)
    return answer


async def read_json(request: Request, limit: int) -> dict[str, Any]:
    """The body of a request, which is to be a JSON object.

    Raises:
        Problem: It is none, or larger than `limit` bytes.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise too_large("The body", limit)
    body = bytearray()
    async for block in request.stream():
        body += block
        if len(body) > limit:
            raise too_large("The body", limit)
    try:
        data = as_object(json.loads(body))
    except (ValueError, RecursionError) as error:
        raise malformed("The body is not JSON.") from error
    if data is None:
        raise malformed("The body is not a JSON object.")
    return data


def _account(gateway: Gateway, request: Request) -> str | None:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return key if scheme.lower() == "bearer" and key in gateway.books.accounts else None


def _instead(gateway: Gateway, fault: FaultRule) -> Response | None:
    """The answer of a fault that comes instead of the processing."""
    if fault.kind == "cdn_403":
        return Response(_CDN_PAGE, 403, media_type="text/html")
    if fault.kind == "reset_before":
        return ResetAnswer()
    if fault.kind == "vanish":
        return problem_answer(not_found("The task does not exist."))
    if fault.processed:
        return None
    if fault.kind == "hang":
        return HangingAnswer(gateway.clock, fault.seconds)
    return _error(fault) if fault.kind == "status" else None


def _spoiled(gateway: Gateway, fault: FaultRule, answer: Response) -> Response:
    """What a fault makes of the answer, after the processing."""
    if fault.kind == "reset_after":
        return ResetAnswer()
    if fault.kind == "truncated":
        return TruncatedAnswer(answer)
    if fault.kind == "hang":
        return HangingAnswer(gateway.clock, fault.seconds)
    if fault.kind == "delay":
        return LateAnswer(answer, gateway.clock, fault.seconds)
    return _error(fault) if fault.kind == "status" else answer


def _error(fault: FaultRule) -> Response:
    headers: dict[str, str] = {}
    if fault.retry_after is not None:
        headers["retry-after"] = str(fault.retry_after)
        if fault.retry_after_date and not isinstance(fault.retry_after, str):
            when = datetime.now(UTC) + timedelta(seconds=fault.retry_after)
            headers["retry-after"] = format_datetime(when, usegmt=True)
    return problem_answer(Problem(fault.status, fault.error_code, fault.message, type=fault.type, headers=headers))
