"""The API errors of the service."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError


class ApiError(Exception):
    """An error response.

    Args:
        status: The HTTP status.
        code: `error.code`; also `error.type` unless `type` is given.
        message: `error.message`; a request id is appended to it.
        type: `error.type`.
        headers: Further headers of the response.
    """

    def __init__(
        self, status: int, code: str, message: str, *, type: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.type = type or code
        self.message = message
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """Return the body of the response. As in production, the message ends with the id of the request."""
        message = f"{self.message} request_id: req-{secrets.token_hex(8)}"
        return {"error": {"message": message, "type": self.type, "code": self.code}}


def invalid_request(message: str) -> ApiError:
    """Return a 400: the request is malformed."""
    return ApiError(400, "invalid_request_error", message)


def unprocessable(code: str, message: str) -> ApiError:
    """Return a 422: the request is well-formed, but cannot be served."""
    return ApiError(422, code, message, type="invalid_request_error")


def invalid_param(name: str, message: str) -> ApiError:
    """Return a 422: the value of the parameter `name` is not allowed."""
    return unprocessable("invalid_param", f"{name}: {message}.")


def unauthenticated() -> ApiError:
    """Return a 401: the API key is missing or unknown."""
    return ApiError(401, "authentication_error", "The API key is missing, invalid or expired.")


def insufficient_quota(balance: int, price: int) -> ApiError:
    """Return a 402: the balance is lower than the price."""
    return ApiError(402, "insufficient_quota", f"The balance of {balance} credits does not cover the {price} needed.")


def not_found(message: str) -> ApiError:
    """Return a 404."""
    return ApiError(404, "not_found", message)


def too_large(what: str, limit: int) -> ApiError:
    """Return a 413: `what` has more than `limit` bytes."""
    return ApiError(413, "file_too_large_error", f"{what} is larger than {limit} bytes.")


def storage_full(limit: int) -> ApiError:
    """Return a 403: an upload does not fit, and `auto_cleanup` forbids deleting older ones."""
    return ApiError(403, "storage_full", f"The storage of {limit} bytes is full and auto_cleanup is false.")


def describe_error(error: Exception) -> str:
    """Return one line that describes an error in the data that a user has given, without the data themselves."""
    if not isinstance(error, ValidationError):
        return f"{error}."
    details = (f"{'.'.join(map(str, detail['loc']))}: {detail['msg']}".removeprefix(": ") for detail in error.errors())
    return f"{'; '.join(details)}."
