"""What happens on the wire, and what it means for money: each row of what can become of a request, on real sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from prefect_foxapi.client.retry import RetryPolicy
from prefect_foxapi.errors import AmbiguousSubmission, FoxAPIError, ServiceUnavailable
from prefect_foxapi.hooks import HookEvent, RetryScheduled
from tests.conftest import API_KEY, MakeClient
from tests.support.clocks import RunningClock
from tests.support.raw_http_server import (
    GENERATION_ID,
    Held,
    RawServer,
    Reply,
    answer,
    breaks_off,
    closes,
    closes_in_the_headers,
    drips,
    generation,
    resets,
    resets_before_the_body,
    speaks_no_http,
    stays_silent,
)

BODY = {"model": "gpt-5.5", "messages": [{"role": "user", "content": "count 1 to 3"}]}
LARGE = {**BODY, "messages": [{"role": "user", "content": "x" * 8_000_000}]}


@pytest.fixture
def bound() -> Iterator[socket.socket]:
    """A port of our own on which nobody listens."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        yield unused


def url_of(bound: socket.socket) -> str:
    return f"http://127.0.0.1:{bound.getsockname()[1]}"


# The connection was never made: nothing was sent, so even a submission is sent again.


@pytest.mark.parametrize("paid", [True, False])
async def test_refused_connection_is_tried_again(
    bound: socket.socket, make_client: MakeClient, running_clock: RunningClock, events: list[HookEvent], paid: bool
) -> None:
    server = RawServer([answer(generation())], bound_to=bound)
    opened = asyncio.Event()

    async def sleep_until_it_listens(seconds: float) -> None:
        await running_clock.sleep(seconds)
        if not opened.is_set() and len(running_clock.slept) == 2:
            await server.__aenter__()
            opened.set()

    client = make_client(url_of(bound), sleep=sleep_until_it_listens)
    try:
        snapshot = await (client.submit(BODY) if paid else client.get(GENERATION_ID))
    finally:
        await server.__aexit__(None, None, None)
    assert snapshot.id == GENERATION_ID
    assert len(server.requests) == 1
    assert running_clock.slept == [0.5, 1.0]
    repeats = [event for event in events if isinstance(event, RetryScheduled)]
    assert [(repeat.attempt, repeat.method) for repeat in repeats] == [(n, "POST" if paid else "GET") for n in (1, 2)]


@pytest.mark.parametrize("paid", [True, False])
async def test_refused_connection_ends_as_unavailable(
    bound: socket.socket, make_client: MakeClient, running_clock: RunningClock, paid: bool
) -> None:
    client = make_client(url_of(bound), retry=RetryPolicy(attempts=3, jitter=0))
    with pytest.raises(ServiceUnavailable) as caught:
        await (client.submit(BODY) if paid else client.get(GENERATION_ID))
    assert caught.value.status is None
    assert caught.value.retryable
    assert len(running_clock.slept) == 2


@pytest.mark.parametrize("paid", [True, False])
async def test_unknown_host_is_never_reached(make_client: MakeClient, running_clock: RunningClock, paid: bool) -> None:
    client = make_client("http://no-such-host.invalid", allow_http=True, retry=RetryPolicy(attempts=2, jitter=0))
    with pytest.raises(ServiceUnavailable) as caught:
        await (client.submit(BODY) if paid else client.get(GENERATION_ID))
    assert caught.value.status is None
    assert running_clock.slept == [0.5]


@pytest.mark.parametrize("paid", [True, False])
async def test_connection_that_is_not_made_in_time_is_tried_again(
    bound: socket.socket, make_client: MakeClient, running_clock: RunningClock, paid: bool
) -> None:
    bound.listen(0)
    # A full backlog: the kernel drops whoever else knocks.
    knocking = [socket.socket() for _ in range(3)]
    for other in knocking:
        other.setblocking(False)
        other.connect_ex(bound.getsockname())
    client = make_client(url_of(bound), connect_timeout=0.1, retry=RetryPolicy(attempts=2, jitter=0))
    try:
        with pytest.raises(ServiceUnavailable) as caught:
            await (client.submit(BODY) if paid else client.get(GENERATION_ID))
    finally:
        for other in knocking:
            other.close()
    assert caught.value.status is None
    assert running_clock.slept == [0.5]


