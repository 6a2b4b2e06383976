"""The ASGI application."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from prefect_foxapi.emulator.http.admin import control_routes
from prefect_foxapi.emulator.http.files import file_routes
from prefect_foxapi.emulator.http.generations import api_routes
from prefect_foxapi.emulator.http.middleware import problem_answer
from prefect_foxapi.emulator.protocol.errors import Problem
from prefect_foxapi.emulator.state.service import Gateway


def build_app(gateway: Gateway) -> Starlette:
    """The application in front of a service."""
    routes = [*api_routes(gateway), *file_routes(gateway), *control_routes(gateway)]
    app = Starlette(routes=routes, exception_handlers={HTTPException: _unknown})
    app.router.redirect_slashes = False
    return app


async def _unknown(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    code = "not_found" if status == 404 else "invalid_request_error"
    return problem_answer(Problem(status, code, f"There is no {request.method} {request.url.path}."))
