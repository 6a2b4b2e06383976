"""Ledgers on both databases."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from prefect_foxapi.ledger import Ledger
from tests.support.factories import Clock, MakeLedger, sqlite_url
from tests.support.postgres import PostgresForTests


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresForTests]:
    with PostgresForTests() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database that nothing was written to yet."""
    if request.param == "sqlite":
        return sqlite_url(tmp_path)
    server: PostgresForTests = request.getfixturevalue("postgres")
    return server.new_database()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def make_ledger(clock: Clock, tmp_path: Path) -> AsyncIterator[MakeLedger]:
    """Makes ledgers, with the test's clock; each is closed in the end."""
    async with AsyncExitStack() as stack:

        def make(url: str, **options: Any) -> Ledger:
            options.setdefault("clock", clock)
            options.setdefault("recovery_folder", tmp_path / "spill")
            ledger = Ledger(url, **options)
            stack.push_async_callback(ledger.aclose)
            return ledger

        yield make


@pytest.fixture
def ledger(make_ledger: MakeLedger, url: str) -> Ledger:
    return make_ledger(url)


@pytest.fixture
def other(make_ledger: MakeLedger, url: str) -> Ledger:
    """Another process's or machine's view of the same database."""
    return make_ledger(url)
