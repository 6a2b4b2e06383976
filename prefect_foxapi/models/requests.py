"""Requests for generations, and the rules of the models for them."""

import json
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Annotated, Any, Self

from pydantic import Field, StringConstraints, ValidationError, field_validator, model_validator

from prefect_foxapi.compatibility import keep_stored_path
from prefect_foxapi.errors import InvalidRequest, UnsupportedContent
from prefect_foxapi.models.account import Capabilities
from prefect_foxapi.models.base import RequestModel
from prefect_foxapi.models.messages import (
    Attachment,
    AttachmentPart,
    Message,
    Prompt,
    TextPart,
    as_invalid_request,
    attachments_of,
    refuse_foreign_file,
    to_messages,
)
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
    """A request for a generation. Other parameters of OpenAI's chat API are sent as they are.

    Attributes:
        model: The model.
        messages: The conversation.
        stream: Whether the answer can be read as a stream.
        max_tokens: Maximum tokens of the answer. `claude-*` requires it, `gpt-*` at least 16.
        temperature: Sampling temperature, from 0 to 2.
        top_p: Nucleus sampling, from 0 to 1.
        stop: Text that ends the answer.

    Example:
        GenerationRequest.build("count 1 to 3", model="gpt-5.5", max_tokens=64)
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
        """Return a checked request.

        Args:
            prompt: The prompt, in any of its forms.
            model: The model.
            parameters: Other fields of the request.

        Raises:
            InvalidRequest: A field is wrong; the error names it and the remedy.
        """
        parameters = {name: _plain(name, value) for name, value in parameters.items()}
        try:
            request = cls.model_validate({"model": model, "messages": prompt, **parameters})
        except ValidationError as error:
            raise as_invalid_request(error) from None
        for path, part in request.attachments():
            refuse_foreign_file(part.attachment, path)
        return request

    def body(self) -> dict[str, Any]:
        """Return the JSON body of the submission, with the fields that were set."""
        return self.model_dump(mode="json", exclude_unset=True)

    def attachments(self) -> Iterator[tuple[str, AttachmentPart]]:
        """Yield each attachment with its path in the body, such as `messages.0.content.1.image_url`."""
        for number, message in enumerate(self.messages):
            for path, part in attachments_of(message):
                yield f"messages.{number}.{path}", part

    def with_attachments(self, urls: Mapping[str, str]) -> Self:
        """Return this request with other URLs for its attachments.

        Args:
            urls: The new URL for each URL that is replaced.
        """
        if not urls:
            return self
        messages = tuple(_with_urls(message, urls) for message in self.messages)
        return self.model_copy(update={"messages": messages})


def _with_urls(message: Message, urls: Mapping[str, str]) -> Message:
    if not isinstance(message.content, tuple):
        return message
    parts = tuple(part if isinstance(part, TextPart) else _with_url(part, urls) for part in message.content)
    return message.model_copy(update={"content": parts})


def _with_url(part: AttachmentPart, urls: Mapping[str, str]) -> AttachmentPart:
    url = urls.get(part.attachment.url)
    if url is None:
        return part
    fields = part.attachment.model_dump(exclude_unset=True)
    return part.model_copy(update={part.type: Attachment.model_validate({**fields, "url": url})})


def _plain(name: str, value: Any) -> Any:
    try:
        # Encoded as for sending: a lone surrogate fails only here.
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError) as error:
        raise InvalidRequest(f"{name}: cannot be sent as JSON ({error}); give plain data", field=name) from None
    return value


def documented_capabilities(model: str) -> frozenset[str] | None:
    """Return the capabilities that FoxAPI documents for a model, or None.

    Args:
        model: The model's id.
    """
    return next((takes for family, takes in _DOCUMENTED.items() if model.lower().startswith(family)), None)


def check_content(request: GenerationRequest, live: Capabilities | None) -> None:
    """Check that the model accepts the request's attachments, before anything is paid.

    A model that is neither in the list nor documented passes.

    Args:
        request: The request.
        live: The capabilities of FoxAPI's list of models, or None where the list is not available.

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


# A task without one of these options would send it to FoxAPI as a parameter of the request.
_OPTIONS = {
    **dict.fromkeys(("timeout", "poll", "on_delta"), "give it to generate, stream_generation or wait_for_generation"),
    "log_lines": "give it to stream_generation",
    "stream": "leave it out: stream_generation always streams",
}


def refuse_options(parameters: Mapping[str, Any]) -> None:
    """Check that no parameter of a request is an option of another task.

    Args:
        parameters: The parameters.

    Raises:
        InvalidRequest: One is.
    """
    for name, remedy in _OPTIONS.items():
        if name in parameters:
            raise InvalidRequest(
                f"{name}: it is neither an option of this task nor a parameter of a request; {remedy}", field=name
            )


def build_request(
    prompt: Any,
    *,
    model: str,
    output_type: Any = None,
    stream: bool = False,
    parameters: Mapping[str, Any] | None = None,
) -> GenerationRequest:
    """Return the request for the arguments of `generate`.

    Args:
        prompt: The prompt, in any of its forms.
        model: The model.
        output_type: The type of the answer, or None for text.
        stream: Whether the answer can be read as a stream.
        parameters: Other fields of the request.

    Raises:
        InvalidRequest: An argument is wrong; the error names it.
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
