"""Answers, tool results and bare texts in a list of messages, as code for OpenAI's client writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from prefect_foxapi import assistant, image, system, tool, user
from prefect_foxapi.errors import InvalidRequest
from prefect_foxapi.models.completions import ChatCompletion, CompletionMessage, FunctionCall, ToolCall
from prefect_foxapi.models.generation_key import generation_key
from prefect_foxapi.models.generations import Generation
from prefect_foxapi.models.requests import build_request

CALL = {"id": "call-1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Paris"}'}}
# What OpenAI-style services put into the message of an answer beside its content.
FURTHER = {"refusal": None, "annotations": [], "reasoning_content": "hm", "audio": None, "function_call": None}


def sent(prompt: Any) -> list[dict[str, Any]]:
    return build_request(prompt, model="gemini-3-pro-preview").body()["messages"]


def key_of(prompt: Any) -> str:
    request = build_request(prompt, model="gemini-3-pro-preview")
    return generation_key(request, account="a", base_url="https://api.foxapi.cc", sample=0, digests={})


def answer(**message: Any) -> Generation[Any]:
    completion = ChatCompletion.model_validate({"choices": [{"message": {"role": "assistant", **FURTHER, **message}}]})
    return Generation(generation_id="gen-1", model="gpt-5.5", completion=completion)


def message_of(generation: Generation[Any]) -> CompletionMessage:
    assert generation.completion
    return generation.completion.choices[0].message


# Answers


def test_message_of_an_answer_is_appended() -> None:
    messages: list[Any] = [user("1+1?")]
    messages.append(message_of(answer(content="2")))
    messages.append(user("And 2+2?"))
    assert sent(messages) == [
        {"role": "user", "content": "1+1?"},
        {"role": "assistant", "content": "2"},
        {"role": "user", "content": "And 2+2?"},
    ]
    assert key_of(messages) == key_of([user("1+1?"), assistant("2"), user("And 2+2?")])


def test_message_that_calls_a_tool_is_appended_with_its_result() -> None:
    message = message_of(answer(content=None, tool_calls=[CALL]))
    messages = [user("Weather?"), message, tool(message.tool_calls[0], "rain")]
    assert sent(messages) == [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "content": "rain", "tool_call_id": "call-1"},
    ]
    assert key_of(messages) == key_of([user("Weather?"), assistant(tool_calls=[CALL]), tool("call-1", "rain")])


@pytest.mark.parametrize("message", [{"content": "2"}, {"content": None, "tool_calls": [CALL]}], ids=str)
@pytest.mark.parametrize("dump", [{}, {"exclude_none": True}, {"exclude_unset": True}, {"mode": "json"}], ids=str)
def test_message_of_an_answer_as_a_dict(message: dict[str, Any], dump: dict[str, Any]) -> None:
    """`messages.append(message.model_dump())` is what older code for OpenAI's client does."""
    found = message_of(answer(**message))
    dumped = sent([user("1+1?"), found.model_dump(**dump), user("Why?")])[1]
    assert (dumped["role"], dumped.get("content")) == ("assistant", message["content"])
    assert (dumped.get("tool_calls") or None) == message.get("tool_calls")


def test_answer_without_content_is_appended() -> None:
    assert sent([user("1+1?"), message_of(answer(content=None)), user("Why?")])[1] == {
        "role": "assistant",
        "content": "",
    }


def test_answer_of_an_odd_role_is_the_assistants() -> None:
    assert sent([user("1+1?"), message_of(answer(role="model", content="2")), user("Why?")])[1]["role"] == "assistant"


def test_refusal_is_kept() -> None:
    assert sent([user("?"), message_of(answer(content=None, refusal="No.")), user("Why?")])[1]["refusal"] == "No."


def test_message_of_another_library_is_appended() -> None:
    """The message of `openai`, which is a pydantic model as well."""

    class ChatCompletionMessage(BaseModel):
        content: str | None = None
        refusal: str | None = None
        role: str
        annotations: list[Any] | None = None
        tool_calls: list[dict[str, Any]] | None = None

    theirs = ChatCompletionMessage(role="assistant", content=None, annotations=[], tool_calls=[CALL])
    ours = message_of(answer(content=None, tool_calls=[CALL]))
    assert sent([user("Weather?"), theirs, tool("call-1", "rain")]) == sent(
        [user("Weather?"), ours, tool("call-1", "rain")]
    )


