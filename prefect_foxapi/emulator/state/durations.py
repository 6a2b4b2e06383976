"""How long a generation takes."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from typing import Any

Duration = Callable[[str, Mapping[str, Any]], float]
"""Seconds that a generation takes, given its model and its body."""


class Fixed:
    """Always the same, but for jitter.

    Args:
        seconds: How long.
        jitter: By how much it varies, as a share of `seconds`: 0.5 means from half as long to half as long again.
        seed: Makes the jitter repeatable.
    """

    def __init__(self, seconds: float, *, jitter: float = 0.0, seed: int = 0) -> None:
        if seconds < 0 or not 0 <= jitter <= 1:
            raise ValueError("seconds must be 0 or more, and jitter between 0 and 1")
        self._seconds = seconds
        self._jitter = jitter
        self._random = random.Random(seed)  # noqa: S311

    def __call__(self, model: str, body: Mapping[str, Any]) -> float:
        return self._seconds * (1 + self._random.uniform(-self._jitter, self._jitter))


class LogNormal:
    """Like production: mostly short, with a long tail.

    Args:
        median: Seconds that half of the generations stay below.
        sigma: Spread of the logarithm.
        low: Seconds that none stays below.
        high: Seconds that none exceeds.
        seed: Makes the durations repeatable.
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
        return min(self._high, max(self._low, self._random.lognormvariate(math.log(self._median), self._sigma)))


def parse_duration(text: str, *, jitter: float = 0.0, seed: int = 0) -> Duration:
    """Read a duration from the command line: `2.5` (seconds) or `lognormal:MEDIAN[:SIGMA[:LOW[:HIGH]]]`.

    Raises:
        ValueError: The text is neither.
    """
    name, *numbers = text.split(":")
    if name == "lognormal" and 1 <= len(numbers) <= 4:
        given = [float(number) for number in numbers]
        median, sigma, low, high = given + [1.0, 0.8, 0.0, math.inf][len(given) :]
        return LogNormal(median, sigma, low=low, high=high, seed=seed)
    return Fixed(float(text), jitter=jitter, seed=seed)
