"""Delays before the next attempt and the next poll, with a stepped clock and numbers that are not random."""

from __future__ import annotations

import math
import random
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from prefect_foxapi.client.poll_policy import (
    Durations,
    DurationSample,
    PollPolicy,
    ProgressReading,
    delay_for_results,
    next_delay,
)
from prefect_foxapi.client.retry import RetryPolicy
from tests.benchmarks.poll_policy import (
    Progress,
    adaptive,
    exponential,
    fixed,
    honest,
    log_normal,
    other_distributions,
    silent,
    simulate,
)


def lowest() -> float:
    return 0.0


def highest() -> float:
    return math.nextafter(1.0, 0.0)


# Repeating


def test_delays_between_attempts_double_up_to_a_limit() -> None:
    policy = RetryPolicy(initial=0.5, maximum=3.0)
    assert [policy.delay(attempt, None, lowest) for attempt in (1, 2, 3, 4, 9, 10_000)] == [0.5, 1, 2, 3, 3, 3]


def test_jitter_takes_its_part_of_a_delay() -> None:
    policy = RetryPolicy(initial=1.0, jitter=0.5)
    assert policy.delay(1, None, highest) == pytest.approx(0.5)
    assert RetryPolicy(initial=1.0, jitter=0).delay(1, None, highest) == 1.0


@pytest.mark.parametrize(("asked", "least"), [(0.0, 0.0), (7.0, 7.0), (61.0, 60.0), (math.inf, 60.0)])
def test_retry_after_is_honoured_up_to_its_limit(asked: float, least: float) -> None:
    policy = RetryPolicy(initial=1.0, jitter=0.5, retry_after_maximum=60.0)
    assert policy.delay(5, asked, lowest) == least
    # Those that were refused together do not come back together, and none comes back early.
    assert least < policy.delay(5, asked, highest) <= least + 0.5


@pytest.mark.parametrize(
    ("fields", "location", "error"),
    [
        ({"initial": 30.0}, (), "value_error"),
        ({"attempts": 0}, ("attempts",), "greater_than_equal"),
        ({"budget": math.inf}, ("budget",), "finite_number"),
        ({"jitter": 1.1}, ("jitter",), "less_than_equal"),
        ({"retries": 3}, ("retries",), "extra_forbidden"),
    ],
)
def test_a_retry_policy_that_cannot_work_is_refused(
    fields: dict[str, float], location: tuple[str, ...], error: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        RetryPolicy.model_validate(fields)
    assert [(item["loc"], item["type"]) for item in caught.value.errors()] == [(location, error)]


@pytest.mark.parametrize(
    ("fields", "location", "error"),
    [
        ({"minimum": 20.0}, (), "value_error"),
        ({"minimum": 0}, ("minimum",), "greater_than"),
        ({"maximum": math.nan}, ("maximum",), "finite_number"),
        ({"interval": -1}, ("interval",), "greater_than"),
    ],
)
def test_a_poll_policy_that_cannot_work_is_refused(
    fields: dict[str, float], location: tuple[str, ...], error: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        PollPolicy.model_validate(fields)
    assert [(item["loc"], item["type"]) for item in caught.value.errors()] == [(location, error)]


# What is learned


def sample_of(*durations: float) -> DurationSample:
    duration_stats = Durations()
    for duration in durations:
        duration_stats.record("model", duration)
    sample = duration_stats.of("model")
    assert sample is not None
    return sample


def test_a_sample_is_sorted_kept_apart_by_model_and_the_same_until_something_is_recorded() -> None:
    duration_stats = Durations()
    for seconds in (3.0, 1.0, 2.0):
        duration_stats.record("a", seconds)
    duration_stats.record("b", 9.0)
    before = duration_stats.of("a")
    assert before is not None
    assert before.seconds == (1.0, 2.0, 3.0)
    assert duration_stats.of("a") is before
    duration_stats.record("a", 4.0)
    after = duration_stats.of("a")
    assert after is not None
    assert (before.seconds, after.seconds) == ((1.0, 2.0, 3.0), (1.0, 2.0, 3.0, 4.0))
    assert duration_stats.of("c") is None


def test_only_the_last_durations_of_the_last_models_are_remembered() -> None:
    duration_stats = Durations(sample_size=3, models=2)
    for seconds in (1.0, 2.0, 3.0, 4.0):
        duration_stats.record("a", seconds)
    duration_stats.record("b", 1.0)
    assert duration_stats.of("b") is not None
    duration_stats.record("a", 5.0)
    duration_stats.record("c", 1.0)
    sample = duration_stats.of("a")
    assert sample is not None
    assert sample.seconds == (3.0, 4.0, 5.0)
    assert duration_stats.of("b") is None
    assert duration_stats.of("c") is not None


def test_an_end_that_nobody_saw_is_learned_as_the_middle_between_two_polls() -> None:
    duration_stats = Durations()
    duration_stats.record("model", 10.0, unfinished_at=6.0)
    sample = duration_stats.of("model")
    assert sample is not None
    assert sample.seconds == (8.0,)


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.inf, math.nan])
def test_what_cannot_be_a_duration_is_not_learned(seconds: float) -> None:
    duration_stats = Durations()
    duration_stats.record("model", seconds)
    assert duration_stats.of("model") is None


