"""The file, and what can happen to it."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
from pathlib import Path

import pytest

from prefect_foxapi.errors import LedgerError
from prefect_foxapi.ledger import Lease, Ledger, State
from tests.support.factories import BASE_URL, MakeLedger, claim, claimed, kept, row_of, sqlite_url, submitted
from tests.support.subprocesses import Child, hold_lock, run, run_into_full_disk


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger" / "ledger.db"


@pytest.fixture
def url(tmp_path: Path) -> str:
    return sqlite_url(tmp_path)


def _code(error: object) -> str | None:
    """SQLite's name of the error behind a `LedgerError`; `None` if SQLite raised none."""
    cause = getattr(error, "__cause__", None)
    return getattr(getattr(cause, "orig", None), "sqlite_errorname", None)


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_the_file_is_private_whatever_the_umask(ledger: Ledger, path: Path) -> None:
    before = os.umask(0)
    try:
        await submitted(ledger)
    finally:
        os.umask(before)
    names = {file.name: _mode(file) for file in path.parent.iterdir()}
    assert names == {"ledger.db": 0o600, "ledger.db-wal": 0o600, "ledger.db-shm": 0o600}
    assert _mode(path.parent) == 0o700


async def test_a_folder_that_is_there_keeps_its_mode(ledger: Ledger, path: Path) -> None:
    path.parent.mkdir(mode=0o755)
    await submitted(ledger)
    assert (_mode(path.parent), _mode(path)) == (0o755, 0o600)


@pytest.mark.parametrize("scheme", ["sqlite:///", "sqlite+aiosqlite:///", "sqlite+pysqlite:///"])
async def test_every_way_to_write_the_url(make_ledger: MakeLedger, path: Path, scheme: str) -> None:
    await submitted(make_ledger(f"{scheme}{path}"))
    assert path.exists()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "sqlite:///file:x?mode=memory&uri=true"])
def test_a_ledger_in_memory_is_refused(url: str) -> None:
    with pytest.raises(LedgerError):
        Ledger(url)


@pytest.mark.parametrize("url", ["mysql://user:hunter2@host/db", "no url: hunter2"])
def test_a_url_that_names_no_ledger_is_refused(url: str) -> None:
    with pytest.raises(LedgerError) as caught:
        Ledger(url)
    assert "postgresql://" in str(caught.value)
    assert "hunter2" not in f"{caught.value}{caught.value.__cause__}"


async def test_writes_are_durable_by_default(ledger: Ledger, path: Path) -> None:
    await submitted(ledger)
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