# The request was sent: a submission is ambiguous and is sent once, a read is sent again.

# The id is in the half that does not arrive.
ID_LAST = dict(reversed(generation().items()))
LOST: dict[str, Reply] = {
    "closed before an answer": closes,
    "reset before an answer": resets,
    "closed in the headers": closes_in_the_headers,
    "closed in the body": breaks_off(ID_LAST),
    "reset in the body": breaks_off(ID_LAST, then=lambda peer: peer.reset()),
    "no answer in time": stays_silent,
    "no HTTP": speaks_no_http,
}


@pytest.mark.parametrize("reply", LOST.values(), ids=LOST.keys())
async def test_lost_answer_to_a_submission(make_client: MakeClient, events: list[HookEvent], reply: Reply) -> None:
    async with RawServer([reply]) as server:
        client = make_client(server.url, submit_timeout=0.2)
        with pytest.raises(AmbiguousSubmission) as caught:
            await client.submit(BODY)
    assert len(server.requests) == 1
    assert server.requests[0].json == BODY
    assert not caught.value.retryable
    assert events == []
    assert API_KEY not in f"{caught.value!r} {caught.value}"


@pytest.mark.parametrize("reply", LOST.values(), ids=LOST.keys())
async def test_lost_answer_to_a_read(make_client: MakeClient, running_clock: RunningClock, reply: Reply) -> None:
    async with RawServer([reply, reply, answer(generation("processing"))]) as server:
        client = make_client(server.url, timeout=0.2)
        assert (await client.get(GENERATION_ID)).status == "processing"
    assert len(server.requests) == 3
    # aiohttp by itself repeats a read once whose connection ended before an answer.
    assert running_clock.slept in ([0.5, 1.0], [0.5])


@pytest.mark.parametrize("reply", LOST.values(), ids=LOST.keys())
async def test_reads_that_never_come_end_as_a_typed_error(make_client: MakeClient, reply: Reply) -> None:
    async with RawServer([reply]) as server:
        client = make_client(server.url, timeout=0.2, retry=RetryPolicy(attempts=2))
        with pytest.raises(FoxAPIError) as caught:
            await client.get(GENERATION_ID)
    assert len(server.requests) in {2, 4}
    assert caught.value.retryable


async def test_reset_while_a_large_body_is_sent(make_client: MakeClient) -> None:
    async with RawServer([resets_before_the_body]) as server:
        with pytest.raises(AmbiguousSubmission):
            await make_client(server.url).submit(LARGE)
    assert len(server.requests) == server.connections == 1


async def test_submission_has_to_be_answered_in_time_as_a_whole(make_client: MakeClient) -> None:
    async with RawServer([drips(generation(), every=0.05)]) as server:
        client = make_client(server.url, submit_timeout=0.15, connect_timeout=0.1)
        with pytest.raises(AmbiguousSubmission):
            await asyncio.wait_for(client.submit(BODY), 3)
    assert len(server.requests) == 1


async def test_read_has_to_be_answered_in_time_as_a_whole(make_client: MakeClient) -> None:
    async with RawServer([drips(generation(), every=0.05), answer(generation())]) as server:
        client = make_client(server.url, timeout=0.15, connect_timeout=0.1)
        assert (await asyncio.wait_for(client.get(GENERATION_ID), 3)).status == "pending"
    assert len(server.requests) == 2


# Connections that are kept


