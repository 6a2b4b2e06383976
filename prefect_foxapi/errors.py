"""The errors of this package, one class for each kind that a caller handles in its own way.

    FoxAPIError
    ├── InvalidRequest              the request is wrong; refused before it is sent, or by FoxAPI (400, 413, 422)
    │   ├── UnknownModel            the API key has no such model
    │   ├── UnsupportedContent      the model does not accept this kind of content
    │   └── ModelRuleViolation      the model accepts the kind, but not in this form (such as two videos)
    ├── AuthenticationError         the API key is missing, wrong or expired, or lacks a permission (401, 403)
    ├── InsufficientCredits         the balance is empty (402)
    ├── NotFound                    FoxAPI has no such generation (404)
    ├── RateLimited                 too many requests, and the retry budget is used up (429)
    ├── ServiceUnavailable          FoxAPI cannot be reached or cannot serve the request; nothing was paid
    ├── UnreadableResponse          a response that is not FoxAPI's format, to a request that is free
    ├── AmbiguousSubmission         it cannot be determined whether a submission was accepted
    ├── GenerationFailed            FoxAPI accepted the generation, which failed
    ├── GenerationTimeout           the wait timed out; the generation continues and can be collected
    ├── OutputInvalid               the answer is not a valid instance of the output type, or not a chat completion
    └── LedgerError                 the ledger cannot be read or written

With the classes from `InvalidRequest` to `UnreadableResponse`, nothing was paid unless the error has a
`generation_id`: then the generation is paid for, and the error occurred after its submission.
"""

from __future__ import annotations

from typing import Any, ClassVar

__all__ = [
    "AmbiguousSubmission",
    "AuthenticationError",
    "FoxAPIError",
    "GenerationFailed",
    "GenerationTimeout",
    "InsufficientCredits",
    "InvalidRequest",
    "LedgerError",
    "ModelRuleViolation",
    "NotFound",
    "OutputInvalid",
    "RateLimited",
    "ServiceUnavailable",
    "UnknownModel",
    "UnreadableResponse",
    "UnsupportedContent",
]


class FoxAPIError(Exception):
    """The base class of all errors of this package.

    Attributes:
        message: What went wrong, and the remedy.
        status: The HTTP status, or None where there was no response.
        type: `error.type` of FoxAPI's response.
        code: `error.code` of FoxAPI's response.
        request_id: FoxAPI's id of the request, which its support asks for.
        generation_id: The generation that the error concerns, or None. `wait_for_generation(generation_id)` collects
            it, in any process.
        key: The generation key, or None.
        retryable: Whether a retry can succeed and cannot pay twice.

    Example:
        try:
            generate("count 1 to 3", model="gpt-5.5")
        except FoxAPIError as error:
            print(error.status, error.request_id)
    """

    retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str = "",
        *,
        status: int | None = None,
        type: str | None = None,
        code: str | None = None,
        request_id: str | None = None,
        generation_id: str | None = None,
        key: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.type = type
        self.code = code
        self.request_id = request_id
        self.generation_id = generation_id
        self.key = key


class InvalidRequest(FoxAPIError):
    """The request is wrong, and a retry fails again. FoxAPI answers 400, 413 or 422.

    Attributes:
        field: The path of the wrong field, such as `messages.0.content.1.image_url`, or None.
    """

    def __init__(self, message: str = "", *, field: str | None = None, **data: Any) -> None:
        super().__init__(message, **data)
        self.field = field


class UnknownModel(InvalidRequest):
    """The API key has no such model. FoxAPI answers 422 with a code such as `model_not_found`."""


class UnsupportedContent(InvalidRequest):
    """The model does not accept this kind of content. FoxAPI answers 422 `model_not_support_capability`."""


class ModelRuleViolation(InvalidRequest):
    """The model accepts this kind of content, but not in this form. FoxAPI answers 422 `model_rule_violation`."""


