"""Streams: named events, offsets, the times of chunks, and the agreement of stream and task."""

from __future__ import annotations

import itertools
import json
import time
from typing import Any

import httpx
import pytest
from httpx_sse import ServerSentEvent, connect_sse

from prefect_foxapi.emulator import Emulator

TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def read(api: httpx.Client, accepted: dict[str, Any], offset: int | None = None) -> list[ServerSentEvent]:
    params = None if offset is None else {"offset": offset}
    with connect_sse(api, "GET", accepted["stream"]["url"], params=params) as source:
        assert source.response.headers["content-type"].startswith("text/event-stream")
        return list(source.iter_sse())


def deltas(events: list[ServerSentEvent]) -> list[dict[str, Any]]:
    chunks = [event.json() for event in events if event.event == "chunk"]
    return [choice["delta"] for chunk in chunks for choice in chunk["choices"]]


def joined(events: list[ServerSentEvent], name: str) -> str:
    return "".join(delta.get(name) or "" for delta in deltas(events))


@pytest.fixture
def finished(emulator: Emulator, api: httpx.Client, submit: Any) -> Any:
    """Submits a stream, waits for the end, and returns the submission, the events and the task."""

    def act(*args: Any, **fields: Any) -> tuple[dict[str, Any], list[ServerSentEvent], dict[str, Any]]:
        accepted = submit(*args, stream=True, **fields)
        emulator.advance(10)
        return accepted, read(api, accepted), api.get(f"/v1/tasks/{accepted['id']}").json()

    return act


def test_chunks_then_done(finished: Any) -> None:
    accepted, events, task = finished()
    assert [event.event for event in events] == ["chunk"] * (len(events) - 1) + ["done"]
    assert events[-1].json() == {"total_chunks": len(events) - 1}
    first, last = events[0].json(), events[-2].json()
    assert first["choices"] == [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]
    assert last["choices"] == [{"index": 0, "delta": {}, "finish_reason": "stop"}]
    completion = task["results"][0]
    heads = {(chunk["id"], chunk["object"], chunk["model"]) for chunk in (e.json() for e in events[:-1])}
    assert heads == {(completion["id"], "chat.completion.chunk", accepted["model"])}
    assert joined(events, "content") == completion["choices"][0]["message"]["content"]


def test_lines_end_with_lf(api: httpx.Client, emulator: Emulator, submit: Any) -> None:
    accepted = submit(stream=True)
    emulator.advance(10)
    text = api.get(accepted["stream"]["url"]).text
    assert "\r" not in text
    blocks = text.removesuffix("\n\n").split("\n\n")
    events = [dict(line.split(": ", 1) for line in block.split("\n")) for block in blocks]
    assert [event["event"] for event in events] == ["chunk"] * (len(events) - 1) + ["done"]
    assert json.loads(events[-1]["data"]) == {"total_chunks": len(events) - 1}


def test_reasoning_is_only_in_the_stream(finished: Any) -> None:
    _, events, task = finished(model="gemini-3-pro-preview")
    assert joined(events, "reasoning_content").startswith("[emulated thoughts]")
    assert "reasoning" not in json.dumps(task["results"][0]["choices"])
    assert joined(events, "content") == task["results"][0]["choices"][0]["message"]["content"]
    assert task["results"][0]["usage"]["completion_tokens_details"]["reasoning_tokens"] > 0


@pytest.mark.parametrize(
    ("fields", "thinks"),
    [
        ({}, False),
        ({"reasoning_effort": "high"}, True),
        ({"reasoning_effort": "none"}, False),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, True),
        ({"thinking": {"type": "disabled"}}, False),
    ],
)
def test_claude_thinks_on_request(fields: dict[str, Any], thinks: bool, finished: Any) -> None:
    _, events, _ = finished(model="claude-opus-4-7", max_tokens=64, **fields)
    assert bool(joined(events, "reasoning_content")) is thinks


def test_reasoning_without_content(emulator: Emulator, finished: Any) -> None:
    emulator.script(when="count", answer="", reasoning="One, two, three.")
    _, events, task = finished()
    assert joined(events, "reasoning_content") == "One, two, three."
    assert task["results"][0]["choices"][0]["message"]["content"] == ""


def test_tool_call_is_split_into_deltas(finished: Any) -> None:
    _, events, task = finished("What is the weather?", tools=[TOOL])
    parts = [delta["tool_calls"][0] for delta in deltas(events) if "tool_calls" in delta]
    message = task["results"][0]["choices"][0]["message"]
    assert len(parts) > 3
    assert {part["index"] for part in parts} == {0}
    assert [part.get("id") for part in parts] == [message["tool_calls"][0]["id"], *[None] * (len(parts) - 1)]
    arguments = "".join(part["function"]["arguments"] for part in parts)
    assert parts[0]["function"]["name"] == "get_weather"
    assert arguments == message["tool_calls"][0]["function"]["arguments"]
    assert message["content"] is None
    assert events[-2].json()["choices"][0]["finish_reason"] == "tool_calls"


