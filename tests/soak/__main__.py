"""Runs the long harnesses and prints what was counted: `python -m tests.soak [SUITE,…] [--minutes M] [--seed N]`.

A suite ends when it has done its rounds, or begins no further round when its minutes are over. The exit code is 1 where
something was lost or paid for twice.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.pay_once.servers import prefect_server
from tests.soak.suites import Figures, Surroundings, faults, kills, properties, single_flight, streams
from tests.support.postgres import PostgresForTests

SUITES: dict[str, Callable[[Surroundings], list[Figures]]] = {
    "kills": kills,
    "faults": faults,
    "streams": streams,
    "single_flight": single_flight,
    "properties": properties,
}


def main() -> int:
    """Run the suites that the command line names, or all."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("suites", nargs="?", default=",".join(SUITES), help=f"of {', '.join(SUITES)} (default: all)")
    parser.add_argument("--minutes", type=float, default=60, help="for each suite (default: 60)")
    parser.add_argument("--seed", type=int, help="repeats a run's choices as far as time allows")
    options = parser.parse_args()
    chosen = options.suites.split(",")
    if unknown := set(chosen) - set(SUITES):
        parser.error(f"no such suite: {', '.join(sorted(unknown))}; there are {', '.join(SUITES)}")
    seed = random.randrange(2**32) if options.seed is None else options.seed
    print(f"seed {seed}, at most {options.minutes:g} minutes for each suite", flush=True)
    broken = False
    with (
        tempfile.TemporaryDirectory(prefix="soak-", ignore_cleanup_errors=True) as folder,
        PostgresForTests() as postgres,
        prefect_server(Path(folder) / "server") as api_url,
    ):
        for name in chosen:
            began = time.monotonic()
            until = began + 60 * options.minutes
            found = SUITES[name](Surroundings(seed, until, Path(folder) / name, api_url, postgres))
            print(f"\n{name} ({time.monotonic() - began:.0f} s)", flush=True)
            for figures in found:
                print(f"  {figures}", flush=True)
                # A suite that did nothing has shown nothing.
                broken |= bool(figures.violations) or not any(figures.counts.values())
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
