"""Submissions under every fault rule of the emulator, counted in its books: none is sent again that may be billed."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from prefect_foxapi.client.retry import RetryPolicy
from prefect_foxapi.client.waiter import GenerationWaiter
from prefect_foxapi.emulator import Emulator
from prefect_foxapi.emulator.state.faults import FaultKind
from prefect_foxapi.errors import AmbiguousSubmission, FoxAPIError, InsufficientCredits, UnreadableResponse
from tests.conftest import API_KEY, MakeClient
from tests.support.clocks import RunningClock

BODY = {"model": "gpt-5.5", "messages": [{"role": "user", "content": "count 1 to 3"}]}
# The rule, what the submission comes to, how often it is sent, and how often it is billed.
RULES: list[tuple[dict[str, Any], type[FoxAPIError] | None, int, int]] = [
    ({"kind": "status", "status": 429, "count": 2}, None, 3, 1),
    ({"kind": "status", "status": 429, "retry_after": 1, "count": 1}, None, 2, 1),
    ({"kind": "status", "status": 402}, InsufficientCredits, 1, 0),
    ({"kind": "status", "status": 500}, AmbiguousSubmission, 1, 0),
    ({"kind": "status", "status": 503}, AmbiguousSubmission, 1, 0),
    ({"kind": "status", "status": 502, "processed": True}, AmbiguousSubmission, 1, 1),
    ({"kind": "cdn_403"}, UnreadableResponse, 1, 0),
    ({"kind": "reset_before"}, AmbiguousSubmission, 1, 0),
    ({"kind": "reset_after"}, AmbiguousSubmission, 1, 1),
    ({"kind": "truncated"}, None, 1, 1),
    ({"kind": "hang", "seconds": 5, "processed": True}, AmbiguousSubmission, 1, 1),
    ({"kind": "hang", "seconds": 5, "processed": False}, AmbiguousSubmission, 1, 0),
    ({"kind": "delay", "seconds": 0.1}, None, 1, 1),
    ({"kind": "late_results", "seconds": 0.1}, None, 1, 1),
    ({"kind": "fail", "code": "upstream_error", "message": "no luck"}, None, 1, 1),
]
LATER: list[dict[str, Any]] = [
    {"kind": "status", "status": 429, "endpoint": "task"},
    {"kind": "status", "status": 500, "endpoint": "task"},
    {"kind": "cdn_403", "endpoint": "task"},
    {"kind": "reset_before", "endpoint": "task"},
    {"kind": "truncated", "endpoint": "task"},
    {"kind": "vanish"},
    {"kind": "sse_drop"},
    {"kind": "sse_no_done"},
    {"kind": "sse_error"},
    {"kind": "sse_silence", "seconds": 0.1},
]


def test_every_rule_is_here() -> None:
    assert {rule["kind"] for rule in [*(rule for rule, *_ in RULES), *LATER]} == set(get_args(FaultKind))


@pytest.mark.parametrize(("rule", "outcome", "sent", "billed"), RULES, ids=lambda value: str(value)[:60])
async def test_submission(
    make_client: MakeClient,
    rule: dict[str, Any],
    outcome: type[FoxAPIError] | None,
    sent: int,
    billed: int,
) -> None:
    with Emulator(duration=0, api_key=API_KEY) as emulator:
        emulator.add_fault(**{"endpoint": "submit", **rule})
        client = make_client(emulator.url, submit_timeout=0.5, retry=RetryPolicy(attempts=3, jitter=0))
        if outcome is None:
            await client.submit(BODY)
        else:
            with pytest.raises(FoxAPIError) as caught:
                await client.submit(BODY)
            assert type(caught.value) is outcome
        assert emulator.counts()["POST", "submit"] == sent
        assert len(emulator.ledger()) == billed


@pytest.mark.parametrize("rule", LATER, ids=lambda value: f"{value['kind']} {value.get('status', '')}")
async def test_what_goes_wrong_later_costs_nothing(
    make_client: MakeClient, running_clock: RunningClock, rule: dict[str, Any]
) -> None:
    with Emulator(duration=0, api_key=API_KEY) as emulator:
        emulator.add_fault(**rule, count=2)
        client = make_client(emulator.url, retry=RetryPolicy(attempts=5, jitter=0))
        snapshot = await client.submit({**BODY, "stream": True})
        wait = GenerationWaiter(client, snapshot.id, age=0.0)
        ended, _ = await wait.by_stream()
        assert ended.has_result
        assert emulator.counts()["POST", "submit"] == 1 == len(emulator.ledger())
