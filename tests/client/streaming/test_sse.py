"""Streams are read the same however their bytes are split, and end with a typed result whatever they hold."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, cast

import httpx
import pytest
from httpx_sse import EventSource
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sse_starlette import ServerSentEvent

from prefect_foxapi.client.streaming.reader import StreamReader
from prefect_foxapi.client.streaming.sse import MAX_EVENT, read_events
from prefect_foxapi.errors import UnreadableResponse
from prefect_foxapi.models.completions import ChatCompletionChunk


def chunk_json(content: str | None = None, reasoning: str | None = None, **choice: Any) -> dict[str, Any]:
    delta = {"content": content, "reasoning_content": reasoning, **choice.pop("delta", {})}
    delta = {name: value for name, value in delta.items() if value is not None}
    return {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, **choice}]}


def sse(name: str, data: object) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()


class Blocks(httpx.AsyncByteStream):
    """A body in these blocks, which counts how many were taken."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self.blocks = blocks
        self.taken = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for block in self.blocks:
            self.taken += 1
            yield block


def response(*blocks: bytes) -> httpx.Response:
    return httpx.Response(200, stream=Blocks(blocks))


async def read(*blocks: bytes, reader: StreamReader | None = None) -> tuple[StreamReader, list[ChatCompletionChunk]]:
    reader = reader or StreamReader()
    return reader, [chunk async for chunk in reader.read(response(*blocks))]


async def collect(source: AsyncIterable[Any], found: list[Any]) -> None:
    async for item in source:
        found.append(item)


async def decode(*blocks: bytes, max_event: int = MAX_EVENT) -> list[tuple[str, str]]:
    events = read_events(response(*blocks), max_event=max_event)
    return [(event.event, event.data) async for event in events if event.data]


# How a server may write a stream


@dataclass(frozen=True)
class Style:
    """One of the many ways in which the same event may be written."""

    line_end: str
    named: bool
    space: str
    multi_line: bool
    ascii_only: bool
    noise: tuple[str, ...]

    def write(self, name: str, data: object) -> bytes:
        text = json.dumps(data, ensure_ascii=self.ascii_only, indent=1 if self.multi_line else None)
        lines = list(self.noise)
        if self.named or name != "chunk":
            lines.append(f"event:{self.space}{name}")
        lines += [f"data:{self.space}{line}" for line in text.split("\n")]
        return "".join(line + self.line_end for line in [*lines, ""]).encode()


# The last two are whole events: a comment alone, and an event of a name that nobody knows.
noises = st.sampled_from(
    [": keep-alive", ":", "id: 7", "id", "retry: 3000", "unknown: field", ": x\n", "event: later\n"]
)
styles = st.builds(
    Style,
    line_end=st.sampled_from(["\n", "\r\n", "\r"]),
    named=st.booleans(),
    space=st.sampled_from(["", " "]),
    multi_line=st.booleans(),
    ascii_only=st.booleans(),
    noise=st.lists(noises, max_size=2).map(tuple),
).map(
    lambda style: Style(**{**vars(style), "noise": tuple(noise.replace("\n", style.line_end) for noise in style.noise)})
)
# What line splitters and decoders get wrong: other languages' line ends, wide characters, JSON's and SSE's own signs.
texts = st.text(
    st.one_of(
        st.sampled_from('\u2028\u2029\x85\x0b\x0c\x1c\r\n:\ufeff🦊é\\"'), st.characters(exclude_categories=["Cs"])
    ),
    min_size=1,
    max_size=8,
)
deltas = st.tuples(st.one_of(st.none(), texts), st.one_of(st.none(), texts))


def server(chunks: list[dict[str, Any]], style: Style) -> Callable[[int], bytes]:
    def stream(offset: int) -> bytes:
        events = [style.write("chunk", chunk) for chunk in chunks[offset:]]
        return b"".join([*events, style.write("done", {"total_chunks": len(chunks)})])

    return stream


