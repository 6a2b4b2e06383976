"""Durations of generations."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from typing import Any

Duration = Callable[[str, Mapping[str, Any]], float]
"""Returns the duration of a generation in seconds, given the model and the body."""


class Fixed:
    """A fixed duration with optional jitter.

    Args:
        seconds: The duration.
        jitter: The maximum deviation as a share of `seconds`: 0.5 gives durations from 50 % to 150 %.
        seed: The seed of the jitter.

    Raises:
        ValueError: `seconds` is negative, or `jitter` is not between 0 and 1.
    """

    def __init__(self, seconds: float, *, jitter: float = 0.0, seed: int = 0) -> None:
        if seconds < 0 or not 0 <= jitter <= 1:
            raise ValueError("seconds must be 0 or more, and jitter between 0 and 1")
        self._seconds = seconds
        self._jitter = jitter
        self._random = random.Random(seed)  # noqa: S311

    def __call__(self, model: str, body: Mapping[str, Any]) -> float:
        """Return the duration of a generation in seconds."""
        return self._seconds * (1 + self._random.uniform(-self._jitter, self._jitter))


class LogNormal:
    """Log-normally distributed durations: mostly short, with a long tail, as in production.

    Args:
        median: The median in seconds.
        sigma: The standard deviation of the logarithm.
        low: The minimum in seconds.
        high: The maximum in seconds.
        seed: The seed of the durations.

    Raises:
        ValueError: `median` is not above 0, or `sigma` is negative.
    """

    def __init__(
        self, median: float, sigma: float = 0.8, *, low: float = 0.0, high: float = math.inf, seed: int = 0
    ) -> None:
        if median <= 0 or sigma < 0:
            raise ValueError("median must be above 0, and sigma 0 or more")
        self._median = median
        self._sigma = sigma
        self._low = low
        self._high = high
        self._random = random.Random(seed)  # noqa: S311

    def __call__(self, model: str, body: Mapping[str, Any]) -> float:
        """Return the duration of a generation in seconds."""
        return min(self._high, max(self._low, self._random.lognormvariate(math.log(self._median), self._sigma)))


def parse_duration(text: str, *, jitter: float = 0.0, seed: int = 0) -> Duration:
    """Return the duration that a command-line option describes.

    Args:
        text: Seconds, such as `2.5`, or `lognormal:MEDIAN[:SIGMA[:LOW[:HIGH]]]`.
        jitter: The jitter of a fixed duration.
        seed: The seed of the durations.

    Raises:
        ValueError: `text` is invalid.
    """
    name, *numbers = text.split(":")
    if name == "lognormal" and 1 <= len(numbers) <= 4:
        given = [float(number) for number in numbers]
        median, sigma, low, high = given + [1.0, 0.8, 0.0, math.inf][len(given) :]
        return LogNormal(median, sigma, low=low, high=high, seed=seed)
    return Fixed(float(text), jitter=jitter, seed=seed)
