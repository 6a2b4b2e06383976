"""The emulator's own calls, for tests in other processes. From this machine only, without an API key."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from prefect_foxapi.emulator.answers.scripts import Script
from prefect_foxapi.emulator.http.middleware import json_answer, problem_answer
from prefect_foxapi.emulator.protocol.errors import Problem, malformed
from prefect_foxapi.emulator.protocol.json_types import as_array
from prefect_foxapi.emulator.state.faults import FaultRule
from prefect_foxapi.emulator.state.service import Gateway


def _local(request: Request) -> bool:
    # A browser sends Origin: a page from elsewhere must not steer an emulator on its user's machine.
    host = request.client.host if request.client else ""
    return "origin" not in request.headers and ipaddress.ip_address(host).is_loopback


def _route(method: str, path: str, act: Callable[[Any], Any]) -> Route:
    async def serve(request: Request) -> Response:
        if not _local(request):
            return problem_answer(Problem(403, "loopback_only", "This call is for this machine only."))
        body = await request.body()
        try:
            return json_answer(act(json.loads(body) if body else None))
        except (ValueError, TypeError, KeyError) as error:
            return problem_answer(malformed(f"{error}."))

    endpoint: Callable[[Request], Awaitable[Response]] = serve
    return Route(path, endpoint, methods=[method])


def control_routes(gateway: Gateway) -> list[BaseRoute]:
    """The routes."""

    def ledger(_: Any) -> Any:
        return gateway.books.as_json()

    def counts(_: Any) -> Any:
        return {f"{method} {endpoint}": n for (method, endpoint), n in gateway.books.requests.items()}

    def add_faults(data: Any) -> Any:
        rules = [FaultRule.parse(rule) for rule in _each(data)]
        for rule in rules:
            gateway.faults.add(rule)
        return {"added": len(rules)}

    def clear_faults(_: Any) -> Any:
        gateway.faults.clear()
        return {}

    def add_scripts(data: Any) -> Any:
        scripts = [Script.parse(script) for script in _each(data)]
        for script in scripts:
            gateway.scripts.add(script)
        return {"added": len(scripts)}

    def clear_scripts(_: Any) -> Any:
        gateway.scripts.clear()
        return {}

    def advance(data: Any) -> Any:
        gateway.clock.advance(float(data["seconds"]))
        return {"now": gateway.clock.now()}

    def reset(_: Any) -> Any:
        gateway.reset()
        return {}

    return [
        _route("GET", "/emulator/ledger", ledger),
        _route("GET", "/emulator/counts", counts),
        _route("POST", "/emulator/faults", add_faults),
        _route("DELETE", "/emulator/faults", clear_faults),
        _route("POST", "/emulator/scripts", add_scripts),
        _route("DELETE", "/emulator/scripts", clear_scripts),
        _route("POST", "/emulator/clock/advance", advance),
        _route("POST", "/emulator/reset", reset),
    ]


def _each(data: Any) -> list[Any]:
    listed = as_array(data)
    return [data] if listed is None else listed
