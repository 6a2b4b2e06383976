"""Conversations with tools: an answer that calls one has no `parsed`, and the next request continues with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from prefect import flow
from pydantic import BaseModel

from prefect_foxapi import (
    FoxAPICredentials,
    Generation,
    OutputInvalid,
    generate,
    stream_generation,
    submit_generation,
    system,
    tool,
    user,
    wait_for_generation,
)
from prefect_foxapi.emulator import Emulator

pytestmark = pytest.mark.usefixtures("prefect_home")


class Forecast(BaseModel):
    city: str
    text: str


TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]
CALL = {"id": "call-1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Paris"}'}}
Ask = Callable[..., Generation[Any]]


def submitted(prompt: Any, **parameters: Any) -> Generation[Any]:
    output_type = parameters["output_type"]
    paid = submit_generation(prompt, **parameters)
    return wait_for_generation(paid, credentials=parameters["credentials"], output_type=output_type)


@pytest.mark.parametrize("ask", [generate, stream_generation, submitted], ids=["generate", "stream", "wait"])
def test_answer_that_calls_a_tool_has_no_parsed(emulator: Emulator, credentials: FoxAPICredentials, ask: Ask) -> None:
    @flow
    def first() -> Generation[Any]:
        prompt = [system("Be terse."), "The weather in Paris?"]
        return ask(prompt, model="gpt-5.5", credentials=credentials, output_type=Forecast, tools=TOOLS)

    for _ in range(2):
        generation = first()
        assert generation.parsed is None
        assert generation.text == ""
        assert [call.function.name for call in generation.tool_calls] == ["weather"]
    assert set(emulator.times().values()) == {1}


def test_conversation_with_a_tool_ends_with_parsed(emulator: Emulator, credentials: FoxAPICredentials) -> None:
    @flow
    def converse() -> tuple[Generation[Any], Generation[Any]]:
        options: dict[str, Any] = {"model": "gpt-5.5", "credentials": credentials, "output_type": Forecast}
        messages: list[Any] = [system("Be terse."), "The weather in Paris?"]
        asked = generate(messages, tools=TOOLS, **options)
        messages.append(asked.completion.choices[0].message)
        for call in asked.tool_calls:
            messages.append(tool(call, {"city": json.loads(call.function.arguments)["city"], "text": "rain"}))
        return asked, generate(messages, tools=TOOLS, **options)

    for _ in range(2):
        asked, told = converse()
        assert asked.parsed is None
        assert isinstance(told.parsed, Forecast)
        assert told.tool_calls == ()
    assert list(emulator.times().values()) == [1, 1]


@pytest.mark.parametrize(
    "answer",
    [
        {"tool_calls": [CALL], "content": "I look it up."},
        {"tool_calls": [CALL], "content": '{"city": "Paris", "text": "rain"}'},
        {"tool_calls": [CALL], "content": ""},
        {"content": None, "message": {"function_call": CALL["function"]}, "finish_reason": "function_call"},
    ],
    ids=str,
)
def test_call_beside_any_text_has_no_parsed(
    emulator: Emulator, credentials: FoxAPICredentials, answer: dict[str, Any]
) -> None:
    emulator.script(when="weather", answer=answer)

    @flow
    def ask() -> Generation[Any]:
        return generate("The weather?", model="gpt-5.5", credentials=credentials, output_type=Forecast, tools=TOOLS)

    generation = ask()
    assert generation.parsed is None
    assert generation.text == (answer["content"] or "")
    assert generation.completion
    assert generation.tool_calls or generation.completion.choices[0].message.model_extra


@pytest.mark.parametrize(
    "answer", [{"content": "", "tool_calls": []}, "I look it up.", {"message": {"refusal": "No."}}]
)
def test_answer_that_calls_no_tool_must_validate(
    emulator: Emulator, credentials: FoxAPICredentials, answer: Any
) -> None:
    emulator.script(when="weather", answer=answer)

    @flow
    def ask() -> Generation[Any]:
        return generate("The weather?", model="gpt-5.5", credentials=credentials, output_type=Forecast, tools=TOOLS)

    with pytest.raises(OutputInvalid):
        ask()


def test_appended_answers_are_the_same_request_as_written_ones(
    emulator: Emulator, credentials: FoxAPICredentials
) -> None:
    @flow
    def converse() -> list[Generation[Any]]:
        first = generate("1+1?", model="gpt-5.5", credentials=credentials)
        message = first.completion.choices[0].message
        written = {"role": "assistant", "content": first.text}
        prompts = [[user("1+1?"), message, "Why?"], ["1+1?", written, user("Why?")]]
        return [generate(prompt, model="gpt-5.5", credentials=credentials) for prompt in prompts]

    one, other = converse()
    assert one.generation_id == other.generation_id
    assert list(emulator.times().values()) == [1, 1]
