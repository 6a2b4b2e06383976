"""Chat completions: deterministic, and marked as emulated."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from prefect_foxapi.emulator.answers.attachment_notes import attachment_note, message_texts, notes_in
from prefect_foxapi.emulator.answers.schema_instances import UnusableSchema, generate_instance
from prefect_foxapi.emulator.answers.scripts import Script
from prefect_foxapi.emulator.protocol.errors import invalid_param
from prefect_foxapi.emulator.protocol.json_types import as_array, as_object
from prefect_foxapi.emulator.protocol.models import Model
from prefect_foxapi.emulator.protocol.validation import Attachment

_TOKEN = re.compile(r"\s?\w{1,12}|\s?[^\w\s]|\s")
_EXCERPT_LENGTH = 200
_TOKENS_PER_MESSAGE = 4
_TOKENS_PER_ATTACHMENT = 258


@dataclass(frozen=True)
class ChatRequest:
    """A valid chat request.

    Attributes:
        body: The parsed body.
        model: The model.
        attachments: The attachments, in the order of the messages.
        digest: The digest that identifies the request.
    """

    body: Mapping[str, Any]
    model: Model
    attachments: Sequence[Attachment]
    digest: str

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The messages."""
        return self.body["messages"]

    @property
    def texts(self) -> list[str]:
        """All texts of all messages."""
        return [text for message in self.messages for text in message_texts(message)]

    @property
    def question(self) -> str:
        """The text of the last user message."""
        from_user = [message for message in self.messages if message["role"] == "user"]
        return " ".join(message_texts(from_user[-1])) if from_user else ""


@dataclass(frozen=True)
class Answer:
    """A complete answer.

    Attributes:
        content_tokens: The tokens of the content, which is their concatenation; None without content.
        reasoning_tokens: The tokens of the reasoning.
        tool_calls: The tool calls.
        finish_reason: The reason why the answer ends.
        usage: The numbers of tokens.
        message: Further fields of the message.
        completion: Further fields of the completion.
    """

    content_tokens: list[str] | None
    reasoning_tokens: list[str]
    tool_calls: list[dict[str, Any]]
    finish_reason: str
    usage: dict[str, Any]
    message: Mapping[str, Any] = field(default_factory=dict[str, Any])
    completion: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def as_completion(self, request: ChatRequest, created: float) -> dict[str, Any]:
        """Return the chat completion. It never contains the reasoning, which only the stream does."""
        message: dict[str, Any] = {
            "role": "assistant",
            "content": None if self.content_tokens is None else "".join(self.content_tokens),
        }
        if self.tool_calls:
            message["tool_calls"] = self.tool_calls
        message.update(self.message)
        return {
            "id": completion_id(request),
            "object": "chat.completion",
            "created": int(created),
            "model": request.model.id,
            "choices": [{"index": 0, "message": message, "finish_reason": self.finish_reason}],
            "usage": self.usage,
            **self.completion,
        }


def completion_id(request: ChatRequest) -> str:
    """Return the id that the completion and its chunks share."""
    return f"chatcmpl-{request.digest[:24]}"


def build_answer(request: ChatRequest, script: Script | None) -> Answer:
    """Return the answer to a request.

    Args:
        request: The request.
        script: The script that applies to it.

    Raises:
        ApiError: `response_format` or the parameters of a tool are not a usable JSON schema.
    """
    notes = [*map(attachment_note, request.attachments), *notes_in(request.texts)]
    reasoning = _reasoning(request, notes) if request.model.thinks(request.body) else ""
    if script is not None and script.reasoning is not None:
        reasoning = script.reasoning
    text, calls, finish_reason = _scripted(script) or _generated(request, notes)
    content_tokens = None
    if text is not None:
        content_tokens, cut_reason = _truncate(text, request.body)
        finish_reason = cut_reason or finish_reason
    if (fields := as_object(script.answer if script else None)) is not None:
        finish_reason = fields.get("finish_reason", finish_reason)
    reasoning_tokens = split_tokens(reasoning)
    answer_size = len(content_tokens or ()) + sum(_estimate_tokens(json.dumps(call)) for call in calls)
    usage = _usage(request, answer_size, len(reasoning_tokens))
    message, completion = _scripted_fields(script)
    return Answer(content_tokens, reasoning_tokens, calls, finish_reason, usage, message, completion)


def split_tokens(text: str) -> list[str]:
    """Return the tokens of a text, which is their concatenation."""
    return _TOKEN.findall(text)


# The content, the tool calls and the finish reason.
_Outcome = tuple["str | None", list[dict[str, Any]], str]
_FIELDS_OF_MESSAGE = ("content", "tool_calls", "finish_reason", "message")


def _scripted(script: Script | None) -> _Outcome | None:
    if script is None or script.answer is None:
        return None
    if isinstance(script.answer, str):
        return script.answer, [], "stop"
    calls = script.answer.get("tool_calls", [])
    return script.answer.get("content", None if calls else ""), calls, "tool_calls" if calls else "stop"


