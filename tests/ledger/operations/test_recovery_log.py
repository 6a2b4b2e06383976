"""What was paid for while the database could not be written comes back, whatever happens in between."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import sqlite3
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
    identity,
    kept,
    row_of,
    sqlite_url,
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


def _errors_about(path: Path, caplog: pytest.LogCaptureFixture) -> list[str]:
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    return [text for text in said if str(path) in text]


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
    await ledger.unknown(mine, "reset")
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
    assert len(_errors_about(garbage, caplog)) == 1


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
    (file,) = spill.iterdir()
    assert file.suffix == ".rejected"
    assert len(_errors_about(file.with_suffix(""), caplog)) == 1
    assert (await kept(ledger, "good")).generation_id == "gen-1"


async def test_nobody_left_to_tell_tells_the_log(ledger: Ledger, spill: Path, caplog: pytest.LogCaptureFixture) -> None:
    mine = await claimed(ledger)
    path = spill.with_name("ledger.db")
    path.rename(path.with_name("away"))
    task = asyncio.create_task(ledger.accepted(mine, "gen-1"))
    await asyncio.sleep(0)
    task.cancel()
    await ledger.aclose()
    (file,) = spill.iterdir()
    (said,) = _errors_about(file, caplog)
    assert "gen-1" in said


async def test_two_databases_share_a_recovery_folder(
    postgres: PostgresForTests, make_ledger: MakeLedger, url: str, tmp_path: Path
) -> None:
    folder = tmp_path / "spill"
    ledger = make_ledger(url, recovery_folder=folder)
    database = await asyncio.to_thread(postgres.new_database)
    await _spilled(ledger, await claimed(ledger), "gen-1", tmp_path / "ledger" / "ledger.db")
    elsewhere = make_ledger(database, recovery_folder=folder)
    assert isinstance(await elsewhere.claim(identity(), claimant(), deadline=DEADLINE), Lease)
    assert (await kept(ledger)).generation_id == "gen-1"


async def test_fields_of_a_later_version_are_ignored(ledger: Ledger, spill: Path) -> None:
    mine = await claimed(ledger)
    await _spilled(ledger, mine, "gen-1", spill.with_name("ledger.db"))
    (file,) = spill.iterdir()
    line = json.loads(file.read_text())
    line["claimant"]["region"] = "eu"
    file.write_text(json.dumps({**line, "tenant": "x", "previous": None}) + "\n")
    # As for a ledger that lost the claim: it is restored from the file alone.
    with sqlite3.connect(spill.with_name("ledger.db")) as connection:
        connection.execute("DELETE FROM foxapi_submissions")
        connection.execute("DELETE FROM foxapi_generations")
    connection.close()
    row = await kept(ledger, by="task-2")
    assert (row.state, row.generation_id, row.token) == (State.SUBMITTED, "gen-1", mine.token)
    assert row.claimant == claimant("task-1")
    assert list(spill.iterdir()) == []


async def test_a_line_without_fields_that_have_a_default_is_read(ledger: Ledger, spill: Path) -> None:
    mine = await claimed(ledger)
    await _spilled(ledger, mine, "gen-1", spill.with_name("ledger.db"))
    (file,) = spill.iterdir()
    line = json.loads(file.read_text())
    del line["kind"], line["claimant"]["flow_name"]
    file.write_text(json.dumps(line) + "\n")
    assert (await kept(ledger)).generation_id == "gen-1"
    assert list(spill.iterdir()) == []
