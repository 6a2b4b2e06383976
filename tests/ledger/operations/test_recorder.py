"""The journal of one submission: whatever it finds, nothing is sent that others take for lost."""

from __future__ import annotations

import pytest

from prefect_foxapi.engine.recorder import LedgerRecorder
from prefect_foxapi.errors import LedgerError
from prefect_foxapi.ledger import Claimant, GenerationIdentity, Lease, Ledger
from tests.support.factories import Clock, MakeLedger

SUBJECT = GenerationIdentity(key="ab" * 32, account="me", base_url="https://api.foxapi.cc", model="gpt-5.5")


def journal_of(ledger: Ledger) -> LedgerRecorder:
    return LedgerRecorder(
        ledger, SUBJECT, Claimant.here(), submission=60, margin=5, max_age=None, asked_at=0.0, on_ambiguous="raise"
    )


async def test_nothing_is_sent_that_may_be_answered_after_its_deadline(
    make_ledger: MakeLedger, url: str, clock: Clock
) -> None:
    def slow() -> float:
        # As where a database takes seconds to answer.
        clock.now += 6
        return clock.now

    with pytest.raises(LedgerError, match="Nothing was paid") as caught:
        await journal_of(make_ledger(url, clock=slow)).sending()
    assert caught.value.nothing_was_paid
    claimed = await make_ledger(url).claim(SUBJECT, Claimant.here(), deadline=60)
    assert isinstance(claimed, Lease)


async def test_a_claim_in_time_may_be_sent(ledger: Ledger) -> None:
    await journal_of(ledger).sending()