@pytest.mark.parametrize("item", [answer(content="2"), answer(content="2").completion, object(), 5, None, ["a"]])
def test_what_is_no_message_is_refused_with_the_remedy(item: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        sent([system("Be terse."), "1+1?", item])
    assert caught.value.field == "messages.1.content.1"
    assert "choices[0].message" in str(caught.value)


# Bare texts and parts


def test_bare_text_after_a_system_message_is_the_users() -> None:
    assert sent([system("Be terse."), "hello"]) == sent([system("Be terse."), user("hello")])
    assert key_of([system("Be terse."), "hello"]) == key_of([system("Be terse."), user("hello")])


@pytest.mark.parametrize(
    ("mixed", "plain"),
    [
        (["hi", assistant("hello"), "bye"], [user("hi"), assistant("hello"), user("bye")]),
        (["hi", system("Be terse.")], [user("hi"), system("Be terse.")]),
        ([system("s"), "look", "closer"], [system("s"), user("look", "closer")]),
        ([{"role": "system", "content": "s"}, "hi"], [system("s"), user("hi")]),
        ([system("s"), {"type": "text", "text": "hi"}], [system("s"), user({"type": "text", "text": "hi"})]),
        (
            [system("s"), "look", "https://e.org/x.png"],
            [system("s"), user("look", image("https://e.org/x.png"))],
        ),
        (
            [assistant(tool_calls=[CALL]), tool("call-1", "rain"), "And tomorrow?"],
            [assistant(tool_calls=[CALL]), tool("call-1", "rain"), user("And tomorrow?")],
        ),
    ],
    ids=str,
)
def test_bare_parts_between_messages_are_the_users(mixed: list[Any], plain: list[Any]) -> None:
    assert sent(mixed) == sent(plain)
    assert key_of(mixed) == key_of(plain)


def test_path_after_a_system_message_is_an_attachment(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert sent([system("s"), tmp_path / "x.png"]) == sent([system("s"), user(image(tmp_path / "x.png"))])


@pytest.mark.parametrize(
    ("prompt", "field"),
    [
        # Without a role it would be the user's, which an answer that is appended as its text is not.
        ([user("1+1?"), "2", user("And 2+2?")], "messages.1"),
        ([user("1+1?"), "2"], "messages.1"),
        (["1+1?", user("And 2+2?")], "messages.0"),
        (["a", assistant("b"), user("c"), image("https://e.org/x.png")], "messages.3"),
        ([{"role": "user", "content": "a"}, "b"], "messages.1"),
    ],
)
def test_bare_part_beside_a_users_message_is_refused(prompt: list[Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        sent(prompt)
    assert caught.value.field == field
    assert "assistant(…)" in str(caught.value)
    assert "user(…)" in str(caught.value)


def test_empty_text_beside_messages_is_refused() -> None:
    with pytest.raises(InvalidRequest) as caught:
        sent([system("s"), ""])
    assert caught.value.field == "messages.1.content"


def test_part_beside_messages_is_named_by_its_place() -> None:
    with pytest.raises(InvalidRequest) as caught:
        sent([system("s"), assistant("a"), "look", "https://e.org/unknown"])
    assert caught.value.field == "messages.2.content.1"


# Tool results


@pytest.mark.parametrize("call", [ToolCall(id="call-1", function=FunctionCall(name="f")), CALL, "call-1"], ids=str)
def test_tool_result_of_any_form_of_a_call(call: Any) -> None:
    assert sent([assistant(tool_calls=[CALL]), tool(call, "rain")])[1] == {
        "role": "tool",
        "content": "rain",
        "tool_call_id": "call-1",
    }


class Weather(BaseModel):
    text: str
    degrees: float


@pytest.mark.parametrize(
    ("result", "text"),
    [
        ("", ""),
        ("née", "née"),
        ({"b": [1, 2.5, None, True], "a": "née"}, '{"b": [1, 2.5, null, true], "a": "née"}'),
        ([], "[]"),
        (None, "null"),
        (20, "20"),
        (Weather(text="rain", degrees=7), '{"text": "rain", "degrees": 7.0}'),
        ({"now": [Weather(text="rain", degrees=7)]}, '{"now": [{"text": "rain", "degrees": 7.0}]}'),
    ],
)
def test_tool_result_of_any_type_is_text(result: Any, text: str) -> None:
    assert tool("call-1", result).content == text


@pytest.mark.parametrize(
    "result",
    [{1, 2}, float("nan"), object(), b"bytes", {"a": {"b"}}, "\ud800"],
    ids=["set", "nan", "object", "bytes", "nested set", "surrogate"],
)
def test_tool_result_that_is_no_data_is_refused(result: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        tool("call-1", result)
    assert caught.value.field == "result"


@pytest.mark.parametrize("call", [None, 5, {}, {"id": None}, {"id": 5}, "", {"id": ""}], ids=str)
def test_tool_result_without_an_id_is_refused(call: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        tool(call, "rain")
    assert caught.value.field == "call"
