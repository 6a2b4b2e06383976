"""What the emulator answers: deterministic, and plainly emulated."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from prefect_foxapi.emulator.answers.attachment_notes import fact_of, facts_in, texts_of
from prefect_foxapi.emulator.answers.schema_instances import UnusableSchema, instance_for
from prefect_foxapi.emulator.answers.scripts import Script
from prefect_foxapi.emulator.protocol.errors import invalid_param
from prefect_foxapi.emulator.protocol.json_types import as_array, as_object
from prefect_foxapi.emulator.protocol.models import Model
from prefect_foxapi.emulator.protocol.validation import Attachment

_TOKEN = re.compile(r"\s?\w{1,12}|\s?[^\w\s]|\s")
_EXCERPT = 200
_MESSAGE_TOKENS = 4
_ATTACHMENT_TOKENS = 258


@dataclass(frozen=True)
class Chat:
    """A chat request that was accepted.

    Attributes:
        body: The body, parsed.
        model: Its model.
        attachments: Its attachments, in their order.
        digest: The emulator's identity of it.
    """

    body: Mapping[str, Any]
    model: Model
    attachments: Sequence[Attachment]
    digest: str

    @property
    def messages(self) -> list[dict[str, Any]]:
        return self.body["messages"]

    @property
    def texts(self) -> list[str]:
        """All texts of all messages."""
        return [text for message in self.messages for text in texts_of(message)]

    @property
    def question(self) -> str:
        """The text of the last message of the user."""
        asked = [message for message in self.messages if message["role"] == "user"]
        return " ".join(texts_of(asked[-1])) if asked else ""


@dataclass(frozen=True)
class Answer:
    """A whole answer.

    Attributes:
        pieces: The content's tokens; together they are the content. None where there is none.
        reasoning: The tokens of the thoughts.
        tool_calls: The calls that it asks for.
        finish_reason: Why it ended.
        usage: Tokens.
        message: Further fields of the message.
        completion: Further fields of the completion.
    """

    pieces: list[str] | None
    reasoning: list[str]
    tool_calls: list[dict[str, Any]]
    finish_reason: str
    usage: dict[str, Any]
    message: Mapping[str, Any] = field(default_factory=dict[str, Any])
    completion: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def as_completion(self, chat: Chat, created: float) -> dict[str, Any]:
        """The whole completion; it never has the thoughts (seed)."""
        message: dict[str, Any] = {
            "role": "assistant",
            "content": None if self.pieces is None else "".join(self.pieces),
        }
        if self.tool_calls:
            message["tool_calls"] = self.tool_calls
        message.update(self.message)
        return {
            "id": completion_id(chat),
            "object": "chat.completion",
            "created": int(created),
            "model": chat.model.id,
            "choices": [{"index": 0, "message": message, "finish_reason": self.finish_reason}],
            "usage": self.usage,
            **self.completion,
        }


def completion_id(chat: Chat) -> str:
    """The id that the completion and its chunks share."""
    return f"chatcmpl-{chat.digest[:24]}"


def answer_to(chat: Chat, script: Script | None) -> Answer:
    """Answer a request.

    Raises:
        Problem: Its `response_format` or a tool's parameters are no JSON schema.
    """
    facts = [*map(fact_of, chat.attachments), *facts_in(chat.texts)]
    reasoning = _reasoning(chat, facts) if chat.model.thinks(chat.body) else ""
    if script is not None and script.reasoning is not None:
        reasoning = script.reasoning
    text, calls, reason = _scripted(script) or _composed(chat, facts)
    pieces = None
    if text is not None:
        pieces, cut = _cut(text, chat.body)
        reason = cut or reason
    if (fields := as_object(script.answer if script else None)) is not None:
        reason = fields.get("finish_reason", reason)
    thoughts = tokens_of(reasoning)
    usage = _usage(chat, len(pieces or ()) + sum(_weight(json.dumps(call)) for call in calls), len(thoughts))
    message, completion = _further(script)
    return Answer(pieces, thoughts, calls, reason, usage, message, completion)


def tokens_of(text: str) -> list[str]:
    """The tokens of a text; together they are the text."""
    return _TOKEN.findall(text)


_Composed = tuple["str | None", list[dict[str, Any]], str]
_OWN_FIELDS = ("content", "tool_calls", "finish_reason", "message")


def _scripted(script: Script | None) -> _Composed | None:
    if script is None or script.answer is None:
        return None
    if isinstance(script.answer, str):
        return script.answer, [], "stop"
    calls = script.answer.get("tool_calls", [])
    return script.answer.get("content", None if calls else ""), calls, "tool_calls" if calls else "stop"


def _further(script: Script | None) -> tuple[dict[str, Any], dict[str, Any]]:
    if script is None or not isinstance(script.answer, dict):
        return {}, {}
    further = {name: value for name, value in script.answer.items() if name not in _OWN_FIELDS}
    return script.answer.get("message", {}), further


def _composed(chat: Chat, facts: Sequence[str]) -> _Composed:
    tool = _wanted_tool(chat)
    if tool is not None:
        return None, [_call(chat, tool, facts)], "tool_calls"
    wanted = as_object(chat.body.get("response_format")) or {}
    kind = wanted.get("type")
    if kind == "json_schema":
        schema = (as_object(wanted.get("json_schema")) or {}).get("schema")
        instance = _instance(chat, schema, facts, "response_format.json_schema.schema")
        return json.dumps(instance, ensure_ascii=False), [], "stop"
    if kind == "json_object":
        plain = {"emulated": True, "model": chat.model.id, "question": _excerpt(chat.question), "facts": list(facts)}
        return json.dumps(plain, ensure_ascii=False), [], "stop"
    # The facts come first, so that a low max_tokens spares them.
    lines = [f"[emulated] {chat.model.id} answers.", *(f"- {fact}" for fact in facts)]
    lines += [f"Tool: {_excerpt(' '.join(texts_of(m)))}" for m in chat.messages if m["role"] == "tool"]
    return "\n".join([*lines, f"Asked: {_excerpt(chat.question)}"]), [], "stop"


def _wanted_tool(chat: Chat) -> dict[str, Any] | None:
    """The function to call, if one is to be called."""
    choice = chat.body.get("tool_choice")
    answered = any(message["role"] == "tool" for message in chat.messages)
    if choice == "none" or answered:
        return None
    functions = [_function(tool) for tool in as_array(chat.body.get("tools")) or ()]
    named = [function for function in functions if isinstance(function.get("name"), str)]
    if as_object(choice) is not None:
        name = _function(choice).get("name")
        return next((function for function in named if function["name"] == name), None)
    # The one that the question names, else the first.
    mentioned = (function for function in named if function["name"] in chat.question)
    return next(mentioned, named[0] if named else None)


def _function(tool: Any) -> dict[str, Any]:
    return as_object((as_object(tool) or {}).get("function")) or {}


def _call(chat: Chat, function: dict[str, Any], facts: Sequence[str]) -> dict[str, Any]:
    schema = function.get("parameters") or {"type": "object"}
    arguments = _instance(chat, schema, facts, f"tools.{function['name']}.parameters")
    return {
        "id": f"call_{chat.digest[:24]}",
        "type": "function",
        "function": {"name": function["name"], "arguments": json.dumps(arguments, ensure_ascii=False)},
    }


def _instance(chat: Chat, schema: Any, facts: Sequence[str], name: str) -> Any:
    try:
        note = f"[emulated] {_excerpt(chat.question)}".rstrip()
        return instance_for(schema, seed=chat.digest, facts=facts, note=note)
    except UnusableSchema as error:
        raise invalid_param(name, str(error)) from error


def _reasoning(chat: Chat, facts: Sequence[str]) -> str:
    lines = [f"[emulated thoughts] {len(chat.messages)} messages and {len(chat.attachments)} attachments came."]
    lines += [f"I look at {fact}." for fact in facts[:8]]
    return "\n".join([*lines, f"The question is: {_excerpt(chat.question)}"])


def _cut(text: str, body: Mapping[str, Any]) -> tuple[list[str], str | None]:
    """The tokens that `stop` and `max_tokens` leave, and the finish reason if they cut."""
    reason = None
    stop: Any = body.get("stop")
    ends = [text.find(end) for end in ([stop] if isinstance(stop, str) else stop or ()) if end and end in text]
    if ends:
        text, reason = text[: min(ends)], "stop"
    tokens = tokens_of(text)
    limits = [body.get(name) for name in ("max_tokens", "max_completion_tokens")]
    limit = min((limit for limit in limits if isinstance(limit, int)), default=len(tokens))
    return (tokens[:limit], "length") if limit < len(tokens) else (tokens, reason)


def _usage(chat: Chat, answer_tokens: int, reasoning_tokens: int) -> dict[str, Any]:
    prompt = sum(map(_weight, chat.texts))
    prompt += _MESSAGE_TOKENS * len(chat.messages) + _ATTACHMENT_TOKENS * len(chat.attachments)
    completion = answer_tokens + reasoning_tokens
    usage: dict[str, Any] = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
    if reasoning_tokens:
        usage["completion_tokens_details"] = {"reasoning_tokens": reasoning_tokens}
    return usage


def _weight(text: str) -> int:
    """About how many tokens a text has."""
    return (len(text) + 3) // 4


def _excerpt(text: str) -> str:
    single = " ".join(text.split())
    return single if len(single) <= _EXCERPT else f"{single[:_EXCERPT]}…"