def test_threads_may_learn_together() -> None:
    duration_stats = Durations(sample_size=10, models=3)

    def work(seed: int) -> None:
        draw = random.Random(seed)
        for _ in range(2_000):
            duration_stats.record(f"model {draw.randrange(6)}", draw.uniform(1, 9))
            sample = duration_stats.of(f"model {draw.randrange(6)}")
            assert sample is None or len(sample.seconds) <= 10

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert sum(duration_stats.of(f"model {i}") is not None for i in range(6)) == 3


def test_a_log_normal_sample_is_described_by_its_median_and_spread() -> None:
    draw = random.Random(3)
    sample = DurationSample.of([draw.lognormvariate(math.log(20), 0.5) for _ in range(5_000)])
    assert math.exp(sample.center) == pytest.approx(20, rel=0.05)
    assert sample.spread == pytest.approx(0.5, rel=0.05)


def test_few_durations_are_believed_less_than_many_and_an_outlier_not_at_all() -> None:
    assert sample_of(8.0).spread > sample_of(*[8.0] * 8).spread > sample_of(*[8.0] * 64).spread > 0.1
    assert sample_of(*[8.0] * 63, 100_000.0).spread == pytest.approx(sample_of(*[8.0] * 64).spread)


# Polls and lag: the targets


@pytest.fixture(scope="module")
def durations() -> list[float]:
    return log_normal(8, 0.8)


@pytest.mark.parametrize(
    ("learns", "progress", "lag"),
    [(False, silent, 1.5), (True, silent, 1.0), (True, honest, 0.5), (False, honest, 0.5)],
)
def test_few_polls_see_the_end_soon(durations: list[float], learns: bool, progress: Progress, lag: float) -> None:
    outcome = adaptive(durations, learns=learns, progress=progress)
    assert outcome.polls <= 6
    assert outcome.lag <= lag


def test_the_simulation_agrees_with_what_is_known_of_fixed_and_exponential_polling(durations: list[float]) -> None:
    five, growing = simulate(durations, fixed(5)), simulate(durations, exponential)
    assert (five.polls, five.lag) == (pytest.approx(2.7, abs=0.05), pytest.approx(2.46, abs=0.05))
    assert (growing.polls, growing.lag) == (pytest.approx(3.8, abs=0.05), pytest.approx(3.7, abs=0.05))


OTHERS = other_distributions(2_000)


@pytest.mark.parametrize("learns", [False, True])
@pytest.mark.parametrize("name", OTHERS)
def test_no_durations_are_served_much_worse_than_by_polling_every_five_seconds(name: str, learns: bool) -> None:
    outcome = adaptive(OTHERS[name], learns=learns)
    baseline = simulate(OTHERS[name], fixed(5))
    assert outcome.lag <= 1.3 * baseline.lag
    assert outcome.polls <= 2 * baseline.polls + 2
    assert outcome.most_polls <= 120


LIES: dict[str, Progress] = {
    "stuck at 99": lambda elapsed, duration: 99,
    "50 for ever": lambda elapsed, duration: 50 if elapsed > duration / 10 else 0,
    "never above 20": lambda elapsed, duration: 20 * elapsed / duration,
    "99 from a third on": lambda elapsed, duration: min(99, math.floor(300 * elapsed / duration)),
    "anything": lambda elapsed, duration: math.floor(elapsed * 7919) % 100,
    "falling": lambda elapsed, duration: -elapsed,
    "far above 100": lambda elapsed, duration: 1e9 * elapsed,
    "not a number": lambda elapsed, duration: math.nan,
}


@pytest.mark.parametrize("lie", LIES)
def test_progress_that_lies_costs_little(lie: str) -> None:
    some = log_normal(8, 0.8, count=3_000)
    truthful, fooled = adaptive(some, learns=True), adaptive(some, learns=True, progress=LIES[lie])
    assert fooled.polls <= truthful.polls + 1
    assert fooled.lag <= 3 * truthful.lag


# One delay


def test_the_first_poll_waits_until_the_generation_can_be_done() -> None:
    duration_stats = sample_of(*[60.0 + i % 7 for i in range(64)])
    policy = PollPolicy(maximum=300)
    assert 20 < next_delay(policy, elapsed=0, duration_stats=duration_stats, random=lowest) < 66
    assert next_delay(policy, elapsed=0, random=lowest) < 6


