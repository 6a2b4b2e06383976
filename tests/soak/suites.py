"""The suites: each runs rounds until they are done or its time is over, and returns its figures."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prefect_foxapi.emulator import Emulator
from tests.pay_once.fork_server import ROOT, ForkServer
from tests.pay_once.kill_harness import KillHarness
from tests.soak.streaming import stream_many
from tests.support.postgres import PostgresForTests

KILLS = 300
FAULTY_FLOWS = 40
STREAM_ROUNDS = 60
FLIGHTS = 100
FAULTS = 0.1
ASK_THE_SAME = "tests.pay_once.callers:ask_the_same"


@dataclass(frozen=True)
class Surroundings:
    """What a suite has.

    Attributes:
        seed: Decides what is left to chance.
        until: When no further round begins, as `time.monotonic` says it.
        home: A folder of its own.
        api_url: Prefect's API.
        postgres: A PostgreSQL server.
    """

    seed: int
    until: float
    home: Path
    api_url: str
    postgres: PostgresForTests

    @property
    def over(self) -> bool:
        return time.monotonic() > self.until

    def environment(self, home: Path, ledger_url: str | None = None) -> dict[str, str]:
        home.mkdir(parents=True, exist_ok=True)
        return {
            "PREFECT_HOME": str(home),
            "PREFECT_API_URL": self.api_url,
            "PREFECT_LOGGING_LEVEL": "CRITICAL",
            "PREFECT_LOGGING_TO_API_ENABLED": "false",
            **({"PREFECT_INTEGRATIONS_FOXAPI_LEDGER_URL": ledger_url} if ledger_url else {}),
        }


@dataclass(frozen=True)
class Figures:
    """One line of a suite's result: its counts, and the names of those that must not be."""

    what: str
    counts: dict[str, int]
    violations: list[str] = field(default_factory=list[str])

    def __str__(self) -> str:
        counted = ", ".join(f"{name} {count}" for name, count in self.counts.items())
        return f"{self.what}: {counted}" + (f"  BROKEN: {', '.join(self.violations)}" if self.violations else "")


def kills(given: Surroundings) -> list[Figures]:
    """Kill 300 processes on each database, with and without faults."""
    return _harnesses(
        given, {"without faults": 0.0, "with faults": FAULTS}, lambda faulty: (KILLS, 20 if faulty else 5)
    )


def faults(given: Surroundings) -> list[Figures]:
    """Flows of 50 generations with every fault of the emulator, and no kill."""
    return _harnesses(given, {"faults": FAULTS}, lambda _: (0, FAULTY_FLOWS))


def _harnesses(
    given: Surroundings, probabilities: dict[str, float], rounds: Callable[[bool], tuple[int, int]]
) -> list[Figures]:
    def run(name: str, probability: float, ledger_url: str | None) -> Figures:
        harness = KillHarness(
            given.seed, home=given.home / name, api_url=given.api_url, ledger_url=ledger_url, faults=probability
        )
        killed, size = rounds(probability > 0)
        tally = (
            harness.run(killed, per_flow=size, until=given.until) if killed else harness.run_flows(size, given.until)
        )
        counts = {
            "generations": tally.generations,
            "killed": tally.kills,
            "billed": tally.billed,
            "in flight": tally.in_flight,
            "ambiguous": tally.ambiguous,
            "lost": tally.lost,
            "paid twice": tally.unpermitted,
        }
        return Figures(name, counts, tally.violations(with_faults=probability > 0))

    with ThreadPoolExecutor(4) as pool:
        running = [
            pool.submit(run, f"{database}, {name}", probability, url)
            for name, probability in probabilities.items()
            for database, url in (("SQLite", None), ("PostgreSQL", given.postgres.new_database()))
        ]
        return [one.result() for one in running]


def streams(given: Surroundings) -> list[Figures]:
    """Streams that break in every way; each ends with the text that was paid for, and each chunk is told once."""
    counts = {"streams": 0, "billed": 0, "broken": 0, "wrong text": 0, "paid twice": 0}
    for number in range(STREAM_ROUNDS):
        if given.over:
            break
        for name, count in asyncio.run(stream_many(random.Random(f"{given.seed}/{number}"))).items():
            counts[name] += count
    return [Figures("100 at once", counts, [name for name in ("wrong text", "paid twice") if counts[name]])]


def single_flight(given: Surroundings) -> list[Figures]:
    """Two processes ask for the same generation from 56 coroutines and threads, again and again."""
    found: list[Figures] = []
    for database, ledger_url in (("SQLite", None), ("PostgreSQL", given.postgres.new_database())):
        home = given.home / database
        counts = {"rounds": 0, "calls": 0, "billed": 0, "lost": 0, "paid twice": 0}
        until = time.monotonic() + (given.until - time.monotonic()) / (2 if ledger_url is None else 1)
        with ExitStack() as stack:
            environment = given.environment(home, ledger_url)
            servers = [stack.enter_context(ForkServer(environment, home / f"{name}.log")) for name in "ab"]
            emulator = stack.enter_context(Emulator(duration=0.3))
            for number in range(FLIGHTS):
                if time.monotonic() > until:
                    break
                outcomes = _one_flight(servers, emulator, home, f"flight {number}")
                billed = {entry.generation_id for entry in emulator.ledger()}
                counts["rounds"] += 1
                counts["calls"] += len(outcomes)
                counts["lost"] += sum(outcome.get("id") not in billed for outcome in outcomes)
                counts["paid twice"] += len({outcome.get("id") for outcome in outcomes}) - 1
            counts["billed"] = len(emulator.ledger())
            counts["paid twice"] += counts["billed"] - counts["rounds"]
        found.append(Figures(database, counts, [name for name in ("lost", "paid twice") if counts[name]]))
    return found


def _one_flight(servers: list[ForkServer], emulator: Emulator, home: Path, prompt: str) -> list[dict[str, Any]]:
    go = home / f"{prompt}.go"
    reports = [home / f"{prompt}.{name}.json" for name in "ab"]
    children = [
        server.run(
            ASK_THE_SAME,
            base_url=emulator.url,
            api_key=emulator.api_key,
            report=str(report),
            prompt=prompt,
            coroutines=20,
            threads=8,
            go=str(go),
        )
        for server, report in zip(servers, reports, strict=True)
    ]
    assert all(child.wait_until("body") for child in children)
    go.touch()
    assert [child.wait(120) for child in children] == [0, 0]
    return [outcome for report in reports for outcome in json.loads(report.read_text())]


def properties(given: Surroundings) -> list[Figures]:
    """Every test with Hypothesis, with 2,000 examples each; the ledger's model is one of them."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "hypothesis", "--timeout=3000"]
    command += ["--hypothesis-profile=soak"]
    command += ["--numprocesses=logical", "--maxprocesses=4", "--dist=worksteal", f"--hypothesis-seed={given.seed}"]
    left = max(given.until - time.monotonic(), 1)
    try:
        done = subprocess.run(command, cwd=ROOT, stdout=sys.stderr, timeout=left)
    except subprocess.TimeoutExpired:
        return [Figures("not finished when its time was over", {"finished": 0}, ["finished"])]
    return [Figures("all", {"failed": done.returncode}, ["failed"] if done.returncode else [])]
