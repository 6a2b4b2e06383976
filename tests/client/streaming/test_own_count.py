"""What a stream gives is checked against its own count: in doubt the generation's result is all that counts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from prefect.settings import PREFECT_HOME, temporary_settings
from pydantic import SecretStr

from prefect_foxapi import FoxAPICredentials, Generation, astream_generation
from prefect_foxapi.client.retry import RetryPolicy
from prefect_foxapi.client.waiter import GenerationWaiter
from prefect_foxapi.hooks import HookEvent, StreamFellBackToPolling, StreamResultMismatch, StreamResumed
from prefect_foxapi.models.completions import ChatCompletionChunk
from prefect_foxapi.tasks.event_loop import close_background
from tests.conftest import API_KEY, MakeClient
from tests.support.callbacks import Taken
from tests.support.raw_http_server import GENERATION_ID, RawServer, Reply, answer, chunk, event, generation, streams

STREAM, TASK, SUBMIT = f"GET /v1/llm/generations/{GENERATION_ID}/stream", "GET /v1/tasks", "POST /v1/llm/generations"
OPENING = event("chunk", {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})
THOUGHTS = [chunk(reasoning="six "), chunk(reasoning="times "), chunk(reasoning="seven")]
TEXT = "The answer is 42."
CHUNKS = [OPENING, *THOUGHTS, chunk("The "), chunk("answer "), chunk("is "), chunk("42."), chunk(finish_reason="stop")]
REASONING = "six times seven"


def done(total: Any) -> bytes:
    return event("done", {"total_chunks": total})


async def streamed(
    make_client: MakeClient, replies: Sequence[Reply], text: str = TEXT, **options: Any
) -> tuple[Taken, list[int]]:
    """Wait by stream. Returns what `on_delta` got, and the offset of each connection."""
    taken = Taken()
    async with RawServer({STREAM: replies, TASK: [answer(generation("completed", text))]}) as server:
        waiter = GenerationWaiter(make_client(server.url, **options), GENERATION_ID, age=0.0)
        snapshot, _ = await waiter.by_stream(taken)
    assert snapshot.has_result
    return taken, [int(request.target.rpartition("offset=")[2]) for request in server.asked(STREAM)]


# A resume that ignores its offset


@pytest.mark.parametrize("received", range(1, len(CHUNKS) + 1))
async def test_resume_that_begins_anew_doubles_nothing(make_client: MakeClient, received: int) -> None:
    replies = [streams(*CHUNKS[:received]), streams(*CHUNKS, done(len(CHUNKS)))]
    taken, offsets = await streamed(make_client, replies)
    assert (taken.text, taken.reasoning) == (TEXT, REASONING)
    assert offsets == [0, received]


async def test_resumes_that_all_begin_anew(make_client: MakeClient) -> None:
    replies = [streams(*CHUNKS[:received]) for received in (2, 5, 8)]
    taken, offsets = await streamed(make_client, [*replies, streams(*CHUNKS, done(len(CHUNKS)))])
    assert (taken.text, taken.reasoning) == (TEXT, REASONING)
    assert offsets == [0, 2, 5, 8]


async def test_resume_that_never_gets_further_than_before_is_replaced_by_polling(
    make_client: MakeClient, events: list[HookEvent]
) -> None:
    taken, offsets = await streamed(make_client, [streams(*CHUNKS[:5])], retry=RetryPolicy(attempts=4, jitter=0))
    assert (taken.text, taken.reasoning) == ("The ", REASONING)
    assert offsets == [0, 5, 5, 5]
    assert [type(event) for event in events].count(StreamFellBackToPolling) == 1


async def test_long_replay_is_not_held_back_as_a_whole(make_client: MakeClient) -> None:
    """What repeats the beginning is kept only until it cannot be a coincidence any more."""
    many = [chunk(f"{number} ") for number in range(2_000)]
    replies = [streams(*many[:1_500]), streams(*many, done(len(many)))]
    text = "".join(f"{number} " for number in range(2_000))
    taken, _ = await streamed(make_client, replies, text)
    assert taken.text == text
    assert len(taken.chunks) == 2_000


@pytest.mark.parametrize("received", range(1, 7))
async def test_honest_resume_in_a_text_that_repeats_itself(make_client: MakeClient, received: int) -> None:
    """What looks like the beginning is the continuation, as the count says."""
    words = [OPENING, *[chunk("ha ")] * 5, chunk(finish_reason="stop")]
    replies = [streams(*words[:received]), streams(*words[received:], done(len(words)))]
    taken, _ = await streamed(make_client, replies, "ha " * 5)
    assert taken.text == "ha " * 5


@pytest.mark.parametrize("received", [3, 4])
async def test_honest_resume_whose_rest_equals_the_beginning(
    make_client: MakeClient, events: list[HookEvent], received: int
) -> None:
    words = [chunk("ha ")] * 6
    replies = [streams(*words[:received]), streams(*words[received:], done(len(words)))]
    taken, _ = await streamed(make_client, replies, "ha " * 6)
    assert taken.text == "ha " * 6
    assert not any(isinstance(event, StreamResultMismatch) for event in events)


async def test_honest_resume_that_is_broken_while_it_equals_the_beginning(make_client: MakeClient) -> None:
    words = [*[chunk("ha "), chunk("ho ")] * 3, chunk("!")]
    replies = [streams(*words[:4]), streams(words[4]), streams(*words[4:], done(len(words)))]
    taken, offsets = await streamed(make_client, replies, "ha ho " * 3 + "!")
    assert taken.text == "ha ho " * 3 + "!"
    assert offsets == [0, 4, 4]


# Another choice


async def test_chunk_of_another_choice_is_not_delivered(make_client: MakeClient) -> None:
    def of_choices(*pairs: tuple[int, str]) -> bytes:
        return event("chunk", {"choices": [{"index": index, "delta": {"content": text}} for index, text in pairs]})

    chunks = [
        of_choices((0, "a")),
        of_choices((1, "x")),
        of_choices((1, "y"), (0, "b")),
        of_choices((0, "c"), (2, "z")),
    ]
    usage = event("chunk", {"choices": [], "usage": {"prompt_tokens": 1}})
    taken, _ = await streamed(make_client, [streams(*chunks, usage, done(5))], "abc")
    assert taken.text == "abc"
    assert [[choice.index for choice in chunk.choices] for chunk in taken.chunks] == [[0], [0], [0], []]


def test_text_of_a_chunk_is_that_of_the_first_choice() -> None:
    parts = [{"index": 1, "delta": {"content": "b", "reasoning_content": "x"}}, {"delta": {"content": "a"}}]
    both = ChatCompletionChunk.model_validate({"choices": parts})
    assert (both.text, both.reasoning) == ("a", "")
    other = ChatCompletionChunk.model_validate({"choices": parts[:1]})
    assert (other.text, other.reasoning) == ("", "")


async def test_other_choices_count_for_the_offset(make_client: MakeClient) -> None:
    other = event("chunk", {"choices": [{"index": 1, "delta": {"content": "x"}}]})
    replies = [streams(chunk("a"), other), streams(chunk("b"), done(3))]
    taken, offsets = await streamed(make_client, replies, "ab")
    assert (taken.text, offsets) == ("ab", [0, 2])


# What the task returns and the ledger keeps


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    with temporary_settings({PREFECT_HOME: tmp_path}):
        yield tmp_path
    close_background()


async def generated(replies: Sequence[Reply], result: dict[str, Any]) -> Generation[Any]:
    """Return what the ledger keeps of a streamed generation, which is what the task returned as well."""
    accepted = answer(generation(stream={"url": f"/v1/llm/generations/{GENERATION_ID}/stream"}))
    async with RawServer({SUBMIT: [accepted], STREAM: replies, TASK: [answer(result)]}) as server:
        credentials = FoxAPICredentials(api_key=SecretStr(API_KEY), base_url=server.url)
        first = await astream_generation.fn("6 × 7?", model="gemini-3-pro-preview", credentials=credentials)
        kept = await astream_generation.fn("6 × 7?", model="gemini-3-pro-preview", credentials=credentials)
        assert len(server.asked(SUBMIT)) == 1
    assert (kept.origin, kept.text, kept.reasoning) == ("replayed", first.text, first.reasoning)
    return kept


SURE: dict[str, list[Reply]] = {
    "its count": [streams(*CHUNKS, done(len(CHUNKS)))],
    "its count as text": [streams(*CHUNKS, done(str(len(CHUNKS))))],
    "one connection without a count": [streams(*CHUNKS, event("done", {}))],
    "one connection and [DONE]": [streams(*CHUNKS, b"data: [DONE]\n\n")],
    "resumed with its count": [streams(*CHUNKS[:3]), streams(*CHUNKS[3:], done(len(CHUNKS)))],
    "begun anew with its count": [streams(*CHUNKS[:3]), streams(*CHUNKS, done(len(CHUNKS)))],
}


@pytest.mark.parametrize("replies", SURE.values(), ids=SURE.keys())
async def test_reasoning_of_a_whole_stream_is_kept(home: Path, replies: list[Reply]) -> None:
    kept = await generated(replies, generation("completed", TEXT))
    assert (kept.text, kept.reasoning) == (TEXT, REASONING)


DOUBTFUL: dict[str, list[Reply]] = {
    "doubled thoughts": [streams(OPENING, *THOUGHTS, *CHUNKS[1:], done(len(CHUNKS)))],
    "lost thoughts": [streams(*CHUNKS[2:], done(len(CHUNKS)))],
    "one chunk twice": [streams(*CHUNKS[:3]), streams(*CHUNKS[2:], done(len(CHUNKS)))],
    "resumed without a count": [streams(*CHUNKS[:3]), streams(*CHUNKS[3:], event("done", {}))],
    "resumed with an odd count": [streams(*CHUNKS[:3]), streams(*CHUNKS[3:], done({"n": 9}))],
    "broken off for good": [streams(*CHUNKS[:3]), answer("gone", 404)],
    "an error in the middle": [streams(*CHUNKS[:3], event("error", {"message": "no"}))],
    "another text": [streams(*THOUGHTS, chunk("The answer is 43."), done(4))],
    "no text": [streams(*THOUGHTS, done(3))],
}


@pytest.mark.parametrize("replies", DOUBTFUL.values(), ids=DOUBTFUL.keys())
async def test_reasoning_in_doubt_is_not_kept(home: Path, replies: list[Reply]) -> None:
    kept = await generated(replies, generation("completed", TEXT))
    assert (kept.text, kept.reasoning) == (TEXT, None)


async def test_reasoning_in_doubt_gives_way_to_that_of_the_result(home: Path) -> None:
    result = generation("completed", TEXT)
    result["results"][0]["choices"][0]["message"]["reasoning_content"] = REASONING
    kept = await generated([streams(*THOUGHTS, *CHUNKS, done(len(CHUNKS)))], result)
    assert (kept.text, kept.reasoning) == (TEXT, REASONING)


@pytest.mark.parametrize("data", [b"ok", b"[]", b'"9"', b'{"total_chunks": "all"}', b'{"total_chunks": 1e999}', b"{"])
async def test_done_ends_the_stream_whatever_it_says(
    make_client: MakeClient, events: list[HookEvent], data: bytes
) -> None:
    taken, offsets = await streamed(make_client, [streams(*CHUNKS, b"event: done\ndata: " + data + b"\n\n")])
    assert (taken.text, offsets) == (TEXT, [0])
    assert not any(isinstance(event, StreamResumed | StreamFellBackToPolling) for event in events)


async def test_count_that_disagrees_is_said(make_client: MakeClient, events: list[HookEvent]) -> None:
    await streamed(make_client, [streams(*THOUGHTS, *CHUNKS, done(len(CHUNKS)))])
    assert StreamResultMismatch(GENERATION_ID) in events
