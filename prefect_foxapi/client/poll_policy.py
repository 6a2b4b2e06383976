"""How long to wait before the next attempt or the next poll: frozen policies and pure functions.

Nothing here sleeps, reads a clock or draws a random number by itself: the callers hand these in.
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Self

from cachetools import LRUCache
from pydantic import model_validator

from prefect_foxapi.compatibility import keep_stored_path
from prefect_foxapi.models.base import PolicyModel, Random, Seconds

ProgressReading = tuple[float, float]
"""A poll that found a generation unfinished: seconds since it was submitted, and its progress from 0 to 100."""


class PollPolicy(PolicyModel):
    """How often an unfinished generation is asked for.

    Args:
        minimum: Seconds that lie between two polls at least.
        maximum: Seconds that lie between two polls at most.
        interval: Poll at this fixed interval in seconds; `minimum` and `maximum` then count for nothing.
            By default the delay adapts; see `next_delay`.

    Example:
        PollPolicy(maximum=30)  # adaptive, and never more than 30 s late
        PollPolicy(interval=5)  # every five seconds
    """

    minimum: Seconds = 0.25
    maximum: Seconds = 15.0
    interval: Seconds | None = None

    @model_validator(mode="after")
    def _limits_in_order(self) -> Self:
        if self.minimum > self.maximum:
            raise ValueError(
                f"minimum ({self.minimum} s) is above maximum ({self.maximum} s): lower it, raise maximum, "
                "or give a fixed interval instead"
            )
        return self


@dataclass(frozen=True)
class DurationSample:
    """How long some generations of a model took.

    Attributes:
        seconds: The durations, sorted; at least one.
        center: The median of their logarithms.
        spread: Their standard deviation on the logarithmic scale, wider the fewer there are.
    """

    seconds: tuple[float, ...]
    center: float
    spread: float

    @classmethod
    def of(cls, durations: Sequence[float]) -> Self:
        """Describe durations in seconds by a log-normal distribution; by quantiles, which outliers do not move."""
        ordered = tuple(sorted(durations))
        logs = [math.log(value) for value in ordered]
        spread = (_quantile(logs, 0.84) - _quantile(logs, 0.16)) / 2
        return cls(ordered, _quantile(logs, 0.5), math.hypot(spread, _PRIOR_SPREAD / math.sqrt(len(ordered))))


@dataclass
class _History:
    recent: deque[float]
    sample: DurationSample | None = None


class Durations:
    """What this process has learned of how long generations take: the last few of each model. Thread-safe.

    Args:
        sample_size: How many durations are remembered for a model.
        models: How many models are remembered.
    """

    def __init__(self, *, sample_size: int = 64, models: int = 256) -> None:
        self._sample_size = sample_size
        self._lock = Lock()
        self._histories: LRUCache[str, _History] = LRUCache(models)

    def record(self, model: str, seconds: float, *, unfinished_at: float | None = None) -> None:
        """Remember how long a generation took; what cannot be a duration is passed over.

        Args:
            model: Its model.
            seconds: When it was seen to be finished, in seconds since its submission.
            unfinished_at: When the poll before that saw it unfinished. It ended in between, and the middle is
                remembered: else late polls would be learned as long generations, and make later polls later still.
        """
        if unfinished_at is not None:
            seconds = (unfinished_at + seconds) / 2
        if not 0 < seconds < math.inf:
            return
        with self._lock:
            history = self._histories.get(model)
            if history is None:
                history = self._histories[model] = _History(deque(maxlen=self._sample_size))
            history.recent.append(seconds)
            history.sample = None

    def of(self, model: str) -> DurationSample | None:
        """Return what is known of a model, or None."""
        with self._lock:
            history = self._histories.get(model)
            if history is None:
                return None
            if history.sample is None:
                history.sample = DurationSample.of(history.recent)
            return history.sample


def next_delay(
    policy: PollPolicy,
    *,
    elapsed: float,
    progress: Sequence[ProgressReading] = (),
    duration_stats: DurationSample | None = None,
    random: Random,
) -> float:
    """Seconds until the next poll of a generation that is not finished yet.

    Waiting for d seconds makes the result late by about d / 2, if it came meanwhile; the chance of that follows from
    how long generations take: log-normally, by the learned sample blended with a broad prior guess that fades as the
    sample grows. The delay is the d at which this expected lateness has risen to the price of one poll
    (`_POLL_PRICE`). So the first poll comes when the generation may be done, polls are dense where it is likely to
    end, and grow sparse when it has taken longer than any other. Where `progress` has moved since the reading before,
    the delay instead lasts to the end that it points to, but no more than `_PROGRESS_REACH` times as long as it would
    have been: progress that lies (0 all the time, stuck at 99) costs a few polls or seconds and no more.

    Args:
        policy: Limits, or a fixed interval.
        elapsed: Seconds since the generation was submitted. Who takes over one that was submitted by somebody else
            polls once first.
        progress: What the polls so far have read, oldest first; the last two count.
        learned: What is known of how long the model takes.
        random: Keeps waits that began together from moving in step.
    """
    if policy.interval is not None:
        return _within(policy, policy.interval, random)
    elapsed = max(elapsed, 0.0)
    delay = _optimal_delay(elapsed, duration_stats, policy.minimum, policy.maximum)
    end = _end_by_progress(progress)
    if end is not None and end > elapsed:
        # Without jitter: it would mean polling right before the end. Readings differ enough to spread the waits.
        return max(min(end - elapsed, delay * _PROGRESS_REACH, policy.maximum), policy.minimum)
    return _within(policy, delay, random)


def delay_for_results(policy: PollPolicy, *, since: float, random: Random) -> float:
    """Seconds until the next poll of a generation that is completed but has no results yet (contract §3).

    Args:
        policy: Limits, or a fixed interval.
        since: Seconds since it was first seen as completed; the delay grows along.
        random: Keeps waits that began together from moving in step.
    """
    return _within(policy, policy.interval or since / 2, random)


# Seconds of waiting for nothing that one poll is worth. A lower price means more polls and less lag.
_POLL_PRICE = 0.23
_PROGRESS_REACH = 3.0
_JITTER = 0.2

# Before anything is learned: half of all generations take more than this, one in six more than three times it.
_PRIOR_CENTER = math.log(8.0)
_PRIOR_SPREAD = 1.1
# The prior counts for one generation. It never goes wholly, since it also speaks for what is far beyond the sample.
_PRIOR_WEIGHT = 1.0

_BISECTIONS = 8


def _within(policy: PollPolicy, delay: float, random: Random) -> float:
    """The delay within the policy's limits, up to a fifth shorter so that waits begun together fall out of step."""
    low, high = (0.0, policy.interval) if policy.interval is not None else (policy.minimum, policy.maximum)
    return max(min(delay, high) * (1 - _JITTER * random()), low)


