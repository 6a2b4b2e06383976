"""Factories for tests of the ledger: identities, claimants and submissions, and a clock that tests move."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from prefect_foxapi.ledger import Claimant, GenerationIdentity, Lease, Ledger, Submission

MakeLedger = Callable[..., Ledger]

ACCOUNT = "account-1"
BASE_URL = "https://api.foxapi.cc"
OWNER = {"account": ACCOUNT, "base_url": BASE_URL}
DEADLINE = 60.0
RESULT: dict[str, Any] = {"choices": [{"message": {"role": "assistant", "content": "1, 2, 3 — é \u0000"}}]}
ERROR = {"code": "upstream", "message": "it broke", "type": "task_error"}


class Clock:
    """Unix seconds that pass only in `step`."""

    def __init__(self, now: float = 1_800_000_000.25) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def step(self, seconds: float) -> None:
        self.now += seconds


def identity(key: str = "key", **changes: Any) -> GenerationIdentity:
    return GenerationIdentity(**{"key": key, "account": ACCOUNT, "base_url": BASE_URL, "model": "gpt-5.5", **changes})


def claimant(name: str = "task-1", **changes: Any) -> Claimant:
    values = {"host": "host", "pid": 1, "process": "p", "flow_run_id": "flow-run", "flow_name": "my-flow"}
    return Claimant(**{**values, "task_run_id": name, **changes})


async def claim(ledger: Ledger, key: str = "key", by: str = "task-1", **options: Any) -> Lease | Submission:
    options.setdefault("deadline", DEADLINE)
    return await ledger.claim(identity(key), claimant(by), **options)


async def claimed(ledger: Ledger, key: str = "key", by: str = "task-1", **options: Any) -> Lease:
    found = await claim(ledger, key, by, **options)
    assert isinstance(found, Lease), found
    return found


async def kept(ledger: Ledger, key: str = "key", by: str = "task-1", **options: Any) -> Submission:
    """Claim a key that cannot be claimed, and return its current submission."""
    found = await claim(ledger, key, by, **options)
    assert isinstance(found, Submission), found
    return found


async def submitted(ledger: Ledger, key: str = "key", generation_id: str = "gen-1", **options: Any) -> Lease:
    found = await claimed(ledger, key, **options)
    await ledger.accepted(found, generation_id)
    return found


async def row_of(ledger: Ledger, key: str = "key") -> Submission | None:
    return (await ledger.find([key])).get(key)


def sqlite_url(folder: Path) -> str:
    return f"sqlite:///{folder / 'ledger' / 'ledger.db'}"