def test_usage_in_the_stream_on_request(finished: Any) -> None:
    _, events, task = finished(stream_options={"include_usage": True})
    last = events[-2].json()
    assert (last["choices"], last["usage"]) == ([], task["results"][0]["usage"])


def test_every_offset_replays_the_remaining_chunks(api: httpx.Client, finished: Any) -> None:
    accepted, events, _ = finished()
    total = len(events) - 1

    def without_times(some: list[ServerSentEvent]) -> list[Any]:
        return [(event.event, {**event.json(), "emulated_at": None}) for event in some]

    for offset in range(total + 1):
        assert without_times(read(api, accepted, offset)) == without_times(events[offset:])
    assert [event.event for event in read(api, accepted, total + 5)] == ["done"]


def test_chunks_expire_after_15_minutes(api: httpx.Client, emulator: Emulator, finished: Any) -> None:
    accepted, _, _ = finished()
    emulator.advance(15 * 60 - 1)
    assert api.get(accepted["stream"]["url"]).status_code == 200
    emulator.advance(1)
    assert api.get(accepted["stream"]["url"]).status_code == 404
    assert api.get(f"/v1/tasks/{accepted['id']}").json()["results"]


def test_failure_is_an_error_event(emulator: Emulator, finished: Any) -> None:
    emulator.script(when="count", fail={"code": "upstream_error", "message": "no luck"})
    _, events, task = finished()
    assert events[-1].event == "error"
    assert events[-1].json() == {"message": "no luck"}
    assert len(events) > 2
    assert task["status"] == "failed"


def test_cancellation_is_an_error_event(emulator: Emulator, finished: Any) -> None:
    emulator.script(when="count", cancel=True)
    _, events, _ = finished()
    assert events[-1].event == "error"


def test_done_is_sent_before_late_results(emulator: Emulator, finished: Any) -> None:
    emulator.script(when="count", late_results=60)
    _, events, task = finished()
    assert events[-1].event == "done"
    assert (task["status"], task["results"]) == ("completed", None)


def test_stepped_clock_wakes_streams(api: httpx.Client, emulator: Emulator, submit: Any) -> None:
    emulator.script(when="count", answer="one two three four five six seven")
    accepted, accepted_at = submit(stream=True), emulator.now()
    with connect_sse(api, "GET", accepted["stream"]["url"]) as source:
        events = source.iter_sse()
        # One second of `pending`, then a chunk per second.
        emulator.advance(1)
        for second in range(2, 11):
            emulator.advance(1)
            event = next(events)
            assert (event.event, event.json()["emulated_at"]) == ("chunk", accepted_at + second)
        assert next(events).json() == {"total_chunks": 9}


def test_real_clock_spreads_chunks_over_the_duration(start: Any, connect: Any) -> None:
    emulator = start(stepped=False, duration=0.6)
    api = connect(emulator)
    body = {"model": "gpt-5.5", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    accepted = api.post("/v1/llm/generations", json=body).json()
    with connect_sse(api, "GET", accepted["stream"]["url"]) as source:
        arrivals = [(time.time(), event.json()["emulated_at"]) for event in source.iter_sse() if event.event == "chunk"]
    task = api.get(f"/v1/tasks/{accepted['id']}").json()
    sent = [at for _, at in arrivals]
    gaps = [later - earlier for earlier, later in itertools.pairwise(sent)]
    assert sent[-1] - sent[0] > 0.4
    assert max(gaps) < 0.2
    assert sent[-1] - task["completed_at"] < 0.2
    assert max(arrived - at for arrived, at in arrivals) < 0.2


def test_comments_keep_an_idle_stream_alive(start: Any, connect: Any) -> None:
    emulator = start(keep_alive=0.05)
    api = connect(emulator)
    body = {"model": "gpt-5.5", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    accepted = api.post("/v1/llm/generations", json=body).json()
    with api.stream("GET", accepted["stream"]["url"]) as response:
        comments = _comments(response, 3)
    assert len(comments) == 3
    assert not any(comment.endswith("\r") for comment in comments)


def _comments(response: httpx.Response, count: int) -> list[str]:
    found: list[str] = []
    text = ""
    for part in response.iter_text():
        text += part
        found = [line for line in text.split("\n")[:-1] if line.startswith(":")]
        if len(found) >= count:
            break
    return found[:count]


def test_stop_closes_streams(start: Any, connect: Any) -> None:
    emulator = start()
    api = connect(emulator)
    body = {"model": "gpt-5.5", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    accepted = api.post("/v1/llm/generations", json=body).json()
    with api.stream("GET", accepted["stream"]["url"]) as response:
        started = time.monotonic()
        emulator.stop()
        assert time.monotonic() - started < 1.5
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            response.read()
