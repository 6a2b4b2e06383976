"""Requests for a generation, and the rules that a model has for what it is sent."""

import json
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Annotated, Any, Self, cast

from pydantic import Field, StringConstraints, ValidationError, field_validator, model_validator

from prefect_foxapi.compatibility import keep_stored_path
from prefect_foxapi.errors import InvalidRequest, UnsupportedContent
from prefect_foxapi.models.account import Capabilities
from prefect_foxapi.models.base import RequestModel
from prefect_foxapi.models.messages import AttachmentPart, Message, Prompt, TextPart, explained, to_messages
from prefect_foxapi.models.structured_output import output_schema

SUBMIT_PATH = "/v1/llm/generations"

NEEDED_CAPABILITY = {"image_url": "vision", "video_url": "video", "audio_url": "audio", "file_url": "file"}

_DOCUMENTED = {
    "gpt-": frozenset({"text", "vision"}),
    "kimi-": frozenset({"text", "vision"}),
    "claude-": frozenset({"text", "vision", "file"}),
    "gemini-": frozenset({"text", "vision", "video", "audio", "file"}),
}


_PositiveInt = Annotated[int, Field(gt=0)]
_Temperature = Annotated[int | float, Field(ge=0, le=2)]
_Probability = Annotated[int | float, Field(ge=0, le=1)]


class KeyRole(Enum):
    """Whether a field of a request is part of the generation key. Each field is annotated with one of these."""

    IN_THE_KEY = "in the key"
    NOT_IN_THE_KEY = "not in the key"


class GenerationRequest(RequestModel):
    """A request for a generation. Parameters of OpenAI chat that are not named here are kept and sent on.

    Attributes:
        model: Which model is asked.
        messages: The conversation.
        stream: Whether the answer can be read while it is made (contract §4).
        max_tokens: The most tokens to answer with; `claude-*` needs it, `gpt-*` wants at least 16.
        temperature: Sampling temperature, 0 to 2.
        top_p: Nucleus sampling, 0 to 1.
        stop: Where to stop.
    """

    model: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1), KeyRole.IN_THE_KEY]
    messages: Annotated[tuple[Message, ...], Field(min_length=1), KeyRole.IN_THE_KEY]
    stream: Annotated[bool, KeyRole.NOT_IN_THE_KEY] = False
    max_tokens: Annotated[_PositiveInt | None, KeyRole.IN_THE_KEY] = None
    temperature: Annotated[_Temperature | None, KeyRole.IN_THE_KEY] = None
    top_p: Annotated[_Probability | None, KeyRole.IN_THE_KEY] = None
    stop: Annotated[str | tuple[str, ...] | None, KeyRole.IN_THE_KEY] = None

    @classmethod
    def fields_with(cls, role: KeyRole) -> frozenset[str]:
        """Return the names of the fields that have a role in the generation key.

        Raises:
            TypeError: A field has no role, or two.
        """
        roles = {
            name: [item for item in info.metadata if isinstance(item, KeyRole)]
            for name, info in cls.model_fields.items()
        }
        if undecided := [name for name, found in roles.items() if len(found) != 1]:
            raise TypeError(f"annotate {', '.join(undecided)} of {cls.__name__} with one KeyRole")
        return frozenset(name for name, found in roles.items() if found == [role])

    @field_validator("messages", mode="before")
    @classmethod
    def _short_ways_in(cls, value: Any) -> Any:
        return to_messages(value)

    @model_validator(mode="after")
    def _family_rules(self) -> Self:
        family = self.model.lower()
        if family.startswith("claude-") and self.max_tokens is None:
            raise ValueError(f"max_tokens: {self.model} needs it; give max_tokens=1024, say")
        if family.startswith("gpt-") and self.max_tokens is not None and self.max_tokens < 16:
            raise ValueError(f"max_tokens: {self.model} wants at least 16, not {self.max_tokens}")
        return self

    @classmethod
    def build(cls, prompt: Prompt, *, model: str, **parameters: Any) -> Self:
        """Make a checked request.

        Raises:
            InvalidRequest: Something is wrong with it; the error names the field and the remedy. Nothing was sent.
        """
        parameters = {name: _plain(name, value) for name, value in parameters.items()}
        try:
            return cls.model_validate({"model": model, "messages": prompt, **parameters})
        except ValidationError as error:
            raise explained(error) from None

    def body(self) -> dict[str, Any]:
        """The JSON body of the submission: what was set, and nothing else."""
        return self.model_dump(mode="json", exclude_unset=True)

    def attachments(self) -> Iterator[tuple[str, AttachmentPart]]:
        """Every attachment with its path in the body (`messages.0.content.1.image_url`)."""
        for number, message in enumerate(self.messages):
            if isinstance(message.content, tuple):
                for position, part in enumerate(message.content):
                    if not isinstance(part, TextPart):
                        yield f"messages.{number}.content.{position}.{part.type}", part

    def with_attachments(self, urls: Mapping[str, str]) -> Self:
        """Return this request with other URLs for its attachments.

        Args:
            urls: The new URL for each URL that is replaced.
        """
        if not urls:
            return self
        body = self.body()
        for message in body["messages"]:
            content = message.get("content")
            for part in cast("list[dict[str, Any]]", content) if isinstance(content, list) else ():
                attachment = part[part["type"]]
                if isinstance(attachment, dict):
                    fields = cast("dict[str, Any]", attachment)
                    fields["url"] = urls.get(fields["url"], fields["url"])
        return type(self).model_validate(body)


def _plain(name: str, value: Any) -> Any:
    """Refuse a parameter that JSON cannot say, before it is anywhere near the wire."""
    try:
        # As it is sent: a lone surrogate cannot be encoded.
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError) as error:
        raise InvalidRequest(f"{name}: cannot be sent as JSON ({error}); give plain data", field=name) from None
    return value


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


# Results that version 0.1.0 stored name these classes by this path.
keep_stored_path(globals(), "prefect_foxapi.messages")