def _scripted_fields(script: Script | None) -> tuple[dict[str, Any], dict[str, Any]]:
    if script is None or not isinstance(script.answer, dict):
        return {}, {}
    fields = {name: value for name, value in script.answer.items() if name not in _FIELDS_OF_MESSAGE}
    return script.answer.get("message", {}), fields


def _generated(request: ChatRequest, notes: Sequence[str]) -> _Outcome:
    function = _function_to_call(request)
    if function is not None:
        return None, [_tool_call(request, function, notes)], "tool_calls"
    response_format = as_object(request.body.get("response_format")) or {}
    kind = response_format.get("type")
    if kind == "json_schema":
        schema = (as_object(response_format.get("json_schema")) or {}).get("schema")
        instance = _instance(request, schema, notes, "response_format.json_schema.schema")
        return json.dumps(instance, ensure_ascii=False), [], "stop"
    question = _excerpt(request.question)
    if kind == "json_object":
        data = {"emulated": True, "model": request.model.id, "question": question, "facts": list(notes)}
        return json.dumps(data, ensure_ascii=False), [], "stop"
    # The notes come first, so that a low max_tokens does not cut them off.
    lines = [f"[emulated] {request.model.id} answers.", *(f"- {note}" for note in notes)]
    lines += [f"Tool: {_excerpt(' '.join(message_texts(m)))}" for m in request.messages if m["role"] == "tool"]
    return "\n".join([*lines, f"Asked: {question}"]), [], "stop"


def _function_to_call(request: ChatRequest) -> dict[str, Any] | None:
    """Return the function to call: the chosen one, else the one that the question names, else the first."""
    choice = request.body.get("tool_choice")
    answered = any(message["role"] == "tool" for message in request.messages)
    if choice == "none" or answered:
        return None
    functions = [_function(tool) for tool in as_array(request.body.get("tools")) or ()]
    named = [function for function in functions if isinstance(function.get("name"), str)]
    if as_object(choice) is not None:
        name = _function(choice).get("name")
        return next((function for function in named if function["name"] == name), None)
    mentioned = (function for function in named if function["name"] in request.question)
    return next(mentioned, named[0] if named else None)


def _function(tool: Any) -> dict[str, Any]:
    return as_object((as_object(tool) or {}).get("function")) or {}


def _tool_call(request: ChatRequest, function: dict[str, Any], notes: Sequence[str]) -> dict[str, Any]:
    schema = function.get("parameters") or {"type": "object"}
    arguments = _instance(request, schema, notes, f"tools.{function['name']}.parameters")
    return {
        "id": f"call_{request.digest[:24]}",
        "type": "function",
        "function": {"name": function["name"], "arguments": json.dumps(arguments, ensure_ascii=False)},
    }


def _instance(request: ChatRequest, schema: Any, notes: Sequence[str], name: str) -> Any:
    fallback = f"[emulated] {_excerpt(request.question)}".rstrip()
    try:
        return generate_instance(schema, seed=request.digest, notes=notes, fallback=fallback)
    except UnusableSchema as error:
        raise invalid_param(name, str(error)) from error


def _reasoning(request: ChatRequest, notes: Sequence[str]) -> str:
    messages, attachments = len(request.messages), len(request.attachments)
    lines = [f"[emulated thoughts] The request has {messages} messages and {attachments} attachments."]
    lines += [f"I look at {note}." for note in notes[:8]]
    return "\n".join([*lines, f"The question is: {_excerpt(request.question)}"])


def _truncate(text: str, body: Mapping[str, Any]) -> tuple[list[str], str | None]:
    """Return the tokens that `stop` and `max_tokens` leave, and the finish reason if either cuts the text."""
    reason = None
    stop: Any = body.get("stop")
    ends = [text.find(end) for end in ([stop] if isinstance(stop, str) else stop or ()) if end and end in text]
    if ends:
        text, reason = text[: min(ends)], "stop"
    tokens = split_tokens(text)
    limits = [body.get(name) for name in ("max_tokens", "max_completion_tokens")]
    limit = min((limit for limit in limits if isinstance(limit, int)), default=len(tokens))
    return (tokens[:limit], "length") if limit < len(tokens) else (tokens, reason)


def _usage(request: ChatRequest, answer_tokens: int, reasoning_tokens: int) -> dict[str, Any]:
    prompt = sum(map(_estimate_tokens, request.texts))
    prompt += _TOKENS_PER_MESSAGE * len(request.messages) + _TOKENS_PER_ATTACHMENT * len(request.attachments)
    completion = answer_tokens + reasoning_tokens
    usage: dict[str, Any] = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
    if reasoning_tokens:
        usage["completion_tokens_details"] = {"reasoning_tokens": reasoning_tokens}
    return usage


def _estimate_tokens(text: str) -> int:
    return (len(text) + 3) // 4


def _excerpt(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _EXCERPT_LENGTH else f"{line[:_EXCERPT_LENGTH]}…"