def pieces(stream: bytes, sizes: list[int]) -> list[bytes]:
    found: list[bytes] = []
    while stream:
        size = sizes[len(found) % len(sizes)]
        found.append(stream[:size])
        stream = stream[size:]
    return found


@settings(deadline=None)
@given(
    parts=st.lists(deltas, max_size=8),
    connections=st.lists(st.tuples(styles, st.floats(0, 1)), max_size=5),
    last=styles,
    cuts=st.lists(st.integers(1, 40), min_size=1, max_size=20),
    mark=st.booleans(),
)
async def test_any_split_with_any_drops_gives_the_same_answer(
    parts: list[tuple[str | None, str | None]],
    connections: list[tuple[Style, float]],
    last: Style,
    cuts: list[int],
    mark: bool,
) -> None:
    chunks = [chunk_json(content, reasoning) for content, reasoning in parts]
    reader = StreamReader()
    received: list[ChatCompletionChunk] = []
    for style, share in [*connections, (last, 1.0)]:
        if reader.finished:
            break
        stream = (b"\xef\xbb\xbf" if mark else b"") + server(chunks, style)(reader.offset)
        received += (await read(*pieces(stream[: round(len(stream) * share)], cuts), reader=reader))[1]

    assert reader.finished
    assert reader.complete
    assert reader.offset == len(chunks)
    assert reader.answer.text == "".join(content or "" for content, _ in parts)
    assert (reader.answer.reasoning or "") == "".join(reasoning or "" for _, reasoning in parts)
    assert [chunk.choices[0].delta.content for chunk in received] == [content for content, _ in parts]


signs = [b"data:", b"event: ", b"done", b"chunk", b"error", b"id", b"retry: -1", b": x", b"[DONE]", b"\xef\xbb\xbf"]
breaks = [b"\n", b"\r", b"\r\n", b"\n\n", b"\xff", b"\x00"]
values = [b"{", b"}", b"]", b'{"choices":[', b'{"total_chunks":', b'{"choices":[{"delta":{"tool_calls":[{"index":']
oddities = [b"null", b"9" * 5000, b"-1", b"1e999", b"NaN", b'"\\ud800"', b"[" * 300]


@settings(deadline=None)
@given(st.lists(st.one_of(st.sampled_from(signs + breaks + values + oddities), st.binary(max_size=12)), max_size=40))
@example([b"data: " + b"[" * 19_000 + b"\n\n"])
@example([b'data: {"choices":[{"delta":{"content":"\xff\xfe"}}]}\n\n'])
@example([b'data: {"created":', b"9" * 5000, b"}\n\n", b"data: {}\n\n"])
async def test_hostile_bytes_end_in_a_typed_error_or_not_at_all(blocks: list[bytes]) -> None:
    reader = StreamReader(max_event=20_000)
    received: list[ChatCompletionChunk] = []
    with suppress(UnreadableResponse):
        await collect(reader.read(response(*blocks)), received)
    assert reader.offset == len(received)
    assert isinstance(reader.answer.text + str(reader.answer.tool_calls), str)


# Bytes to events


async def test_only_the_three_line_ends_of_the_standard_end_a_line() -> None:
    data = "a\u2028b\u2029c\x85d\x0be\x0cf\x1cg"
    assert await decode(f"data: {data}\n\n".encode()) == [("message", data)]


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
async def test_every_line_end_in_single_bytes(end: str) -> None:
    stream = end.join(["event: chunk", "data: a", "data:  b", "data", "", "data:x", "", ""]).encode()
    events = await decode(*(stream[i : i + 1] for i in range(len(stream))))
    assert events == [("chunk", "a\n b\n"), ("message", "x")]


