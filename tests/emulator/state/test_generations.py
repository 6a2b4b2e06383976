"""The state machine of a generation, by a stepped clock; money; several accounts."""

from __future__ import annotations

import wave
from io import BytesIO
from typing import Any

import httpx
import pytest

from prefect_foxapi.emulator import Emulator, Fixed, LogNormal
from prefect_foxapi.emulator.state.clock import Clock
from prefect_foxapi.emulator.state.durations import parse_duration
from tests.emulator.conftest import Fetch


def test_progress_is_honest(api: httpx.Client, emulator: Emulator, submit: Any) -> None:
    generation_id = submit()["id"]
    seen: list[tuple[str, int]] = []
    for _ in range(12):
        task = api.get(f"/v1/tasks/{generation_id}").json()
        seen.append((task["status"], task["progress"]))
        emulator.advance(1)
    assert seen == [("pending", 0), *(("processing", 10 * n) for n in range(1, 10)), *[("completed", 100)] * 2]


def test_late_results_for_all(start: Any, connect: Any) -> None:
    emulator = start(late_results=5)
    api = connect(emulator)
    body = {"model": "gpt-5.5", "messages": [{"role": "user", "content": "hi"}]}
    generation_id = api.post("/v1/llm/generations", json=body).json()["id"]
    seen: list[Any] = []
    for seconds in (10, 4, 1):
        emulator.advance(seconds)
        task = api.get(f"/v1/tasks/{generation_id}").json()
        seen.append((task["status"], task["progress"], bool(task["results"])))
    assert seen == [("completed", 50, False), ("completed", 50, False), ("completed", 100, True)]


def test_cancelled_by_script(api: httpx.Client, emulator: Emulator, submit: Any) -> None:
    emulator.script(when="count", cancel=True)
    generation_id = submit()["id"]
    emulator.advance(10)
    task = api.get(f"/v1/tasks/{generation_id}").json()
    assert (task["status"], task["results"], task["error"]) == ("cancelled", None, None)


def test_durations_by_script_and_by_function(start: Any, connect: Any) -> None:
    emulator = start(duration=lambda model, body: 20.0 if body.get("slow") else 5.0)
    emulator.script(when="at once", duration=1)
    api = connect(emulator)

    def submit(prompt: str, **further: Any) -> str:
        body = {"model": "gpt-5.5", "messages": [{"role": "user", "content": prompt}], **further}
        return api.post("/v1/llm/generations", json=body).json()["id"]

    ids = [submit("at once"), submit("hi"), submit("hi", slow=True)]
    done: list[list[bool]] = []
    for seconds in (1, 4, 15):
        emulator.advance(seconds)
        done.append([api.get(f"/v1/tasks/{i}").json()["status"] == "completed" for i in ids])
    assert done == [[True, False, False], [True, True, False], [True, True, True]]


def test_generations_of_other_accounts_do_not_exist(start: Any, connect: Any) -> None:
    emulator = start(api_key=("sk-one", "sk-two"))
    one, two = connect(emulator), connect(emulator, authorization="Bearer sk-two")
    body = {"model": "gpt-5.5", "messages": [{"role": "user", "content": "hi"}]}
    generation_id = one.post("/v1/llm/generations", json=body).json()["id"]
    two.post("/v1/llm/generations", json=body)
    assert one.get(f"/v1/tasks/{generation_id}").status_code == 200
    assert two.get(f"/v1/tasks/{generation_id}").status_code == 404
    assert [submission.account for submission in emulator.ledger()] == [0, 1]
    assert list(emulator.times().values()) == [2]


def test_credits_go_down_by_what_the_ledger_says(api: httpx.Client, emulator: Emulator, submit: Any) -> None:
    submit()
    submit("count 1 to 3 " * 2000, model="claude-opus-4-7", max_tokens=100)
    submit()
    costs = [submission.credits for submission in emulator.ledger()]
    assert costs[0] == costs[2] < costs[1]
    assert api.get("/v1/account/credits").json()["balance"] == emulator.balance == 1_000_000 - sum(costs)


def test_the_digest_knows_content_not_urls(api: httpx.Client, emulator: Emulator, submit: Any) -> None:
    def upload() -> str:
        return api.post("/v1/files/upload/base64", json={"file_data": "aGVsbG8="}).json()["url"]

    def about(url: str, **further: Any) -> None:
        text = {"type": "text", "text": "what is it?"}
        content = [text, {"type": "image_url", "image_url": {"url": url}}]
        submit([{"role": "user", "content": content}], **further)

    about(upload())
    about(upload(), stream=True)
    about("data:image/png;base64,aGVsbG8=")
    assert list(emulator.times().values()) == [3]
    about("data:image/png;base64,aGVsbG9v")
    about("https://example.com/x.png")
    about(upload(), temperature=0.5)
    assert sorted(emulator.times().values()) == [1, 1, 1, 3]


