"""The recorder of a submission in the ledger: nothing is sent that other processes would count as lost."""

from __future__ import annotations

import pytest

from prefect_foxapi.client.config import ClientConfig
from prefect_foxapi.engine.calls import CacheScope, GenerationCall
from prefect_foxapi.engine.recorder import LedgerRecorder
from prefect_foxapi.errors import LedgerError
from prefect_foxapi.ledger import Claimant, Lease, Ledger
from prefect_foxapi.models.requests import GenerationRequest
from tests.support.factories import Clock, MakeLedger

CALL = GenerationCall(
    request=GenerationRequest.build("count 1 to 3", model="gpt-5.5"),
    config=ClientConfig("sk-test", submit_timeout=50, connect_timeout=10),
    account="me",
    key="ab" * 32,
    digests={},
    cache_scope=CacheScope(),
    claimant=Claimant.here(),
)


def recorder_of(ledger: Ledger) -> LedgerRecorder:
    return LedgerRecorder(ledger, CALL, asked_at=0.0)


async def test_nothing_is_sent_that_may_be_answered_after_its_deadline(
    make_ledger: MakeLedger, url: str, clock: Clock
) -> None:
    def slow() -> float:
        # As where a database takes seconds to answer.
        clock.now += 6
        return clock.now

    with pytest.raises(LedgerError) as caught:
        await recorder_of(make_ledger(url, clock=slow)).before_send()
    assert caught.value.nothing_was_paid
    claimed = await make_ledger(url).claim(CALL.identity(CALL.key), Claimant.here(), deadline=60)
    assert isinstance(claimed, Lease)


async def test_a_claim_in_time_may_be_sent(ledger: Ledger) -> None:
    assert await recorder_of(ledger).before_send() is None
