"""The admin routes, by which other processes control the emulator: loopback only, without an API key."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from prefect_foxapi.emulator.answers.scripts import Script
from prefect_foxapi.emulator.http.middleware import error_response, json_response
from prefect_foxapi.emulator.protocol.errors import ApiError, describe_error, invalid_request
from prefect_foxapi.emulator.protocol.json_types import as_array
from prefect_foxapi.emulator.state.fault_rules import FaultRule
from prefect_foxapi.emulator.state.service import EmulatedService

Action = Callable[[Any], Any]
"""Returns the data of the response, given those of the request."""


def admin_routes(service: EmulatedService) -> list[BaseRoute]:
    """Return the admin routes."""

    def counts(_: Any) -> Any:
        return {f"{method} {name}": count for (method, name), count in service.billing.request_counts.items()}

    def advance(data: Any) -> Any:
        service.clock.advance(float(data["seconds"]))
        return {"now": service.clock.now()}

    return [
        _route("GET", "/emulator/ledger", lambda _: service.billing.as_json()),
        _route("GET", "/emulator/counts", counts),
        _route("POST", "/emulator/faults", _add_all(FaultRule.parse, service.faults.add)),
        _route("DELETE", "/emulator/faults", _run(service.faults.clear)),
        _route("POST", "/emulator/scripts", _add_all(Script.parse, service.scripts.add)),
        _route("DELETE", "/emulator/scripts", _run(service.scripts.clear)),
        _route("POST", "/emulator/clock/advance", advance),
        _route("POST", "/emulator/reset", _run(service.reset)),
    ]


def _add_all(parse: Callable[[Any], Any], add: Callable[[Any], None]) -> Action:
    """Return an action that adds an object, or each object of an array; none if one is invalid."""

    def act(data: Any) -> Any:
        listed = as_array(data)
        parsed = [parse(entry) for entry in ([data] if listed is None else listed)]
        for entry in parsed:
            add(entry)
        return {"added": len(parsed)}

    return act


def _run(call: Callable[[], None]) -> Action:
    def act(_: Any) -> Any:
        call()
        return {}

    return act


def _route(method: str, path: str, act: Action) -> Route:
    async def serve(request: Request) -> Response:
        if not _is_local(request):
            return error_response(ApiError(403, "loopback_only", "This route is open to the local machine only."))
        body = await request.body()
        try:
            return json_response(act(json.loads(body) if body else None))
        except (ValueError, TypeError, KeyError) as error:
            return error_response(invalid_request(describe_error(error)))

    handler: Callable[[Request], Awaitable[Response]] = serve
    return Route(path, handler, methods=[method])


def _is_local(request: Request) -> bool:
    # A browser sends Origin: a web page must not control an emulator on the machine of its visitor.
    host = request.client.host if request.client else ""
    return "origin" not in request.headers and ipaddress.ip_address(host).is_loopback
