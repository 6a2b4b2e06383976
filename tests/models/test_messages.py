"""The short ways to write a request, and what is wrong with one before it costs anything."""

from __future__ import annotations

import json
import pickle
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from prefect_foxapi.errors import InvalidRequest
from prefect_foxapi.models.attachments import audio, document, image, video
from prefect_foxapi.models.messages import AssistantMessage, ImagePart, TextPart, UserMessage, assistant, system, user
from prefect_foxapi.models.requests import GenerationRequest

WIRE = Path(__file__).parents[1] / "api_payloads"
SEED_MESSAGES: dict[str, Any] = json.loads((WIRE / "seed_messages.json").read_text(encoding="utf-8"))
EXAMPLE = "https://example.com"


def messages_of(prompt: Any) -> Any:
    return GenerationRequest.build(prompt, model="gemini-3-pro-preview").body()["messages"]


# The seven shapes of the seed, written in every way that there is. What is sent is the seed's own JSON.

WRITTEN: dict[str, list[Any]] = {
    "plain_text": ["count 1 to 3", ["count 1 to 3"], user("count 1 to 3"), [user("count 1 to 3")]],
    "text_array": [
        {"type": "text", "text": "count 1 to 3"},
        [TextPart(text="count 1 to 3")],
        [{"type": "text", "text": "count 1 to 3"}],
        user({"type": "text", "text": "count 1 to 3"}),
        [user(TextPart(text="count 1 to 3"))],
    ],
    "text_and_image": [
        ["describe this image", image(f"{EXAMPLE}/x.png")],
        [user("describe this image", image(f"{EXAMPLE}/x.png"))],
        ["describe this image", {"type": "image_url", "image_url": f"{EXAMPLE}/x.png"}],
    ],
    "text_and_video": [
        ["summarize this video", video(f"{EXAMPLE}/clip.mp4")],
        ("summarize this video", video(f"{EXAMPLE}/clip.mp4")),
    ],
    "text_and_file": [["extract key points", document(f"{EXAMPLE}/doc.pdf")]],
    "multi_turn": [
        [system("You are a terse assistant."), user("1+1?"), assistant("2"), user("3+3?")],
        [
            {"role": "system", "content": "You are a terse assistant."},
            user("1+1?"),
            {"role": "assistant", "content": "2"},
            UserMessage(content="3+3?"),
        ],
    ],
    "all_attachments": [
        [
            "汇总下列图片、视频、音频和文档的核心信息",
            *(image(f"{EXAMPLE}/image-1.png"), image(f"{EXAMPLE}/image-2.jpg")),
            *(video(f"{EXAMPLE}/clip-1.mp4"), video(f"{EXAMPLE}/clip-2.mp4")),
            *(audio(f"{EXAMPLE}/audio-1.mp3"), audio(f"{EXAMPLE}/audio-2.wav")),
            *(document(f"{EXAMPLE}/doc-1.pdf"), document(f"{EXAMPLE}/doc-2.docx")),
        ]
    ],
}


def test_all_seven_shapes_are_here() -> None:
    assert set(WRITTEN) == set(SEED_MESSAGES)
    assert len(WRITTEN) == 7


@pytest.mark.parametrize(
    ("name", "prompt"),
    [(name, prompt) for name, prompts in WRITTEN.items() for prompt in [*prompts, SEED_MESSAGES[name]]],
)
def test_shapes_of_the_seed(name: str, prompt: Any) -> None:
    assert messages_of(prompt) == SEED_MESSAGES[name]


def test_the_seed_s_request() -> None:
    seed = json.loads((WIRE / "seed_request.json").read_text(encoding="utf-8"))
    assert (
        GenerationRequest.build(seed["messages"], **{k: v for k, v in seed.items() if k != "messages"}).body() == seed
    )
    assert GenerationRequest.build("count 1 to 3", model="gpt-5.5", stream=False, max_tokens=32).body() == seed