@pytest.mark.parametrize(
    "blocks",
    [
        [b"data: a\n\n", b"data: b\n\n"],
        [b"data: a\r\n\r", b"\n", b"data: b\n\n"],
        [b"data: a\r\r", b"data: b\r\r"],
        [b"data: ", b"a\n", b"\ndata: b", b"\n\n"],
    ],
)
async def test_event_is_delivered_with_its_blank_line(blocks: list[bytes]) -> None:
    body = Blocks(blocks)
    async with aclosing(read_events(httpx.Response(200, stream=body))) as events:
        first = await anext(events)
        assert (first.event, first.data) == ("message", "a")
        assert b"data: b" not in b"".join(blocks[: body.taken - 1])
        assert body.taken == 1 + next(i for i in range(len(blocks)) if has_blank_line(b"".join(blocks[: i + 1])))
        assert [event.data async for event in events] == ["b"]


def has_blank_line(stream: bytes) -> bool:
    return b"\n\n" in stream.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


async def test_a_byte_order_mark_is_passed_over_at_the_start_only() -> None:
    assert await decode(b"\xef", b"\xbb\xbfdata: \xef\xbb\xbfa\n\n") == [("message", "\ufeffa")]


@pytest.mark.parametrize("content_type", ["text/plain", "text/event-stream; charset=iso-8859-1", None])
async def test_events_are_utf_8_whatever_the_content_type_is(content_type: str | None) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    events = read_events(httpx.Response(200, headers=headers, stream=Blocks(["data: é\n\n".encode()])))
    assert [event.data async for event in events] == ["é"]


async def test_compressed_body() -> None:
    body = Blocks([gzip.compress(b"data: a\n\n")])
    events = read_events(httpx.Response(200, headers={"Content-Encoding": "gzip"}, stream=body))
    assert [event.data async for event in events] == ["a"]


async def test_an_event_that_is_not_ended_is_not_given_out() -> None:
    assert await decode(b"data: a\n") == []


async def test_comments_are_no_events_and_end_none() -> None:
    assert await decode(b": keep-alive\n\ndata: a\n: still here\ndata: b\n\n:\n\n") == [("message", "a\nb")]


@pytest.mark.parametrize(
    "flood",
    [
        b"x" * 1_000,
        b"data: " + b"x" * 94 + b"\n",
        b"data:\n",
        b"data: " + b"x" * 200 + b"\n\n",
        b"x" * 50 + b"\n" + b"y" * 200,
    ],
)
async def test_an_event_without_end_is_refused(flood: bytes) -> None:
    with pytest.raises(UnreadableResponse) as caught:
        await decode(*[flood] * 200, max_event=150)
    assert 0 < len(caught.value.excerpt) <= 200


async def test_events_before_one_that_is_too_large_are_given_out() -> None:
    body = Blocks([b"data: a\n\ndata: b\n\ndata: " + b"x" * 200 + b"\n\ndata: c\n\n"])
    found: list[Any] = []
    with pytest.raises(UnreadableResponse):
        await collect(read_events(httpx.Response(200, stream=body), max_event=150), found)
    assert [event.data for event in found] == ["a", "b"]


async def test_small_events_do_not_add_up() -> None:
    assert await decode(*[b"data: a\n\n"] * 200, max_event=150) == [("message", "a")] * 200


async def test_keep_alive_for_hours_does_not_fill_an_event() -> None:
    stream = [*[b": keep-alive\nevent: chunk\n"] * 1_000, b"data: a\n\n"]
    assert await decode(*stream, max_event=150) == [("chunk", "a")]


@pytest.mark.parametrize("block", [b"x", b"x\n", b"data: x\n", b"data: {}\n\n"])
async def test_time_grows_with_the_size_and_not_with_its_square(block: bytes) -> None:
    async def seconds(count: int) -> float:
        started = time.process_time()
        await decode(*[block] * count)
        return time.process_time() - started

    small = min([await seconds(10_000) for _ in range(3)])
    assert await seconds(160_000) < 16 * 5 * small


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
async def test_events_written_by_another_library_are_read(end: str) -> None:
    def written(**event: Any) -> bytes:
        return ServerSentEvent(sep=end, **event).encode()

    stream = (
        written(data="a\nb", event="chunk", id="1", retry=5)
        + written(comment="ping")
        + written(data="{}", event="done")
    )
    assert await decode(stream) == [("chunk", "a\nb"), ("done", "{}")]


