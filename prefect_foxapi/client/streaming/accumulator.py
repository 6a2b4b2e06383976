"""An answer put together from the chunks of its stream."""

from __future__ import annotations

from dataclasses import dataclass, field

from prefect_foxapi.models.completions import ChatCompletionChunk, FunctionCall, ToolCall, ToolCallDelta, Usage


@dataclass
class _OpenToolCall:
    id: str = ""
    type: str = "function"
    name: str = ""
    arguments: list[str] = field(default_factory=list[str])


class Accumulator:
    """Puts an answer together from its chunks, for the first choice as everywhere in this package.

    Attributes:
        chunks: How many chunks were added: the `offset` at which a stream goes on.
        finish_reason: Why the model stopped, as soon as that is known.
        usage: Tokens, where a chunk tells them.
    """

    def __init__(self) -> None:
        self.chunks = 0
        self.finish_reason: str | None = None
        self.usage: Usage | None = None
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._tool_calls: list[_OpenToolCall] = []
        self._position_of: dict[int, int] = {}

    @property
    def text(self) -> str:
        """The answer so far."""
        return "".join(self._text)

    @property
    def reasoning(self) -> str | None:
        """What a thinking model has thought so far, or None."""
        return "".join(self._reasoning) or None

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The calls that the model asks for; the arguments of the last may be incomplete before the end."""
        return tuple(
            ToolCall(
                id=call.id, type=call.type, function=FunctionCall(name=call.name, arguments="".join(call.arguments))
            )
            for call in self._tool_calls
        )

    def add(self, chunk: ChatCompletionChunk) -> None:
        """Add the next chunk."""
        self.chunks += 1
        if chunk.usage is not None:
            self.usage = chunk.usage
        for choice in chunk.choices:
            if choice.index != 0:
                continue
            if choice.delta.content:
                self._text.append(choice.delta.content)
            if choice.delta.reasoning_content:
                self._reasoning.append(choice.delta.reasoning_content)
            for delta in choice.delta.tool_calls:
                self._add_to_tool_call(delta)
            self.finish_reason = choice.finish_reason or self.finish_reason

    def _add_to_tool_call(self, delta: ToolCallDelta) -> None:
        position = self._position_of.get(delta.index)
        # Some models number all their calls 0; then only the id tells that another one begins.
        if position is None or (delta.id and self._tool_calls[position].id not in ("", delta.id)):
            position = self._position_of[delta.index] = len(self._tool_calls)
            self._tool_calls.append(_OpenToolCall())
        call = self._tool_calls[position]
        call.id = delta.id or call.id
        call.type = delta.type or call.type
        if delta.function is not None:
            call.name = call.name or delta.function.name or ""
            if delta.function.arguments:
                call.arguments.append(delta.function.arguments)