# What is not said is not sent, and what is said is sent as it is.


def test_body_has_what_was_given_and_nothing_else() -> None:
    assert GenerationRequest.build("hi", model="gpt-5.5").body() == {
        "model": "gpt-5.5",
        "messages": [{"role": "user", "content": "hi"}],
    }
    assert GenerationRequest.build("hi", model="gpt-5.5", max_tokens=None).body()["max_tokens"] is None


UNKNOWN_PARAMETERS: dict[str, Any] = {
    "frequency_penalty": -0.5,
    "presence_penalty": 0,
    "seed": 12345678901234567890,
    "logit_bias": {"50256": -100},
    "n": 1,
    "user": "ünïcode \U0001f98a",
    "reasoning_effort": "low",
    "stop": ["\n", "END"],
    "temperature": 1,
    "top_p": 0.1,
    "tool_choice": {"type": "function", "function": {"name": "look"}},
    "tools": [{"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}],
    "response_format": {"type": "json_object"},
    "metadata": {"nested": [[], {}, None, True, 1.0, 1e-7, ""]},
    "nothing": None,
    "body": "a name that a method has",
    "model_config": {"a name": "that pydantic has"},
    "schema": 1,
}


def test_unknown_parameters_are_sent_as_they_are() -> None:
    body = GenerationRequest.build("hi", model="gpt-5.5", **UNKNOWN_PARAMETERS).body()
    assert {name: body[name] for name in UNKNOWN_PARAMETERS} == UNKNOWN_PARAMETERS
    assert json.dumps(body["temperature"]) == "1"


def test_unknown_fields_of_messages_and_parts_are_sent_as_they_are() -> None:
    messages = [
        {"role": "system", "content": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}]},
        {"role": "user", "content": "b", "name": "Ada"},
        {
            "role": "user",
            "content": [{"type": "image_url", "image_url": {"url": f"{EXAMPLE}/x.png", "detail": "high"}, "note": 1}],
        },
    ]
    assert messages_of(messages) == messages


def test_tool_calls_and_their_outcomes() -> None:
    call = {"id": "call-1", "type": "function", "function": {"name": "look", "arguments": '{"at": "sky"}'}}
    messages = [
        {"role": "user", "content": "Look."},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call-1", "content": "blue"},
    ]
    assert messages_of(messages) == messages
    written = assistant(tool_calls=[call])
    assert isinstance(written, AssistantMessage)
    assert written.tool_calls
    assert written.tool_calls[0].function.name == "look"
    assert messages_of([user("Look."), written, messages[2]]) == messages


def test_tool_call_is_sent_with_its_type_even_where_it_was_left_out() -> None:
    call = {"id": "call-1", "function": {"name": "look"}}
    sent = messages_of([user("Look."), assistant(tool_calls=[call])])[1]["tool_calls"]
    assert sent == [{"id": "call-1", "type": "function", "function": {"name": "look", "arguments": ""}}]


def test_empty_answer_of_an_assistant_can_be_sent_back() -> None:
    messages = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": ""},
        {"role": "user", "content": "b"},
    ]
    assert messages_of(messages) == messages


def test_requests_are_data() -> None:
    request = GenerationRequest.build(["look", image(f"{EXAMPLE}/x.png")], model="gpt-5.5", seed=1)
    assert pickle.loads(pickle.dumps(request)) == request
    assert GenerationRequest.model_validate(request.body()) == request
    assert GenerationRequest.model_validate_json(request.model_dump_json(exclude_unset=True)) == request