async def test_what_is_no_database_is_an_error(ledger: Ledger, path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this is a text" * 1000)
    for _ in range(2):
        with pytest.raises(LedgerError) as caught:
            await claim(ledger)
        assert (caught.value.nothing_was_paid, caught.value.key) == (True, "key")
        assert _code(caught.value) == "SQLITE_NOTADB"
    with pytest.raises(LedgerError) as caught:
        await row_of(ledger)
    assert _code(caught.value) == "SQLITE_NOTADB"
    assert path.read_bytes().startswith(b"this is a text")


async def test_a_damaged_file_is_an_error_and_never_an_empty_ledger(
    ledger: Ledger, make_ledger: MakeLedger, path: Path, url: str
) -> None:
    for n in range(50):
        await submitted(ledger, f"key-{n}", f"gen-{n}")
    await ledger.aclose()
    content = bytearray(path.read_bytes())
    # The first page tells what tables there are, and stays.
    content[4096:] = os.urandom(len(content) - 4096)
    path.write_bytes(content)
    damaged = make_ledger(url)
    for _ in range(2):
        with pytest.raises(LedgerError) as caught:
            await claim(damaged, "key-1")
        assert _code(caught.value) in ("SQLITE_CORRUPT", "SQLITE_NOTADB")


async def test_a_key_whose_submission_is_gone_is_not_free(ledger: Ledger, path: Path) -> None:
    mine = await claimed(ledger)
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM foxapi_submissions")
    connection.close()
    found = await asyncio.gather(claim(ledger), claim(ledger, "another"), return_exceptions=True)
    assert isinstance(found[0], LedgerError)
    assert found[0].key == "key"
    assert isinstance(found[1], Lease), "others do not suffer for it"
    with pytest.raises(LedgerError) as caught:
        await ledger.settle("key", "forget")
    assert caught.value.key == "key"
    await ledger.accepted(mine, "gen-1")
    assert (await kept(ledger)).generation_id == "gen-1", "what is known for certain is taken again"


async def test_a_folder_in_its_place_is_an_error(ledger: Ledger, path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(LedgerError) as caught:
        await claim(ledger)
    assert _code(caught.value) == "SQLITE_CANTOPEN"


async def test_a_deleted_file_is_an_error_before_the_request(
    ledger: Ledger, make_ledger: MakeLedger, path: Path, url: str
) -> None:
    mine = await claimed(ledger)
    path.unlink()
    with pytest.raises(LedgerError) as caught:
        await claim(ledger, "another")
    # It is found before SQLite is asked, which would go on with the deleted file.
    assert (caught.value.key, caught.value.nothing_was_paid, _code(caught.value)) == ("another", True, None)
    with pytest.raises(LedgerError) as caught:
        await row_of(ledger)
    assert _code(caught.value) is None
    with pytest.raises(LedgerError) as caught:
        await ledger.accepted(mine, "gen-1")
    assert (caught.value.generation_id, caught.value.key) == ("gen-1", "key")
    assert not path.exists()
    # The next process starts on a new file, and finds what was paid for.
    for name in ("ledger.db-wal", "ledger.db-shm"):
        (path.parent / name).unlink(missing_ok=True)
    assert (await kept(make_ledger(url))).generation_id == "gen-1"


async def test_a_lock_is_waited_for_and_then_is_an_error(
    make_ledger: MakeLedger, url: str, path: Path, tmp_path: Path
) -> None:
    mine = await claimed(make_ledger(url))
    patient, hasty = make_ledger(url), make_ledger(f"{url}?timeout=0.05")
    with Child(hold_lock, path) as child:
        assert child.receive() == "locked"
        with pytest.raises(LedgerError) as caught:
            await claim(hasty, "another")
        assert (caught.value.key, _code(caught.value)) == ("another", "SQLITE_BUSY")
        with pytest.raises(LedgerError) as caught:
            await hasty.accepted(mine, "gen-1")
        assert (caught.value.generation_id, caught.value.key) == ("gen-1", "key")
        assert "wait_for_generation('gen-1')" in str(caught.value)
        assert _code(caught.value) == "SQLITE_BUSY"
        assert (await row_of(patient)) is not None, "readers do not wait"
        child.pipe.send("let go")
        # Whether before or after the lock is gone: it gets its turn.
        found = await kept(patient)
        assert child.receive() == "free"
    assert (found.state, found.generation_id) == (State.SUBMITTED, "gen-1"), "what was spilled came first"


async def test_a_reader_in_the_way_of_the_first_use_is_waited_for(ledger: Ledger, path: Path) -> None:
    """Until the file is in WAL mode, readers and writers exclude each other."""
    path.parent.mkdir()
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("CREATE TABLE other (x)")
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM other").fetchall()
    task = asyncio.create_task(claim(ledger))
    await asyncio.wait([task], timeout=0.2)
    reader.execute("COMMIT")
    reader.close()
    assert isinstance(await task, Lease)


@pytest.mark.parametrize("limit", [4096, 0])
def test_a_full_disk(url: str, tmp_path: Path, limit: int) -> None:
    """Nothing can be written beyond the limit; with 0 not even the content of a spill file."""
    said = run(run_into_full_disk, url, tmp_path / "spill", limit)
    assert isinstance(said["claim"], LedgerError)
    assert (said["claim"].nothing_was_paid, said["claim"].key) == (True, "another")
    # What the process sends has lost its cause.
    assert "disk" in str(said["claim"])
    error = said["accepted"]
    assert isinstance(error, LedgerError)
    assert (error.generation_id, error.key) == ("gen-1", "key")
    assert "gen-1" in str(error)
    assert "disk" in str(error)
    ((name, content),) = said["spilled"].items()
    assert "gen-1" in (content if limit else name)
    assert (said["later"].state, said["later"].generation_id) == (State.SUBMITTED, "gen-1")
    assert isinstance(said["another"], Lease), "the claim that failed left nothing behind"
    assert said["left"] == []


async def test_results_are_in_no_error(ledger: Ledger, path: Path) -> None:
    mine = await submitted(ledger)
    secret = {"text": "a very private answer"}
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TRIGGER no BEFORE UPDATE ON foxapi_submissions BEGIN SELECT RAISE(ABORT, 'no'); END")
    connection.close()
    with pytest.raises(LedgerError) as caught:
        await ledger.completed("gen-1", secret, account="account-1", base_url=BASE_URL)
    error: BaseException | None = caught.value
    texts = []
    while error is not None:
        texts.append(f"{error!r} {error}")
        error = error.__cause__ or error.__context__
    assert "a very private answer" not in " ".join(texts)
    assert mine.token not in " ".join(texts)


async def test_the_password_is_shown_nowhere() -> None:
    ledger = Ledger("postgresql://user:hunter2@127.0.0.1:1/nowhere")
    try:
        with pytest.raises(LedgerError) as caught:
            await claim(ledger)
        assert isinstance(caught.value.__cause__, OSError)
        assert "hunter2" not in f"{caught.value!r} {caught.value} {ledger!r}"
        assert "user:***@127.0.0.1:1/nowhere" in str(caught.value)
    finally:
        await ledger.aclose()
    with pytest.raises(LedgerError) as caught:
        await claim(ledger)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("password", ["hunter2@rest:wort", "hunter2:x@tail", "hunter2@tail", "hunter2/tail@more"])
def test_a_password_that_is_not_encoded_is_refused_and_shown_nowhere(password: str) -> None:
    with pytest.raises(LedgerError) as caught:
        Ledger(f"postgresql://user:{password}@127.0.0.1/nowhere")
    error: BaseException | None = caught.value
    while error is not None:
        assert not any(part in f"{error!r} {error}" for part in ("hunter2", "rest", "wort", "tail", "more"))
        error = error.__cause__
    assert caught.value.__context__ is None
