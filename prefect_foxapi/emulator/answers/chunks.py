"""The chunks of a streamed answer, spread over the duration of the generation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from prefect_foxapi.emulator.answers.completions import Answer, ChatRequest, completion_id
from prefect_foxapi.emulator.protocol.json_types import as_object, json_text

_ARGUMENT_CHUNKS = 4


@dataclass(frozen=True)
class Chunk:
    """A chunk of a stream.

    Attributes:
        due: The time at which it is sent (Unix seconds).
        open_json: Its JSON without the closing brace, so that the time of sending can be appended.
    """

    due: float
    open_json: str


def split_into_chunks(
    answer: Answer, request: ChatRequest, *, created: float, starts: float, ends: float, max_chunks: int
) -> list[Chunk]:
    """Return the chunks of an answer.

    Args:
        answer: The answer.
        request: The request that it answers.
        created: The time at which the generation was accepted (Unix seconds).
        starts: The time after which the first chunk is due (Unix seconds).
        ends: The time at which the last chunk is due (Unix seconds).
        max_chunks: The approximate maximum number of chunks.
    """
    head = {
        "id": completion_id(request),
        "object": "chat.completion.chunk",
        "created": int(created),
        "model": request.model.id,
    }
    options = as_object(request.body.get("stream_options")) or {}
    bodies: list[dict[str, Any]] = [
        {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in _deltas(answer, max_chunks)
    ]
    bodies.append({"choices": [{"index": 0, "delta": {}, "finish_reason": answer.finish_reason}]})
    if options.get("include_usage"):
        bodies.append({"choices": [], "usage": answer.usage})
    step = (ends - starts) / len(bodies)
    return [
        Chunk(
            round(starts + step * number, 6),
            json_text({**head, **body})[:-1],
        )
        for number, body in enumerate(bodies, start=1)
    ]


def _deltas(answer: Answer, max_chunks: int) -> Iterator[dict[str, Any]]:
    yield {"role": "assistant", "content": ""}
    reasoning, content = answer.reasoning_tokens, answer.content_tokens or []
    size = max(1, -(-(len(reasoning) + len(content)) // max_chunks))
    for text in _groups(reasoning, size):
        yield {"reasoning_content": text}
    for text in _groups(content, size):
        yield {"content": text}
    for index, call in enumerate(answer.tool_calls):
        function: dict[str, Any] = call["function"]
        opening = {"index": index, "id": call["id"], "type": "function"}
        yield {"tool_calls": [{**opening, "function": {"name": function["name"], "arguments": ""}}]}
        arguments: str = function["arguments"]
        for text in _groups(list(arguments), max(1, -(-len(arguments) // _ARGUMENT_CHUNKS))):
            yield {"tool_calls": [{"index": index, "function": {"arguments": text}}]}


def _groups(tokens: list[str], size: int) -> Iterator[str]:
    for start in range(0, len(tokens), size):
        yield "".join(tokens[start : start + size])
