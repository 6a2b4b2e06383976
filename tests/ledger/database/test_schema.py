"""The schema: made once, migrated, never guessed at."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
import pytest
import sqlalchemy as sa

from prefect_foxapi.errors import LedgerError
from prefect_foxapi.ledger import Ledger, State
from prefect_foxapi.ledger.database.schema import VERSION
from tests.support.factories import ACCOUNT, BASE_URL, OWNER, RESULT, MakeLedger, claim, kept, row_of
from tests.support.subprocesses import Child, claim_at_once

# As version 1 made it, word for word: a generation had no kind then.
_VERSION_1 = (
    "CREATE TABLE foxapi_ledger (version INTEGER NOT NULL)",
    "INSERT INTO foxapi_ledger (version) VALUES (1)",
    "CREATE TABLE foxapi_generations (key TEXT NOT NULL, token TEXT NOT NULL, PRIMARY KEY (key))",
    "CREATE INDEX ix_foxapi_generations_token ON foxapi_generations (token)",
    """CREATE TABLE foxapi_submissions (
        token TEXT NOT NULL, key TEXT NOT NULL, attempt INTEGER NOT NULL, state TEXT NOT NULL, account TEXT NOT NULL,
        base_url TEXT NOT NULL, model TEXT NOT NULL, generation_id TEXT, host TEXT NOT NULL, pid BIGINT NOT NULL,
        process TEXT NOT NULL, flow_run_id TEXT, task_run_id TEXT, flow_name TEXT,
        claimed_at DOUBLE PRECISION NOT NULL, deadline DOUBLE PRECISION NOT NULL, accepted_at DOUBLE PRECISION,
        finished_at DOUBLE PRECISION, expires_at DOUBLE PRECISION, reason TEXT, error TEXT, billed BOOLEAN NOT NULL,
        permitted BOOLEAN NOT NULL, result_kept BOOLEAN NOT NULL, credits DOUBLE PRECISION, prompt_tokens BIGINT,
        completion_tokens BIGINT, previous TEXT, day TEXT NOT NULL, result TEXT, PRIMARY KEY (token))""",
    "CREATE INDEX ix_foxapi_submissions_key ON foxapi_submissions (key)",
    "CREATE INDEX ix_foxapi_submissions_generation_id ON foxapi_submissions (generation_id)",
    "CREATE INDEX ix_foxapi_submissions_state ON foxapi_submissions (state, claimed_at)",
    """CREATE TABLE foxapi_decisions (
        id TEXT NOT NULL, key TEXT NOT NULL, token TEXT NOT NULL, generation_id TEXT, action TEXT NOT NULL,
        found TEXT NOT NULL, "by" TEXT NOT NULL, at DOUBLE PRECISION NOT NULL, PRIMARY KEY (id))""",
    "CREATE INDEX ix_foxapi_decisions_key ON foxapi_decisions (key)",
    """CREATE TABLE foxapi_uploads (
        digest TEXT NOT NULL, account TEXT NOT NULL, base_url TEXT NOT NULL, url TEXT NOT NULL,
        expires_at DOUBLE PRECISION NOT NULL, PRIMARY KEY (digest, account, base_url))""",
    "INSERT INTO foxapi_generations VALUES ('key', 'token-1')",
    f"""INSERT INTO foxapi_submissions VALUES (
        'token-1', 'key', 1, 'submitted', '{ACCOUNT}', '{BASE_URL}', 'gpt-5.5', 'gen-1', 'host', 7, 'p', NULL, 'task-1',
        NULL, 1800000000, 1800000060, 1800000002, NULL, NULL, NULL, NULL, true, false, false, 3, NULL, NULL, NULL,
        '2027-01-15', NULL)""",
)


async def _execute(url: str, *statements: str) -> None:
    """Run statements without the ledger."""
    if url.startswith("postgresql"):
        connection = await asyncpg.connect(url)
        for statement in statements:
            await connection.execute(statement)
        await connection.close()
        return

    Path(url.removeprefix("sqlite:///")).parent.mkdir(exist_ok=True)
    engine = sa.create_engine(url)
    with engine.begin() as direct:
        for statement in statements:
            direct.exec_driver_sql(statement)
    engine.dispose()


async def test_version_1_is_migrated_with_what_it_holds(url: str, make_ledger: MakeLedger) -> None:
    await _execute(url, *_VERSION_1)
    ledger = make_ledger(url)
    row = await kept(ledger)
    assert (row.state, row.generation_id, row.kind, row.credits) == (State.SUBMITTED, "gen-1", "llm", 3.0)
    await ledger.completed("gen-1", RESULT, **OWNER)
    assert (await kept(make_ledger(url))).result == RESULT


async def test_many_migrate_at_once(url: str, make_ledger: MakeLedger) -> None:
    await _execute(url, *_VERSION_1)
    children = [Child(claim_at_once, url, ["key"], {}, False) for _ in range(6)]
    for child in children:
        child.receive()
    for child in children:
        child.pipe.send("go")
    for child in children:
        with child:
            assert child.receive() == (0, ["token-1"])


async def test_a_newer_schema_is_refused(url: str, ledger: Ledger, make_ledger: MakeLedger) -> None:
    await claim(ledger)
    await _execute(url, f"UPDATE foxapi_ledger SET version = {VERSION + 1}")
    late = make_ledger(url)
    for _ in range(2):
        with pytest.raises(LedgerError) as caught:
            await claim(late)
        assert str(VERSION + 1) in str(caught.value)
        with pytest.raises(LedgerError) as caught:
            await row_of(late)
        assert str(VERSION + 1) in str(caught.value)


async def test_a_ledger_without_its_version_is_refused(url: str, ledger: Ledger, make_ledger: MakeLedger) -> None:
    await claim(ledger)
    await _execute(url, "DELETE FROM foxapi_ledger")
    for _ in range(2):
        with pytest.raises(LedgerError) as caught:
            await claim(make_ledger(url))
        assert "foxapi_ledger" in str(caught.value)


async def test_many_ledgers_of_one_process_open_at_once(url: str, make_ledger: MakeLedger) -> None:
    ledgers = [make_ledger(url) for _ in range(5)]
    found = await asyncio.gather(*(claim(ledger) for ledger in ledgers))
    assert len({one.token for one in found}) == 1
