"""Chat completions and their chunks, in OpenAI's format."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field

from prefect_foxapi.compatibility import keep_stored_path
from prefect_foxapi.models.base import (
    Index,
    LenientCount,
    LenientIndex,
    LenientRole,
    LenientSeconds,
    LenientText,
    NullAsEmpty,
    ObjectOrNone,
    WireModel,
)


class FunctionCall(WireModel):
    """The function of a tool call, and its arguments as the JSON text that the model wrote."""

    name: str
    arguments: str = ""


class ToolCall(WireModel):
    """A tool call that the model asks for."""

    id: str
    type: str = "function"
    function: FunctionCall


class Usage(WireModel):
    """Tokens of a completion."""

    prompt_tokens: LenientCount = None
    completion_tokens: LenientCount = None
    total_tokens: LenientCount = None


class CompletionMessage(WireModel):
    """The message of an answer. An empty `content` is a valid answer."""

    role: LenientRole = "assistant"
    content: str | None = None
    reasoning_content: LenientText = None
    tool_calls: Annotated[tuple[ToolCall, ...], NullAsEmpty] = ()

    @property
    def calls_tool(self) -> bool:
        """Whether it calls a tool, or a function in OpenAI's older form."""
        return bool(self.tool_calls or (self.model_extra or {}).get("function_call"))


def as_request(answer: BaseModel) -> dict[str, Any]:
    """Return the message of an answer as one of a further request, without what only answers have.

    Args:
        answer: A message of this package, or of another library for OpenAI's format.
    """
    fields = answer.model_dump()
    kept = {name: fields[name] for name in ("name", "refusal", "tool_calls", "tool_call_id") if fields.get(name)}
    content = fields.get("content")
    return {
        "role": "assistant" if isinstance(answer, CompletionMessage) else fields.get("role"),
        "content": "" if content is None and "tool_calls" not in kept else content,
        **kept,
    }


class Choice(WireModel):
    """One answer of a completion."""

    index: LenientIndex = 0
    message: CompletionMessage
    finish_reason: LenientText = None


class ChatCompletion(WireModel):
    """A chat completion, which is `results[0]` of a completed text generation."""

    id: LenientText = None
    object: LenientText = "chat.completion"
    created: LenientSeconds = None
    model: LenientText = None
    choices: tuple[Choice, ...] = Field(min_length=1)
    usage: Annotated[Usage | None, ObjectOrNone] = None


class FunctionCallDelta(WireModel):
    """A part of a function call."""

    name: str | None = None
    arguments: str | None = None


class ToolCallDelta(WireModel):
    """A part of a tool call. The parts of one call have the same `index`."""

    index: Index = 0
    id: str | None = None
    type: str | None = None
    function: FunctionCallDelta | None = None


class Delta(WireModel):
    """The part of an answer that a chunk adds. Only streams have `reasoning_content`."""

    role: str | None = None
    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: Annotated[tuple[ToolCallDelta, ...], NullAsEmpty] = ()


def _or_no_delta(value: Any) -> Any:
    return {} if value is None else value


class ChunkChoice(WireModel):
    """The part of a choice that a chunk adds."""

    index: Index = 0
    delta: Annotated[Delta, BeforeValidator(_or_no_delta)] = Delta()
    finish_reason: LenientText = None


class ChatCompletionChunk(WireModel):
    """A chunk of a stream."""

    id: LenientText = None
    object: LenientText = "chat.completion.chunk"
    created: LenientSeconds = None
    model: LenientText = None
    choices: Annotated[tuple[ChunkChoice, ...], NullAsEmpty] = ()
    usage: Annotated[Usage | None, ObjectOrNone] = None

    @property
    def text(self) -> str:
        """The text that the chunk adds to the answer, which is the choice with the index 0."""
        return "".join(choice.delta.content or "" for choice in self.choices if choice.index == 0)

    @property
    def reasoning(self) -> str:
        """The text that the chunk adds to the reasoning of the answer."""
        return "".join(choice.delta.reasoning_content or "" for choice in self.choices if choice.index == 0)


# Results that version 0.1.0 stored name these classes by this path.
keep_stored_path(globals(), "prefect_foxapi.models")
