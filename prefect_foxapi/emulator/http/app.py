"""The ASGI application of the emulator."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from prefect_foxapi.emulator.http.admin import admin_routes
from prefect_foxapi.emulator.http.files import file_routes
from prefect_foxapi.emulator.http.generations import generation_routes
from prefect_foxapi.emulator.http.middleware import error_response
from prefect_foxapi.emulator.protocol.errors import ApiError
from prefect_foxapi.emulator.state.service import EmulatedService


def build_app(service: EmulatedService) -> Starlette:
    """Return the application that serves a service."""
    routes = [*generation_routes(service), *file_routes(service), *admin_routes(service)]
    app = Starlette(routes=routes, exception_handlers={HTTPException: _no_route})
    app.router.redirect_slashes = False
    return app


async def _no_route(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    code = "not_found" if status == 404 else "invalid_request_error"
    return error_response(ApiError(status, code, f"There is no {request.method} {request.url.path}."))