def test_attachments_are_found_and_can_be_moved() -> None:
    request = GenerationRequest.build(
        [user("a", image(f"{EXAMPLE}/1.png"), "b", document(f"{EXAMPLE}/2.pdf")), user(image(f"{EXAMPLE}/1.png"))],
        model="claude-opus-4-7",
        max_tokens=10,
        seed=1,
    )
    assert [(path, part.attachment.url) for path, part in request.attachments()] == [
        ("messages.0.content.1.image_url", f"{EXAMPLE}/1.png"),
        ("messages.0.content.3.file_url", f"{EXAMPLE}/2.pdf"),
        ("messages.1.content.0.image_url", f"{EXAMPLE}/1.png"),
    ]
    moved = request.with_attachments({f"{EXAMPLE}/1.png": "https://e.org/new.png"})
    assert [part.attachment.url for _, part in moved.attachments()] == [
        *("https://e.org/new.png", f"{EXAMPLE}/2.pdf", "https://e.org/new.png")
    ]
    before, after = json.dumps(request.body()), json.dumps(moved.body())
    assert after == before.replace(f"{EXAMPLE}/1.png", "https://e.org/new.png")
    assert request.with_attachments({}) is request


# What is wrong is found before it costs anything; the error names the field and the remedy.


class Unsendable(Enum):
    A = 1


WRONG: list[tuple[Any, dict[str, Any], str | None, str]] = [
    ("hi", {"model": "claude-opus-4-7"}, "max_tokens", "max_tokens=1024"),
    ("hi", {"model": "Claude-opus-4-7", "max_tokens": None}, "max_tokens", "needs it"),
    ("hi", {"model": "gpt-5.5", "max_tokens": 15}, "max_tokens", "at least 16"),
    ("hi", {"max_tokens": 0}, "max_tokens", "greater than 0"),
    ("hi", {"max_tokens": -1}, "max_tokens", "greater than 0"),
    ("hi", {"max_tokens": "many"}, "max_tokens", "valid integer"),
    ("hi", {"max_tokens": 1.5}, "max_tokens", "valid integer"),
    ("hi", {"temperature": 2.1}, "temperature", "less than or equal to 2"),
    ("hi", {"temperature": -0.1}, "temperature", "greater than or equal to 0"),
    ("hi", {"temperature": "hot"}, "temperature", "valid"),
    ("hi", {"temperature": float("nan")}, "temperature", "JSON"),
    ("hi", {"top_p": 1.1}, "top_p", "less than or equal to 1"),
    ("hi", {"top_p": -0.1}, "top_p", "greater than or equal to 0"),
    ("hi", {"stream": "perhaps"}, "stream", "valid boolean"),
    ("hi", {"stop": 5}, "stop", "valid"),
    ("hi", {"model": ""}, "model", "at least 1 character"),
    ("hi", {"model": "  "}, "model", "at least 1 character"),
    ("hi", {"model": None}, "model", "valid string"),
    ("", {}, "messages", "prompt is empty"),
    (" \n", {}, "messages", "prompt is empty"),
    ([], {}, "messages", "at least one"),
    (None, {}, "messages", "not NoneType"),
    (5, {}, "messages", "not int"),
    (b"bytes", {}, "messages", "not bytes"),
    ([5], {}, "messages.0.content.0", ""),
    (["text", user("message")], {}, "messages.0", "user(…)"),
    ([{"role": "user"}], {}, "messages.0.content", "is missing; give it"),
    ([{"role": "user", "content": ""}], {}, "messages.0.content", "at least 1"),
    ([{"role": "user", "content": []}], {}, "messages.0.content", "at least 1"),
    ([{"role": "user", "content": None}], {}, "messages.0.content", "valid"),
    ([{"role": "robot", "content": "hi"}], {}, "messages.0", "'system', 'user', 'assistant', 'tool'"),
    ([{"role": "tool", "content": "hi"}], {}, "messages.0.tool_call_id", "is missing; give it"),
    ([{"role": "assistant"}], {}, "messages.0", "content or tool_calls"),
    ([user("a"), {"role": "assistant", "content": None}], {}, "messages.1", "content or tool_calls"),
    ([{"role": "assistant", "tool_calls": [{"id": "x"}]}], {}, "messages.0.tool_calls.0.function", "is missing"),
    (["x", {"type": "image_url", "image_url": {}}], {}, "messages.0.content.1.image_url.url", "needs a URL"),
    (["x", {"type": "image_url"}], {}, "messages.0.content.1.image_url", "is missing; give it"),
    (["x", {"type": "video_url", "video_url": {"url": ""}}], {}, "messages.0.content.1.video_url.url", "needs a URL"),
    (["x", {"type": "file_url", "file_url": "a.pdf"}], {}, "messages.0.content.1.file_url.url", "document(Path(…))"),
    (
        ["x", {"type": "audio_url", "audio_url": {"url": "ftp://e.org/a"}}],
        {},
        "messages.0.content.1.audio_url.url",
        "URL",
    ),
    (
        ["x", {"type": "image_url", "image_url": {"url": "https://e.org/a b"}}],
        {},
        "messages.0.content.1.image_url.url",
        "",
    ),
    (
        ["x", {"type": "image_url", "image_url": {"url": None}}],
        {},
        "messages.0.content.1.image_url.url",
        "valid string",
    ),
    (["x", {"type": "smell_url", "smell_url": {"url": "https://e.org/a"}}], {}, "messages.0.content.1", "'image_url'"),
    (["x", {"type": "text"}], {}, "messages.0.content.1.text", "is missing; give it"),
    (["x", {"text": "no type"}], {}, "messages.0.content.1", "type"),
    ("hi", {"seed": float("inf")}, "seed", "JSON"),
    ("hi", {"metadata": {"when": Unsendable.A}}, "metadata", "plain data"),
    ("hi", {"tools": [b"bytes"]}, "tools", "plain data"),
    ("hi", {"user": {1, 2}}, "user", "plain data"),
    ("hi", {"user": "a lone \ud800"}, "user", "plain data"),
    ("hi", {"metadata": {"deep": ["\udfff"]}}, "metadata", "plain data"),
]


