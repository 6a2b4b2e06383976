"""Whatever kills the processes, and whatever goes wrong on the way, every generation is paid for once."""

from __future__ import annotations

import os
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.ledger.postgres import PostgresForTests
from tests.pay_once.kill_harness import KillHarness, Tally

KILLS = 40
FAULTS = 0.1


@pytest.mark.timeout(840)  # a slow machine needs most of the time that the tests may take
def test_every_generation_is_paid_for_once(prefect_api: str, postgres: PostgresForTests, tmp_path: Path) -> None:
    seed = int(os.environ.get("PAY_ONCE_SEED") or random.randrange(2**32))
    print(f"PAY_ONCE_SEED={seed}")

    def run(name: str, options: dict[str, Any]) -> Tally:
        kills = KillHarness(seed, home=tmp_path / name, api_url=prefect_api, **options)
        # With faults, a flow takes long to come to its end.
        return kills.run(KILLS, per_flow=20 if "faults" in options else 8)

    wanted: dict[str, dict[str, Any]] = {
        "sqlite": {},
        "postgresql": {"ledger_url": postgres.new_database()},
        "sqlite-with-faults": {"faults": FAULTS},
        "postgresql-with-faults": {"ledger_url": postgres.new_database(), "faults": FAULTS},
    }
    # At once, since they wait most of the time: for deadlines to pass, and for what is killed to begin.
    with ThreadPoolExecutor(len(wanted)) as pool:
        running = {name: pool.submit(run, name, options) for name, options in wanted.items()}
        tallies = {name: tally.result() for name, tally in running.items()}
    for name, tally in tallies.items():
        said = f"{name}, seed {seed}: {tally}"
        print(said)
        assert tally.kills == KILLS, said
        # Some of the kills have to hit what this is about, or it shows nothing.
        assert tally.in_flight > 0, said
        assert tally.lost == 0, said
        assert tally.unpermitted == 0, said
        assert tally.unexplained == 0, said
        assert tally.unsettled == 0, said
        if "faults" not in wanted[name]:
            assert tally.twice <= tally.ambiguous <= tally.in_flight, said
            assert set(tally.errors) <= {"AmbiguousSubmission"}, said
