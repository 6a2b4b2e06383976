"""Streams are read the same however their bytes are cut, and end in a typed way whatever they hold (contract §4)."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sse_starlette import ServerSentEvent

from prefect_foxapi.client.streaming.reader import StreamReader
from prefect_foxapi.client.streaming.sse import Event, EventDecoder
from prefect_foxapi.errors import UnreadableResponse
from prefect_foxapi.models.completions import ChatCompletionChunk


def chunk_json(content: str | None = None, reasoning: str | None = None, **choice: Any) -> dict[str, Any]:
    delta = {"content": content, "reasoning_content": reasoning, **choice.pop("delta", {})}
    delta = {name: value for name, value in delta.items() if value is not None}
    return {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, **choice}]}


def sse(name: str, data: object) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()


def read(*blocks: bytes, reader: StreamReader | None = None) -> tuple[StreamReader, list[ChatCompletionChunk]]:
    reader = reader or StreamReader()
    return reader, [chunk for block in blocks for chunk in reader.feed(block)]


def decode(*blocks: bytes, decoder: EventDecoder | None = None) -> list[Event]:
    decoder = decoder or EventDecoder()
    return [event for block in blocks for event in decoder.feed(block)]


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


@settings(deadline=None)
@given(
    parts=st.lists(deltas, max_size=8),
    connections=st.lists(st.tuples(styles, st.floats(0, 1)), max_size=5),
    last=styles,
    cuts=st.lists(st.integers(1, 40), min_size=1, max_size=20),
    mark=st.booleans(),
)
def test_any_split_with_any_drops_gives_the_same_answer(
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
        reader.restarted()
        stream = (b"\xef\xbb\xbf" if mark else b"") + server(chunks, style)(reader.offset)
        stream = stream[: round(len(stream) * share)]
        position = piece = 0
        while position < len(stream):
            size = cuts[piece % len(cuts)]
            received += reader.feed(stream[position : position + size])
            position, piece = position + size, piece + 1

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
def test_hostile_bytes_end_in_a_typed_error_or_not_at_all(blocks: list[bytes]) -> None:
    reader = StreamReader(max_event=20_000)
    received: list[ChatCompletionChunk] = []
    with suppress(UnreadableResponse):
        for block in blocks:
            received.extend(reader.feed(block))
    assert reader.offset == len(received)
    assert isinstance(reader.answer.text + str(reader.answer.tool_calls), str)


# Bytes to events


def test_only_the_three_line_ends_of_the_standard_end_a_line() -> None:
    data = "a\u2028b\u2029c\x85d\x0be\x0cf\x1cg"
    assert decode(f"data: {data}\n\n".encode()) == [Event("", data)]


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_every_line_end_in_single_bytes(end: str) -> None:
    stream = end.join(["event: chunk", "data: a", "data:  b", "data", "", "data:x", "", ""]).encode()
    events = decode(*(stream[i : i + 1] for i in range(len(stream))))
    assert events == [Event("chunk", "a\n b\n"), Event("", "x")]


def test_an_event_is_given_out_at_its_cr_without_waiting_for_an_lf() -> None:
    decoder = EventDecoder()
    assert list(decoder.feed(b"data: a\r\n\r")) == [Event("", "a")]
    assert list(decoder.feed(b"\n")) == []
    assert list(decoder.feed(b"data: b\n\n")) == [Event("", "b")]


def test_a_byte_order_mark_is_passed_over_at_the_start_only() -> None:
    assert decode(b"\xef", b"\xbb\xbfdata: \xef\xbb\xbfa\n\n") == [Event("", "\ufeffa")]


def test_an_event_that_is_not_ended_is_not_given_out() -> None:
    assert decode(b"data: a\n") == []


def test_comments_are_no_events_and_end_none() -> None:
    assert decode(b": keep-alive\n\ndata: a\n: still here\ndata: b\n\n:\n\n") == [Event("", "a\nb")]


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
def test_an_event_without_end_is_refused(flood: bytes) -> None:
    with pytest.raises(UnreadableResponse, match="more than 150 bytes"):
        decode(*[flood] * 200, decoder=EventDecoder(max_event=150))


def test_small_events_do_not_add_up() -> None:
    assert decode(*[b"data: a\n\n"] * 200, decoder=EventDecoder(max_event=150)) == [Event("", "a")] * 200


def test_keep_alive_for_hours_does_not_fill_an_event() -> None:
    decoder = EventDecoder(max_event=150)
    assert [event for _ in range(1_000) for event in decoder.feed(b": keep-alive\nevent: chunk\n")] == []
    assert list(decoder.feed(b"data: a\n\n")) == [Event("chunk", "a")]


@pytest.mark.parametrize("block", [b"x", b"x\n", b"data: x\n", b"data: {}\n\n"])
def test_time_grows_with_the_size_and_not_with_its_square(block: bytes) -> None:
    def seconds(count: int) -> float:
        decoder = EventDecoder()
        started = time.process_time()
        for _ in range(count):
            list(decoder.feed(block))
        return time.process_time() - started

    small = min(seconds(10_000) for _ in range(3))
    assert seconds(160_000) < 16 * 5 * small


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_events_written_by_another_library_are_read(end: str) -> None:
    def written(**event: Any) -> bytes:
        return ServerSentEvent(sep=end, **event).encode()

    stream = (
        written(data="a\nb", event="chunk", id="1", retry=5)
        + written(comment="ping")
        + written(data="{}", event="done")
    )
    assert decode(stream) == [Event("chunk", "a\nb"), Event("done", "{}")]


# Events to an answer


def test_an_answer_is_put_together() -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}
    reader, chunks = read(
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


def test_an_answer_without_reasoning_has_none() -> None:
    reader, _ = read(sse("chunk", chunk_json("a")))
    assert reader.answer.reasoning is None


def test_only_the_first_choice_counts() -> None:
    both = {"choices": [{"index": 1, "delta": {"content": "b"}}, {"index": 0, "delta": {"content": "a"}}]}
    reader, _ = read(sse("chunk", both))
    assert reader.answer.text == "a"


def tool_delta(index: int, id: str | None = None, name: str | None = None, arguments: str | None = None) -> bytes:
    call = {"index": index, "id": id, "function": {"name": name, "arguments": arguments}}
    return sse("chunk", chunk_json(delta={"tool_calls": [call]}))


def test_tool_calls_are_put_together_by_their_index() -> None:
    reader, _ = read(
        tool_delta(0, "call-a", "weather", ""),
        tool_delta(1, "call-b", "time"),
        tool_delta(0, None, None, '{"city": "Pa'),
        tool_delta(1, "call-b", "time", "{}"),
        tool_delta(0, None, None, 'ris"}'),
    )
    calls = [(call.id, call.type, call.function.name, call.function.arguments) for call in reader.answer.tool_calls]
    assert calls == [("call-a", "function", "weather", '{"city": "Paris"}'), ("call-b", "function", "time", "{}")]


def test_tool_calls_that_share_an_index_are_told_apart_by_their_ids() -> None:
    reader, _ = read(tool_delta(0, "a", "f", "{}"), tool_delta(0, "b", "g", "["), tool_delta(0, None, None, "]"))
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
def test_done_ends_a_stream_and_what_follows_is_ignored(end: bytes, total: int | None) -> None:
    reader, chunks = read(
        sse("chunk", chunk_json("a")), end + sse("chunk", chunk_json("b")), b"data: {\n\n", sse("error", {})
    )
    assert (reader.finished, reader.complete, reader.failure) == (True, True, None)
    assert (reader.total_chunks, reader.offset, len(chunks), reader.answer.text) == (total, 1, 1, "a")


@pytest.mark.parametrize("total", [0, 2])
def test_a_count_that_differs_says_that_something_was_lost(total: int) -> None:
    reader, _ = read(sse("chunk", chunk_json("a")), sse("done", {"total_chunks": total}))
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
def test_an_error_event_ends_a_stream_with_its_message(event: bytes, message: str) -> None:
    reader, _ = read(sse("chunk", chunk_json("a")), event, sse("chunk", chunk_json("b")))
    assert (reader.finished, reader.complete, reader.failure) == (True, False, message)
    assert (reader.offset, reader.answer.text) == (1, "a")


def test_unnamed_events_are_chunks_and_unknown_ones_are_nothing() -> None:
    data = json.dumps(chunk_json("a")).encode()
    reader, _ = read(
        b"data: %b\n\n" % data, b"event: message\ndata: %b\n\n" % data, b"event: ping\ndata: {\n\n", b"data:\n\n"
    )
    assert (reader.answer.text, reader.offset) == ("aa", 2)


@pytest.mark.parametrize(
    "data", ["{", "[]", "null", '{"choices": 3}', '{"choices": [{"delta": {"content": 1}}]}', "<html>"]
)
@pytest.mark.parametrize("name", ["chunk", ""])
def test_a_chunk_that_cannot_be_read_is_an_error_with_an_excerpt(data: str, name: str) -> None:
    reader = StreamReader()
    received: list[ChatCompletionChunk] = []
    block = sse("chunk", chunk_json("a")) + f"event: {name}\ndata: {data}{' ' * 300}\n\n".encode()
    with pytest.raises(UnreadableResponse, match="cannot be read") as caught:
        received.extend(reader.feed(block))
    assert caught.value.excerpt.startswith(data)
    assert len(caught.value.excerpt) == 200
    assert reader.offset == 1
    assert not reader.finished


def test_a_stream_without_end_is_refused() -> None:
    with pytest.raises(UnreadableResponse, match="more than 1000 characters"):
        read(*[sse("chunk", chunk_json("a" * 20))] * 100, reader=StreamReader(max_answer=1_000))


def test_what_was_not_iterated_over_comes_again() -> None:
    reader = StreamReader()
    both = sse("chunk", chunk_json("a")) + sse("chunk", chunk_json("b"))
    next(reader.feed(both))
    assert reader.offset == 1
    reader.restarted()
    read(sse("chunk", chunk_json("b")), reader=reader)
    assert reader.answer.text == "ab"


def test_restarting_throws_half_an_event_away() -> None:
    reader, _ = read(sse("chunk", chunk_json("a")), sse("chunk", chunk_json("b"))[:-1])
    reader.restarted()
    read(sse("chunk", chunk_json("b")), sse("done", {"total_chunks": 2}), reader=reader)
    assert reader.answer.text == "ab"
    assert reader.complete