def test_requests_are_counted(api: httpx.Client, emulator: Emulator, submit: Any) -> None:
    generation_id = submit()["id"]
    for _ in range(3):
        api.get(f"/v1/tasks/{generation_id}")
    api.get("/v1/account/credits", headers={"authorization": "Bearer wrong"})
    assert emulator.counts() == {("POST", "submit"): 1, ("GET", "task"): 3, ("GET", "credits"): 1}


@pytest.mark.parametrize(
    ("kind", "model", "start_of_file"),
    [
        ("image", "gpt-image-2", b"\x89PNG\r\n\x1a\n"),
        ("video", "sora-2", b"\0\0\0\x1cftypisom"),
        ("audio", "qwen3-tts", b"RIFF"),
    ],
)
def test_media_live_for_a_day(
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


def test_audio_can_be_played(api: httpx.Client, emulator: Emulator, fetch: Fetch) -> None:
    body = {"model": "qwen3-tts", "prompt": "a fox"}
    generation_id = api.post("/v1/audios/generations", json=body).json()["id"]
    emulator.advance(10)
    url = api.get(f"/v1/tasks/{generation_id}").json()["results"][0]["url"]
    with wave.open(BytesIO(fetch(url).content)) as sound:
        assert (sound.getframerate(), sound.getnframes()) == (8000, 2000)


def test_other_shapes_of_results_by_script(api: httpx.Client, emulator: Emulator) -> None:
    emulator.script(when="clone", results=[{"voice_id": "v-1"}])
    body = {"model": "qwen3-tts", "prompt": "clone this"}
    generation_id = api.post("/v1/audios/generations", json=body).json()["id"]
    emulator.advance(10)
    assert api.get(f"/v1/tasks/{generation_id}").json()["results"] == [{"voice_id": "v-1"}]


def test_no_results_at_all_by_script(api: httpx.Client, emulator: Emulator) -> None:
    emulator.script(when="nothing", results=[])
    body = {"model": "qwen3-tts", "prompt": "nothing"}
    generation_id = api.post("/v1/audios/generations", json=body).json()["id"]
    emulator.advance(10)
    assert api.get(f"/v1/tasks/{generation_id}").json()["results"] == []


def test_a_stepped_clock_only_goes_forward() -> None:
    clock = Clock(stepped=True, start=100.0)
    clock.advance(2.5)
    assert clock.now() == 102.5
    with pytest.raises(ValueError, match="forward"):
        clock.advance(-1)


def test_durations_are_repeatable_and_within_bounds() -> None:
    first, second = (LogNormal(8, 0.8, low=0.4, high=180, seed=7) for _ in range(2))
    drawn = [first("m", {}) for _ in range(2000)]
    assert drawn == [second("m", {}) for _ in range(2000)]
    assert 7 < sorted(drawn)[1000] < 9
    assert 0.4 <= min(drawn) < max(drawn) <= 180
    jittered = Fixed(10, jitter=0.5)
    assert 5 <= min(jittered("m", {}) for _ in range(100)) < 7
    assert Fixed(3)("m", {}) == 3


@pytest.mark.parametrize("text", ["lognormal", "lognormal:x", "lognormal:8:1:2:3:4", "soon", "-1", "lognormal:0"])
def test_durations_that_cannot_be_read(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_duration(text)


def test_durations_from_the_command_line() -> None:
    assert parse_duration("2.5")("m", {}) == 2.5
    assert parse_duration("lognormal:8:0:0:3")("m", {}) == 3


def test_the_same_port_after_a_stop(start: Any, connect: Any) -> None:
    emulator = start()
    api = connect(emulator)
    body = {"model": "gpt-5.5", "messages": [{"role": "user", "content": "hi"}]}
    generation_id = api.post("/v1/llm/generations", json=body).json()["id"]
    url = emulator.url
    emulator.stop()
    with pytest.raises(httpx.ConnectError):
        connect(emulator).get("/v1/account/credits")
    emulator.start()
    assert emulator.url == url
    assert connect(emulator).get(f"/v1/tasks/{generation_id}").status_code == 200


def test_a_running_emulator_cannot_be_started_again(emulator: Emulator) -> None:
    with pytest.raises(RuntimeError, match="already"):
        emulator.start()
