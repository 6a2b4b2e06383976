"""What each model takes, and the check of a request against it (contract §6)."""

from __future__ import annotations

from collections.abc import Mapping

from prefect_foxapi.errors import UnsupportedContent
from prefect_foxapi.messages import GenerationRequest

Capabilities = Mapping[str, frozenset[str]]
"""For each model's id, what it takes: `text`, `vision`, `video`, `audio`, `file`."""

NEEDED_CAPABILITY = {"image_url": "vision", "video_url": "video", "audio_url": "audio", "file_url": "file"}

_DOCUMENTED = {
    "gpt-": frozenset({"text", "vision"}),
    "kimi-": frozenset({"text", "vision"}),
    "claude-": frozenset({"text", "vision", "file"}),
    "gemini-": frozenset({"text", "vision", "video", "audio", "file"}),
}


def documented_capabilities(model: str) -> frozenset[str] | None:
    """What the documentation says that `model` takes, or None where it says nothing."""
    return next((takes for family, takes in _DOCUMENTED.items() if model.lower().startswith(family)), None)


def check_content(request: GenerationRequest, live: Capabilities | None) -> None:
    """Refuse content that the model does not take, before anything is paid.

    A model that neither the live list nor the documentation knows passes: there FoxAPI decides.

    Args:
        request: The request.
        live: What the live list of models says, or None where it could not be had.

    Raises:
        UnsupportedContent: The model lacks a capability; the error names the part and models that have it.
    """
    takes = (live or {}).get(request.model) or documented_capabilities(request.model)
    if takes is None:
        return
    for path, part in request.attachments():
        needed = NEEDED_CAPABILITY[part.type]
        if needed not in takes:
            able = sorted(model for model, has in (live or {}).items() if needed in has)
            remedy = f"use one of {', '.join(able[:5])}" if able else "use a gemini-* model, which takes every kind"
            raise UnsupportedContent(
                f"{path}: {request.model} takes {', '.join(sorted(takes))} but no {needed}; {remedy}",
                field=path,
                code="model_not_support_capability",
            )
