"""What kills cost, beside what a careful user writes by hand; and what a repeat costs, beside a bare cached task.

`PAY_ONCE_KILLS` says how many processes are killed in each row (by default 300), `--quick` makes it 40.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from prefect_foxapi.emulator import Emulator
from tests.pay_once.fork_server import ForkServer
from tests.pay_once.kill_harness import KillHarness, Tally
from tests.pay_once.servers import prefect_server
from tests.support.postgres import PostgresForTests

KILLS = 300
QUICK = 40
CACHED = 1000
FAULTS = 0.1

BASELINE = "tests.pay_once.baseline:generate_all"
ASK_TWICE = "tests.pay_once.repeats:ask_twice"


def run(kills: int | None = None) -> list[dict[str, str]]:
    """The rows of this benchmark: what, ours, baseline, ratio, target."""
    kills = kills or int(os.environ.get("PAY_ONCE_KILLS", KILLS))
    seed = int(os.environ.get("PAY_ONCE_SEED") or random.randrange(2**32))
    print(f"PAY_ONCE_SEED={seed}", file=sys.stderr, flush=True)
    with (
        tempfile.TemporaryDirectory(prefix="pay-once-", ignore_cleanup_errors=True) as folder,
        PostgresForTests() as pg,
    ):
        home = Path(folder)
        with prefect_server(home / "server") as api:
            return [*_kills(seed, kills, home, api, pg.new_database), *_repeats(home, api)]


def _kills(seed: int, kills: int, home: Path, api: str, new_database: Any) -> list[dict[str, str]]:
    def harness(name: str, options: dict[str, Any]) -> Tally:
        tally = KillHarness(seed, home=home / name, api_url=api, **options).run(
            kills, per_flow=20 if "faults" in options else 5
        )
        print(f"{name}: {tally}", file=sys.stderr, flush=True)
        return tally

    ours: dict[str, dict[str, Any]] = {
        "SQLite": {},
        "PostgreSQL": {"ledger_url": new_database()},
        "SQLite, faults of every kind": {"faults": FAULTS},
        "PostgreSQL, faults of every kind": {"ledger_url": new_database(), "faults": FAULTS},
    }
    with ThreadPoolExecutor(2) as pool:
        by_hand = pool.submit(harness, "by hand", {"program": BASELINE, "keeps_a_ledger": False})
        running = {name: pool.submit(harness, name, options) for name, options in ours.items()}
        tallies = {name: tally.result() for name, tally in running.items()}
        baseline = by_hand.result()
    rows: list[dict[str, str]] = []
    for name, tally in tallies.items():
        what = f"{tally.generations} generations, {tally.kills} kills, {name}"
        compared = baseline if "faults" not in ours[name] else None
        rows.append(_row(f"{what}: paid twice, not allowed", tally.unpermitted, compared and compared.twice, "0"))
        rows.append(_row(f"{what}: lost", tally.lost, compared and compared.lost, "0"))
        rows.append(_row(f"{what}: ambiguous, not in flight", tally.unexplained, None, "0"))
        share = f"{tally.ambiguous} for {tally.in_flight} in flight"
        rows.append({"what": f"{what}: ambiguous", "ours": share, "baseline": "", "ratio": "", "target": ""})
    made = f"{baseline.generations} generations, {baseline.kills} kills"
    rows.append({"what": "the baseline made", "ours": "", "baseline": made, "ratio": "", "target": ""})
    return rows


def _row(what: str, ours: int, baseline: int | None, target: str) -> dict[str, str]:
    compared = "" if baseline is None else str(baseline)
    ratio = f"{ours / baseline:.2f}" if baseline else ""
    return {"what": what, "ours": str(ours), "baseline": compared, "ratio": ratio, "target": target}


def _repeats(home: Path, api: str) -> list[dict[str, str]]:
    environment = {
        "PREFECT_HOME": str(home / "repeats"),
        "PREFECT_API_URL": api,
        "PREFECT_LOGGING_LEVEL": "WARNING",
        "PREFECT_LOGGING_TO_API_ENABLED": "false",
    }
    go, report = home / "go", home / "repeats.json"
    with Emulator(duration=0.05) as emulator, ForkServer(environment, home / "repeats.log") as fork_server:
        given = {"base_url": emulator.url, "api_key": emulator.api_key, "count": CACHED}
        child = fork_server.run(ASK_TWICE, **given, go=str(go), report=str(report))
        assert child.wait_until("asked", within=300), (home / "repeats.log").read_text()
        before = sum(emulator.counts().values())
        go.touch()
        assert child.wait(300) == 0, (home / "repeats.log").read_text()
        requests = sum(emulator.counts().values()) - before
    seconds = json.loads(report.read_text())
    rows = [_row(f"{CACHED} cached generations, gathered: HTTP requests to FoxAPI", requests, None, "0")]
    for kind, name in (("cpu", "CPU"), ("wall", "wall")):
        ours, bare = (1e3 * seconds[which][kind] / CACHED for which in ("ours", "bare"))
        rows.append(
            {
                "what": f"{CACHED} cached generations, gathered: {name} of each, beside a bare cached task",
                "ours": f"{ours:.2f} ms",
                "baseline": f"{bare:.2f} ms",
                "ratio": f"{ours / bare:.2f}",
                "target": "",
            }
        )
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.pay_once")
    parser.add_argument("--quick", action="store_true", help=f"kill {QUICK} processes in each row")
    for row in run(QUICK if parser.parse_args().quick else None):
        print(" | ".join(row.values()))
