"""Chat completions: deterministic, marked as emulated, with notes on the attachments."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

from prefect_foxapi.emulator import Emulator
from tests.emulator.conftest import Connect, Start

SAMPLES = Path(__file__).parents[3] / "flows" / "samples"
PDF = b"%PDF-1.7 a report"
WAV = b"RIFF\x24\0\0\0WAVEfmt a sound"
TOOLS = [
    {"type": "function", "function": {"name": "get_time", "parameters": {"type": "object", "properties": {}}}},
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string"},
                    "days": {"type": "integer", "minimum": 1, "maximum": 5},
                    "unit": {"enum": ["C", "F"]},
                },
                "required": ["city", "days", "unit"],
                "additionalProperties": False,
            },
        },
    },
]


def data_uri(data: bytes, media_type: str = "application/octet-stream") -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:12]


def user(*parts: Any) -> list[Any]:
    return [{"role": "user", "content": list(parts)}]


def attachment(kind: str, url: str) -> dict[str, Any]:
    return {"type": kind, kind: {"url": url}}


def content(completion: dict[str, Any]) -> str:
    return completion["choices"][0]["message"]["content"]


def test_equal_requests_get_equal_answers(answer: Any, start: Start, connect: Connect) -> None:
    def without_time(completion: dict[str, Any]) -> Any:
        return {**completion, "created": None}

    first, second = answer("What is a fox?"), answer("What is a fox?")
    assert without_time(first) == without_time(second)
    assert content(first) != content(answer("What is a wolf?"))
    other = start()
    api = connect(other)
    body = {"model": "gpt-5.5", "messages": [{"role": "user", "content": "What is a fox?"}]}
    generation_id = api.post("/v1/llm/generations", json=body).json()["id"]
    other.advance(10)
    assert without_time(api.get(f"/v1/tasks/{generation_id}").json()["results"][0]) == without_time(first)


@pytest.mark.parametrize(
    ("kind", "data", "declared", "note"),
    [
        ("file_url", PDF, "application/octet-stream", "file: application/pdf, 17 bytes"),
        ("audio_url", WAV, "audio/x-whatever", "audio: audio/wav, 23 bytes"),
        ("image_url", b"\xff\xd8\xff rest", "", "image: image/jpeg, 8 bytes"),
        ("image_url", b"RIFF....WEBPVP8 ", "", "image: image/webp, 16 bytes"),
        ("video_url", b"\0\0\0\x18ftypisom", "", "video: video/mp4, 12 bytes"),
        ("file_url", b"plain", "text/markdown", "file: text/markdown, 5 bytes"),
    ],
)
def test_note_on_a_data_uri(kind: str, data: bytes, declared: str, note: str, answer: Any) -> None:
    text = content(answer(user(attachment(kind, data_uri(data, declared))), model="gemini-3-pro-preview"))
    assert f"- {note}, sha256 {digest(data)}\n" in text


def test_notes_on_uploads_of_real_files(api: httpx.Client, answer: Any) -> None:
    samples = sorted(SAMPLES.iterdir())
    kinds = {".jpg": "image", ".png": "image", ".mp4": "video", ".wav": "audio", ".mp3": "audio", ".pdf": "file"}
    chosen = [path for path in samples if path.suffix in kinds]
    assert {kinds[path.suffix] for path in chosen} == {"image", "video", "audio", "file"}
    parts, expected = [], []
    for path in chosen:
        with path.open("rb") as file:
            url = api.post("/v1/files/upload/stream", files={"file": file}).json()["url"]
        parts.append(attachment(f"{kinds[path.suffix]}_url", url))
        expected.append((kinds[path.suffix], path.stat().st_size, digest(path.read_bytes())))
    lines = content(answer(user(*parts), model="gemini-3-pro-preview")).splitlines()
    notes = [line for line in lines if line.startswith("- ")]
    assert len(notes) == len(expected)
    for line, (kind, size, sha) in zip(notes, expected, strict=True):
        assert line.startswith(f"- {kind}: ")
        assert line.endswith(f", {size} bytes, sha256 {sha}")


def test_max_tokens_cuts_the_content(answer: Any) -> None:
    whole, cut = answer("Say a lot " * 20), answer("Say a lot " * 20, max_tokens=16)
    assert whole["choices"][0]["finish_reason"] == "stop"
    assert cut["choices"][0]["finish_reason"] == "length"
    assert cut["usage"]["completion_tokens"] == 16
    assert content(whole).startswith(content(cut))
    assert len(content(cut)) < len(content(whole))


@pytest.mark.parametrize("stop", ["answers", ["nothing", "answers", "Asked"]])
def test_stop_cuts_the_content(stop: Any, answer: Any) -> None:
    completion = answer("hi", stop=stop)
    assert content(completion) == "[emulated] gpt-5.5 "
    assert completion["choices"][0]["finish_reason"] == "stop"


def test_usage_adds_up(answer: Any) -> None:
    usage = answer("What is a fox?")["usage"]
    assert usage["prompt_tokens"] + usage["completion_tokens"] == usage["total_tokens"]
    assert min(usage.values()) > 0


def test_tool_call_is_followed_by_an_answer(answer: Any) -> None:
    question = {"role": "user", "content": "Use get_weather for Paris"}
    message = answer([question], tools=TOOLS)["choices"][0]["message"]
    call = message["tool_calls"][0]
    assert (call["type"], call["function"]["name"], message["content"]) == ("function", "get_weather", None)
    jsonschema.validate(json.loads(call["function"]["arguments"]), TOOLS[1]["function"]["parameters"])
    output = {"role": "tool", "tool_call_id": call["id"], "content": "Sunny, 24 degrees"}
    final = answer([question, message, output], tools=TOOLS)["choices"][0]
    assert final["finish_reason"] == "stop"
    assert "Sunny, 24 degrees" in final["message"]["content"]


@pytest.mark.parametrize(
    ("choice", "called"),
    [
        ("auto", "get_time"),
        ("required", "get_time"),
        ({"type": "function", "function": {"name": "get_weather"}}, "get_weather"),
        ("none", None),
    ],
)
def test_tool_choice(choice: Any, called: str | None, answer: Any) -> None:
    message = answer("What now?", tools=TOOLS, tool_choice=choice)["choices"][0]["message"]
    names = [call["function"]["name"] for call in message.get("tool_calls", [])]
    assert names == ([called] if called else [])
    assert (message["content"] is None) is bool(called)


def test_json_object(answer: Any) -> None:
    data = json.loads(content(answer("What is a fox?", response_format={"type": "json_object"})))
    assert (data["emulated"], data["question"]) == (True, "What is a fox?")


def test_json_schema_gets_an_instance_with_the_notes_of_earlier_answers(answer: Any) -> None:
    first = content(answer(user(attachment("file_url", data_uri(PDF))), model="gemini-3-pro-preview"))
    second = content(answer(user(attachment("audio_url", data_uri(WAV))), model="gemini-3-pro-preview"))
    schema = {
        "type": "object",
        "properties": {
            "title": {"type": "string"},
            "items": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {"name": {"type": "string"}, "fact": {"type": "string"}},
                    "required": ["name", "fact"],
                },
            },
        },
        "required": ["title", "items"],
    }
    response_format = {"type": "json_schema", "json_schema": {"name": "brief", "schema": schema, "strict": True}}
    prompt = f"Write a brief.\n\nreport.pdf:\n{first}\n\nsound.wav:\n{second}"
    data = json.loads(content(answer(prompt, response_format=response_format)))
    jsonschema.validate(data, schema)
    assert [digest(file) in item["fact"] for file, item in zip((PDF, WAV), data["items"], strict=True)] == [True, True]


def test_scripts(emulator: Emulator, answer: Any) -> None:
    emulator.script(when="capital", answer="Paris.")
    emulator.script(when="capital of Spain", answer={"content": "Madrid.", "system_fingerprint": "fp_1"})
    emulator.script(when="refuse", answer={"content": "", "message": {"refusal": "No."}, "finish_reason": "refused"})
    emulator.script(when="once", answer="Only once.", count=1)
    assert content(answer("The capital of France?")) == "Paris."
    spain = answer("The capital of Spain?")
    assert (content(spain), spain["system_fingerprint"]) == ("Madrid.", "fp_1")
    refused = answer("Please refuse")["choices"][0]
    assert refused["message"] == {"role": "assistant", "content": "", "refusal": "No."}
    assert refused["finish_reason"] == "refused"
    assert [content(answer("once")).startswith("[emulated]") for _ in range(2)] == [False, True]
    emulator.clear_scripts()
    assert content(answer("The capital of France?")).startswith("[emulated]")


def test_scripted_tool_calls(emulator: Emulator, answer: Any) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    emulator.script(when="call", answer={"tool_calls": [call]})
    choice = answer("call")["choices"][0]
    assert choice["message"] == {"role": "assistant", "content": None, "tool_calls": [call]}
    assert choice["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("fields", [{}, {"answers": "x"}])
def test_script_without_effect(fields: dict[str, Any], emulator: Emulator) -> None:
    with pytest.raises(ValueError, match="late_results"):
        emulator.script("hi", **fields)


def test_half_a_surrogate_pair_is_escaped(api: httpx.Client, emulator: Emulator, submit: Any) -> None:
    prompt = "half a pair: \ud83e, and a whole fox: 🦊"
    accepted = submit(prompt, stream=True)
    emulator.advance(10)
    raw = api.get(f"/v1/tasks/{accepted['id']}").content.decode("utf-8")
    assert content(json.loads(raw)["results"][0]).endswith(prompt)
    assert "\\ud83e" in api.get(accepted["stream"]["url"]).content.decode("utf-8")
    assert emulator.ledger()[0].body["messages"][0]["content"] == prompt
