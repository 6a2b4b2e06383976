"""Polls and lag of the poll policy beside fixed and exponential polling, by simulation with a stepped clock.

A poll takes no time. The lag is the time from the end of a generation to the poll that sees it.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from prefect_foxapi.client.poll_policy import Durations, PollPolicy, ProgressReading, next_delay

GENERATIONS = 20_000

NextDelay = Callable[[float, int, Sequence[ProgressReading]], float]
Progress = Callable[[float, float], float]


@dataclass(frozen=True)
class Outcome:
    """Means over all generations."""

    polls: float
    lag: float
    most_polls: int

    def __str__(self) -> str:
        return f"{self.polls:.2f} polls, {self.lag:.2f} s"


def silent(elapsed: float, duration: float) -> float:
    """A server that says nothing of progress."""
    return 0.0


def honest(elapsed: float, duration: float) -> float:
    """A server whose progress is linear, in whole per cents."""
    return math.floor(100 * elapsed / duration)


def log_normal(median: float, sigma: float, *, count: int = GENERATIONS, seed: int = 8) -> list[float]:
    """Durations in seconds, clipped to 0.4 to 180 s."""
    draw = random.Random(seed)
    return [min(max(draw.lognormvariate(math.log(median), sigma), 0.4), 180.0) for _ in range(count)]


def simulate(
    durations: Iterable[float],
    delay: NextDelay,
    *,
    progress: Progress = silent,
    seen: Callable[[float, float], None] = lambda finished, unfinished: None,
) -> Outcome:
    """Poll one generation after the other; `seen` is told when it was found finished, and unfinished before that."""
    polls = count = most = 0
    lag = 0.0
    for duration in durations:
        elapsed = 0.0
        readings: list[ProgressReading] = []
        while True:
            elapsed += delay(elapsed, len(readings), readings)
            if elapsed >= duration:
                break
            readings.append((elapsed, progress(elapsed, duration)))
        seen(elapsed, readings[-1][0] if readings else 0.0)
        polls += len(readings) + 1
        most = max(most, len(readings) + 1)
        lag += elapsed - duration
        count += 1
    return Outcome(polls / count, lag / count, most)


def adaptive(durations: Sequence[float], *, learns: bool, progress: Progress = silent, warm_up: int = 64) -> Outcome:
    """Our policy, with what it has learned from its own polls (`learns`), or as it is before that."""
    policy, duration_stats, draw = PollPolicy(), Durations(), random.Random(1)

    def delay(elapsed: float, polls: int, readings: Sequence[ProgressReading]) -> float:
        return next_delay(
            policy, elapsed=elapsed, progress=readings, duration_stats=duration_stats.of("model"), random=draw.random
        )

    def record(finished: float, unfinished: float) -> None:
        if learns:
            duration_stats.record("model", finished, unfinished_at=unfinished)

    if learns:
        simulate(durations[:warm_up], delay, progress=progress, seen=record)
    return simulate(durations, delay, progress=progress, seen=record)


def fixed(interval: float) -> NextDelay:
    """A poll every so many seconds."""
    return lambda elapsed, polls, readings: interval


def exponential(elapsed: float, polls: int, readings: Sequence[ProgressReading]) -> float:
    """1 s, doubled after each poll, up to 10 s."""
    return min(2.0**polls, 10.0)


def microseconds_per_call(calls: int = 20_000) -> tuple[float, float]:
    """CPU time of one `next_delay`, with a learned sample; and of one exponential delay."""
    duration_stats = Durations()
    for duration in log_normal(8, 0.8, count=64):
        duration_stats.record("model", duration)
    policy, sample, draw = PollPolicy(), duration_stats.of("model"), random.Random(1)
    started = time.process_time()
    for i in range(calls):
        next_delay(policy, elapsed=i % 20, progress=((1.0, 0.0),), duration_stats=sample, random=draw.random)
    between = time.process_time()
    for i in range(calls):
        exponential(i % 20, i % 5, ())
    return (between - started) / calls * 1e6, (time.process_time() - between) / calls * 1e6


def run() -> list[dict[str, str]]:
    """The rows of this benchmark: what, ours, baseline, ratio, target."""
    durations = log_normal(8, 0.8)
    baselines = {
        "fixed 5 s": simulate(durations, fixed(5)),
        "fixed 1 s": simulate(durations, fixed(1)),
        "exponential 1 s × 2 to 10 s": simulate(durations, exponential),
    }
    ours = (
        ("before learning", adaptive(durations, learns=False), "≤ 6 polls, ≤ 1.5 s"),
        ("after learning", adaptive(durations, learns=True), "≤ 6 polls, ≤ 1.0 s"),
        ("honest progress", adaptive(durations, learns=True, progress=honest), "≤ 6 polls, ≤ 0.5 s"),
    )
    rows = [
        _row(f"poll, median 8 s, {what}, beside {name}", outcome, baseline, target)
        for what, outcome, target in ours
        for name, baseline in baselines.items()
    ]
    for name, others in other_distributions().items():
        baseline = simulate(others, fixed(5))
        for what, learns in (("before learning", False), ("after learning", True)):
            rows.append(_row(f"poll, {name}, {what}, beside fixed 5 s", adaptive(others, learns=learns), baseline, ""))
    cost, plain = microseconds_per_call()
    cells = {"ours": f"{cost:.1f} µs", "baseline": f"{plain:.1f} µs", "ratio": f"{cost / plain:.0f}"}
    rows.append({"what": "next_delay, CPU", **cells, "target": "≤ 50 µs"})
    return rows


def other_distributions(count: int = 4_000) -> dict[str, list[float]]:
    """Durations unlike those that the policy was made for."""
    draw = random.Random(5)
    short, long = log_normal(2, 0.4, count=count, seed=2), log_normal(60, 0.3, count=count, seed=3)
    return {
        "median 2 s": log_normal(2, 0.8, count=count),
        "median 30 s": log_normal(30, 0.8, count=count),
        "median 90 s": log_normal(90, 0.5, count=count),
        "2 s or 60 s": [draw.choice(pair) for pair in zip(short, long, strict=True)],
        "always 8 s": [8.0] * count,
        "always 0.1 s": [0.1] * count,
    }


def _row(what: str, ours: Outcome, baseline: Outcome, target: str) -> dict[str, str]:
    ratio = f"{ours.polls / baseline.polls:.2f} polls, {ours.lag / baseline.lag:.2f} lag"
    return {"what": what, "ours": str(ours), "baseline": str(baseline), "ratio": ratio, "target": target}


if __name__ == "__main__":
    for row in run():
        print(" | ".join(row.values()))
