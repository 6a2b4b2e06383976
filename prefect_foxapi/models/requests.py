"""What each model takes, and the check of a request against it (contract §6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefect_foxapi.errors import InvalidRequest, UnsupportedContent
from prefect_foxapi.models.messages import GenerationRequest
from prefect_foxapi.models.structured_output import output_schema

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


# A task that does not take one of these would otherwise send it to FoxAPI, as a part of what is paid for.
_OPTIONS = {
    **dict.fromkeys(("timeout", "poll", "on_delta"), "give it to generate, stream_generation or wait_for_generation"),
    "log_lines": "give it to stream_generation",
    "stream": "leave it out: stream_generation always streams",
}


def refuse_options(parameters: Mapping[str, Any]) -> None:
    """Refuse, among the parameters of a request, what is an option of other tasks.

    Raises:
        InvalidRequest: There is one.
    """
    for name, remedy in _OPTIONS.items():
        if name in parameters:
            raise InvalidRequest(f"{name}: it is no option of this task, nor part of a request; {remedy}", field=name)


def build_request(
    prompt: Any,
    *,
    model: str,
    output_type: Any = None,
    stream: bool = False,
    parameters: Mapping[str, Any] | None = None,
) -> GenerationRequest:
    """The request that `generate` submits for its arguments.

    Raises:
        InvalidRequest: Something is wrong with it.
    """
    fields = dict(parameters or {})
    refuse_options(fields)
    if output_type is not None:
        if "response_format" in fields:
            raise InvalidRequest("response_format: give either it or output_type, not both", field="response_format")
        fields["response_format"] = output_schema(output_type).response_format()
    if stream:
        fields["stream"] = True
    return GenerationRequest.build(prompt, model=model, **fields)