def _optimal_delay(elapsed: float, duration_stats: DurationSample | None, low: float, high: float) -> float:
    """The delay d with d / 2 · (chance that the generation ends within it, given that it has not yet) = the price.

    The chance is taken as the cumulated hazard, so that intervals compare with the optimal ones, whose density is
    the square root of the hazard.
    """
    now = _survival(elapsed, duration_stats)
    if now <= 0.0:
        return high

    def worth(delay: float) -> bool:
        then = _survival(elapsed + delay, duration_stats)
        return then <= 0.0 or delay / 2 * math.log(now / then) >= _POLL_PRICE

    if not worth(high):
        return high
    if worth(low):
        return low
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (low, middle) if worth(middle) else (middle, high)
    return high


def _survival(elapsed: float, duration_stats: DurationSample | None) -> float:
    """The chance that a generation takes longer than `elapsed` seconds."""
    if elapsed <= 0.0:
        return 1.0
    log = math.log(elapsed)
    guessed = math.erfc((log - _PRIOR_CENTER) / (_PRIOR_SPREAD * math.sqrt(2))) / 2
    if duration_stats is None:
        return guessed
    known = math.erfc((log - duration_stats.center) / (duration_stats.spread * math.sqrt(2))) / 2
    weight = _PRIOR_WEIGHT / (_PRIOR_WEIGHT + len(duration_stats.seconds))
    return weight * guessed + (1 - weight) * known


def _end_by_progress(progress: Sequence[ProgressReading]) -> float | None:
    """When progress will surely have reached 100 if it goes on as it did between the last two readings."""
    if not progress:
        return None
    then, before = progress[-2] if len(progress) > 1 else (0.0, 0.0)
    now, after = progress[-1]
    if not (before < after < 100 and then < now):
        return None
    # Progress is told in whole per cents: the real step can be almost one smaller.
    return now + (100 - after) * (now - then) / max(after - before - 1, 0.5)


def _quantile(ordered: Sequence[float], part: float) -> float:
    position = part * (len(ordered) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


# Results that version 0.1.0 stored name these classes by this path.
keep_stored_path(globals(), "prefect_foxapi.policies")