@pytest.mark.parametrize(("prompt", "parameters", "field", "remedy"), WRONG, ids=lambda value: str(value)[:50])
def test_wrong_requests(prompt: Any, parameters: dict[str, Any], field: str | None, remedy: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        GenerationRequest.build(prompt, **{"model": "gemini-3-pro-preview", **parameters})
    assert caught.value.field == field
    assert str(caught.value).startswith(f"{field}: ")
    assert remedy in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: user(), "content"),
        (lambda: user(""), "content"),
        (lambda: system(), "content"),
        (lambda: assistant(), None),
        (lambda: user("x", {"type": "image_url", "image_url": {}}), "content.1.image_url.url"),
        (lambda: assistant(tool_calls=[{"id": "x"}]), "tool_calls.0.function"),
    ],
)
def test_wrong_messages(make: Any, field: str | None) -> None:
    with pytest.raises(InvalidRequest) as caught:
        make()
    assert caught.value.field == field


@pytest.mark.parametrize(
    "parameters",
    [
        {"model": "claude-opus-4-7", "max_tokens": 1},
        {"model": "gpt-5.5", "max_tokens": 16},
        {"model": "gpt-5.5"},
        {"model": "gemini-3-pro-preview", "max_tokens": 1},
        {"model": "kimi-k2.6"},
        {"model": "some-new-model", "max_tokens": 1, "temperature": 0, "top_p": 0},
        {"model": " gpt-5.5 ", "temperature": 2, "top_p": 1, "stop": "x"},
    ],
)
def test_right_requests(parameters: dict[str, Any]) -> None:
    assert GenerationRequest.build("hi", **parameters).model == parameters["model"].strip()


def test_error_quotes_no_attachment() -> None:
    """A message of the error is for a log: megabytes of base64 are not."""
    with pytest.raises(InvalidRequest) as caught:
        GenerationRequest.build(["x", ImagePart(image_url={"url": "data:image/png;base64," + "A" * 9999})], model="")
    assert len(str(caught.value)) < 200
