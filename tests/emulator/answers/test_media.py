"""Generated images, videos and sounds."""

from __future__ import annotations

import wave
from io import BytesIO

import httpx
import pytest

from prefect_foxapi.emulator import Emulator
from tests.emulator.conftest import Fetch


@pytest.mark.parametrize(
    ("kind", "model", "start_of_file"),
    [
        ("image", "gpt-image-2", b"\x89PNG\r\n\x1a\n"),
        ("video", "sora-2", b"\0\0\0\x1cftypisom"),
        ("audio", "qwen3-tts", b"RIFF"),
    ],
)
def test_media_urls_expire_after_24_hours(
    kind: str, model: str, start_of_file: bytes, api: httpx.Client, emulator: Emulator, fetch: Fetch
) -> None:
    body = {"model": model, "prompt": "a fox", "n": 2}
    ids = [api.post(f"/v1/{kind}s/generations", json=body).json()["id"] for _ in range(2)]
    assert ids[0].startswith(f"task-{kind}-")
    emulator.advance(10)
    urls = [result["url"] for i in ids for result in api.get(f"/v1/tasks/{i}").json()["results"]]
    files = [fetch(url) for url in urls]
    assert [file.headers["content-type"].partition("/")[0] for file in files] == [kind] * 4
    assert all(file.content.startswith(start_of_file) for file in files)
    assert files[0].content == files[2].content != files[1].content == files[3].content
    emulator.advance(24 * 3600 - 1)
    assert fetch(urls[0]).status_code == 200
    emulator.advance(1)
    assert fetch(urls[0]).status_code == 404


def test_audio_is_a_wave_file(api: httpx.Client, emulator: Emulator, fetch: Fetch) -> None:
    body = {"model": "qwen3-tts", "prompt": "a fox"}
    generation_id = api.post("/v1/audios/generations", json=body).json()["id"]
    emulator.advance(10)
    url = api.get(f"/v1/tasks/{generation_id}").json()["results"][0]["url"]
    with wave.open(BytesIO(fetch(url).content)) as sound:
        assert (sound.getframerate(), sound.getnframes()) == (8000, 2000)


def test_scripted_results(api: httpx.Client, emulator: Emulator) -> None:
    emulator.script(when="clone", results=[{"voice_id": "v-1"}])
    body = {"model": "qwen3-tts", "prompt": "clone this"}
    generation_id = api.post("/v1/audios/generations", json=body).json()["id"]
    emulator.advance(10)
    assert api.get(f"/v1/tasks/{generation_id}").json()["results"] == [{"voice_id": "v-1"}]


def test_scripted_empty_results(api: httpx.Client, emulator: Emulator) -> None:
    emulator.script(when="nothing", results=[])
    body = {"model": "qwen3-tts", "prompt": "nothing"}
    generation_id = api.post("/v1/audios/generations", json=body).json()["id"]
    emulator.advance(10)
    assert api.get(f"/v1/tasks/{generation_id}").json()["results"] == []