class AuthenticationError(FoxAPIError):
    """The API key is missing, wrong or expired, or lacks a permission. FoxAPI answers 401 or 403."""


class InsufficientCredits(FoxAPIError):
    """The balance is empty. FoxAPI answers 402, and submissions that wait with the same credentials are not sent."""


class NotFound(FoxAPIError):
    """FoxAPI has no such generation. It answers 404."""


class RateLimited(FoxAPIError):
    """Too many requests, and the retry budget is used up. FoxAPI answers 429 and has accepted nothing.

    Attributes:
        retry_after: Seconds of the response's `Retry-After`, or None.
    """

    retryable = True

    def __init__(self, message: str = "", *, retry_after: float | None = None, **data: Any) -> None:
        super().__init__(message, **data)
        self.retry_after = retry_after


class ServiceUnavailable(FoxAPIError):
    """FoxAPI cannot be reached, or answers that it cannot serve the request. Nothing was paid."""

    retryable = True


class UnreadableResponse(FoxAPIError):
    """A response that is not in FoxAPI's format, such as the error page of a CDN.

    Attributes:
        excerpt: The first 200 characters of the body.
    """

    retryable = True

    def __init__(self, message: str = "", *, excerpt: str = "", **data: Any) -> None:
        super().__init__(message, **data)
        self.excerpt = excerpt


class AmbiguousSubmission(FoxAPIError):
    """It cannot be determined whether a submission was accepted and billed.

    FoxAPI has no idempotency key, so the submission is not retried automatically. `on_ambiguous="resubmit"` or
    `settle(key, "allow_resubmit")` allows another one. See docs/foxapi.md#ambiguous-submissions.

    Attributes:
        submitted_at: When the submission was sent, in Unix seconds, or None.
        submitted_by: Host, process and flow run that sent it, or None.
    """

    def __init__(
        self,
        message: str = "",
        *,
        submitted_at: float | None = None,
        submitted_by: str | None = None,
        **data: Any,
    ) -> None:
        super().__init__(message, **data)
        self.submitted_at = submitted_at
        self.submitted_by = submitted_by


class GenerationFailed(FoxAPIError):
    """FoxAPI accepted the generation, which then failed or was cancelled.

    Attributes:
        error: The generation's `error` as FoxAPI gave it.
    """

    def __init__(self, message: str = "", *, error: dict[str, Any] | None = None, **data: Any) -> None:
        super().__init__(message, **data)
        self.error = error


class GenerationTimeout(FoxAPIError):
    """The wait timed out. The generation continues at FoxAPI and can be collected.

    Attributes:
        elapsed: Seconds waited.
        last_status: The last status that was polled, or None.
        progress: The last progress that was polled, from 0 to 100, or None.
    """

    retryable = True

    def __init__(
        self,
        message: str = "",
        *,
        elapsed: float | None = None,
        last_status: str | None = None,
        progress: int | None = None,
        **data: Any,
    ) -> None:
        super().__init__(message, **data)
        self.elapsed = elapsed
        self.last_status = last_status
        self.progress = progress


class OutputInvalid(FoxAPIError):
    """The answer is not a valid instance of the output type, or not a chat completion. It is paid for.

    Attributes:
        text: The answer's text.
        errors: The errors that pydantic found, as dicts.
        generation: The `Generation` with the answer; its `parsed` is None.
    """

    def __init__(
        self,
        message: str = "",
        *,
        text: str = "",
        errors: list[dict[str, Any]] | None = None,
        generation: Any = None,
        **data: Any,
    ) -> None:
        super().__init__(message, **data)
        self.text = text
        self.errors = errors or []
        self.generation = generation


class LedgerError(FoxAPIError):
    """The ledger cannot be read or written. Without a `generation_id`, nothing was submitted."""

    @property
    def nothing_was_paid(self) -> bool:
        """Whether the error occurred before the submission."""
        return self.generation_id is None

    @property
    def retryable(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether a retry can succeed and cannot pay twice: nothing was paid."""
        return self.nothing_was_paid
