"""Every generation is paid for once, whatever kills the processes and whatever goes wrong on the way.

A few kills of small flows; `make soak SUITE=kills` runs the harness at length.
"""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest

from tests.pay_once.kill_harness import KillHarness
from tests.support.postgres import PostgresForTests

KILLS = 4
SIZE = 16
FAULTS = 0.05


@pytest.mark.timeout(180)
@pytest.mark.parametrize("faults", [0.0, FAULTS], ids=["without faults", "with faults"])
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_every_generation_is_paid_for_once(
    database: str, faults: float, prefect_api: str, postgres: PostgresForTests, tmp_path: Path
) -> None:
    seed = int(os.environ.get("PAY_ONCE_SEED") or random.randrange(2**32))
    print(f"PAY_ONCE_SEED={seed}")
    options: dict[str, Any] = {"ledger_url": postgres.new_database()} if database == "postgresql" else {}
    harness = KillHarness(
        seed,
        home=tmp_path / "home",
        api_url=prefect_api,
        faults=faults,
        size=SIZE,
        aimed=True,
        poll_interval=0.1,
        **options,
    )
    tally = harness.run(KILLS, per_flow=KILLS)
    assert tally.kills == KILLS, tally
    # Some of the kills have to hit a submission that is under way, or the test shows nothing.
    assert tally.in_flight > 0, tally
    assert tally.violations(with_faults=bool(faults)) == [], tally
