"""Messages and their content parts, with short forms for prompts.

"count 1 to 3"                                          a plain string
["describe this", image("https://example.com/x.png")]   strings and parts, as one user message
["describe this", Path("photo.jpg")]                    the same: the extension chooses the helper
["describe this", "https://example.com/x.png"]          the same for a string that is nothing but a URL
[system("Be terse."), user("1+1?")]                     messages
[system("Be terse."), "1+1?"]                           strings and parts between messages, as user messages
[{"role": "user", "content": "count 1 to 3"}]           OpenAI's dicts
[user("1+1?"), generation.completion.choices[0].message, "Why?"]    an answer

Beside a user message, bare strings and parts are refused: an answer's text would be taken for the user's.

A string that is a prompt of its own, or all that a message says, is text, even if it is a URL. In a list, and beside
other arguments of `user`, a URL is an attachment; `TextPart(text=…)` sends it as text. Where neither the extension nor
the media type of a `data:` URI tells the kind, the URL or path is refused: `image(…)`, for example, says it.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, Literal, Self, Union, cast

from pydantic import BaseModel, Field, PrivateAttr, StringConstraints, ValidationError, model_validator

from prefect_foxapi.compatibility import keep_stored_path
from prefect_foxapi.errors import InvalidRequest
from prefect_foxapi.models.base import MEDIA_HELPERS, RequestModel, as_invalid_request
from prefect_foxapi.models.completions import CompletionMessage, ToolCall, as_request


class Attachment(RequestModel):
    """The URL of an attachment: http(s), `data:`, or `file://` until the file is uploaded.

    A `file://` URL is read only if `of_local_file` made it, as `image(Path(…))` does. One that comes as data (in a
    string, a dict, JSON) is not: messages that are passed on from other people would otherwise upload local files.
    """

    # No field: validation never sets it, and dumps do not have it. Copies and pickles keep it.
    _permitted_url: str | None = PrivateAttr(default=None)

    url: Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^(https?://|data:|file://)[^\s]+$")]

    @classmethod
    def of_local_file(cls, path: Path) -> Self:
        """Return the attachment for a local file that the program itself names.

        Args:
            path: The absolute path.
        """
        attachment = cls(url=path.as_uri())
        attachment._permitted_url = attachment.url
        return attachment

    @property
    def is_local(self) -> bool:
        """Whether the URL is that of a local file."""
        return self.url.startswith("file://")

    @property
    def may_be_sent(self) -> bool:
        """Whether it is no local file, or one that the program itself named."""
        # Pickles of version 0.1.0 have no private attributes at all.
        return not self.is_local or (self.__pydantic_private__ or {}).get("_permitted_url") == self.url

    @property
    def is_inline(self) -> bool:
        """Whether the URL contains the bytes."""
        return self.url.startswith("data:")


class TextPart(RequestModel):
    """A text in a message."""

    type: Literal["text"] = "text"
    text: str


class _AttachmentPart(RequestModel):
    @model_validator(mode="before")
    @classmethod
    def _url_alone_will_do(cls, data: Any) -> Any:
        if isinstance(data, Mapping):
            fields = dict(cast("Mapping[str, Any]", data))
            for name in ("image_url", "video_url", "audio_url", "file_url"):
                if isinstance(fields.get(name), str):
                    fields[name] = {"url": fields[name]}
            return fields
        return data

    @property
    def attachment(self) -> Attachment:
        """The attachment of the part, of any kind."""
        return cast("Attachment", getattr(self, cast("Any", self).type))


class ImagePart(_AttachmentPart):
    """An image in a message."""

    type: Literal["image_url"] = "image_url"
    image_url: Attachment


class VideoPart(_AttachmentPart):
    """A video in a message."""

    type: Literal["video_url"] = "video_url"
    video_url: Attachment


class AudioPart(_AttachmentPart):
    """An audio file in a message."""

    type: Literal["audio_url"] = "audio_url"
    audio_url: Attachment


class FilePart(_AttachmentPart):
    """A document in a message."""

    type: Literal["file_url"] = "file_url"
    file_url: Attachment


AttachmentPart = ImagePart | VideoPart | AudioPart | FilePart
Part = Annotated[Union[TextPart, ImagePart, VideoPart, AudioPart, FilePart], Field(discriminator="type")]  # noqa: UP007
_Said = Annotated[str, StringConstraints(min_length=1)]
Parts = Annotated[tuple[Part, ...], Field(min_length=1)]


class SystemMessage(RequestModel):
    """A system message: instructions for the whole conversation."""

    role: Literal["system"] = "system"
    content: _Said | Parts


class UserMessage(RequestModel):
    """A user message, with attachments."""

    role: Literal["user"] = "user"
    content: _Said | Parts


class AssistantMessage(RequestModel):
    """An earlier answer of the model, or its tool calls."""

    role: Literal["assistant"] = "assistant"
    content: str | Parts | None = None
    tool_calls: tuple[ToolCall, ...] | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.content is None and not self.tool_calls:
            raise ValueError("an assistant's message needs content or tool_calls")
        for call in self.tool_calls or ():
            # OpenAI's format requires these fields.
            call.__pydantic_fields_set__.add("type")
            call.function.__pydantic_fields_set__.add("arguments")
        return self


class ToolMessage(RequestModel):
    """The result of a tool call."""

    role: Literal["tool"] = "tool"
    content: str | Parts
    tool_call_id: str


Message = Annotated[
    Union[SystemMessage, UserMessage, AssistantMessage, ToolMessage],  # noqa: UP007
    Field(discriminator="role"),
]
MessageLike = SystemMessage | UserMessage | AssistantMessage | ToolMessage | CompletionMessage | Mapping[str, Any]
PartLike = TextPart | ImagePart | VideoPart | AudioPart | FilePart | Mapping[str, Any] | str | Path
Prompt = str | MessageLike | PartLike | Sequence[MessageLike | PartLike]
"""The forms of a prompt, which the docstring of this module shows."""


_URL_ALONE = re.compile(r"\s*(?:https?://\S+|data:[^\s,]*,\S*|file:\S+)\s*", re.IGNORECASE)


def to_messages(prompt: Any) -> Any:
    """Return a prompt of any form as a list of messages, which are not validated yet.

    Args:
        prompt: The prompt.

    Raises:
        ValueError: The prompt is empty, or has none of the forms.
        InvalidRequest: A path or a URL cannot be an attachment.
    """
    if isinstance(prompt, str):
        if not prompt.strip():
            raise ValueError("the prompt is empty; give an instruction or a question")
        return [{"role": "user", "content": prompt}]
    if isinstance(prompt, BaseModel | Mapping | Path):
        prompt = [prompt]
    if not isinstance(prompt, Sequence) or isinstance(prompt, bytes | bytearray):
        raise ValueError(
            f"a prompt is a string, a list of strings and parts, or a list of messages, not {type(prompt).__name__}"
        )
    messages: list[Any] = []
    before = None
    for role, group in groupby(cast("Sequence[Any]", prompt), _role_of):
        if (before, role) in (("user", _BARE), (_BARE, "user")):
            field = f"messages.{len(messages) - (role == 'user')}"
            raise InvalidRequest(
                f"{field}: a bare string or part beside a user message; write user(…), or assistant(…) for an answer",
                field=field,
            )
        before = role
        if role is not _BARE:
            messages += [item if isinstance(item, RequestModel | Mapping) else as_request(item) for item in group]
            continue
        items = list(group)
        is_text = len(items) == 1 and isinstance(items[0], str) and not _URL_ALONE.fullmatch(items[0])
        content = items[0] if is_text else _parts(items, f"messages.{len(messages)}.content")
        messages.append({"role": "user", "content": content})
    if not messages:
        raise ValueError("no messages; give at least one")
    return messages


_BARE = object()


def _role_of(item: Any) -> Any:
    if isinstance(item, BaseModel):
        return getattr(item, "role", _BARE)
    return cast("Mapping[str, Any]", item).get("role", _BARE) if isinstance(item, Mapping) else _BARE


def _content(items: Sequence[Any]) -> Any:
    return items[0] if len(items) == 1 and isinstance(items[0], str) else _parts(items, "content")


def _parts(items: Sequence[Any], field: str) -> list[Any]:
    return [_part(item, f"{field}.{position}") for position, item in enumerate(items)]


def _part(item: Any, field: str) -> Any:
    # Imported here, since the helpers for attachments return the parts of this module.
    from prefect_foxapi.models.attachments import part_of

    if isinstance(item, Path) or (isinstance(item, str) and _URL_ALONE.fullmatch(item)):
        return part_of(item, field)
    if not isinstance(item, str | RequestModel | Mapping):
        raise InvalidRequest(
            f"{field}: {type(item).__name__} is neither text, an attachment nor a message; the message of an answer is "
            "generation.completion.choices[0].message",
            field=field,
        )
    return {"type": "text", "text": item} if isinstance(item, str) else cast("Any", item)


def system(*content: PartLike) -> SystemMessage:
    """Return a system message: instructions for the whole conversation.

    Args:
        content: Strings, parts, paths and URLs, as in a list prompt. A single string is text.

    Example:
        `system("Answer in one sentence.")`
    """
    return _message(SystemMessage, {"content": _content(content)})


def user(*content: PartLike) -> UserMessage:
    """Return a user message.

    Args:
        content: Strings, parts, paths and URLs, as in a list prompt. A single string is text.

    Raises:
        InvalidRequest: The message is empty, or a part is wrong.

    Example:
        `user("Describe this.", image("https://example.com/x.png"))`
    """
    return _message(UserMessage, {"content": _content(content)})


def assistant(*content: PartLike, tool_calls: Sequence[ToolCall | Mapping[str, Any]] | None = None) -> AssistantMessage:
    """Return an earlier message of the model.

    Args:
        content: Strings, parts, paths and URLs, as in a list prompt. A single string is text.
        tool_calls: The tool calls that the model asked for.

    Raises:
        InvalidRequest: There is neither content nor a tool call, or a part is wrong.

    Example:
        `[user("1+1?"), assistant("2"), user("And 2+2?")]`
    """
    fields: dict[str, Any] = {"content": _content(content) if content else None}
    return _message(AssistantMessage, fields if tool_calls is None else {**fields, "tool_calls": tuple(tool_calls)})


def tool(call: ToolCall | Mapping[str, Any] | str, result: Any) -> ToolMessage:
    """Return the result of a tool call.

    Args:
        call: The tool call, or its id.
        result: Text; or JSON data or a pydantic model, which is sent as JSON text.

    Raises:
        InvalidRequest: The call has no id, or the result cannot be sent.

    Example:
        `[user("Weather?"), answer.completion.choices[0].message, tool(answer.tool_calls[0], {"degrees": 7})]`
    """
    call_id = call.id if isinstance(call, ToolCall) else call.get("id") if isinstance(call, Mapping) else call
    if not isinstance(cast("Any", call_id), str) or not call_id:
        raise InvalidRequest("call: give a tool call of an answer, or its id", field="call")
    try:
        text = (
            result
            if isinstance(result, str)
            else json.dumps(result, ensure_ascii=False, allow_nan=False, default=_data)
        )
        text.encode()
    except (TypeError, ValueError) as error:
        raise InvalidRequest(f"result: cannot be sent ({error}); give text or JSON data", field="result") from None
    return ToolMessage(content=text, tool_call_id=call_id)


def _data(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    raise TypeError(f"{type(value).__name__} is no JSON data")


def _message(kind: type[Any], fields: dict[str, Any]) -> Any:
    try:
        message = kind.model_validate(fields)
    except ValidationError as error:
        raise as_invalid_request(error) from None
    for path, part in attachments_of(message):
        refuse_foreign_file(part.attachment, path)
    return message


def attachments_of(message: Message) -> Iterator[tuple[str, AttachmentPart]]:
    """Yield each attachment of a message with its path in it, such as `content.1.image_url`.

    Args:
        message: The message.
    """
    if isinstance(message.content, tuple):
        for position, part in enumerate(message.content):
            if not isinstance(part, TextPart):
                yield f"content.{position}.{part.type}", part


def refuse_foreign_file(attachment: Attachment, path: str) -> None:
    """Check that an attachment is no local file that came as data.

    Args:
        attachment: The attachment.
        path: The path of its part in the body.

    Raises:
        InvalidRequest: It is.
    """
    if not attachment.may_be_sent:
        helper = MEDIA_HELPERS.get(path.split(".")[-1], "image")
        raise InvalidRequest(
            f"{path}.url: {attachment.url[:80]!r} is a local file, which is not read where its URL comes as data; "
            f"write {helper}(Path(…)) to send it",
            field=f"{path}.url",
        )


# Results that version 0.1.0 stored name these classes by this path.
keep_stored_path(globals(), "prefect_foxapi.messages")
