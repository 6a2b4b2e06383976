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
    """Builds an answer, the first choice's, from the chunks of its stream.

    Attributes:
        chunks: How many chunks were added, which is the offset at which the stream resumes.
        finish_reason: Why the model stopped, or None.
        usage: Tokens, or None.

    Example:
        answer = Accumulator()
        async for chunk in client.stream("gen-1"):
            answer.add(chunk)
        print(answer.text)
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
        """The reasoning so far, or None."""
        return "".join(self._reasoning) or None

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The tool calls so far. Before the end of the stream, the last one's arguments can be incomplete."""
        return tuple(
            ToolCall(
                id=call.id, type=call.type, function=FunctionCall(name=call.name, arguments="".join(call.arguments))
            )
            for call in self._tool_calls
        )

    def add(self, chunk: ChatCompletionChunk) -> None:
        """Add the next chunk.

        Args:
            chunk: The chunk.
        """
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
        # Some models give all their calls the index 0. Then only the id shows that another call begins.
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
