"""What was paid for while the database could not be written comes back, whatever happens in between."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import stat
from pathlib import Path

import pytest

from prefect_foxapi.errors import LedgerError
from prefect_foxapi.ledger import Lease, Ledger, State
from tests.support.factories import (
    ACCOUNT,
    BASE_URL,
    DEADLINE,
    OWNER,
    Clock,
    MakeLedger,
    claim,
    claimant,
    claimed,
    kept,
    row_of,
    sqlite_url,
    subject,
)
from tests.support.postgres import PostgresForTests


@pytest.fixture
def url(tmp_path: Path) -> str:
    return sqlite_url(tmp_path)


@pytest.fixture
def spill(tmp_path: Path) -> Path:
    """Where ledgers spill, without a folder given to them."""
    return tmp_path / "ledger" / "ledger.db.spill"


@pytest.fixture
def make_ledger(make_ledger: MakeLedger) -> MakeLedger:
    return lambda url, **options: make_ledger(url, **{"recovery_folder": None, **options})


async def _spilled(ledger: Ledger, mine: Lease, generation_id: str, path: Path) -> LedgerError:
    """Let an acceptance fail, since the file is not there."""
    away = path.with_name("away")
    path.rename(away)
    with pytest.raises(LedgerError) as caught:
        await ledger.accepted(mine, generation_id, credits=4)
    away.rename(path)
    return caught.value


async def test_everything_about_it_is_beside_the_ledger(ledger: Ledger, spill: Path, clock: Clock) -> None:
    mine = await claimed(ledger)
    error = await _spilled(ledger, mine, "gen-1", spill.with_name("ledger.db"))
    assert (error.generation_id, error.key, error.nothing_was_paid) == ("gen-1", "key", False)
    (file,) = spill.iterdir()
    assert str(file) in str(error)
    assert "wait_for_generation('gen-1')" in str(error)
    assert stat.S_IMODE(spill.stat().st_mode) == 0o700
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    line = json.loads(file.read_text())
    said = {"key": "key", "token": mine.token, "generation_id": "gen-1", "account": ACCOUNT, "base_url": BASE_URL}
    assert line.items() >= {**said, "model": "gpt-5.5", "at": clock.now}.items()


async def test_the_next_use_by_anybody_records_it(ledger: Ledger, other: Ledger, spill: Path, clock: Clock) -> None:
    await _spilled(ledger, await claimed(ledger), "gen-1", spill.with_name("ledger.db"))
    clock.step(2 * DEADLINE)
    assert isinstance(await claim(other, "another"), Lease)
    row = await row_of(other)
    assert row is not None
    assert (row.state, row.generation_id, row.credits) == (State.SUBMITTED, "gen-1", 4.0)
    assert list(spill.iterdir()) == []


async def test_it_counts_before_a_permission_to_pay_again(ledger: Ledger, other: Ledger, spill: Path) -> None:
    mine = await claimed(ledger)
    await ledger.lost(mine, "reset")
    await other.settle("key", "allow_resubmit")
    await _spilled(ledger, mine, "gen-1", spill.with_name("ledger.db"))
    assert (await kept(other, on_ambiguous="resubmit")).generation_id == "gen-1"


async def test_a_crash_between_recording_and_deleting_changes_nothing(
    ledger: Ledger, other: Ledger, spill: Path, tmp_path: Path
) -> None:
    await _spilled(ledger, await claimed(ledger), "gen-1", spill.with_name("ledger.db"))
    shutil.copytree(spill, tmp_path / "copy")
    assert (await kept(other)).generation_id == "gen-1"
    await other.failed("gen-1", {"message": "no"}, **OWNER)
    shutil.copytree(tmp_path / "copy", spill, dirs_exist_ok=True)
    assert (await kept(other)).state is State.FAILED, "not submitted once more"
    assert list(spill.iterdir()) == []


async def test_a_crash_while_it_is_written_leaves_nothing_half(ledger: Ledger, spill: Path) -> None:
    await _spilled(ledger, await claimed(ledger), "gen-1", spill.with_name("ledger.db"))
    (file,) = spill.iterdir()
    draft = file.with_suffix(".draft")
    draft.write_text(file.read_text()[:40])
    assert (await kept(ledger)).generation_id == "gen-1"
    assert list(spill.iterdir()) == [draft]


async def test_many_at_once_by_several_ledgers(url: str, make_ledger: MakeLedger, spill: Path) -> None:
    ledgers = [make_ledger(url) for _ in range(4)]
    path = spill.with_name("ledger.db")
    claims = [await claimed(ledgers[n % 4], f"key-{n}") for n in range(12)]
    away = path.with_name("away")
    path.rename(away)
    failed = await asyncio.gather(
        *(ledgers[n % 4].accepted(mine, f"gen-{n}") for n, mine in enumerate(claims)), return_exceptions=True
    )
    assert all(isinstance(error, LedgerError) for error in failed)
    assert len(list(spill.iterdir())) == 4, "one file for each batch"
    away.rename(path)
    await asyncio.gather(*(claim(ledger, "another") for ledger in ledgers))
    rows = await ledgers[0].find(f"key-{n}" for n in range(12))
    assert {row.generation_id for row in rows.values()} == {f"gen-{n}" for n in range(12)}
    assert list(spill.iterdir()) == []


async def test_what_cannot_be_read_stays_and_is_said(
    ledger: Ledger, spill: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spill.mkdir(parents=True)
    garbage = spill / "garbage.jsonl"
    garbage.write_text("{no json")
    for n in range(3):
        assert isinstance(await claim(ledger, f"key-{n}"), Lease)
    assert garbage.exists()
    assert caplog.text.count("cannot be read") == 1


async def test_what_the_ledger_does_not_take_is_put_aside(
    ledger: Ledger, spill: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bad, good = await claimed(ledger, "bad"), await claimed(ledger, "good")
    outcomes = await asyncio.gather(
        ledger.accepted(bad, "no text \ud800"), ledger.accepted(good, "gen-1"), return_exceptions=True
    )
    assert isinstance(outcomes[0], LedgerError)
    assert outcomes[1] is None
    assert isinstance(await claim(ledger, "another"), Lease)
    assert [file.suffix for file in spill.iterdir()] == [".rejected"]
    assert "does not take" in caplog.text
    assert (await kept(ledger, "good")).generation_id == "gen-1"


async def test_nobody_left_to_tell_tells_the_log(ledger: Ledger, spill: Path, caplog: pytest.LogCaptureFixture) -> None:
    mine = await claimed(ledger)
    path = spill.with_name("ledger.db")
    path.rename(path.with_name("away"))
    task = asyncio.create_task(ledger.accepted(mine, "gen-1"))
    await asyncio.sleep(0)
    task.cancel()
    await ledger.aclose()
    assert caplog.record_tuples[-1][1] == logging.ERROR
    assert "generation gen-1 was accepted and is paid for, but not recorded" in caplog.text
    assert len(list(spill.iterdir())) == 1


async def test_two_databases_share_a_recovery_folder(
    postgres: PostgresForTests, make_ledger: MakeLedger, url: str, tmp_path: Path
) -> None:
    folder = tmp_path / "spill"
    ledger = make_ledger(url, recovery_folder=folder)
    database = await asyncio.to_thread(postgres.new_database)
    await _spilled(ledger, await claimed(ledger), "gen-1", tmp_path / "ledger" / "ledger.db")
    elsewhere = make_ledger(database, recovery_folder=folder)
    assert isinstance(await elsewhere.claim(subject(), claimant(), deadline=DEADLINE), Lease)
    assert (await kept(ledger)).generation_id == "gen-1"
