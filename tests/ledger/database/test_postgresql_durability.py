"""What PostgreSQL has confirmed survives a crash, whatever the defaults of its roles and databases are."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

import pytest

from prefect_foxapi.errors import LedgerError
from prefect_foxapi.ledger import State
from tests.support.factories import OWNER, RESULT, MakeLedger, claim, claimed, row_of, submitted
from tests.support.postgres import PostgresForTests


@pytest.fixture(scope="module")
def lazy_postgres() -> Iterator[PostgresForTests]:
    """A server that writes its log seconds after a commit, where it is not told to wait for it."""
    with PostgresForTests() as server:
        server.run("ALTER SYSTEM SET wal_writer_delay = '10s'")
        server.run("ALTER SYSTEM SET wal_writer_flush_after = '1GB'")
        server.run("ALTER SYSTEM SET autovacuum = off")
        server.run("SELECT pg_reload_conf()")
        yield server


DEFAULTS = {
    "role": ("ALTER ROLE postgres SET synchronous_commit = off", "ALTER ROLE postgres RESET synchronous_commit"),
    "database": ("ALTER DATABASE {name} SET synchronous_commit = off", "SELECT 1"),
    "role in a database": ("ALTER ROLE postgres IN DATABASE {name} SET synchronous_commit = off", "SELECT 1"),
    "server": ("ALTER SYSTEM SET synchronous_commit = off", "ALTER SYSTEM RESET synchronous_commit"),
}


@pytest.mark.parametrize("default", DEFAULTS)
async def test_claims_ids_and_results_survive_a_crash_of_a_server_that_confirms_early(
    lazy_postgres: PostgresForTests, make_ledger: MakeLedger, default: str
) -> None:
    url = await asyncio.to_thread(lazy_postgres.new_database)
    off, reset = (text.format(name=_name(url)) for text in DEFAULTS[default])
    await asyncio.to_thread(lazy_postgres.run, off)
    await asyncio.to_thread(lazy_postgres.run, "SELECT pg_reload_conf()")
    try:
        ledger = make_ledger(url)
        await submitted(ledger, "completed", "gen-1")
        await ledger.completed("gen-1", RESULT, **OWNER)
        await submitted(ledger, "submitted", "gen-2")
        await claimed(ledger, "claimed")
        await asyncio.to_thread(lazy_postgres.crash)
    finally:
        await asyncio.to_thread(lazy_postgres.start)
        await asyncio.to_thread(lazy_postgres.run, reset)
        await asyncio.to_thread(lazy_postgres.run, "SELECT pg_reload_conf()")
    found = await make_ledger(url).find(["completed", "submitted", "claimed"])
    assert {key: row.state for key, row in found.items()} == {
        "completed": State.COMPLETED,
        "submitted": State.SUBMITTED,
        "claimed": State.SUBMITTING,
    }
    assert found["completed"].result == RESULT


@pytest.mark.parametrize(
    ("default", "used"),
    [("off", "on"), ("local", "on"), ("remote_write", "on"), ("on", "on"), ("remote_apply", "remote_apply")],
)
async def test_every_write_waits_for_the_disk_and_for_as_many_standbys_as_the_default(
    postgres: PostgresForTests, make_ledger: MakeLedger, default: str, used: str
) -> None:
    url = await asyncio.to_thread(postgres.new_database)
    await asyncio.to_thread(postgres.run, f"ALTER DATABASE {_name(url)} SET synchronous_commit = {default}")
    ledger = make_ledger(url)
    assert await row_of(ledger) is None
    await asyncio.to_thread(_record_commits, postgres, _name(url))
    mine = await submitted(ledger)
    await ledger.completed("gen-1", RESULT, **OWNER)
    await ledger.rejected(await claimed(ledger, "refused"), "429")
    await ledger.unknown(await claimed(ledger, "lost"), "reset")
    await ledger.settle("lost", "forget")
    await ledger.remember_upload("digest", url="https://files/1", expires_at=9e9, **OWNER)
    assert await ledger.prune(older_than=-1) > 0
    seen = await asyncio.to_thread(postgres.run, "SELECT DISTINCT changed, waits FROM commits", _name(url))
    assert {row["waits"] for row in seen} == {used}
    assert {row["changed"] for row in seen} == {
        "foxapi_generations",
        "foxapi_submissions",
        "foxapi_decisions",
        "foxapi_uploads",
    }
    assert mine.attempt == 1


def _record_commits(postgres: PostgresForTests, database: str) -> None:
    """Let the database note for which durability each change waits."""
    postgres.run("CREATE TABLE commits (changed text, waits text)", database)
    postgres.run(
        """CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO public.commits VALUES (TG_TABLE_NAME, current_setting('synchronous_commit'));
        RETURN NULL; END $$""",
        database,
    )
    for table in ("generations", "submissions", "decisions", "uploads"):
        postgres.run(
            f"CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON foxapi_{table} EXECUTE FUNCTION note()", database
        )


@pytest.mark.parametrize("table", ["foxapi_submissions", "foxapi_generations", "foxapi_ledger"])
async def test_a_table_that_a_crash_would_empty_is_refused_before_anything_is_paid(
    postgres: PostgresForTests, make_ledger: MakeLedger, table: str
) -> None:
    url = await asyncio.to_thread(postgres.new_database)
    await claimed(make_ledger(url))
    await asyncio.to_thread(postgres.run, f"ALTER TABLE {table} SET UNLOGGED", _name(url))
    with pytest.raises(LedgerError) as caught:
        await claim(make_ledger(url), "key-2")
    assert caught.value.nothing_was_paid
    assert f"ALTER TABLE {table} SET LOGGED" in caught.value.message
    await asyncio.to_thread(postgres.run, f"ALTER TABLE {table} SET LOGGED", _name(url))
    await claimed(make_ledger(url), "key-2")


async def test_a_server_without_fsync_is_named_once(
    postgres: PostgresForTests, make_ledger: MakeLedger, caplog: pytest.LogCaptureFixture
) -> None:
    """The server of these tests is such a one."""
    ledger = make_ledger(await asyncio.to_thread(postgres.new_database))
    with caplog.at_level(logging.WARNING, logger="prefect_foxapi"):
        await claimed(ledger)
        await claimed(ledger, "key-2")
    assert len([record for record in caplog.records if "fsync" in record.getMessage()]) == 1


def _name(url: str) -> str:
    return url.partition("?")[0].rpartition("/")[2]
