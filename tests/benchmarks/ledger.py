"""What the ledger costs for each generation, beside the same rows written by hand with SQLAlchemy."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, MetaData, Table
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from prefect_foxapi.ledger import Claimant, GenerationIdentity, Lease, Ledger

RESULT = {
    "id": "task-llm-1776874481-rj6bs3yb",
    "results": [{"choices": [{"message": {"role": "assistant", "content": "word " * 200}}]}],
}
ME = Claimant.here(flow_run_id="flow-run", task_run_id="task-run", flow_name="benchmark")

_table = Table(
    "generations",
    MetaData(),
    Column("key", sa.Text, primary_key=True),
    *(
        Column(name, sa.Text)
        for name in ("state", "generation_id", "account", "model", "host", "flow_run_id", "result")
    ),
    *(Column(name, sa.Double) for name in ("claimed_at", "accepted_at", "finished_at")),
)


class ByHand:
    """A table and a transaction for each step, through SQLAlchemy's async engine: no checks, no joins, no audit."""

    def __init__(self, folder: Path) -> None:
        self._engine: AsyncEngine = create_async_engine(
            f"sqlite+aiosqlite:///{folder / 'by-hand.db'}", connect_args={"timeout": 600}
        )
        # One writer at a time, rather than all of them asking SQLite for its lock again and again.
        self._lock = asyncio.Lock()

    async def start(self) -> None:
        async with self._engine.begin() as connection:
            await connection.execute(sa.text("PRAGMA journal_mode=WAL"))
            await connection.run_sync(_table.create)

    async def aclose(self) -> None:
        await self._engine.dispose()

    async def generation(self, n: int) -> None:
        """Claimed, accepted, completed."""
        key = f"key-{n}"
        values = {"state": "submitting", "account": "me", "model": "gpt-5.5", "host": "host", "claimed_at": time.time()}
        ours = _table.update().where(_table.c.key == key)
        async with self._transaction() as connection:
            await connection.execute(_table.insert().values(key=key, **values))
        async with self._transaction() as connection:
            changes: dict[str, Any] = {"state": "submitted", "generation_id": f"gen-{n}", "accepted_at": time.time()}
            await connection.execute(ours.values(**changes))
        async with self._transaction() as connection:
            changes = {"state": "completed", "result": str(RESULT), "finished_at": time.time()}
            await connection.execute(ours.values(**changes))

    async def find(self, n: int) -> None:
        async with self._engine.connect() as connection:
            await connection.execute(sa.select(_table).where(_table.c.key == f"key-{n}"))

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncConnection]:
        async with self._lock, self._engine.begin() as connection:
            yield connection


async def generation(ledger: Ledger, n: int) -> None:
    """Claimed, accepted, completed."""
    found = await ledger.claim(
        GenerationIdentity(f"key-{n}", "me", "https://api.foxapi.cc", "gpt-5.5"), ME, deadline=60
    )
    assert isinstance(found, Lease)
    await ledger.accepted(found, f"gen-{n}")
    await ledger.completed(f"gen-{n}", RESULT, account="me", base_url="https://api.foxapi.cc", tokens=(10, 200))


async def one_by_one(work: Callable[[int], Awaitable[None]], numbers: range) -> float:
    """CPU per generation in milliseconds, each after the other."""
    started = time.process_time()
    for n in numbers:
        await work(n)
    return (time.process_time() - started) / len(numbers) * 1000


async def gathered(work: Callable[[int], Awaitable[None]], numbers: range) -> float:
    """CPU per generation in milliseconds, all at once."""
    started = time.process_time()
    await asyncio.gather(*(work(n) for n in numbers))
    return (time.process_time() - started) / len(numbers) * 1000


async def measure(folder: Path) -> list[dict[str, str]]:
    """The rows, from databases in `folder`."""
    ledger, by_hand = Ledger(f"sqlite:///{folder / 'ledger.db'}"), ByHand(folder)
    await by_hand.start()

    async def ours(n: int) -> None:
        await generation(ledger, n)

    try:
        # What is done for the first time only (imports, the schema, compiled statements) is no part of it.
        await gathered(ours, range(-20, 0))
        await gathered(by_hand.generation, range(-20, 0))
        rows = [
            _row("ledger, alone", await one_by_one(ours, range(200)), await one_by_one(by_hand.generation, range(200))),
            _row(
                "ledger, 1,000 at once",
                await gathered(ours, range(1_000, 2_000)),
                await gathered(by_hand.generation, range(1_000, 2_000)),
                "< 1 ms",
            ),
            _row(
                "ledger, 10,000 at once, beside 1,000 by hand",
                await gathered(ours, range(10_000, 20_000)),
                await gathered(by_hand.generation, range(2_000, 3_000)),
                "< 1 ms",
            ),
        ]
        started = time.perf_counter()
        found = await ledger.find(f"key-{n}" for n in range(10_000, 20_000))
        looked_up = time.perf_counter() - started
        assert len(found) == 10_000
        started = time.perf_counter()
        for n in range(1_000, 1_500):
            await by_hand.find(n)
        singly = (time.perf_counter() - started) / 500 * 10_000
    finally:
        await ledger.aclose()
        await by_hand.aclose()
    what = "ledger, 10,000 rows looked up, beside one by one (from 500)"
    ratio = f"{looked_up / singly:.3f}"
    return [
        *rows,
        {"what": what, "ours": f"{looked_up:.2f} s", "baseline": f"{singly:.2f} s", "ratio": ratio, "target": "< 1 s"},
    ]


def run() -> list[dict[str, str]]:
    """The rows of this benchmark: what, ours, baseline, ratio, target."""
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(measure(Path(folder)))


def _row(what: str, ours: float, baseline: float, target: str = "") -> dict[str, str]:
    cells = {"ours": f"{ours:.2f} ms CPU", "baseline": f"{baseline:.2f} ms CPU", "ratio": f"{ours / baseline:.2f}"}
    return {"what": what, **cells, "target": target}


if __name__ == "__main__":
    for row in run():
        print(" | ".join(row.values()))
