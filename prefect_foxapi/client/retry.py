"""The one place that repeats HTTP requests: which failure may be repeated, and why.

- **Reads** (everything that costs nothing) repeat on network errors, 429, 5xx and unreadable bodies.
- **Submissions** are paid for. They repeat only where the contract says that nothing was accepted: after a 429, and
  where a connection was never established (contract §2). Everything else is final or ambiguous.
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

_in_line: ContextVar[float] = ContextVar("foxapi_in_line", default=0.0)


class RetryPolicy(PolicyModel):
    """How one HTTP request is repeated where that is safe (contract §5).

    Args:
        attempts: How often it is sent at most, the first time included.
        budget: Seconds from the first attempt after which none is begun, without those in line for a free connection.
        initial: Seconds before the second attempt; each later delay is twice as long.
        maximum: Seconds that a delay grows to.
        jitter: Which part of a delay is left to chance, from 0 to 1.
        retry_after_maximum: Seconds of a `Retry-After` that are honoured; a longer one is cut to this.
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
        """Seconds to wait after a failed attempt.

        Args:
            attempt: Which attempt failed, from 1.
            retry_after: Seconds that the answer asked for. Never less is waited, up to `retry_after_maximum`.
            random: Spreads those that failed together.
        """
        grown = min(self.initial * 2.0 ** min(attempt - 1, 60), self.maximum)
        if retry_after is None:
            return grown * (1 - self.jitter * random())
        return min(retry_after, self.retry_after_maximum) + self.initial * self.jitter * random()


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


# Results that version 0.1.0 stored name these classes by this path.
keep_stored_path(globals(), "prefect_foxapi.policies")