async def test_submission_does_not_use_a_connection_that_was_idle_for_a_while(make_client: MakeClient) -> None:
    async def answers_and_closes_after_a_while(request, peer) -> None:
        await answer(generation())(request, peer)
        asyncio.get_running_loop().call_later(1.2, peer.writer.close)

    async with RawServer([answers_and_closes_after_a_while]) as server:
        client = make_client(server.url)
        await client.submit(BODY)
        await asyncio.sleep(1.19)
        await client.submit(BODY)
        await asyncio.sleep(0.05)
        await client.submit(BODY)
    assert [request.connection for request in server.requests] == [1, 2, 2]


async def test_submission_does_not_use_a_connection_that_is_known_to_be_closed(make_client: MakeClient) -> None:
    async def answers_and_closes(request, peer) -> None:
        await answer(generation())(request, peer)
        peer.close()

    async with RawServer([answers_and_closes]) as server:
        client = make_client(server.url)
        for _ in range(3):
            await client.submit(BODY)
            await asyncio.sleep(0.01)
    assert [request.connection for request in server.requests] == [1, 2, 3]


@pytest.mark.parametrize("write", [False, True])
async def test_requests_one_after_the_other_share_a_connection(make_client: MakeClient, write: bool) -> None:
    async with RawServer([answer(generation())]) as server:
        client = make_client(server.url)
        for _ in range(3):
            await (client.submit(BODY) if write else client.get(GENERATION_ID))
    assert server.connections == 1


async def test_closed_client_leaves_no_connection_open(make_client: MakeClient) -> None:
    async with RawServer([answer(generation())]) as server:
        client = make_client(server.url)
        await client.submit(BODY)
        await client.get(GENERATION_ID)
        await client.aclose()
        await asyncio.sleep(0.02)
        assert len(server.requests) == 2
        assert server.open_connections == 0


# Which way a request goes


async def test_submissions_go_over_the_transport_that_tells_the_truth(make_client: MakeClient) -> None:
    """Each of the two libraries writes the request's head in its own way."""
    async with RawServer([answer({**generation(), "url": "https://e.org/a.txt"})]) as server:
        client = make_client(server.url)
        await client.submit(BODY)
        await client.get(GENERATION_ID)
        await client.upload(b"bytes", name="a.txt")
    post, get, upload = ([name for name, _ in request.headers] for request in server.requests)
    assert post[0] == "Host"
    assert "Content-Length" in post
    assert "Content-Length" in upload
    assert get[0] == "host"
    assert server.connections == 2


async def test_proxy_of_the_environment_is_used_by_reads_and_writes(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with RawServer([answer(generation())]) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        client = make_client("http://foxapi.invalid", allow_http=True)
        await client.submit(BODY)
        await client.get(GENERATION_ID)
    post, get = proxy.requests
    assert post.target == "http://foxapi.invalid/v1/llm/generations"
    assert get.target == f"http://foxapi.invalid/v1/tasks/{GENERATION_ID}?sync_upstream=true"


async def test_this_machine_is_reached_without_a_proxy(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with RawServer([answer(generation())]) as proxy, RawServer([answer(generation())]) as server:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        client = make_client(server.url)
        await client.submit(BODY)
        await client.get(GENERATION_ID)
    assert len(server.requests) == 2
    assert proxy.requests == []


async def test_netrc_has_no_say(make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text("default login somebody password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    async with RawServer([answer(generation())]) as server:
        client = make_client(server.url)
        await client.submit(BODY)
        await client.get(GENERATION_ID)
    assert [request.header("authorization") for request in server.requests] == [f"Bearer {API_KEY}"] * 2


async def test_writes_at_once_have_connections_of_their_own_and_leave_few(make_client: MakeClient) -> None:
    held = [Held(answer(generation())) for _ in range(4)]
    async with RawServer([*held, answer(generation())]) as server:
        client = make_client(server.url)
        submissions = [asyncio.ensure_future(client.submit(BODY)) for _ in held]
        await server.has_received(4)
        for one in held:
            one.release()
        await asyncio.gather(*submissions)
        for _ in range(4):
            await client.submit(BODY)
    assert server.connections == 4
