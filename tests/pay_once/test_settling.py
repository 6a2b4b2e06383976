"""What was left unsettled, and the tasks that mend it."""

from __future__ import annotations

from pathlib import Path

import pytest
from prefect import flow

from prefect_foxapi import FoxAPICredentials, alist_unsettled, asettle
from prefect_foxapi.emulator import Emulator
from prefect_foxapi.ledger import Claimant, GenerationIdentity, Lease, Ledger
from tests.pay_once.programs import MODEL

pytestmark = pytest.mark.usefixtures("home")


async def test_two_attempts_of_one_key_are_collected_one_after_the_other(
    emulator: Emulator, credentials: FoxAPICredentials, home: Path
) -> None:
    key = "ab" * 32
    subject = GenerationIdentity(key=key, account=credentials.account_name, base_url=emulator.url, model=MODEL)
    ledger = Ledger(f"sqlite:///{home / 'foxapi' / 'ledger.db'}")
    async with credentials.get_client() as client:
        claims = [await ledger.claim(subject, Claimant.here(), deadline=0, on_ambiguous="resubmit") for _ in range(2)]
        # The first answer comes when its submission was taken for lost and had been repeated.
        for number, claimed in reversed(list(enumerate(claims))):
            assert isinstance(claimed, Lease)
            body = {"model": MODEL, "messages": [{"role": "user", "content": f"attempt {number}"}]}
            await ledger.accepted(claimed, (await client.submit(body)).id)
    await ledger.aclose()

    @flow
    async def mend() -> list[str | None]:
        left = [row.generation_id for row in await alist_unsettled(credentials=credentials)]
        assert len(left) == 2
        return [(await asettle(key[:8], "collect", credentials=credentials)).generation_id for _ in left]

    assert set(await mend()) == {paid.generation_id for paid in emulator.ledger()}

    @flow
    async def look() -> int:
        return len(await alist_unsettled(credentials=credentials))

    assert await look() == 0


async def test_what_can_be_collected_is_found_beside_what_nobody_knows(
    emulator: Emulator, credentials: FoxAPICredentials, home: Path
) -> None:
    key = "cd" * 32
    subject = GenerationIdentity(key=key, account=credentials.account_name, base_url=emulator.url, model=MODEL)
    ledger = Ledger(f"sqlite:///{home / 'foxapi' / 'ledger.db'}")
    first, second = [await ledger.claim(subject, Claimant.here(), deadline=0, on_ambiguous="resubmit") for _ in "ab"]
    assert isinstance(first, Lease)
    assert isinstance(second, Lease)
    async with credentials.get_client() as client:
        paid = await client.submit({"model": MODEL, "messages": [{"role": "user", "content": "the first"}]})
    await ledger.unknown(second, "reset")
    await ledger.accepted(first, paid.id)
    await ledger.aclose()

    @flow
    async def mend() -> str | None:
        generation = await asettle(key[:8], "collect", credentials=credentials)
        return generation and generation.generation_id

    assert await mend() == paid.id
