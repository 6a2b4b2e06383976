"""The one place that repeats HTTP requests: which failure may be repeated, and why.

- **Reads** (everything that costs nothing) repeat on network errors, 429, 5xx and unreadable bodies.
- **Submissions** are paid for. They repeat only where the contract says that nothing was accepted: after a 429, and
  where a connection was never established (contract §2). Everything else is final or ambiguous.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception

from prefect_foxapi.client.poll_policy import RetryPolicy
from prefect_foxapi.errors import FoxAPIError, RateLimited, ServiceUnavailable, UnreadableResponse

Sleep = Callable[[float], Awaitable[None]]
Clock = Callable[[], float]
OnRepeat = Callable[[int, float, FoxAPIError], None]

_in_line: ContextVar[float] = ContextVar("foxapi_in_line", default=0.0)


def exclude_queue_time(seconds: float) -> None:
    """Say that an attempt had to wait for others of its kind: among a thousand, that uses up nobody's budget."""
    _in_line.set(_in_line.get() + seconds)


def may_repeat_read(error: BaseException) -> bool:
    """Whether a request that costs nothing may be sent again (contract §5)."""
    return isinstance(error, RateLimited | ServiceUnavailable | UnreadableResponse)


def may_repeat_submission(error: BaseException) -> bool:
    """Whether a submission may be sent again: FoxAPI refused it for now, or was never reached (contract §2)."""
    return isinstance(error, RateLimited) or never_reached(error)


def never_reached(error: BaseException) -> bool:
    """Whether the connection was never established, so that FoxAPI cannot have seen the request."""
    return isinstance(error, ServiceUnavailable) and error.status is None


def repeating(
    may_repeat: Callable[[BaseException], bool],
    policy: RetryPolicy,
    *,
    clock: Clock,
    sleep: Sleep,
    on_repeat: OnRepeat,
) -> Callable[..., Awaitable[Any]]:
    """Calls what it is given in a loop of attempts within the policy's budget; the last error is raised as it is.

    After a 429 it does not sleep by itself: the cool-down that all requests of a client share does that.
    """

    def now() -> float:
        return clock() - _in_line.get()

    started = now()

    async def attempts(function: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        try:
            return await function(*args)
        except FoxAPIError as error:
            if not may_repeat(error):
                raise
            failed: FoxAPIError | None = error

        # Nearly all succeed at once, and a loop costs as much as a tenth of a request: only now is one made, and told
        # of the attempt that was.
        async def again() -> Any:
            nonlocal failed
            if failed is not None:
                first, failed = failed, None
                raise first
            return await function(*args)

        return await loop()(again)

    def delay(state: RetryCallState) -> float:
        error = _error_of(state)
        retry_after = error.retry_after if isinstance(error, RateLimited) else None
        return policy.delay(state.attempt_number, retry_after, random.random)

    def stop(state: RetryCallState) -> bool:
        spent = now() - started
        return state.attempt_number >= policy.attempts or spent + delay(state) > policy.budget

    def wait(state: RetryCallState) -> float:
        return 0.0 if isinstance(_error_of(state), RateLimited) else delay(state)

    def before_sleep(state: RetryCallState) -> None:
        on_repeat(state.attempt_number, state.upcoming_sleep, _error_of(state))

    def loop() -> AsyncRetrying:
        return AsyncRetrying(
            retry=retry_if_exception(may_repeat),
            stop=stop,
            wait=wait,
            sleep=sleep,
            before_sleep=before_sleep,
            reraise=True,
        )

    return attempts


def _error_of(state: RetryCallState) -> FoxAPIError:
    error = state.outcome.exception() if state.outcome else None
    if not isinstance(error, FoxAPIError):
        raise TypeError(f"only a FoxAPIError is ever repeated, not {type(error).__name__}")
    return error


def retry_after_seconds(header: str | None, now: datetime | None = None) -> float | None:
    """Seconds that a `Retry-After` header asks for, in either of its forms, or None where it says nothing usable."""
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.replace(".", "", 1).isdigit():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - (now or datetime.now(UTC))).total_seconds())
