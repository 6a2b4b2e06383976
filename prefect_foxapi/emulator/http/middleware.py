"""What every request to the API passes through: the CDN, authentication and faults."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from prefect_foxapi.emulator.http.broken_responses import (
    DelayedResponse,
    HangingResponse,
    ResetResponse,
    TruncatedResponse,
)
from prefect_foxapi.emulator.protocol.errors import ApiError, invalid_request, too_large, unauthenticated
from prefect_foxapi.emulator.protocol.json_types import as_object, json_text
from prefect_foxapi.emulator.state.clock import Clock
from prefect_foxapi.emulator.state.faults import Fault
from prefect_foxapi.emulator.state.service import EmulatedService, SubmissionContext

# Only at the start: a client that puts its own name before that of its library passes.
_LIBRARY_AGENT = re.compile(
    r"(?:python-httpx|python-requests|python-urllib3?|go-http-client)/|python/[\d.]+ aiohttp/", re.IGNORECASE
)
_CDN_PAGE = b"<!DOCTYPE html><html><head><title>Access denied</title></head><body>error code: 1010</body></html>"


@dataclass(frozen=True)
class RequestContext:
    """An authenticated request.

    Attributes:
        service: The emulated service.
        request: The request.
        account: The API key.
        fault: The fault that hits the request.
    """

    service: EmulatedService
    request: Request
    account: str
    fault: Fault

    @property
    def base_url(self) -> str:
        """The base URL by which the client reaches the emulator."""
        return f"{self.request.url.scheme}://{self.request.url.netloc}"

    @property
    def submission(self) -> SubmissionContext:
        """The circumstances of the submission that the request is."""
        return SubmissionContext(self.account, self.request.url.path, self.base_url, self.fault)


Handler = Callable[[RequestContext], Awaitable[Response]]


def endpoint(service: EmulatedService, method: str, path: str, name: str, handler: Handler) -> Route:
    """Return a route of the API.

    Args:
        service: The emulated service.
        method: The HTTP method.
        path: The path of the route.
        name: The name of the endpoint in fault rules and request counts.
        handler: Returns the response to an authenticated request.
    """
    responses = _FaultResponses(service.clock)

    async def serve(request: Request) -> Response:
        service.billing.request_counts[request.method, name] += 1
        agent = request.headers.get("user-agent", "")
        if service.settings.refuse_library_agents and (not agent or _LIBRARY_AGENT.match(agent)):
            return Response("error code: 1010", 403, media_type="text/plain")
        account = _account(service, request)
        if account is None:
            return error_response(unauthenticated())
        fault = service.faults.draw(name)
        try:
            if (response := fault.before(responses)) is not None:
                async for _ in request.stream():
                    pass
                return response
            response = await handler(RequestContext(service, request, account, fault))
        except ApiError as error:
            response = error_response(error)
        except RecursionError:
            response = error_response(invalid_request("The body is nested too deeply."))
        except ClientDisconnect:
            # The request is incomplete and was not processed. The client does not read a response.
            return Response(status_code=400)
        return fault.after(response, responses)

    return Route(path, serve, methods=[method])


class _FaultResponses:
    """The `ResponseFactory` of faults."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def error(self, error: ApiError) -> Response:
        return error_response(error)

    def cdn_page(self) -> Response:
        return Response(_CDN_PAGE, 403, media_type="text/html")

    def reset(self) -> Response:
        return ResetResponse()

    def hang(self, seconds: float) -> Response:
        return HangingResponse(self._clock, seconds)

    def delay(self, response: Response, seconds: float) -> Response:
        return DelayedResponse(response, self._clock, seconds)

    def truncate(self, response: Response) -> Response:
        return TruncatedResponse(response)


def json_response(data: Any, status: int = 200) -> Response:
    """Return a JSON response."""
    return Response(json_text(data).encode(), status, media_type="application/json")


def error_response(error: ApiError) -> Response:
    """Return the response of an API error."""
    response = json_response(error.body(), error.status)
    response.headers.update(error.headers)
    return response


async def read_json(request: Request, limit: int) -> dict[str, Any]:
    """Return the JSON object in the body of a request.

    Args:
        request: The request.
        limit: The maximum size of the body in bytes.

    Raises:
        ApiError: The body is too large, or is not a JSON object.
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
        raise invalid_request("The body is not JSON.") from error
    if data is None:
        raise invalid_request("The body is not a JSON object.")
    return data


def _account(service: EmulatedService, request: Request) -> str | None:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return key if scheme.lower() == "bearer" and key in service.billing.accounts else None
