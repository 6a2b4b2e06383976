"""A PostgreSQL that stops, breaks connections, or is not as the URL says."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from prefect_foxapi.errors import LedgerError
from prefect_foxapi.ledger import Lease, State
from prefect_foxapi.ledger.database.errors import sqlstate
from tests.support.factories import OWNER, RESULT, MakeLedger, claim, claimed, kept, row_of
from tests.support.postgres import PostgresForTests


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[PostgresForTests]:
    """A server that may be stopped, without harm to other tests."""
    with PostgresForTests() as server:
        yield server


async def test_a_stopped_server(own_postgres: PostgresForTests, make_ledger: MakeLedger, tmp_path: Path) -> None:
    url = await asyncio.to_thread(own_postgres.new_database)
    spill = tmp_path / "spill"
    ledger, forgetful = make_ledger(url, recovery_folder=spill), make_ledger(url, recovery_folder=None)
    mine, another = await claimed(ledger), await claimed(forgetful, "key-2")
    refused = await claimed(ledger, "key-3")
    await asyncio.to_thread(own_postgres.stop)
    with pytest.raises(LedgerError) as caught:
        await claim(ledger, "before the request")
    assert (caught.value.key, caught.value.nothing_was_paid) == ("before the request", True)
    assert isinstance(caught.value.__cause__, OSError)
    with pytest.raises(LedgerError) as caught:
        await row_of(ledger)
    assert isinstance(caught.value.__cause__, OSError)
    with pytest.raises(LedgerError) as kept_in_file:
        await ledger.accepted(mine, "gen-1")
    assert (kept_in_file.value.key, kept_in_file.value.generation_id) == ("key", "gen-1")
    with pytest.raises(LedgerError) as kept_in_memory:
        await forgetful.accepted(another, "gen-2")
    assert (kept_in_memory.value.key, kept_in_memory.value.generation_id) == ("key-2", "gen-2")
    with pytest.raises(LedgerError) as caught:
        await ledger.rejected(refused, "429")
    assert (caught.value.key, caught.value.generation_id) == ("key-3", None)
    (file,) = spill.glob("spill-*/*.jsonl")
    assert str(file) in str(kept_in_file.value)
    assert str(tmp_path) not in str(kept_in_memory.value)
    await asyncio.to_thread(own_postgres.start)
    assert (await kept(ledger)).generation_id == "gen-1"
    assert (await kept(forgetful, "key-2")).generation_id == "gen-2"
    assert isinstance(await claim(ledger, "key-3"), Lease), "the refusal was remembered"
    assert isinstance(await claim(ledger, "before the request"), Lease), "the claim that failed left nothing behind"
    assert list(spill.glob("spill-*/*")) == []


async def test_a_server_that_was_restarted_meanwhile_goes_unnoticed(
    own_postgres: PostgresForTests, make_ledger: MakeLedger
) -> None:
    ledger = make_ledger(await asyncio.to_thread(own_postgres.new_database))
    mine = await claimed(ledger)
    await asyncio.to_thread(own_postgres.stop)
    await asyncio.to_thread(own_postgres.start)
    await ledger.accepted(mine, "gen-1")
    assert (await kept(ledger)).generation_id == "gen-1"


async def test_a_killed_connection_goes_unnoticed(own_postgres: PostgresForTests, make_ledger: MakeLedger) -> None:
    ledger = make_ledger(await asyncio.to_thread(own_postgres.new_database))
    mine = await claimed(ledger)
    kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname LIKE 'ledger_%'"
    await asyncio.to_thread(own_postgres.run, kill)
    await ledger.accepted(mine, "gen-1")
    await asyncio.to_thread(own_postgres.run, kill)
    assert (await row_of(ledger)) is not None


@pytest.mark.parametrize("generation_id", ["nul \0", "no text \ud800"])
async def test_what_the_server_cannot_store_is_put_aside(
    postgres: PostgresForTests, make_ledger: MakeLedger, tmp_path: Path, generation_id: str
) -> None:
    ledger = make_ledger(await asyncio.to_thread(postgres.new_database))
    mine, good = await claimed(ledger), await claimed(ledger, "good")
    with pytest.raises(LedgerError):
        await ledger.accepted(mine, generation_id)
    await ledger.accepted(good, "gen-1")
    assert [file.suffix for file in (tmp_path / "spill").glob("*/*")] == [".rejected"]
    assert (await kept(ledger, "good")).generation_id == "gen-1"


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("postgresql://postgres@/nowhere?host={host}", "3D000"),
        ("postgresql://nobody@/postgres?host={host}", "28000"),
        ("postgres://postgres@/postgres?host=/nowhere", ""),
    ],
)
async def test_urls_that_do_not_work_say_why(
    postgres: PostgresForTests, make_ledger: MakeLedger, url: str, code: str
) -> None:
    host = postgres.url().partition("host=")[2]
    with pytest.raises(LedgerError) as caught:
        await claim(make_ledger(url.format(host=host)))
    assert (caught.value.key, sqlstate(caught.value.__cause__)) == ("key", code)
    assert code or isinstance(caught.value.__cause__, OSError)


async def test_a_user_without_rights_is_told_which(postgres: PostgresForTests, make_ledger: MakeLedger) -> None:
    await asyncio.to_thread(postgres.run, "CREATE ROLE reader LOGIN")
    host = postgres.url().partition("host=")[2]
    with pytest.raises(LedgerError) as caught:
        await claim(make_ledger(f"postgresql://reader@/postgres?host={host}"))
    assert sqlstate(caught.value.__cause__) == "42501"
    assert "CREATE" in str(caught.value)


class CuttingProxy:
    """Stands before the server, and cuts a connection when its COMMIT is done and before the client hears of it."""

    def __init__(self, server: Path, folder: Path) -> None:
        self._server = server
        self.folder = folder
        self.cuts = 0
        """How many more to cut."""
        self.dead = False
        """Whether to take no more connections after that."""
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> asyncio.Server:
        return await asyncio.start_unix_server(self._serve, self.folder / ".s.PGSQL.5432")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.dead and self.cuts == 0:
            writer.close()
            return
        server_reader, server_writer = await asyncio.open_unix_connection(self._server / ".s.PGSQL.5432")
        cut = asyncio.Event()

        async def up() -> None:
            with suppress(ConnectionError):
                while data := await reader.read(65536):
                    if self.cuts and b"COMMIT;" in data:
                        self.cuts -= 1
                        cut.set()
                    server_writer.write(data)
            server_writer.close()

        async def down() -> None:
            with suppress(ConnectionError):
                while data := await server_reader.read(65536):
                    if cut.is_set():
                        break
                    writer.write(data)
            writer.close()

        await asyncio.gather(up(), down())


@pytest.fixture
async def proxy(postgres: PostgresForTests) -> AsyncIterator[CuttingProxy]:
    with tempfile.TemporaryDirectory(prefix="proxy-") as folder:
        proxy = CuttingProxy(Path(postgres.url().partition("host=")[2]), Path(folder))
        server = await proxy.start()
        yield proxy
        server.close()


@pytest.fixture
async def proxied(postgres: PostgresForTests, proxy: CuttingProxy) -> str:
    """A new database, seen through the proxy."""
    url = await asyncio.to_thread(postgres.new_database)
    return f"{url.partition('host=')[0]}host={proxy.folder}"


async def test_a_commit_of_which_nobody_hears_is_found_again(
    make_ledger: MakeLedger, proxied: str, proxy: CuttingProxy
) -> None:
    ledger = make_ledger(proxied)
    await row_of(ledger)
    proxy.cuts = 1
    mine = await claimed(ledger)
    assert (proxy.cuts, mine.attempt) == (0, 1)
    proxy.cuts = 1
    await ledger.accepted(mine, "gen-1")
    proxy.cuts = 1
    assert await ledger.completed("gen-1", RESULT, **OWNER)
    assert proxy.cuts == 0
    row = await kept(ledger)
    assert (row.state, row.token, row.attempt) == (State.COMPLETED, mine.token, 1)
    proxy.cuts = 1
    again = await claimed(ledger, max_age=0)
    proxy.cuts = 1
    await ledger.rejected(again, "429")
    assert (await kept(ledger)).result == RESULT


async def test_a_claim_that_was_written_though_it_failed_is_given_back(
    make_ledger: MakeLedger, proxied: str, proxy: CuttingProxy
) -> None:
    ledger = make_ledger(proxied)
    await row_of(ledger)
    proxy.cuts, proxy.dead = 1, True
    with pytest.raises(LedgerError) as caught:
        await claim(ledger)
    assert caught.value.nothing_was_paid
    proxy.dead = False
    row = await row_of(ledger)
    assert row is not None, "it is there, and its asker was told that it is not"
    assert row.state is State.SUBMITTING
    assert isinstance(await claim(ledger, by="task-2"), Lease)
    assert {one.state for one in (await ledger.history("key"))[0]} == {State.REFUSED, State.SUBMITTING}
