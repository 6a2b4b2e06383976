"""Requests for generations, and the rules of the models for them."""

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Annotated, Any, Self, cast

from pydantic import Field, StringConstraints, ValidationError, field_validator, model_validator

from prefect_foxapi.compatibility import keep_stored_path
from prefect_foxapi.errors import InvalidRequest, UnsupportedContent
from prefect_foxapi.models.account import Capabilities
from prefect_foxapi.models.base import RequestModel, as_invalid_request
from prefect_foxapi.models.messages import (
    Attachment,
    AttachmentPart,
    Message,
    Prompt,
    TextPart,
    attachments_of,
    refuse_foreign_file,
    to_messages,
)
from prefect_foxapi.models.output.schema import output_schema

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
            parameters: Other fields of the request. Names close to a known one are refused as typing errors; the
                fields of a dict `extra_body` are sent without this check.

        Raises:
            InvalidRequest: A field is wrong; the error names it and the remedy.
        """
        parameters = {name: _plain(name, value) for name, value in _checked_parameters(parameters).items()}
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


# Parameters that are sent without a question. Near misses of them are refused.
_KNOWN = frozenset(
    {
        # OpenAI's chat API
        *(
            "audio",
            "frequency_penalty",
            "function_call",
            "functions",
            "logit_bias",
            "logprobs",
            "max_completion_tokens",
        ),
        *("max_tokens", "metadata", "modalities", "moderation", "n", "parallel_tool_calls", "prediction"),
        *("presence_penalty", "prompt_cache_key", "prompt_cache_retention", "reasoning_effort", "response_format"),
        *("safety_identifier", "seed", "service_tier", "stop", "store", "stream", "stream_options", "temperature"),
        *("tool_choice", "tools", "top_logprobs", "top_p", "user", "verbosity", "web_search_options"),
        # What other services of its kind accept
        *("best_of", "cache_control", "chat_template_kwargs", "enable_thinking", "include_reasoning", "length_penalty"),
        *("min_p", "min_tokens", "models", "provider", "reasoning", "repetition_penalty", "safety_settings"),
        *("stop_token_ids", "system_prompt", "thinking", "thinking_budget", "top_a", "top_k", "typical_p"),
    }
)

# Options that not every task has. A task without one would send it to FoxAPI as a parameter of the request.
_OPTIONS = {
    **dict.fromkeys(("timeout", "poll", "on_delta"), "give it to generate, stream_generation or wait_for_generation"),
    "log_lines": "give it to stream_generation",
    "stream": "leave it out: stream_generation always streams",
}
_OPTIONS_OF_ALL = ("credentials", "output_type", "sample", "on_ambiguous")
# A test compares them with Prefect's own.
TASK_OPTIONS = frozenset(
    {
        *("asset_deps", "cache_expiration", "cache_key_fn", "cache_policy", "cache_result_in_memory", "description"),
        *("log_prints", "name", "on_completion", "on_failure", "on_running", "persist_result", "refresh_cache"),
        *("result_serializer", "result_storage", "result_storage_key", "retries", "retry_condition_fn"),
        *("retry_delay_seconds", "retry_jitter_factor", "tags", "task_run_name", "timeout_seconds", "viz_return_value"),
    }
)
_OWN_TASK_OPTIONS = ("fn", "on_commit", "on_rollback", "version")

# Names that are no parameters of a request, and what to do instead.
_REFUSED = {
    **{name: remedy for name, remedy in _OPTIONS.items() if name != "stream"},
    **dict.fromkeys(_OPTIONS_OF_ALL, "give it to generate, stream_generation or submit_generation"),
    **{name: f"give it to the task: generate.with_options({name}=…)(…)" for name in TASK_OPTIONS},
    **dict.fromkeys(_OWN_TASK_OPTIONS, "call generate in a @task of your own that has this option"),
    **dict.fromkeys(("api_key", "base_url", "account"), "give it to FoxAPICredentials, and that as credentials"),
    **dict.fromkeys(("extra_headers", "extra_query"), "only the body of a request can have further fields"),
    "messages": "give the messages as the prompt",
    "sync": "leave it out: FoxAPI would answer with the result in place of the generation to wait for",
    "callback_url": "leave it out and wait with wait_for_generation",
}
# Everyday names that are too far from the right ones to be found by their letters.
_ALIASES = {"temp": "temperature", "retry": "retries", "max_retries": "retries", "poll_interval": "poll"}
_LETTERS = {re.sub(r"[^a-z0-9]", "", name): name for name in (*_KNOWN, *_REFUSED)}
_SIMILAR = 0.85
# `extra_body` replaces neither what has an argument of its own nor what decides how the submission is answered.
_NEVER_EXTRA = frozenset({"model", "messages", "stream", "sync", "callback_url"})


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


def _checked_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters with the fields of `extra_body`, whose names are not checked for typing errors."""
    checked = {name: value for name, value in parameters.items() if name != "extra_body"}
    for name in checked:
        if name in _REFUSED:
            raise InvalidRequest(f"{name}: it is not a parameter of a request; {_REFUSED[name]}", field=name)
        if name not in _KNOWN and (meant := _similar_name(name)):
            is_option = meant in _OPTIONS or meant in _OPTIONS_OF_ALL
            remedy = f"write {meant}" if is_option else _REFUSED.get(meant, f"write {meant}")
            raise InvalidRequest(
                f"{name}: it is not a parameter of a request, but {meant} is similar ({remedy}); a new parameter of "
                f"this name can be sent with extra_body={{{name!r}: …}}",
                field=name,
            )
    extra = parameters.get("extra_body")
    if extra is None:
        return checked
    if not isinstance(extra, Mapping) or not all(isinstance(name, str) for name in cast("Mapping[Any, Any]", extra)):
        raise InvalidRequest("extra_body: give a dict of fields of the request", field="extra_body")
    fields = cast("Mapping[str, Any]", extra)
    if wrong := sorted(fields.keys() & (checked.keys() | _NEVER_EXTRA)):
        raise InvalidRequest(
            f"extra_body: {wrong[0]} is given twice, or has an argument of its own, or is never sent; leave it out",
            field=f"extra_body.{wrong[0]}",
        )
    return {**checked, **fields}


def _similar_name(name: str) -> str | None:
    """Return the known name that a name is a near miss of, or None."""
    letters = re.sub(r"[^a-z0-9]", "", name.lower())
    if name.lower() in _ALIASES:
        return _ALIASES[name.lower()]
    for known, meant in _LETTERS.items():
        if letters == known or (len(letters) > 3 and sorted(letters) == sorted(known)):
            return meant
    found = difflib.get_close_matches(letters, _LETTERS, n=1, cutoff=_SIMILAR)
    return _LETTERS[found[0]] if found else None


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