def test_polls_are_densest_where_the_end_is_likely() -> None:
    duration_stats = sample_of(*[60.0 + i % 7 for i in range(64)])
    delays = [
        next_delay(PollPolicy(maximum=300), elapsed=at, duration_stats=duration_stats, random=lowest)
        for at in (20, 60, 600)
    ]
    assert delays[1] < delays[0] / 3
    assert delays[1] < delays[2] / 3


def test_progress_that_moves_points_to_the_end() -> None:
    policy = PollPolicy(minimum=0.1)
    readings: list[ProgressReading] = [(2.0, 20), (5.0, 50)]
    # Ten per cent a second, or a little less: progress is told in whole per cents.
    assert 5.1 < next_delay(policy, elapsed=5, progress=readings, random=highest) < 5.3
    # The beginning is a reading, too.
    assert next_delay(policy, elapsed=9, progress=[(9.0, 90)], random=highest) == pytest.approx(1.0, abs=0.1)


def test_progress_never_holds_a_poll_back_for_long() -> None:
    policy = PollPolicy(maximum=100)
    without = next_delay(policy, elapsed=5, random=lowest)
    held_back = next_delay(policy, elapsed=5, progress=[(3.0, 1), (5.0, 2)], random=lowest)
    assert held_back == pytest.approx(3 * without)


@pytest.mark.parametrize("last", [(5.0, 40), (5.0, 30), (5.0, 100), (4.0, 50)])
def test_progress_that_does_not_move_says_nothing(last: ProgressReading) -> None:
    told = next_delay(PollPolicy(), elapsed=5, progress=[(4.0, 40), last], random=lowest)
    assert told == next_delay(PollPolicy(), elapsed=5, random=lowest)


def test_an_end_that_has_passed_says_nothing() -> None:
    told = next_delay(PollPolicy(), elapsed=20, progress=[(2.0, 90)], random=lowest)
    assert told == next_delay(PollPolicy(), elapsed=20, random=lowest)


def test_clocks_that_disagree_do_no_harm() -> None:
    assert next_delay(PollPolicy(), elapsed=-9, random=lowest) == next_delay(PollPolicy(), elapsed=0, random=lowest)


@pytest.mark.parametrize("elapsed", [1e4, 1e9, 1e300, math.inf])
def test_a_generation_that_takes_longer_than_any_other_is_still_asked_for(elapsed: float) -> None:
    duration_stats = sample_of(*[8.0] * 64)
    assert (
        next_delay(PollPolicy(), elapsed=elapsed, duration_stats=duration_stats, random=lowest) == PollPolicy().maximum
    )


def test_a_fixed_interval_is_kept() -> None:
    policy = PollPolicy(interval=30)
    duration_stats = sample_of(1.0)
    for elapsed in (0, 1, 10_000):
        assert (
            next_delay(policy, elapsed=elapsed, progress=[(1.0, 99)], duration_stats=duration_stats, random=lowest)
            == 30
        )
    assert delay_for_results(policy, since=0.1, random=lowest) == 30


def test_a_thousand_waits_that_begin_together_fall_out_of_step() -> None:
    draw = random.Random(1)
    for policy in (PollPolicy(), PollPolicy(interval=5)):
        first = [next_delay(policy, elapsed=0, random=draw.random) for _ in range(1_000)]
        longest = max(first)
        in_one_tenth = max(sum(low <= x < low + longest / 10 for x in first) for low in first)
        assert in_one_tenth < 600
        assert min(first) >= 0.79 * longest


def test_results_that_are_late_are_asked_for_ever_more_seldom() -> None:
    policy = PollPolicy(minimum=0.5, maximum=4)
    assert [delay_for_results(policy, since=since, random=lowest) for since in (0, 2, 6, 60)] == [0.5, 1, 3, 4]
    assert delay_for_results(policy, since=6, random=highest) == pytest.approx(2.4)


seconds = st.floats(0.001, 1e6)


@settings(deadline=None)
@example(limits=[1.0, 1e300], elapsed=1e15, progress=[], durations=[], number=0.5)
@given(
    limits=st.tuples(seconds, seconds).map(sorted),
    elapsed=st.floats(-10),
    progress=st.lists(st.tuples(st.floats(0, 1e9), st.floats()), max_size=3),
    durations=st.lists(st.floats(1e-9, 1e9), max_size=70),
    number=st.floats(0, 1, exclude_max=True),
)
def test_every_delay_is_within_its_limits(
    limits: list[float], elapsed: float, progress: list[ProgressReading], durations: list[float], number: float
) -> None:
    policy = PollPolicy(minimum=limits[0], maximum=limits[1])
    duration_stats = DurationSample.of(durations) if durations else None
    delay = next_delay(policy, elapsed=elapsed, progress=progress, duration_stats=duration_stats, random=lambda: number)
    assert policy.minimum <= delay <= policy.maximum
    assert policy.minimum <= delay_for_results(policy, since=max(elapsed, 0), random=lambda: number) <= policy.maximum
