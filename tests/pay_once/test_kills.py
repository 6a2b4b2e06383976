"""Whatever kills the processes, and whatever goes wrong on the way, every generation is paid for once."""

from __future__ import annotations

import os
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.ledger.postgres import PostgresForTests
from tests.pay_once.kills import Kills, Tally

KILLS = 40


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("faults", "per_flow"), [(0.0, 5), (0.1, 20)], ids=["kills", "kills and faults"])
def test_every_generation_is_paid_for_once(
    faults: float, per_flow: int, prefect_api: str, postgres: PostgresForTests, tmp_path: Path
) -> None:
    seed = int(os.environ.get("PAY_ONCE_SEED") or random.randrange(2**32))
    print(f"PAY_ONCE_SEED={seed}")

    def run(database: str, ledger_url: str | None) -> Tally:
        kills = Kills(seed, home=tmp_path / database, api_url=prefect_api, ledger_url=ledger_url, faults=faults)
        return kills.run(KILLS, per_flow)

    with ThreadPoolExecutor(2) as pool:
        running = {
            "sqlite": pool.submit(run, "sqlite", None),
            "postgresql": pool.submit(run, "postgresql", postgres.new_database()),
        }
        tallies = {database: tally.result() for database, tally in running.items()}
    for database, tally in tallies.items():
        said = f"{database}, seed {seed}: {tally}"
        print(said)
        assert tally.kills == KILLS, said
        # Some of the kills have to hit what this is about, or it shows nothing.
        assert tally.in_flight > 0, said
        assert tally.lost == 0, said
        assert tally.unpermitted == 0, said
        assert tally.unexplained == 0, said
        assert tally.unsettled == 0, said
        if not faults:
            assert tally.twice <= tally.ambiguous <= tally.in_flight, said
            assert set(tally.errors) <= {"AmbiguousSubmission"}, said
