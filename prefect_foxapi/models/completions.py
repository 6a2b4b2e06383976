"""Chat completions, whole and in chunks, in OpenAI's format."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from prefect_foxapi.compatibility import keep_stored_path
from prefect_foxapi.models.base import Index, NullAsEmpty, WireModel


class FunctionCall(WireModel):
    """The function that a tool call names, with its arguments as the JSON text that the model wrote."""

    name: str
    arguments: str = ""


class ToolCall(WireModel):
    """A call that the model asks for."""

    id: str
    type: str = "function"
    function: FunctionCall


class Usage(WireModel):
    """Tokens that a completion took."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None


class CompletionMessage(WireModel):
    """The message that a model answered with. `content` may be empty: that is an answer, not an error (contract §3)."""

    role: str = "assistant"
    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: Annotated[tuple[ToolCall, ...], NullAsEmpty] = ()


class Choice(WireModel):
    """One of a completion's answers."""

    index: Index = 0
    message: CompletionMessage
    finish_reason: str | None = None


class ChatCompletion(WireModel):
    """A whole OpenAI chat completion, as it stands in a completed generation's `results[0]` (contract §3)."""

    id: str | None = None
    object: str = "chat.completion"
    created: int | None = None
    model: str | None = None
    choices: tuple[Choice, ...] = Field(min_length=1)
    usage: Usage | None = None


class FunctionCallDelta(WireModel):
    """A piece of a function call."""

    name: str | None = None
    arguments: str | None = None


class ToolCallDelta(WireModel):
    """A piece of a tool call; pieces of one call share an `index`."""

    index: Index = 0
    id: str | None = None
    type: str | None = None
    function: FunctionCallDelta | None = None


class Delta(WireModel):
    """What one chunk adds to the answer. `reasoning_content` exists in the stream only (contract §3)."""

    role: str | None = None
    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: Annotated[tuple[ToolCallDelta, ...], NullAsEmpty] = ()


def _or_no_delta(value: Any) -> Any:
    return {} if value is None else value


class ChunkChoice(WireModel):
    """One choice's part of a chunk."""

    index: Index = 0
    delta: Annotated[Delta, BeforeValidator(_or_no_delta)] = Delta()
    finish_reason: str | None = None


class ChatCompletionChunk(WireModel):
    """One chunk of a stream (contract §4)."""

    id: str | None = None
    object: str = "chat.completion.chunk"
    created: int | None = None
    model: str | None = None
    choices: Annotated[tuple[ChunkChoice, ...], NullAsEmpty] = ()
    usage: Usage | None = None

    @property
    def text(self) -> str:
        """What this chunk adds to the answer's text."""
        return (self.choices[0].delta.content or "") if self.choices else ""

    @property
    def reasoning(self) -> str:
        """What this chunk adds to the reasoning."""
        return (self.choices[0].delta.reasoning_content or "") if self.choices else ""


# Results that version 0.1.0 stored name these classes by this path.
keep_stored_path(globals(), "prefect_foxapi.models")
