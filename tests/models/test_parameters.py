"""Names of parameters: typing errors and options of others are refused before they are paid for; new ones are sent."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import pytest
from prefect import Task

from prefect_foxapi import generate, stream_generation, submit_generation
from prefect_foxapi.errors import InvalidRequest
from prefect_foxapi.models.generation_key import generation_key
from prefect_foxapi.models.requests import TASK_OPTIONS, GenerationRequest, build_request

# As in `openai.types.chat.completion_create_params`, and what other services add.
PARAMETERS = json.loads((Path(__file__).parents[1] / "api_payloads" / "parameters.json").read_text(encoding="utf-8"))
OPENAI: list[str] = PARAMETERS["openai"]
OTHERS: list[str] = PARAMETERS["others"]


def body(**parameters: Any) -> dict[str, Any]:
    return build_request("hi", model="kimi-k2.6", parameters=parameters).body()


def refused(**parameters: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        body(**parameters)
    assert caught.value.field in parameters
    assert len(str(caught.value)) < 400
    return caught.value


@pytest.mark.parametrize("name", [*OPENAI, *OTHERS])
def test_known_parameter_is_sent(name: str) -> None:
    valid = {"max_tokens": 5, "temperature": 1, "top_p": 1, "stop": "x"}.get(name, 1)
    assert body(**{name: valid})[name] == valid


@pytest.mark.parametrize(
    "name",
    [
        *("some_new_parameter", "image_config", "top_n", "max_pages", "mirostat", "guided_json", "input_schema"),
        *("x_trace", "user_id", "language", "voice", "size", "modelfile", "step", "score", "max_tool_calls"),
        *("reasoning_summary", "background", "include", "truncation", "instructions", "conversation", "schema"),
    ],
)
def test_new_parameter_is_sent(name: str) -> None:
    assert body(**{name: 1})[name] == 1


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        *[(name, "max_tokens") for name in ("max_token", "maxtokens", "maxTokens", "max_tokes", "Max_Tokens")],
        *[(name, "temperature") for name in ("temprature", "temperatur", "tempertaure", "Temperature", "temp")],
        *[(name, "top_p") for name in ("topp", "topP", "top__p", "TOP_P")],
        *[("topK", "top_k"), ("minP", "min_p"), ("sotp", "stop"), ("stops", "stop"), ("sede", "seed"), ("usr", "user")],
        *[("tool", "tools"), ("tool_choise", "tool_choice"), ("reponse_format", "response_format")],
        *[("response_fromat", "response_format"), ("reasoning_efort", "reasoning_effort"), ("thinkng", "thinking")],
        *[("repitition_penalty", "repetition_penalty"), ("frequence_penalty", "frequency_penalty")],
        *[("presense_penalty", "presence_penalty"), ("logitbias", "logit_bias"), ("verbositiy", "verbosity")],
        *[("max_completion_token", "max_completion_tokens"), ("web_search_option", "web_search_options")],
    ],
)
def test_near_miss_of_a_parameter_is_refused_with_the_right_name(name: str, meant: str) -> None:
    assert f"write {meant}" in str(refused(**{name: 1}))


@pytest.mark.parametrize("name", [*OPENAI, *OTHERS])
def test_every_letter_left_out_or_doubled_of_a_long_name_is_noticed(name: str) -> None:
    if len(name) < 6:
        return
    for index, letter in enumerate(name):
        for typed in (name[:index] + name[index + 1 :], name[:index] + letter + name[index:]):
            if typed not in {*OPENAI, *OTHERS}:
                refused(**{typed: 1})


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        *[(name, "timeout") for name in ("timout", "time_out", "Timeout", "timeouts")],
        *[("sampel", "sample"), ("output_typ", "output_type"), ("credentails", "credentials")],
        *[
            ("on_ambigous", "on_ambiguous"),
            ("ondelta", "on_delta"),
            ("log_line", "log_lines"),
            ("poll_interval", "poll"),
        ],
    ],
)
def test_near_miss_of_an_option_of_ours_is_refused(name: str, meant: str) -> None:
    assert f"{meant} is similar" in str(refused(**{name: 1}))


def test_options_of_prefect_are_all_known() -> None:
    options = set(inspect.signature(Task.with_options).parameters) - {"self"}
    # Another version of Prefect may lack some.
    assert len(options) > 20
    assert options <= TASK_OPTIONS
    for name in set(inspect.signature(Task.__init__).parameters) - {"self"}:
        refused(**{name: 1})


@pytest.mark.parametrize("name", sorted(TASK_OPTIONS))
def test_option_of_a_prefect_task_is_refused_with_where_it_goes(name: str) -> None:
    assert f"generate.with_options({name}=…)" in str(refused(**{name: 1}))


@pytest.mark.parametrize("name", ["retry", "max_retries", "retires", "retrie", "retry_delay_second", "refresh_caches"])
def test_near_miss_of_an_option_of_prefect_is_refused(name: str) -> None:
    assert "generate.with_options(" in str(refused(**{name: 1}))


@pytest.mark.parametrize("value", [True, False, None, "https://e.org/hook"])
@pytest.mark.parametrize("name", ["sync", "callback_url", "Sync", "callbackUrl", "calback_url"])
def test_what_changes_the_answer_of_the_submission_is_refused(name: str, value: Any) -> None:
    assert "leave it out" in str(refused(**{name: value}))
    with pytest.raises(InvalidRequest):
        GenerationRequest.build("hi", model="gpt-5.5", **{name: value})


@pytest.mark.parametrize("name", ["api_key", "base_url", "account", "apikey"])
def test_key_is_never_sent_as_a_parameter(name: str) -> None:
    error = refused(**{name: "sk-0123456789"})
    assert "FoxAPICredentials" in str(error)
    assert "sk-0123456789" not in str(error)


def test_second_list_of_messages_does_not_replace_the_prompt() -> None:
    assert "prompt" in str(refused(messages=[{"role": "user", "content": "something else"}]))


@pytest.mark.parametrize("task", [generate, stream_generation, submit_generation])
def test_option_of_a_task_is_no_parameter(task: Any) -> None:
    for name in set(inspect.signature(task.fn).parameters) - {"model", "stream", "openai_parameters", "prompt"}:
        refused(**{name: None})
        with pytest.raises(InvalidRequest) as caught:
            GenerationRequest.build("hi", model="gpt-5.5", **{name: None})
        assert caught.value.field == name


# extra_body


def test_extra_body_sends_what_would_look_like_a_typing_error() -> None:
    sent = body(extra_body={"max_token": 5, "name": "Ada", "schema": {}}, seed=1)
    assert sent.items() >= {"max_token": 5, "name": "Ada", "schema": {}, "seed": 1}.items()
    assert "extra_body" not in sent
    assert body(extra_body=None) == body(extra_body={}) == body()


def test_extra_body_counts_as_the_fields_that_it_sends() -> None:
    def key(**parameters: Any) -> str:
        request = build_request("hi", model="gpt-5.5", parameters=parameters)
        return generation_key(request, account="a", base_url="https://e.org")

    assert key(extra_body={"seed": 1}) == key(seed=1) != key()
    assert key(extra_body={"max_token": 1}) != key(extra_body={"max_token": 2})


@pytest.mark.parametrize("name", ["sync", "callback_url", "model", "messages", "stream", "seed"])
def test_extra_body_replaces_nothing(name: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        body(seed=1, extra_body={name: 2})
    assert caught.value.field == f"extra_body.{name}"


@pytest.mark.parametrize("extra", [5, "x", ["seed"], {1: 2}, [("seed", 1)]])
def test_extra_body_is_a_dict(extra: Any) -> None:
    assert refused(extra_body=extra).field == "extra_body"


def test_extra_body_is_checked_like_parameters() -> None:
    for extra, field in (({"max_tokens": -1}, "max_tokens"), ({"seed": object()}, "seed")):
        with pytest.raises(InvalidRequest) as caught:
            body(extra_body=extra)
        assert caught.value.field == field
