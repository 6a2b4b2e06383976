"""Retries of HTTP requests: the policy, and the loop that obeys it.

- **Reads** and uploads, which are free, are retried after network errors, 429, 5xx and unreadable bodies.
- **Submissions**, which are paid, are retried only where FoxAPI has certainly not accepted them: after a 429, and where
  no connection was established. Other failures are final or ambiguous.
"""

import random
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Self

from pydantic import Field, model_validator
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception

from prefect_foxapi.compatibility import keep_stored_path
from prefect_foxapi.errors import FoxAPIError, RateLimited, ServiceUnavailable, UnreadableResponse
from prefect_foxapi.models.base import PolicyModel, Random, Seconds

Sleep = Callable[[float], Awaitable[None]]
Clock = Callable[[], float]
OnRepeat = Callable[[int, float, FoxAPIError], None]

# Thirty years: finite, so that it can be added to a time, compared and shown.
_LONGEST_RETRY_AFTER = 1e9

_queue_time: ContextVar[float] = ContextVar("foxapi_queue_time", default=0.0)


class RetryPolicy(PolicyModel):
    """How an HTTP request is retried, where that is safe.

    Args:
        attempts: Maximum number of attempts, the first one included.
        budget: Seconds from the first attempt after which no other one starts. Time in the queue for a connection
            does not count.
        initial: Seconds before the second attempt. Each later delay is twice as long.
        maximum: Maximum delay in seconds.
        jitter: The random part of a delay, from 0 to 1.
        retry_after_maximum: Maximum delay in seconds that a `Retry-After` can ask for.

    Example:
        RetryPolicy(attempts=3, budget=30)
    """

    attempts: int = Field(default=6, ge=1)
    budget: Seconds = 120.0
    initial: Seconds = 0.5
    maximum: Seconds = 20.0
    jitter: float = Field(default=0.5, ge=0, le=1)
    retry_after_maximum: Seconds = 60.0

    @model_validator(mode="after")
    def _limits_in_order(self) -> Self:
        if self.initial > self.maximum:
            raise ValueError(
                f"initial ({self.initial} s) is above maximum ({self.maximum} s): lower it or raise maximum"
            )
        return self

    def delay(self, attempt: int, retry_after: float | None, random: Random) -> float:
        """Return the seconds to wait after a failed attempt.

        Args:
            attempt: The number of the failed attempt, from 1.
            retry_after: Seconds of the response's `Retry-After`, which is the minimum up to `retry_after_maximum`.
            random: Spreads the retries of requests that failed at the same moment.
        """
        grown = min(self.initial * 2.0 ** min(attempt - 1, 60), self.maximum)
        if retry_after is None:
            return grown * (1 - self.jitter * random())
        return min(retry_after, self.retry_after_maximum) + self.initial * self.jitter * random()


def exclude_queue_time(seconds: float) -> None:
    """Exclude time that an attempt waited in a queue from the retry budget.

    Args:
        seconds: The time.
    """
    _queue_time.set(_queue_time.get() + seconds)


def may_repeat_read(error: BaseException) -> bool:
    """Return whether a request that is free may be retried after an error."""
    return isinstance(error, RateLimited | ServiceUnavailable | UnreadableResponse)


def may_repeat_submission(error: BaseException) -> bool:
    """Return whether a submission may be retried after an error: FoxAPI has certainly not accepted it."""
    return isinstance(error, RateLimited) or never_reached(error)


def never_reached(error: BaseException) -> bool:
    """Return whether an error means that no connection was established, so that nothing was sent."""
    return isinstance(error, ServiceUnavailable) and error.status is None


def repeating(
    may_repeat: Callable[[BaseException], bool],
    policy: RetryPolicy,
    *,
    clock: Clock,
    sleep: Sleep,
    on_repeat: OnRepeat,
) -> Callable[..., Awaitable[Any]]:
    """Return a function that calls another one until it succeeds or the policy ends the attempts.

    The last error is raised as it is. After a 429 there is no delay here: the client's cool-down delays all requests.

    Args:
        may_repeat: Whether an error may be followed by another attempt.
        policy: How many attempts there are, and the delays between them.
        clock: A monotonic clock, in seconds.
        sleep: Waits for seconds.
        on_repeat: Called before each retry with the attempt's number, the delay in seconds and the error.
    """

    def now() -> float:
        return clock() - _queue_time.get()

    started = now()

    async def attempts(function: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        try:
            return await function(*args)
        except FoxAPIError as error:
            if not may_repeat(error):
                raise
            failed: FoxAPIError | None = error

        # A retry loop costs a tenth of a request, so it is made after the first failure only, and begins with it.
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
    """Return the seconds of a `Retry-After` header, or None where it is missing or invalid.

    Args:
        header: The header, which has a number of seconds or a date.
        now: The current time.
    """
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.replace(".", "", 1).isdigit():
        return min(float(text), _LONGEST_RETRY_AFTER)
    try:
        moment = parsedate_to_datetime(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        seconds = (moment - (now or datetime.now(UTC))).total_seconds()
    except (ArithmeticError, LookupError, TypeError, ValueError):
        # A year, a day or a zone out of range. The status alone still says that the request was refused.
        return None
    return min(max(0.0, seconds), _LONGEST_RETRY_AFTER)


# Results that version 0.1.0 stored name these classes by this path.
keep_stored_path(globals(), "prefect_foxapi.policies")