# Events to an answer


async def test_an_answer_is_put_together() -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}
    reader, chunks = await read(
        sse("chunk", chunk_json(delta={"role": "assistant"})),
        sse("chunk", chunk_json(reasoning="Count")),
        sse("chunk", chunk_json(reasoning="ing.")),
        sse("chunk", chunk_json("1 2")),
        sse("chunk", chunk_json(" 3", finish_reason="stop")),
        sse("chunk", {"choices": [], "usage": usage, "emulated_at": 1.5}),
        sse("chunk", chunk_json("")),
        sse("done", {"total_chunks": 7}),
    )
    assert reader.complete
    assert (reader.answer.text, reader.answer.reasoning) == ("1 2 3", "Counting.")
    assert reader.answer.finish_reason == "stop"
    assert reader.answer.usage is not None
    assert reader.answer.usage.model_dump() == usage
    assert chunks[-2].model_extra == {"emulated_at": 1.5}


async def test_an_answer_without_reasoning_has_none() -> None:
    reader, _ = await read(sse("chunk", chunk_json("a")))
    assert reader.answer.reasoning is None


async def test_only_the_first_choice_counts() -> None:
    both = {"choices": [{"index": 1, "delta": {"content": "b"}}, {"index": 0, "delta": {"content": "a"}}]}
    reader, _ = await read(sse("chunk", both))
    assert reader.answer.text == "a"


def tool_delta(index: int, id: str | None = None, name: str | None = None, arguments: str | None = None) -> bytes:
    call = {"index": index, "id": id, "function": {"name": name, "arguments": arguments}}
    return sse("chunk", chunk_json(delta={"tool_calls": [call]}))


async def test_tool_calls_are_put_together_by_their_index() -> None:
    reader, _ = await read(
        tool_delta(0, "call-a", "weather", ""),
        tool_delta(1, "call-b", "time"),
        tool_delta(0, None, None, '{"city": "Pa'),
        tool_delta(1, "call-b", "time", "{}"),
        tool_delta(0, None, None, 'ris"}'),
    )
    calls = [(call.id, call.type, call.function.name, call.function.arguments) for call in reader.answer.tool_calls]
    assert calls == [("call-a", "function", "weather", '{"city": "Paris"}'), ("call-b", "function", "time", "{}")]


async def test_tool_calls_that_share_an_index_are_told_apart_by_their_ids() -> None:
    reader, _ = await read(tool_delta(0, "a", "f", "{}"), tool_delta(0, "b", "g", "["), tool_delta(0, None, None, "]"))
    assert [(call.id, call.function.arguments) for call in reader.answer.tool_calls] == [("a", "{}"), ("b", "[]")]


@pytest.mark.parametrize(
    ("end", "total"),
    [
        (sse("done", {"total_chunks": 1}), 1),
        (sse("done", {}), None),
        (b"event: done\n\n", None),
        (b"data: [DONE]\n\n", None),
    ],
)
async def test_done_ends_a_stream_and_what_follows_is_ignored(end: bytes, total: int | None) -> None:
    reader, chunks = await read(
        sse("chunk", chunk_json("a")), end + sse("chunk", chunk_json("b")), b"data: {\n\n", sse("error", {})
    )
    assert (reader.finished, reader.complete, reader.failure) == (True, True, None)
    assert (reader.total_chunks, reader.offset, len(chunks), reader.answer.text) == (total, 1, 1, "a")


