"""The errors that the service answers with (contract §5)."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any


class Problem(Exception):
    """An error answer.

    Args:
        status: The HTTP status.
        code: `error.code`; also `error.type` unless `type` is given.
        message: What is wrong; the request id is added to it.
        type: `error.type`.
        headers: Further headers of the answer.
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
        """The answer's body; production messages carry the request's id at their end."""
        message = f"{self.message} request_id: req-{secrets.token_hex(8)}"
        return {"error": {"message": message, "type": self.type, "code": self.code}}


def malformed(message: str) -> Problem:
    """400: the request does not have the right shape."""
    return Problem(400, "invalid_request_error", message)


def unprocessable(code: str, message: str) -> Problem:
    """422: the request has the right shape, and cannot be served."""
    return Problem(422, code, message, type="invalid_request_error")


def invalid_param(name: str, message: str) -> Problem:
    """422: the parameter `name` has a value that cannot be."""
    return unprocessable("invalid_param", f"{name}: {message}.")


def unauthenticated() -> Problem:
    """401: no API key, or one that does not exist."""
    return Problem(401, "authentication_error", "The API key is missing, invalid or expired.")


def no_credits(balance: int, price: int) -> Problem:
    """402: the balance does not pay for this."""
    return Problem(402, "insufficient_quota", f"The balance of {balance} credits does not cover the {price} needed.")


def not_found(message: str) -> Problem:
    """404."""
    return Problem(404, "not_found", message)


def too_large(what: str, limit: int) -> Problem:
    """413."""
    return Problem(413, "file_too_large_error", f"{what} is larger than {limit} bytes.")


def storage_full(limit: int) -> Problem:
    """403: no room for an upload, and nothing may be evicted (contract §7)."""
    return Problem(403, "storage_full", f"The storage of {limit} bytes is full and auto_cleanup is false.")
