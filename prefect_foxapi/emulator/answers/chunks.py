"""An answer as the chunks of a stream, spread over the time that the generation takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from prefect_foxapi.emulator.answers.completions import Answer, Chat, completion_id
from prefect_foxapi.emulator.protocol.json_types import as_object, json_text

_ARGUMENT_PIECES = 4


@dataclass(frozen=True)
class Chunk:
    """A chunk of the stream.

    Attributes:
        due: When it is sent (Unix seconds).
        head: Its JSON without the closing brace, so that the time of sending can be added.
    """

    due: float
    head: str


def chunks_of(answer: Answer, chat: Chat, *, created: float, starts: float, ends: float, most: int) -> list[Chunk]:
    """Cut an answer into chunks.

    Args:
        answer: The answer.
        chat: What it answers.
        created: When the generation was accepted.
        starts: When the first chunk is due at the earliest.
        ends: When the last one is due.
        most: About how many there may be.
    """
    head = {
        "id": completion_id(chat),
        "object": "chat.completion.chunk",
        "created": int(created),
        "model": chat.model.id,
    }
    options = as_object(chat.body.get("stream_options")) or {}
    bodies: list[dict[str, Any]] = [
        {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in _deltas(answer, most)
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


def _deltas(answer: Answer, most: int) -> Iterator[dict[str, Any]]:
    yield {"role": "assistant", "content": ""}
    reasoning, content = answer.reasoning, answer.pieces or []
    share = max(1, -(-(len(reasoning) + len(content)) // most))
    for piece in _grouped(reasoning, share):
        yield {"reasoning_content": piece}
    for piece in _grouped(content, share):
        yield {"content": piece}
    for index, call in enumerate(answer.tool_calls):
        function: dict[str, Any] = call["function"]
        opening = {"index": index, "id": call["id"], "type": "function"}
        yield {"tool_calls": [{**opening, "function": {"name": function["name"], "arguments": ""}}]}
        arguments: str = function["arguments"]
        for piece in _grouped(list(arguments), max(1, -(-len(arguments) // _ARGUMENT_PIECES))):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def _grouped(pieces: list[str], size: int) -> Iterator[str]:
    for start in range(0, len(pieces), size):
        yield "".join(pieces[start : start + size])
