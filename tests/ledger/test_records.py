"""What a submission says about itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from prefect_foxapi.ledger import State, Submission
from tests.support.factories import ACCOUNT, BASE_URL, claimant

NOW = 1_800_000_000.0
ROW = Submission(
    key="key",
    token="token",
    attempt=1,
    state=State.SUBMITTING,
    kind="llm",
    account=ACCOUNT,
    base_url=BASE_URL,
    model="gpt-5.5",
    generation_id="gen-1",
    claimant=claimant(),
    claimed_at=NOW - 60,
    deadline=NOW,
    finished_at=NOW - 30,
    expires_at=NOW + 10,
)


@pytest.mark.parametrize("state", State)
def test_only_a_submission_without_an_answer_becomes_overdue(state: State) -> None:
    row = replace(ROW, state=state)
    assert row.is_overdue(NOW) == (state is State.SUBMITTING)
    assert not row.is_overdue(NOW - 0.001)


@pytest.mark.parametrize("state", State)
def test_a_key_is_claimable_after_a_failure_and_without_an_answer(state: State) -> None:
    claimable = {State.FAILED, State.AMBIGUOUS}
    row = replace(ROW, state=state)
    assert row.is_claimable(NOW - 0.001) == (state in claimable)
    assert row.is_claimable(NOW) == (state in {*claimable, State.SUBMITTING})


@pytest.mark.parametrize(
    ("now", "max_age", "fresh"),
    [(NOW, None, True), (NOW, 30.001, True), (NOW, 30, False), (NOW + 9.999, None, True), (NOW + 10, None, False)],
)
def test_a_result_is_claimable_when_it_is_out_of_date(now: float, max_age: float | None, fresh: bool) -> None:
    row = replace(ROW, state=State.COMPLETED)
    assert row.fresh(now, max_age) == fresh
    assert row.is_claimable(now, max_age) != fresh
