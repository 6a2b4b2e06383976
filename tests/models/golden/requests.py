"""The requests whose keys are kept in `keys.json`. Run as a program, it prints their keys as this Python makes them."""

from __future__ import annotations

import json
import sys
import tempfile
from enum import Enum
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from prefect_foxapi.models.attachments import audio, document, image, video
from prefect_foxapi.models.generation_key import generation_key
from prefect_foxapi.models.messages import assistant, system, user
from prefect_foxapi.models.requests import build_request

SEED_MESSAGES: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "api_payloads" / "seed_messages.json").read_text(encoding="utf-8")
)
ACCOUNT, BASE_URL = "research", "https://api.foxapi.cc"
FILES = {"photo.png": b"\x89PNG\r\n\x1a\n pixels", "größe 100%.txt": "ünïcode".encode(), "clip.mp4": bytes(range(256))}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {"at": {}}}}}
CALL = {"id": "call-1", "type": "function", "function": {"name": "look", "arguments": '{"at": "sky"}'}}


class Mood(Enum):
    GOOD = "good"
    BAD = "bad"


class City(BaseModel):
    name: str
    population: int | None = None


class Report(BaseModel):
    title: str
    cities: list[City]
    mood: Mood = Mood.GOOD


def requests(folder: Path) -> dict[str, dict[str, Any]]:
    """What is asked for by name: arguments of `build_request`, and `account`, `base_url`, `sample`, `path`."""
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    plain = {"prompt": "count 1 to 3", "model": "gpt-5.5"}
    return {
        **{
            f"seed {name}": {"prompt": messages, "model": "gemini-3-pro-preview"}
            for name, messages in SEED_MESSAGES.items()
        },
        "plain": plain,
        "model": {**plain, "model": "kimi-k2.6"},
        "parameters": {
            **plain,
            "parameters": {"max_tokens": 64, "temperature": 0.7, "top_p": 1, "stop": ["\n", "END"]},
        },
        "further parameters": {
            **plain,
            "parameters": {"seed": 2**60, "logit_bias": {"b": -1, "a": 1e-7}, "user": "\U0001f98a"},
        },
        "sample": {**plain, "sample": 3},
        "account": {**plain, "account": "sales"},
        "base url": {**plain, "base_url": "http://127.0.0.1:8017"},
        "kind": {**plain, "path": "/v1/images/generations"},
        "output type": {**plain, "output_type": Report},
        "wrapped output type": {**plain, "output_type": list[City]},
        "scalar output type": {**plain, "output_type": int},
        "tools": {
            "prompt": [
                user("Look."),
                assistant(tool_calls=[CALL]),
                {"role": "tool", "tool_call_id": "call-1", "content": "blue"},
            ],
            "model": "gpt-5.5",
            "parameters": {"tools": [TOOL], "tool_choice": "auto"},
        },
        "conversation": {
            "prompt": [system("Be terse."), user("1+1?"), assistant("2"), user("3+3?")],
            "model": "gpt-5.5",
        },
        "local files": {
            "prompt": [
                "Compare.",
                image(folder / "photo.png"),
                document(folder / "größe 100%.txt"),
                video(folder / "clip.mp4"),
            ],
            "model": "gemini-3-pro-preview",
        },
        "data URI": {"prompt": ["Look.", image(FILES["photo.png"], name="photo.png")], "model": "gpt-5.5"},
        "local file": {"prompt": ["Look.", image(folder / "photo.png")], "model": "gpt-5.5"},
        "remote sound": {
            "prompt": ["Listen.", audio("https://e.org/a.mp3?x=1&y=2#z")],
            "model": "gemini-3-pro-preview",
        },
    }


def key_of(asked: dict[str, Any]) -> str:
    """The key of one of them."""
    identity = {"account": ACCOUNT, "base_url": BASE_URL, **asked}
    request = {
        name: identity.pop(name)
        for name in ("prompt", "model", "output_type", "parameters", "stream")
        if name in identity
    }
    return generation_key(build_request(request.pop("prompt"), **request), **identity)


def keys() -> dict[str, str]:
    """The keys of all of them."""
    with tempfile.TemporaryDirectory() as folder:
        return {name: key_of(asked) for name, asked in requests(Path(folder)).items()}


if __name__ == "__main__":
    json.dump(keys(), sys.stdout, indent=2)
