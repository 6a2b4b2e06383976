"""A submission is written down before and after it is sent, whatever becomes of it and of whoever asked."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from prefect_foxapi.client.retry import RetryPolicy
from prefect_foxapi.errors import (
    AmbiguousSubmission,
    FoxAPIError,
    InsufficientCredits,
    InvalidRequest,
    LedgerError,
    RateLimited,
    ServiceUnavailable,
    UnreadableResponse,
)
from prefect_foxapi.models.generations import GenerationSnapshot
from tests.conftest import MakeClient
from tests.support.clocks import SteppedClock
from tests.support.raw_http_server import (
    GENERATION_ID,
    Held,
    RawServer,
    Reply,
    answer,
    breaks_off,
    closes,
    generation,
    refusal,
    resets,
    stays_silent,
)

BODY = {"model": "gpt-5.5", "messages": [{"role": "user", "content": "count 1 to 3"}]}


@dataclass
class Journal:
    """Notes what it hears; may fail itself."""

    server: RawServer
    heard: list[str] = field(default_factory=list)
    about: list[Any] = field(default_factory=list)
    fails: dict[str, Exception] = field(default_factory=dict)

    def _note(self, what: str, about: Any = None) -> None:
        self.heard.append(what)
        self.about.append(about)
        if what in self.fails:
            raise self.fails[what]

    async def sending(self) -> None:
        self._note("sending", len(self.server.requests))

    async def accepted(self, snapshot: GenerationSnapshot) -> None:
        self._note("accepted", snapshot)

    async def refused(self, error: BaseException) -> None:
        self._note("refused", error)

    async def lost(self, error: BaseException) -> None:
        self._note("lost", error)


OUTCOMES: list[tuple[list[Reply], list[str], type[FoxAPIError] | None]] = [
    ([answer(generation())], ["sending", "accepted"], None),
    ([refusal(422)], ["sending", "refused"], InvalidRequest),
    ([refusal(402)], ["sending", "refused"], InsufficientCredits),
    ([refusal(422, code="no_compatible_channel")], ["sending", "refused"], ServiceUnavailable),
    ([answer("error code: 1010", 403)], ["sending", "refused"], UnreadableResponse),
    ([refusal(429), answer(generation())], ["sending", "refused", "sending", "accepted"], None),
    ([refusal(429)], ["sending", "refused"] * 3, RateLimited),
    ([refusal(429), refusal(500)], ["sending", "refused", "sending", "lost"], AmbiguousSubmission),
    ([refusal(429), closes], ["sending", "refused", "sending", "lost"], AmbiguousSubmission),
    ([refusal(500)], ["sending", "lost"], AmbiguousSubmission),
    ([refusal(503)], ["sending", "lost"], AmbiguousSubmission),
    ([answer("", 302, {"Location": "/elsewhere"})], ["sending", "lost"], AmbiguousSubmission),
    ([answer("<html>")], ["sending", "lost"], AmbiguousSubmission),
    ([answer(generation(id="a/b"))], ["sending", "lost"], AmbiguousSubmission),
    ([breaks_off(generation())], ["sending", "lost"], AmbiguousSubmission),
    ([closes], ["sending", "lost"], AmbiguousSubmission),
    ([resets], ["sending", "lost"], AmbiguousSubmission),
    ([stays_silent], ["sending", "lost"], AmbiguousSubmission),
]


@pytest.mark.parametrize(("replies", "heard", "kind"), OUTCOMES)
async def test_order(
    make_client: MakeClient, replies: list[Reply], heard: list[str], kind: type[FoxAPIError] | None
) -> None:
    async with RawServer(replies) as server:
        journal = Journal(server)
        client = make_client(server.url, submit_timeout=0.3, retry=RetryPolicy(attempts=3, jitter=0))
        if kind is None:
            assert await client.submit(BODY, journal=journal) == journal.about[-1]
        else:
            with pytest.raises(FoxAPIError) as caught:
                await client.submit(BODY, journal=journal)
            assert type(caught.value) is kind
            assert caught.value is journal.about[-1]
        assert journal.heard == heard
        # Each time it was told before anything was sent.
        sent_before = [about for what, about in zip(heard, journal.about, strict=True) if what == "sending"]
        assert sent_before == list(range(len(sent_before)))
        assert len(server.requests) == len(sent_before)


async def test_connection_that_was_never_made_is_a_refusal(make_client: MakeClient) -> None:
    async with RawServer([answer(generation())]) as server:
        url = server.url
    journal = Journal(server)
    with pytest.raises(ServiceUnavailable):
        await make_client(url, retry=RetryPolicy(attempts=2)).submit(BODY, journal=journal)
    assert journal.heard == ["sending", "refused"] * 2


async def test_nothing_is_sent_that_cannot_be_written_down(make_client: MakeClient) -> None:
    async with RawServer([answer(generation())]) as server:
        journal = Journal(server, fails={"sending": LedgerError("disk full")})
        with pytest.raises(LedgerError, match="disk full"):
            await make_client(server.url).submit(BODY, journal=journal)
    assert journal.heard == ["sending"]
    assert server.requests == []


async def test_what_was_accepted_is_not_sent_again_because_it_cannot_be_written_down(make_client: MakeClient) -> None:
    async with RawServer([answer(generation())]) as server:
        journal = Journal(server, fails={"accepted": LedgerError("disk full", generation_id=GENERATION_ID)})
        with pytest.raises(LedgerError) as caught:
            await make_client(server.url).submit(BODY, journal=journal)
    assert caught.value.generation_id == GENERATION_ID
    assert len(server.requests) == 1


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize(
    ("reply", "heard"),
    [(answer(generation()), "accepted"), (refusal(422), "refused"), (refusal(500), "lost"), (closes, "lost")],
)
async def test_cancelled_in_flight_is_seen_to_its_end(
    make_client: MakeClient, reply: Reply, heard: str, times: int
) -> None:
    held = Held(reply)
    async with RawServer([held]) as server:
        journal = Journal(server)
        submission = asyncio.ensure_future(make_client(server.url).submit(BODY, journal=journal))
        await server.has_received(1)
        for _ in range(times):
            submission.cancel()
            await asyncio.sleep(0.01)
        assert journal.heard == ["sending"]
        held.release()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(submission, 5)
        assert journal.heard == ["sending", heard]
        assert len(server.requests) == 1


async def test_cancelled_in_flight_keeps_its_place_until_its_end(make_client: MakeClient) -> None:
    held = Held(answer(generation()))
    async with RawServer([held]) as server:
        client = make_client(server.url, max_connections=1)
        submission = asyncio.ensure_future(client.submit(BODY))
        await server.has_received(1)
        submission.cancel()
        second = asyncio.ensure_future(client.submit(BODY))
        await asyncio.sleep(0.05)
        assert len(server.requests) == 1
        held.release()
        await second
        with pytest.raises(asyncio.CancelledError):
            await submission


async def test_cancelled_after_a_429_is_not_sent_again(make_client: MakeClient) -> None:
    held = Held(refusal(429))
    clock = SteppedClock()
    async with RawServer([held, answer(generation())]) as server:
        journal = Journal(server)
        client = make_client(server.url, clock=clock, sleep=clock.sleep)
        submission = asyncio.ensure_future(client.submit(BODY, journal=journal))
        await server.has_received(1)
        submission.cancel()
        await asyncio.sleep(0.01)
        held.release()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(submission, 5)
        clock.advance(100)
        await asyncio.sleep(0.05)
    assert journal.heard == ["sending", "refused"]
    assert len(server.requests) == 1


async def test_cancelled_before_its_turn_is_neither_sent_nor_written_down(make_client: MakeClient) -> None:
    held = Held(answer(generation()))
    async with RawServer([held]) as server:
        client = make_client(server.url, max_connections=1)
        first = asyncio.ensure_future(client.submit(BODY))
        await server.has_received(1)
        journal = Journal(server)
        second = asyncio.ensure_future(client.submit(BODY, journal=journal))
        await asyncio.sleep(0.01)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        held.release()
        await first
    assert journal.heard == []
    assert len(server.requests) == 1


async def test_cancelled_while_it_is_written_down_is_not_sent(make_client: MakeClient) -> None:
    begun, written = asyncio.Event(), asyncio.Event()

    class Busy(Journal):
        async def sending(self) -> None:
            begun.set()
            await written.wait()
            await super().sending()

    async with RawServer([answer(generation())]) as server:
        journal = Busy(server)
        submission = asyncio.ensure_future(make_client(server.url).submit(BODY, journal=journal))
        await begun.wait()
        submission.cancel()
        await asyncio.sleep(0)
        written.set()
        with pytest.raises(asyncio.CancelledError):
            await submission
    assert journal.heard == ["sending", "refused"]
    assert str(journal.about[-1]) == "it was cancelled before it was sent"
    assert server.requests == []


async def test_time_limit_around_a_submission_does_not_lose_the_id(make_client: MakeClient) -> None:
    held = Held(answer(generation()))
    async with RawServer([held]) as server:
        journal = Journal(server)
        asyncio.get_running_loop().call_later(0.2, held.release)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(make_client(server.url).submit(BODY, journal=journal), 0.05)
    assert journal.heard == ["sending", "accepted"]
    assert journal.about[-1].id == GENERATION_ID
