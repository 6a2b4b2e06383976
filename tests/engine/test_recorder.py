"""A submission is recorded before and after it is sent, also for a caller that is cancelled meanwhile."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from prefect_foxapi.client.client import NotSent, SubmissionSlot
from prefect_foxapi.client.retry import RetryPolicy
from prefect_foxapi.engine.recorder import submit_recorded
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
class Recorder:
    """Notes its calls; each may fail."""

    server: RawServer
    calls: list[str] = field(default_factory=list)
    about: list[Any] = field(default_factory=list)
    fails: dict[str, Exception] = field(default_factory=dict)

    def _note(self, what: str, about: Any = None) -> None:
        self.calls.append(what)
        self.about.append(about)
        if what in self.fails:
            raise self.fails[what]

    async def before_send(self) -> None:
        self._note("before_send", len(self.server.requests))

    async def accepted(self, snapshot: GenerationSnapshot) -> None:
        self._note("accepted", snapshot)

    async def rejected(self, error: BaseException) -> None:
        self._note("rejected", error)

    async def unknown(self, error: BaseException) -> None:
        self._note("unknown", error)


OUTCOMES: list[tuple[list[Reply], list[str], type[FoxAPIError] | None]] = [
    ([answer(generation())], ["before_send", "accepted"], None),
    ([refusal(422)], ["before_send", "rejected"], InvalidRequest),
    ([refusal(402)], ["before_send", "rejected"], InsufficientCredits),
    ([refusal(422, code="no_compatible_channel")], ["before_send", "rejected"], ServiceUnavailable),
    ([answer("error code: 1010", 403)], ["before_send", "rejected"], UnreadableResponse),
    ([refusal(429), answer(generation())], ["before_send", "rejected", "before_send", "accepted"], None),
    ([refusal(429)], ["before_send", "rejected"] * 3, RateLimited),
    ([refusal(429), refusal(500)], ["before_send", "rejected", "before_send", "unknown"], AmbiguousSubmission),
    ([refusal(429), closes], ["before_send", "rejected", "before_send", "unknown"], AmbiguousSubmission),
    ([refusal(500)], ["before_send", "unknown"], AmbiguousSubmission),
    ([refusal(503)], ["before_send", "unknown"], AmbiguousSubmission),
    ([answer("", 302, {"Location": "/elsewhere"})], ["before_send", "unknown"], AmbiguousSubmission),
    ([answer("<html>")], ["before_send", "unknown"], AmbiguousSubmission),
    ([answer(generation(id="a/b"))], ["before_send", "unknown"], AmbiguousSubmission),
    ([breaks_off({"object": "llm.generation.task", **generation()})], ["before_send", "accepted"], None),
    ([breaks_off(dict(reversed(generation().items())))], ["before_send", "unknown"], AmbiguousSubmission),
    ([closes], ["before_send", "unknown"], AmbiguousSubmission),
    ([resets], ["before_send", "unknown"], AmbiguousSubmission),
    ([stays_silent], ["before_send", "unknown"], AmbiguousSubmission),
]


@pytest.mark.parametrize(("replies", "calls", "kind"), OUTCOMES)
async def test_order(
    make_client: MakeClient, replies: list[Reply], calls: list[str], kind: type[FoxAPIError] | None
) -> None:
    async with RawServer(replies) as server:
        recorder = Recorder(server)
        client = make_client(server.url, submit_timeout=0.3, retry=RetryPolicy(attempts=3, jitter=0))
        if kind is None:
            assert await submit_recorded(client, BODY, recorder) == recorder.about[-1]
        else:
            with pytest.raises(FoxAPIError) as caught:
                await submit_recorded(client, BODY, recorder)
            assert type(caught.value) is kind
            assert caught.value is recorder.about[-1]
        assert recorder.calls == calls
        # Each time it was told before anything was sent.
        sent_before = [about for what, about in zip(calls, recorder.about, strict=True) if what == "before_send"]
        assert sent_before == list(range(len(sent_before)))
        assert len(server.requests) == len(sent_before)


async def test_connection_that_was_never_made_is_a_refusal(make_client: MakeClient) -> None:
    async with RawServer([answer(generation())]) as server:
        url = server.url
    recorder = Recorder(server)
    with pytest.raises(ServiceUnavailable):
        await submit_recorded(make_client(url, retry=RetryPolicy(attempts=2)), BODY, recorder)
    assert recorder.calls == ["before_send", "rejected"] * 2


async def test_nothing_is_sent_that_cannot_be_written_down(make_client: MakeClient) -> None:
    async with RawServer([answer(generation())]) as server:
        failure = LedgerError("disk full")
        recorder = Recorder(server, fails={"before_send": failure})
        with pytest.raises(LedgerError) as caught:
            await submit_recorded(make_client(server.url), BODY, recorder)
    assert caught.value is failure
    assert recorder.calls == ["before_send"]
    assert server.requests == []


async def test_nothing_is_sent_where_the_ledger_has_a_submission(make_client: MakeClient) -> None:
    found = object()

    class Finds(Recorder):
        async def before_send(self) -> Any:
            await super().before_send()
            return found

    async with RawServer([answer(generation())]) as server:
        recorder = Finds(server)
        assert await submit_recorded(make_client(server.url), BODY, recorder) is found
    assert recorder.calls == ["before_send"]
    assert server.requests == []


async def test_a_slot_submits_once(make_client: MakeClient) -> None:
    async def twice(slot: SubmissionSlot) -> None:
        await slot.submit(BODY)
        await slot.submit(BODY)

    async with RawServer([answer(generation())]) as server:
        with pytest.raises(RuntimeError):
            await make_client(server.url).with_submission_slot(twice)
    assert len(server.requests) == 1


async def test_what_was_accepted_is_not_sent_again_because_it_cannot_be_written_down(make_client: MakeClient) -> None:
    async with RawServer([answer(generation())]) as server:
        recorder = Recorder(server, fails={"accepted": LedgerError("disk full", generation_id=GENERATION_ID)})
        with pytest.raises(LedgerError) as caught:
            await submit_recorded(make_client(server.url), BODY, recorder)
    assert caught.value.generation_id == GENERATION_ID
    assert len(server.requests) == 1


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize(
    ("reply", "calls"),
    [(answer(generation()), "accepted"), (refusal(422), "rejected"), (refusal(500), "unknown"), (closes, "unknown")],
)
async def test_cancelled_in_flight_is_seen_to_its_end(
    make_client: MakeClient, reply: Reply, calls: str, times: int
) -> None:
    held = Held(reply)
    async with RawServer([held]) as server:
        recorder = Recorder(server)
        submission = asyncio.ensure_future(submit_recorded(make_client(server.url), BODY, recorder))
        await server.has_received(1)
        for _ in range(times):
            submission.cancel()
            await asyncio.sleep(0.01)
        assert recorder.calls == ["before_send"]
        held.release()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(submission, 5)
        assert recorder.calls == ["before_send", calls]
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
        recorder = Recorder(server)
        client = make_client(server.url, clock=clock, sleep=clock.sleep)
        submission = asyncio.ensure_future(submit_recorded(client, BODY, recorder))
        await server.has_received(1)
        submission.cancel()
        await asyncio.sleep(0.01)
        held.release()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(submission, 5)
        clock.advance(100)
        await asyncio.sleep(0.05)
    assert recorder.calls == ["before_send", "rejected"]
    assert len(server.requests) == 1


async def test_cancelled_before_its_turn_is_neither_sent_nor_written_down(make_client: MakeClient) -> None:
    held = Held(answer(generation()))
    async with RawServer([held]) as server:
        client = make_client(server.url, max_connections=1)
        first = asyncio.ensure_future(client.submit(BODY))
        await server.has_received(1)
        recorder = Recorder(server)
        second = asyncio.ensure_future(submit_recorded(client, BODY, recorder))
        await asyncio.sleep(0.01)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        held.release()
        await first
    assert recorder.calls == []
    assert len(server.requests) == 1


async def test_cancelled_while_it_is_written_down_is_not_sent(make_client: MakeClient) -> None:
    begun, written = asyncio.Event(), asyncio.Event()

    class Busy(Recorder):
        async def before_send(self) -> None:
            begun.set()
            await written.wait()
            await super().before_send()

    async with RawServer([answer(generation())]) as server:
        recorder = Busy(server)
        submission = asyncio.ensure_future(submit_recorded(make_client(server.url), BODY, recorder))
        await begun.wait()
        submission.cancel()
        await asyncio.sleep(0)
        written.set()
        with pytest.raises(asyncio.CancelledError):
            await submission
    assert recorder.calls == ["before_send", "rejected"]
    assert isinstance(recorder.about[-1], NotSent)
    assert server.requests == []


async def test_time_limit_around_a_submission_does_not_lose_the_id(make_client: MakeClient) -> None:
    held = Held(answer(generation()))
    async with RawServer([held]) as server:
        recorder = Recorder(server)
        asyncio.get_running_loop().call_later(0.2, held.release)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(submit_recorded(make_client(server.url), BODY, recorder), 0.05)
    assert recorder.calls == ["before_send", "accepted"]
    assert recorder.about[-1].id == GENERATION_ID
