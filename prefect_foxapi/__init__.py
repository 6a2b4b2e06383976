"""Prefect tasks for FoxAPI generations: paid for once, surviving anything, and seen.

from prefect import flow
from prefect_foxapi import generate

@flow
def capital():
    return generate("The capital of France?", model="gpt-5.5", max_tokens=64).text
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prefect_foxapi.attachments import audio, document, image, video
    from prefect_foxapi.client import FoxAPIClient
    from prefect_foxapi.credentials import FoxAPICredentials
    from prefect_foxapi.errors import (
        AmbiguousSubmission,
        AuthenticationError,
        FoxAPIError,
        GenerationFailed,
        GenerationTimeout,
        InsufficientCredits,
        InvalidRequest,
        LedgerError,
        ModelRuleViolation,
        NotFound,
        OutputInvalid,
        RateLimited,
        ServiceUnavailable,
        UnknownModel,
        UnreadableResponse,
        UnsupportedContent,
    )
    from prefect_foxapi.messages import GenerationRequest, assistant, system, user
    from prefect_foxapi.models import Generation
    from prefect_foxapi.policies import PollPolicy, RetryPolicy
    from prefect_foxapi.retries import is_retryable
    from prefect_foxapi.tasks import (
        agenerate,
        astream_generation,
        asubmit_generation,
        await_for_generation,
        generate,
        stream_generation,
        submit_generation,
        wait_for_generation,
    )
    from prefect_foxapi.upkeep import (
        aget_credits,
        alist_models,
        alist_unsettled,
        asettle,
        aupload_file,
        get_credits,
        list_models,
        list_unsettled,
        settle,
        upload_file,
    )
    from prefect_foxapi.version import __version__

__all__ = [
    "AmbiguousSubmission",
    "AuthenticationError",
    "FoxAPIClient",
    "FoxAPICredentials",
    "FoxAPIError",
    "Generation",
    "GenerationFailed",
    "GenerationRequest",
    "GenerationTimeout",
    "InsufficientCredits",
    "InvalidRequest",
    "LedgerError",
    "ModelRuleViolation",
    "NotFound",
    "OutputInvalid",
    "PollPolicy",
    "RateLimited",
    "RetryPolicy",
    "ServiceUnavailable",
    "UnknownModel",
    "UnreadableResponse",
    "UnsupportedContent",
    "__version__",
    "agenerate",
    "aget_credits",
    "alist_models",
    "alist_unsettled",
    "asettle",
    "assistant",
    "astream_generation",
    "asubmit_generation",
    "audio",
    "aupload_file",
    "await_for_generation",
    "document",
    "generate",
    "get_credits",
    "image",
    "is_retryable",
    "list_models",
    "list_unsettled",
    "settle",
    "stream_generation",
    "submit_generation",
    "system",
    "upload_file",
    "user",
    "video",
    "wait_for_generation",
]

# Where each name lives. They are imported when they are first used: whoever wants the emulator alone, or the ledger's
# command, does not wait for Prefect.
_HOMES = {
    "attachments": ("audio", "document", "image", "video"),
    "client": ("FoxAPIClient",),
    "credentials": ("FoxAPICredentials",),
    "errors": (
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
    ),
    "messages": ("GenerationRequest", "assistant", "system", "user"),
    "models": ("Generation",),
    "policies": ("PollPolicy", "RetryPolicy"),
    "retries": ("is_retryable",),
    "tasks": (
        "agenerate",
        "astream_generation",
        "asubmit_generation",
        "await_for_generation",
        "generate",
        "stream_generation",
        "submit_generation",
        "wait_for_generation",
    ),
    "upkeep": (
        "aget_credits",
        "alist_models",
        "alist_unsettled",
        "asettle",
        "aupload_file",
        "get_credits",
        "list_models",
        "list_unsettled",
        "settle",
        "upload_file",
    ),
    "version": ("__version__",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
