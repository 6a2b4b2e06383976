"""The kinds of faults. Each is a class that overrides the phases of a request in which it acts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Annotated, ClassVar, Literal, Protocol, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from typing_extensions import override

from prefect_foxapi.emulator.protocol.errors import ApiError, not_found
from prefect_foxapi.emulator.state.generations import Generation

Endpoint = Literal["submit", "task", "stream", "models", "upload", "credits", "*"]
"""`submit` is every paid POST, `task` the poll; `*` is every endpoint on which the kind of fault can act."""

FaultKind = Literal[
    "status",
    "cdn_403",
    "reset_before",
    "reset_after",
    "truncated",
    "hang",
    "delay",
    "late_results",
    "vanish",
    "fail",
    "sse_drop",
    "sse_no_done",
    "sse_error",
    "sse_silence",
]

_ENDPOINTS = frozenset(get_args(Endpoint)) - {"*"}
_DEFAULT_CODES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "insufficient_quota",
    404: "not_found",
    413: "file_too_large_error",
    422: "invalid_param",
    429: "rate_limit_error",
    500: "internal_error",
    502: "service_unavailable",
    503: "service_unavailable",
    504: "service_unavailable",
}

ResponseT = TypeVar("ResponseT")


class ResponseFactory(Protocol[ResponseT]):
    """Creates the responses of faults. The HTTP layer implements it."""

    def error(self, error: ApiError) -> ResponseT:
        """Return an error response."""
        ...

    def cdn_page(self) -> ResponseT:
        """Return the HTML page with which the CDN denies access."""
        ...

    def reset(self) -> ResponseT:
        """Return a response that resets the connection."""
        ...

    def hang(self, seconds: float) -> ResponseT:
        """Return a response that sends nothing for `seconds` and closes the connection."""
        ...

    def delay(self, response: ResponseT, seconds: float) -> ResponseT:
        """Return `response`, sent after `seconds`."""
        ...

    def truncate(self, response: ResponseT) -> ResponseT:
        """Return `response`, cut off in the middle of its body."""
        ...


@dataclass(frozen=True)
class StreamInterruption:
    """The way in which a stream breaks off.

    Attributes:
        after_chunks: The number of chunks before the interruption; None for all chunks of the generation.
        error: The message of a final `error` event; None without one.
        silence: Seconds without a byte before the connection is closed; None if the response ends regularly.
    """

    after_chunks: int | None
    error: str | None = None
    silence: float | None = None


class Fault(BaseModel):
    """A fault without effect: the base class of all kinds.

    A request passes through the phases `before` and `after`; in between, a submission passes through `on_accept` and
    a stream through `on_stream`.
    """

    model_config = ConfigDict(frozen=True, from_attributes=True)

    endpoints: ClassVar[frozenset[str]] = _ENDPOINTS

    def before(self, responses: ResponseFactory[ResponseT]) -> ResponseT | None:
        """Return the response that is sent without processing the request; None to process it."""
        return None

    def after(self, response: ResponseT, responses: ResponseFactory[ResponseT]) -> ResponseT:
        """Return the response that is sent in place of `response` after the request was processed."""
        return response

    def on_accept(self, generation: Generation) -> Generation:
        """Return the generation to be billed in place of `generation`."""
        return generation

    def on_stream(self, chunks: int) -> StreamInterruption | None:
        """Return how a stream of `chunks` chunks breaks off; None if it does not."""
        return None


NO_FAULT = Fault()


class StatusFault(Fault):
    """An error response. With `processed`, the request is processed and billed first."""

    kind: Literal["status"]
    status: int
    type: str | None
    code: str | None
    message: str
    retry_after: int | float | str | None
    retry_after_date: bool
    processed: bool

    @field_validator("retry_after_date")
    @classmethod
    def _check_date(cls, value: bool, info: ValidationInfo) -> bool:
        if value and not isinstance(info.data.get("retry_after"), (int, float)):
            raise ValueError("an HTTP date needs retry_after in seconds")
        return value

    @override
    def before(self, responses: ResponseFactory[ResponseT]) -> ResponseT | None:
        return None if self.processed else responses.error(self._error())

    @override
    def after(self, response: ResponseT, responses: ResponseFactory[ResponseT]) -> ResponseT:
        return responses.error(self._error())

    def _error(self) -> ApiError:
        code = self.code or _DEFAULT_CODES.get(self.status, "server_error")
        return ApiError(self.status, code, self.message, type=self.type, headers=self._headers())

    def _headers(self) -> Mapping[str, str]:
        if self.retry_after is None:
            return {}
        if self.retry_after_date and not isinstance(self.retry_after, str):
            when = datetime.now(UTC) + timedelta(seconds=self.retry_after)
            return {"retry-after": format_datetime(when, usegmt=True)}
        return {"retry-after": str(self.retry_after)}


class CdnFault(Fault):
    """A 403 of the CDN with an HTML body. The request is not processed."""

    kind: Literal["cdn_403"]

    @override
    def before(self, responses: ResponseFactory[ResponseT]) -> ResponseT | None:
        return responses.cdn_page()


class ResetBeforeFault(Fault):
    """A connection reset before the request is processed."""

    kind: Literal["reset_before"]

    @override
    def before(self, responses: ResponseFactory[ResponseT]) -> ResponseT | None:
        return responses.reset()


class ResetAfterFault(Fault):
    """A connection reset after the request was processed and billed."""

    kind: Literal["reset_after"]

    @override
    def after(self, response: ResponseT, responses: ResponseFactory[ResponseT]) -> ResponseT:
        return responses.reset()


class TruncatedFault(Fault):
    """Half of the response body, after which the connection closes."""

    endpoints = _ENDPOINTS - {"stream"}
    kind: Literal["truncated"]

    @override
    def after(self, response: ResponseT, responses: ResponseFactory[ResponseT]) -> ResponseT:
        return responses.truncate(response)


class HangFault(Fault):
    """No response for `seconds`, after which the connection closes. With `processed`, the request is processed."""

    kind: Literal["hang"]
    seconds: float
    processed: bool

    @override
    def before(self, responses: ResponseFactory[ResponseT]) -> ResponseT | None:
        return None if self.processed else responses.hang(self.seconds)

    @override
    def after(self, response: ResponseT, responses: ResponseFactory[ResponseT]) -> ResponseT:
        return responses.hang(self.seconds)


class DelayFault(Fault):
    """The response, sent `seconds` late."""

    kind: Literal["delay"]
    seconds: float

    @override
    def after(self, response: ResponseT, responses: ResponseFactory[ResponseT]) -> ResponseT:
        return responses.delay(response, self.seconds)


class LateResultsFault(Fault):
    """A generation that is `completed` without results for `seconds`."""

    endpoints = frozenset({"submit"})
    kind: Literal["late_results"]
    seconds: float

    @override
    def on_accept(self, generation: Generation) -> Generation:
        return replace(generation, late_results=self.seconds)


class FailFault(Fault):
    """A generation that fails."""

    endpoints = frozenset({"submit"})
    kind: Literal["fail"]
    code: str | None
    message: str

    @override
    def on_accept(self, generation: Generation) -> Generation:
        return replace(generation, failure={"code": self.code or "server_error", "message": self.message})


class VanishFault(Fault):
    """A task that is not found."""

    endpoints = frozenset({"task"})
    kind: Literal["vanish"]

    @override
    def before(self, responses: ResponseFactory[ResponseT]) -> ResponseT | None:
        return responses.error(not_found("The task does not exist."))


class _StreamFault(Fault):
    endpoints = frozenset({"stream"})


class StreamDropFault(_StreamFault):
    """A stream whose connection is closed after `chunks` chunks."""

    kind: Literal["sse_drop"]
    chunks: int

    @override
    def on_stream(self, chunks: int) -> StreamInterruption | None:
        return StreamInterruption(self.chunks, silence=0.0) if self.chunks <= chunks else None


class StreamNoDoneFault(_StreamFault):
    """A stream that ends after its chunks, without `done`."""

    kind: Literal["sse_no_done"]

    @override
    def on_stream(self, chunks: int) -> StreamInterruption | None:
        return StreamInterruption(None)


class StreamErrorFault(_StreamFault):
    """A stream with an `error` event after `chunks` chunks."""

    kind: Literal["sse_error"]
    chunks: int
    message: str

    @override
    def on_stream(self, chunks: int) -> StreamInterruption | None:
        return StreamInterruption(self.chunks, error=self.message) if self.chunks <= chunks else None


class StreamSilenceFault(_StreamFault):
    """A stream that sends nothing for `seconds` after `chunks` chunks, after which the connection closes."""

    kind: Literal["sse_silence"]
    chunks: int
    seconds: float

    @override
    def on_stream(self, chunks: int) -> StreamInterruption | None:
        return StreamInterruption(self.chunks, silence=self.seconds) if self.chunks <= chunks else None


AnyFault = Annotated[
    StatusFault
    | CdnFault
    | ResetBeforeFault
    | ResetAfterFault
    | TruncatedFault
    | HangFault
    | DelayFault
    | LateResultsFault
    | FailFault
    | VanishFault
    | StreamDropFault
    | StreamNoDoneFault
    | StreamErrorFault
    | StreamSilenceFault,
    Field(discriminator="kind"),
]