@pytest.mark.parametrize("total", [0, 2])
async def test_a_count_that_differs_says_that_something_was_lost(total: int) -> None:
    reader, _ = await read(sse("chunk", chunk_json("a")), sse("done", {"total_chunks": total}))
    assert reader.finished
    assert not reader.complete


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (sse("error", {"message": "upstream gone"}), "upstream gone"),
        (sse("error", {"error": {"message": "overloaded", "code": "x"}}), "overloaded"),
        (sse("error", {"error": "overloaded"}), "overloaded"),
        (sse("error", "plain"), '"plain"'),
        (b"event: error\ndata: not JSON\n\n", "not JSON"),
        (b"event: error\n\n", "the stream ended with an error that says nothing"),
        (b'data: {"error": {"message": "overloaded"}}\n\n', "overloaded"),
    ],
)
async def test_an_error_event_ends_a_stream_with_its_message(event: bytes, message: str) -> None:
    reader, _ = await read(sse("chunk", chunk_json("a")), event, sse("chunk", chunk_json("b")))
    assert (reader.finished, reader.complete, reader.failure) == (True, False, message)
    assert (reader.offset, reader.answer.text) == (1, "a")


async def test_unnamed_events_are_chunks_and_unknown_ones_are_nothing() -> None:
    data = json.dumps(chunk_json("a")).encode()
    reader, _ = await read(
        b"data: %b\n\n" % data, b"event: message\ndata: %b\n\n" % data, b"event: ping\ndata: {\n\n", b"data:\n\n"
    )
    assert (reader.answer.text, reader.offset) == ("aa", 2)


@pytest.mark.parametrize(
    "data", ["{", "[]", "null", '{"choices": 3}', '{"choices": [{"delta": {"content": 1}}]}', "<html>"]
)
@pytest.mark.parametrize("name", ["chunk", ""])
async def test_a_chunk_that_cannot_be_read_is_an_error_with_an_excerpt(data: str, name: str) -> None:
    reader = StreamReader()
    received: list[ChatCompletionChunk] = []
    block = sse("chunk", chunk_json("a")) + f"event: {name}\ndata: {data}{' ' * 300}\n\n".encode()
    with pytest.raises(UnreadableResponse) as caught:
        await collect(reader.read(response(block)), received)
    assert caught.value.excerpt.startswith(data)
    assert len(caught.value.excerpt) == 200
    assert reader.offset == 1
    assert not reader.finished


async def test_a_stream_without_end_is_refused() -> None:
    reader = StreamReader(max_answer=1_000)
    with pytest.raises(UnreadableResponse):
        await read(*[sse("chunk", chunk_json("a" * 20))] * 100, reader=reader)
    assert 0 < reader.offset < 100


async def test_what_was_not_iterated_over_comes_again() -> None:
    reader = StreamReader()
    both = sse("chunk", chunk_json("a")) + sse("chunk", chunk_json("b"))
    async with aclosing(reader.read(response(both))) as chunks:
        await anext(chunks)
    assert reader.offset == 1
    await read(sse("chunk", chunk_json("b")), reader=reader)
    assert reader.answer.text == "ab"


async def test_another_connection_throws_half_an_event_away() -> None:
    reader, _ = await read(sse("chunk", chunk_json("a")), sse("chunk", chunk_json("b"))[:-1])
    await read(sse("chunk", chunk_json("b")), sse("done", {"total_chunks": 2}), reader=reader)
    assert reader.answer.text == "ab"
    assert reader.complete


async def test_httpx_sse_uses_only_headers_and_text_of_a_response() -> None:
    """A canary: the reader gives `EventSource` an object with these two alone."""
    used: set[str] = set()

    class Watched:
        def __getattribute__(self, name: str) -> Any:
            used.add(name)
            return object.__getattribute__(self, name)

        headers = MappingProxyType({"content-type": "text/event-stream"})

        async def aiter_text(self) -> AsyncIterator[str]:
            yield "data: 1\n\n"

    events = [event.data async for event in EventSource(cast("httpx.Response", Watched())).aiter_sse()]
    assert events == ["1"]
    assert used == {"headers", "aiter_text"}
