"""The delays between polls, as pure functions of a policy, the elapsed time and learned durations."""

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
"""The progress of an unfinished generation: seconds since its submission, and its progress from 0 to 100."""


class PollPolicy(PolicyModel):
    """How often an unfinished generation is polled.

    Args:
        minimum: Minimum seconds between two polls.
        maximum: Maximum seconds between two polls.
        interval: Seconds of a fixed interval, which replaces `minimum` and `maximum`. By default the interval adapts
            to the durations of earlier generations; see `next_delay`.

    `next_delay` gives the delay before each poll, the first one included. A generation that was submitted earlier,
    by this process or another one, is polled at once by `GenerationWaiter`.

    Example:
        PollPolicy(maximum=30)  # adaptive, at most 30 s late
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
    """Durations of a model's generations.

    Attributes:
        seconds: The durations, sorted; at least one.
        center: The median of their logarithms.
        spread: Their standard deviation on the logarithmic scale, which is larger for small samples.
    """

    seconds: tuple[float, ...]
    center: float
    spread: float

    @classmethod
    def of(cls, durations: Sequence[float]) -> Self:
        """Return the log-normal distribution of durations, estimated from quantiles, which are robust to outliers.

        Args:
            durations: Seconds; at least one.
        """
        ordered = tuple(sorted(durations))
        logs = [math.log(value) for value in ordered]
        spread = (_quantile(logs, 0.84) - _quantile(logs, 0.16)) / 2
        return cls(ordered, _quantile(logs, 0.5), math.hypot(spread, _PRIOR_SPREAD / math.sqrt(len(ordered))))


@dataclass
class _History:
    recent: deque[float]
    sample: DurationSample | None = None


class Durations:
    """The last durations of each model's generations in this process. Thread-safe.

    Args:
        sample_size: How many durations are kept for a model.
        models: How many models are kept: those that were used last.
    """

    def __init__(self, *, sample_size: int = 64, models: int = 256) -> None:
        self._sample_size = sample_size
        self._lock = Lock()
        self._histories: LRUCache[str, _History] = LRUCache(models)

    def record(self, model: str, seconds: float, *, unfinished_at: float | None = None) -> None:
        """Record the duration of a generation. A number that is not a duration is ignored.

        Args:
            model: The generation's model.
            seconds: When a poll found it finished, in seconds since its submission.
            unfinished_at: When the poll before found it unfinished. The middle of both is recorded: otherwise late
                polls would be learned as long durations, which would delay later polls even more.
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
        """Return the durations of a model, or None where there are none.

        Args:
            model: The model.
        """
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
    """Return the seconds until the next poll of an unfinished generation.

    A delay of d seconds makes the result late by d / 2 on average, if the generation ends within it. The probability
    of that comes from a log-normal distribution of durations: the learned sample, blended with a broad prior whose
    weight falls as the sample grows. The delay is the d at which the expected lateness equals the price of one poll
    (`_POLL_PRICE`). So polls are frequent where the generation is likely to end, and rare after it has taken longer
    than all others. Where `progress` has moved between the last two polls, the delay lasts to the end that it predicts,
    but at most `_PROGRESS_REACH` times as long as without it: wrong progress costs a few polls or seconds only.

    Args:
        policy: Limits, or a fixed interval.
        elapsed: Seconds since the submission.
        progress: The readings of the polls so far, oldest first. The last two are used.
        duration_stats: Learned durations of the model, or None.
        random: Spreads the polls of waits that started at the same moment.
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
    """Return the seconds until the next poll of a generation that is completed and has no results yet.

    Args:
        policy: Limits, or a fixed interval.
        since: Seconds since a poll first found it completed. The delay grows with them.
        random: Spreads the polls of waits that started at the same moment.
    """
    return _within(policy, policy.interval or since / 2, random)


# Seconds of lateness that one poll is worth. A lower price means more polls and less lateness.
_POLL_PRICE = 0.23
_PROGRESS_REACH = 3.0
_JITTER = 0.2

# The prior: half of all generations take longer than this, one in six longer than three times as long.
_PRIOR_CENTER = math.log(8.0)
_PRIOR_SPREAD = 1.1
# The prior counts as one generation. It keeps a weight, since it also covers durations far beyond the sample.
_PRIOR_WEIGHT = 1.0

_BISECTIONS = 8


def _within(policy: PollPolicy, delay: float, random: Random) -> float:
    """Return the delay within the policy's limits, shortened at random by up to a fifth."""
    low, high = (0.0, policy.interval) if policy.interval is not None else (policy.minimum, policy.maximum)
    return max(min(delay, high) * (1 - _JITTER * random()), low)


def _optimal_delay(elapsed: float, duration_stats: DurationSample | None, low: float, high: float) -> float:
    """Return the delay d for which d / 2 times the cumulated hazard over d is the price of a poll.

    The density of the optimal polls is the square root of the hazard.
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
    """Return the probability that a generation takes longer than `elapsed` seconds."""
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
    """Return when progress reaches 100 at the rate of the last two readings, or None."""
    if not progress:
        return None
    then, before = progress[-2] if len(progress) > 1 else (0.0, 0.0)
    now, after = progress[-1]
    if not (before < after < 100 and then < now):
        return None
    # Progress is rounded to whole per cent, so the real step can be smaller by almost one.
    return now + (100 - after) * (now - then) / max(after - before - 1, 0.5)


def _quantile(ordered: Sequence[float], part: float) -> float:
    position = part * (len(ordered) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


# Results that version 0.1.0 stored name these classes by this path.
keep_stored_path(globals(), "prefect_foxapi.policies")
