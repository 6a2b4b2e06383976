"""Everything that can go wrong, one class for each thing that a caller would handle differently.

    FoxAPIError
    ├── InvalidRequest              the request is wrong; found before the request is sent, or by FoxAPI (400, 413, 422)
    │   ├── UnknownModel            this key has no such model
    │   ├── UnsupportedContent      the model does not take this kind of content
    │   └── ModelRuleViolation      the model takes the kind, but not like this (two videos, say)
    ├── AuthenticationError         the key is missing, wrong or expired, or may not do this (401, 403)
    ├── InsufficientCredits         the balance is empty (402)
    ├── NotFound                    no such generation (404)
    ├── RateLimited                 too many requests, and the budget for repeating is used up (429)
    ├── ServiceUnavailable          nobody could serve the request; nothing was paid
    ├── UnreadableResponse          an answer that is not what the contract says, to a request that costs nothing
    ├── AmbiguousSubmission         a submission that may or may not have been accepted: nobody can know
    ├── GenerationFailed            FoxAPI accepted the generation, and it failed
    ├── GenerationTimeout           the wait is over, the generation is not; it can still be collected
    ├── OutputInvalid               the answer does not validate as the output type, or is no chat completion
    └── LedgerError                 the ledger cannot be read or written

Nothing was paid for in those down to `UnreadableResponse`, unless the error has a `generation_id`: then the generation
is paid for, and what went wrong came after its submission.
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
    """The root of everything that this package raises on purpose.

    Attributes:
        message: What went wrong and what to do about it.
        status: The HTTP status, where there was an answer.
        type: `error.type` of FoxAPI's answer.
        code: `error.code` of FoxAPI's answer.
        request_id: FoxAPI's id of the request, for its support.
        generation_id: The generation that this is about, where one is known. It can be collected with
            `wait_for_generation(generation_id)` from anywhere.
        key: The generation key, where one is known.
        retryable: Whether doing the same again can help and cannot pay twice.
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
    """The request is wrong, and would be wrong again (contract §5: 400, 413, 422).

    Attributes:
        field: Which field is wrong, as a path (`messages.0.content.1.image_url`), where it is known.
    """

    def __init__(self, message: str = "", *, field: str | None = None, **data: Any) -> None:
        super().__init__(message, **data)
        self.field = field


class UnknownModel(InvalidRequest):
    """The key has no such model (contract §5: 422 `model_not_found` and its like)."""


class UnsupportedContent(InvalidRequest):
    """The model does not take this kind of content (contract §5: 422 `model_not_support_capability`, and §6)."""


class ModelRuleViolation(InvalidRequest):
    """The model takes this kind of content, but not like this (contract §5: 422 `model_rule_violation`)."""


class AuthenticationError(FoxAPIError):
    """The key is missing, wrong or expired, or may not do this (contract §5: 401, 403)."""


class InsufficientCredits(FoxAPIError):
    """The balance is empty (contract §5: 402). Everything that waits behind the same credentials stops."""


class NotFound(FoxAPIError):
    """FoxAPI does not know it (contract §5: 404)."""


class RateLimited(FoxAPIError):
    """Too many requests, and the budget for repeating them is used up (contract §5: 429). Nothing was accepted.

    Attributes:
        retry_after: Seconds that FoxAPI asked to wait, where it said so.
    """

    retryable = True

    def __init__(self, message: str = "", *, retry_after: float | None = None, **data: Any) -> None:
        super().__init__(message, **data)
        self.retry_after = retry_after


class ServiceUnavailable(FoxAPIError):
    """Nobody could serve the request, and nothing was paid: FoxAPI could not be reached, or said so (contract §5)."""

    retryable = True


class UnreadableResponse(FoxAPIError):
    """An answer that is not what the contract says, a CDN's error page for instance (contract §1).

    Attributes:
        excerpt: The first 200 characters of the body.
    """

    retryable = True

    def __init__(self, message: str = "", *, excerpt: str = "", **data: Any) -> None:
        super().__init__(message, **data)
        self.excerpt = excerpt


class AmbiguousSubmission(FoxAPIError):
    """A submission that may or may not have been accepted and billed; nobody can know (contract §2).

    It is neither a success nor a failure, and it is never repeated by itself. To allow it: `on_ambiguous="resubmit"`,
    or `settle(key, "allow_resubmit")`.

    Attributes:
        submitted_at: When the submission was sent, in Unix seconds, where it is known.
        submitted_by: Who sent it: host, process and flow run, where it is known.
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
    """FoxAPI accepted the generation, and it failed or was cancelled there (contract §3).

    Attributes:
        error: `error` of the task as FoxAPI gave it.
    """

    def __init__(self, message: str = "", *, error: dict[str, Any] | None = None, **data: Any) -> None:
        super().__init__(message, **data)
        self.error = error


class GenerationTimeout(FoxAPIError):
    """The wait is over, the generation is not. It goes on at FoxAPI and can still be collected.

    Attributes:
        elapsed: How long was waited, in seconds.
        last_status: The last status seen, if any.
        progress: The last progress seen, 0 to 100, if any.
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
    """The answer does not validate as the output type, or is no chat completion. It was paid for, and it is here.

    Attributes:
        text: The answer's text.
        errors: What pydantic found, one dict for each error.
        generation: The whole `Generation`, with `parsed` left empty.
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
        """Whether this happened before the submission."""
        return self.generation_id is None
