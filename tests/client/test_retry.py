"""Which failure is repeated, how often, and after how long."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from prefect_foxapi.client.retry import (
    RetryPolicy,
    may_repeat_read,
    may_repeat_submission,
    never_reached,
    repeating,
    retry_after_seconds,
)
from prefect_foxapi.errors import (
    AmbiguousSubmission,
    AuthenticationError,
    FoxAPIError,
    GenerationFailed,
    InsufficientCredits,
    InvalidRequest,
    NotFound,
    RateLimited,
    ServiceUnavailable,
    UnreadableResponse,
)
from tests.support.clocks import RunningClock

FINAL = [
    *(AuthenticationError("no", status=401), InsufficientCredits("no", status=402), NotFound("no", status=404)),
    *(InvalidRequest("no", status=422), AmbiguousSubmission("who knows"), GenerationFailed("no")),
    *(asyncio.CancelledError(), KeyError("ours"), ConnectionResetError("untyped")),
]
TRANSIENT = [
    RateLimited("slow down", status=429),
    ServiceUnavailable("unreachable"),
    ServiceUnavailable("down", status=503),
    UnreadableResponse("no JSON", status=200),
]


@pytest.mark.parametrize("error", FINAL, ids=repr)
def test_final_for_reads_and_submissions(error: BaseException) -> None:
    assert not may_repeat_read(error)
    assert not may_repeat_submission(error)


@pytest.mark.parametrize("error", TRANSIENT, ids=repr)
def test_reads_repeat_whatever_may_pass(error: FoxAPIError) -> None:
    assert may_repeat_read(error)


def test_submissions_repeat_only_what_was_not_accepted_for_certain() -> None:
    assert [may_repeat_submission(error) for error in TRANSIENT] == [True, True, False, False]
    assert [never_reached(error) for error in TRANSIENT] == [False, True, False, False]


NOW = datetime(2026, 4, 22, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        (" 7 ", 7.0),
        ("0", 0.0),
        ("1.5", 1.5),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
        (format_datetime(NOW - timedelta(seconds=90), usegmt=True), 0.0),
        ("Wed, 22 Apr 2026 14:00:30 +0200", 30.0),
        ("Wed, 22 Apr 2026 12:00:30 -0000", 30.0),
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1e3", None),
        ("1.2.3", None),
        ("٣", None),
        ("nan", None),
        (".", None),
        ("Wed, 99 Apr 2026 12:00:30 GMT", None),
    ],
)
def test_retry_after_in_both_forms(header: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(header, NOW) == seconds


def test_retry_after_as_a_date_is_counted_from_now() -> None:
    header = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    assert 95 < (retry_after_seconds(header) or 0) <= 100


class Failing:
    """Fails with one error after the other, each after so many seconds, then succeeds."""

    def __init__(self, clock: RunningClock, *errors: Exception, seconds: float = 0.0) -> None:
        self.clock, self.errors, self.seconds, self.calls = clock, list(errors), seconds, 0

    async def __call__(self) -> str:
        self.calls += 1
        self.clock.now += self.seconds
        if self.errors:
            raise self.errors.pop(0)
        return "done"


async def attempt(failing: Failing, policy: RetryPolicy) -> list[tuple[int, float]]:
    repeats: list[tuple[int, float]] = []
    attempts = repeating(
        may_repeat_read,
        policy,
        clock=failing.clock,
        sleep=failing.clock.sleep,
        on_repeat=lambda number, delay, error: repeats.append((number, delay)),
    )
    assert await attempts(failing) == "done"
    return repeats


async def test_delays_grow_by_the_policy(running_clock: RunningClock) -> None:
    failing = Failing(running_clock, *(ServiceUnavailable("down", status=503) for _ in range(4)))
    policy = RetryPolicy(initial=1, maximum=3, jitter=0)
    assert await attempt(failing, policy) == [(1, 1.0), (2, 2.0), (3, 3.0), (4, 3.0)]
    assert running_clock.slept == [1.0, 2.0, 3.0, 3.0]


async def test_last_error_is_raised_as_it_is(running_clock: RunningClock) -> None:
    errors = [ServiceUnavailable(f"down {number}", status=503) for number in range(5)]
    failing = Failing(running_clock, *errors)
    with pytest.raises(ServiceUnavailable) as caught:
        await attempt(failing, RetryPolicy(attempts=3))
    assert caught.value is errors[2]
    assert failing.calls == 3


async def test_final_error_ends_it_at_once(running_clock: RunningClock) -> None:
    failing = Failing(running_clock, UnreadableResponse("x"), NotFound("gone", status=404))
    with pytest.raises(NotFound):
        await attempt(failing, RetryPolicy(jitter=0))
    assert failing.calls == 2


async def test_nothing_is_begun_after_the_budget(running_clock: RunningClock) -> None:
    failing = Failing(running_clock, *(ServiceUnavailable("slow", status=504) for _ in range(9)), seconds=30)
    with pytest.raises(ServiceUnavailable):
        await attempt(failing, RetryPolicy(attempts=9, budget=100, initial=1, maximum=1, jitter=0))
    # 30 s each and 1 s between: the fourth would begin after 93 s, the fifth after 124 s.
    assert failing.calls == 4


async def test_retry_after_beyond_the_budget_is_not_waited_for(running_clock: RunningClock) -> None:
    failing = Failing(running_clock, RateLimited("slow down", retry_after=50, status=429))
    with pytest.raises(RateLimited) as caught:
        await attempt(failing, RetryPolicy(budget=10))
    assert caught.value.retry_after == 50
    assert failing.calls == 1
    assert running_clock.slept == []


async def test_after_a_429_the_cool_down_of_all_sleeps_and_not_this(running_clock: RunningClock) -> None:
    failing = Failing(running_clock, RateLimited("slow down", retry_after=50, status=429))
    await attempt(failing, RetryPolicy())
    assert failing.calls == 2
    assert sum(running_clock.slept) == 0


async def test_cancelling_ends_it(running_clock: RunningClock) -> None:
    async def hang() -> None:
        await asyncio.sleep(3600)

    attempts = repeating(
        may_repeat_read, RetryPolicy(), clock=running_clock, sleep=running_clock.sleep, on_repeat=lambda *_: None
    )
    task = asyncio.ensure_future(attempts(hang))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
