"""Checks of requests before a generation is accepted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from prefect_foxapi.emulator.protocol.content import Content, ReadUrl, UnreadableContent
from prefect_foxapi.emulator.protocol.errors import invalid_param, invalid_request, unprocessable
from prefect_foxapi.emulator.protocol.json_types import as_array, as_object
from prefect_foxapi.emulator.protocol.models import NEEDED_CAPABILITY, MediaModel, Model

ROLES = ("system", "user", "assistant", "tool")
_GPT_MIN_MAX_TOKENS = 16


@dataclass(frozen=True)
class Attachment:
    """An attachment of a request.

    Attributes:
        kind: `image`, `video`, `audio` or `file`.
        url: The URL as sent.
        content: The description of its bytes; None for a remote URL, which is not fetched.
    """

    kind: str
    url: str
    content: Content | None


def check_chat(body: Mapping[str, Any], models: Mapping[str, Model], read: ReadUrl) -> tuple[Model, list[Attachment]]:
    """Return the model and the attachments of a valid chat request.

    Args:
        body: The parsed body.
        models: The available models by name.
        read: Returns the content of a URL.

    Returns:
        The model, and the attachments in the order of the messages.

    Raises:
        ApiError: The request is invalid.
    """
    name = _model_name(body)
    messages = _messages(body)
    model = models.get(name)
    if model is None:
        raise unprocessable("model_not_found", f"The model `{name}` does not exist or is not open to this key.")
    if "text" not in model.capabilities:
        raise unprocessable("model_not_supported", f"`{name}` is not a chat model.")
    if not isinstance(body.get("stream"), (bool, type(None))):
        raise invalid_request("stream must be a boolean.")
    _check_max_tokens(body, name)
    _check_number(body, "temperature", 0, 2)
    _check_number(body, "top_p", 0, 1)
    _check_stop(body.get("stop"))
    attachments = list(_attachments(messages, model, read))
    videos = sum(attachment.kind == "video" for attachment in attachments)
    if model.max_videos is not None and videos > model.max_videos:
        raise unprocessable(
            "model_rule_violation", f"`{name}` accepts {model.max_videos} video per request; {videos} were sent."
        )
    return model, attachments


def check_media(body: Mapping[str, Any], kind: str, models: Mapping[str, MediaModel]) -> tuple[MediaModel, int]:
    """Return the model and the number of results of a valid request for images, videos or audio.

    Args:
        body: The parsed body.
        kind: `image`, `video` or `audio`.
        models: The available models by name.

    Returns:
        The model, and the number of results that the request asks for.

    Raises:
        ApiError: The request is invalid.
    """
    name = _model_name(body)
    if not isinstance(body.get("prompt"), str):
        raise invalid_request("prompt is required and must be a string.")
    model = models.get(name)
    if model is None:
        raise unprocessable("model_not_found", f"The model `{name}` does not exist or is not open to this key.")
    if model.kind != kind:
        raise unprocessable("model_not_supported", f"`{name}` generates {model.kind}, not {kind}.")
    count = body.get("n", 1)
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= 4:
        raise invalid_param("n", "must be an integer from 1 to 4")
    return model, count


def _model_name(body: Mapping[str, Any]) -> str:
    name = body.get("model")
    if not isinstance(name, str) or not name:
        raise invalid_request("model is required and must be a string.")
    return name


def _messages(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    messages = as_array(body.get("messages"))
    if messages is None:
        raise invalid_request("messages is required and must be an array.")
    if not messages:
        raise invalid_param("messages", "must not be empty")
    for index, entry in enumerate(messages):
        message = as_object(entry)
        if message is None:
            raise invalid_request(f"messages[{index}] must be an object.")
        _check_message(f"messages[{index}]", message)
    return messages


def _check_message(path: str, message: dict[str, Any]) -> None:
    role = message.get("role")
    if not isinstance(role, str):
        raise invalid_request(f"{path}.role is required and must be a string.")
    if role not in ROLES:
        raise invalid_param(f"{path}.role", f"must be one of {', '.join(ROLES)}, not `{role}`")
    if role == "tool" and not isinstance(message.get("tool_call_id"), str):
        raise invalid_request(f"{path}.tool_call_id is required in a message of the role tool.")
    content = message.get("content")
    if content is None and role == "assistant" and message.get("tool_calls"):
        return
    if isinstance(content, str):
        return
    parts = as_array(content)
    if parts is None:
        raise invalid_request(f"{path}.content is required and must be a string or an array of parts.")
    if not parts:
        raise invalid_param(f"{path}.content", "must not be empty")
    for index, part in enumerate(parts):
        _check_part(f"{path}.content[{index}]", part)


def _check_part(path: str, part: Any) -> None:
    fields = as_object(part)
    if fields is None:
        raise invalid_request(f"{path} must be an object.")
    kind = fields.get("type")
    if not isinstance(kind, str):
        raise invalid_request(f"{path}.type is required and must be a string.")
    if kind == "text":
        if not isinstance(fields.get("text"), str):
            raise invalid_request(f"{path}.text is required and must be a string.")
        return
    if kind not in NEEDED_CAPABILITY:
        raise unprocessable("unsupported_content_type", f"{path}.type: `{kind}` is not a content type.")
    url = (as_object(fields.get(kind)) or {}).get("url")
    if not isinstance(url, str) or not url:
        raise invalid_request(f"{path}.{kind}.url is required and must be a string.")


def _attachments(messages: list[dict[str, Any]], model: Model, read: ReadUrl) -> Iterator[Attachment]:
    for number, message in enumerate(messages):
        for index, part in enumerate(as_array(message.get("content")) or ()):
            kind: str = part["type"]
            if kind == "text":
                continue
            path = f"messages[{number}].content[{index}]"
            needed = NEEDED_CAPABILITY[kind]
            if needed not in model.capabilities:
                raise unprocessable(
                    "model_not_support_capability", f"{path}: `{model.id}` does not support {needed} ({kind})."
                )
            url: str = part[kind]["url"]
            yield Attachment(kind.removesuffix("_url"), url, _read(path, kind, url, read))


def _read(path: str, kind: str, url: str, read: ReadUrl) -> Content | None:
    try:
        return read(url)
    except UnreadableContent as error:
        code = "invalid_image_url" if kind == "image_url" else "invalid_param"
        raise unprocessable(code, f"{path}.{kind}.url: {error}.") from error


def _check_max_tokens(body: Mapping[str, Any], model: str) -> None:
    limit = body.get("max_tokens")
    if limit is None:
        if model.startswith("claude-"):
            raise invalid_param("max_tokens", f"is required for `{model}`")
        return
    if not isinstance(limit, int) or isinstance(limit, bool):
        raise invalid_request("max_tokens must be an integer or null.")
    if limit < 1:
        raise invalid_param("max_tokens", "must be 1 or more")
    if model.startswith("gpt-") and limit < _GPT_MIN_MAX_TOKENS:
        raise invalid_param("max_tokens", f"must be {_GPT_MIN_MAX_TOKENS} or more for `{model}`")


def _check_number(body: Mapping[str, Any], name: str, low: float, high: float) -> None:
    value = body.get(name)
    if value is None:
        return
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise invalid_request(f"{name} must be a number or null.")
    if not low <= value <= high:
        raise invalid_param(name, f"must be between {low} and {high}")


def _check_stop(stop: Any) -> None:
    if stop is None or isinstance(stop, str):
        return
    texts = as_array(stop)
    if texts is None or not all(isinstance(text, str) for text in texts):
        raise invalid_request("stop must be a string or an array of strings.")
