"""Flows whose processes are killed and started again until they are done; then what the emulator billed is counted."""

from __future__ import annotations

import asyncio
import json
import math
import random
import signal
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prefect_foxapi.emulator import Emulator, FaultRule
from prefect_foxapi.ledger import Ledger, State, Submission
from tests.pay_once.fork_server import ForkServer

OURS = "tests.pay_once.programs:generate_all"
PERMIT = "tests.pay_once.programs:permit"

_BODY_WITHIN = 0.3
_KILL_WITHIN = 1.6
_SPREAD = 1.2
_DELAY = 0.2
_NO_MORE_AFTER = 0.5
_UNTIL_THE_FIRST = 30.0
_MOST_RUNS = 40
_NO_ANSWER = "no answer was recorded by the deadline"


def fault_plan(probability: float) -> list[FaultRule]:
    """Every rule of the emulator."""
    anywhere: list[dict[str, Any]] = [
        {"kind": "status", "status": 429, "retry_after": 0.05},
        {"kind": "status", "status": 503},
        {"kind": "cdn_403"},
        {"kind": "reset_before"},
        {"kind": "reset_after"},
        {"kind": "truncated"},
        {"kind": "hang", "seconds": 0.2, "processed": True},
        {"kind": "hang", "seconds": 0.2, "processed": False},
        {"kind": "delay", "seconds": 0.2},
        {"kind": "late_results", "seconds": 0.3},
        {"kind": "vanish"},
        {"kind": "fail", "code": "upstream_error", "message": "no luck"},
        {"kind": "sse_drop"},
        {"kind": "sse_no_done"},
        {"kind": "sse_error"},
        {"kind": "sse_silence", "seconds": 0.2},
    ]
    return [FaultRule(probability=probability, **rule) for rule in anywhere]


@dataclass
class Tally:
    """What was seen.

    Attributes:
        generations: How many were wanted.
        kills: How many processes were killed.
        runs: How many runs came to their end.
        billed: How many the emulator billed.
        twice: Requests that it billed more than once.
        unpermitted: Payments for a request that had been paid for, beyond what was allowed.
        lost: Generations that nobody got in the end, or that were not the one that was paid for.
        in_flight: Submissions that were under way when their process was killed.
        ambiguous: Requests that were reported as ambiguous.
        unexplained: Those of them that no kill and no fault explains.
        unsettled: What the ledger has left to settle.
    """

    generations: int = 0
    kills: int = 0
    runs: int = 0
    billed: int = 0
    twice: int = 0
    unpermitted: int = 0
    lost: int = 0
    in_flight: int = 0
    ambiguous: int = 0
    unexplained: int = 0
    unsettled: int = 0
    errors: Counter[str] = field(default_factory=Counter[str])

    def violations(self, *, with_faults: bool) -> list[str]:
        """What must not be: the names of the counts that break the promise."""
        broken = [name for name in ("lost", "unpermitted", "unexplained", "unsettled") if getattr(self, name)]
        if not with_faults:
            broken += ["twice"] * (self.twice > self.ambiguous) + ["ambiguous"] * (self.ambiguous > self.in_flight)
            broken += sorted(set(self.errors) - {"AmbiguousSubmission"})
        return broken


class KillHarness:
    """Runs flows whose processes are killed, and counts what was paid for.

    Args:
        seed: Decides when processes are killed, and what else is left to chance.
        home: Prefect's home, which all runs share.
        api_url: Prefect's API.
        ledger_url: The ledger, where it is not the one in Prefect's home.
        program: The flow.
        faults: With which probability each of the emulator's faults happens.
        size: Generations in a flow.
        keeps_a_ledger: Whether the program keeps one, and so knows of ambiguous submissions.
        aimed: Whether every kill follows a submission, so that a few of them hit some that are under way.
        poll_interval: Seconds between two polls of the program; None for the default policy.
    """

    def __init__(
        self,
        seed: int,
        *,
        home: Path,
        api_url: str,
        ledger_url: str | None = None,
        program: str = OURS,
        faults: float = 0.0,
        size: int = 50,
        keeps_a_ledger: bool = True,
        aimed: bool = False,
        poll_interval: float | None = None,
    ) -> None:
        self.seed = seed
        self.tally = Tally()
        self.random = random.Random(seed)
        self.home = home
        self.program = program
        self.faults = faults
        self.size = size
        self.keeps_a_ledger = keeps_a_ledger
        self.aimed = aimed
        self.poll_interval = poll_interval
        self.ledger_url = ledger_url or f"sqlite:///{home / 'foxapi' / 'ledger.db'}"
        home.mkdir(parents=True, exist_ok=True)
        self._environment = {
            "PREFECT_HOME": str(home),
            "PREFECT_API_URL": api_url,
            "PREFECT_LOGGING_LEVEL": "CRITICAL",
            "PREFECT_LOGGING_TO_API_ENABLED": "false",
            "PREFECT_INTEGRATIONS_FOXAPI_LEDGER_URL": self.ledger_url,
        }

    def run(self, kills: int, per_flow: int = 5, until: float = math.inf) -> Tally:
        """Kill so many processes, `per_flow` of each flow; kill none after `until` (`time.monotonic`)."""
        return self._run_flows([min(per_flow, kills - done) for done in range(0, kills, per_flow)], until)

    def run_flows(self, flows: int, until: float = math.inf) -> Tally:
        """Run so many flows to their end, and kill none."""
        return self._run_flows([0] * flows, until)

    def _run_flows(self, kills_of: list[int], until: float) -> Tally:
        with ForkServer(self._environment, self.home / "children.log") as fork_server:
            for number, kills in enumerate(kills_of):
                if time.monotonic() > until:
                    break
                duration = random.Random(f"{self.seed}/{number}/durations")
                with Emulator(duration=lambda *_, drawn=duration: drawn.uniform(0.02, 1.5), seed=self.seed) as emulator:
                    for rule in fault_plan(self.faults) if self.faults else ():
                        emulator.add_fault(rule)
                    # So that there is something to be killed while it is on its way.
                    emulator.add_fault(kind="delay", endpoint="submit", probability=0.5, seconds=_DELAY)
                    _Flow(self, fork_server, emulator, number).run(kills, until)
        return self.tally


class _Flow:
    """One flow, from its first run until it is done."""

    def __init__(self, harness: KillHarness, fork_server: ForkServer, emulator: Emulator, number: int) -> None:
        self._harness = harness
        self._tally = harness.tally
        self._random = harness.random
        self._fork_server = fork_server
        self._emulator = emulator
        self._report = harness.home / f"report-{number}.json"
        self._prompts = [f"flow {number}, generation {n}" for n in range(harness.size)]
        # Aimed kills need submissions that are left over by the runs before.
        spread = 2 * _SPREAD if harness.aimed else self._random.choice([_SPREAD / 6, _SPREAD])
        self._delays = [self._random.uniform(0, spread) for _ in self._prompts]
        self._streamed = [prompt for prompt in self._prompts if self._random.random() < 0.2]
        self._patience = _NO_MORE_AFTER
        self._aimed = harness.aimed
        self._in_flight: set[str] = set()
        self._ambiguous: set[str] = set()
        self._delivered: dict[str, str] = {}

    def run(self, kills: int, until: float) -> None:
        while kills and time.monotonic() < until:
            kills -= self._run_and_kill()
        outcomes = self._run_to_the_end()
        self._note_ambiguous(outcomes)
        if self._harness.keeps_a_ledger:
            some = sorted(self._ambiguous)[::2]
            self._fork_server.run(PERMIT, base_url=self._emulator.url, api_key=self._emulator.api_key, keys=some).wait()
        for _ in range(_MOST_RUNS):
            if all("id" in outcome for outcome in outcomes):
                break
            outcomes = self._run_to_the_end(on_ambiguous="resubmit")
            self._note_ambiguous(outcomes)
        self._delivered = {outcome["prompt"]: outcome["id"] for outcome in outcomes if "id" in outcome}
        self._add_up()

    def _begin(self, **options: Any) -> Any:
        return self._fork_server.run(
            self._harness.program,
            base_url=self._emulator.url,
            api_key=self._emulator.api_key,
            prompts=self._prompts,
            delays=self._delays,
            streamed=self._streamed,
            report=str(self._report),
            poll_interval=self._harness.poll_interval,
            **options,
        )

    def _run_and_kill(self) -> bool:
        child = self._begin()
        chance = 1.0 if self._aimed else self._random.random()
        if chance < 0.1:
            time.sleep(self._random.uniform(0, _BODY_WITHIN))
        elif child.wait_until("body") and chance < 0.5:
            time.sleep(self._random.uniform(0, _KILL_WITHIN))
        else:
            # However slow the machine is: some time after some submission.
            self._wait_for_submissions(self._random.randint(1, 2 if self._aimed else 10))
            time.sleep(self._random.uniform(0, _DELAY))
        killed = child.send(signal.SIGKILL) == -signal.SIGKILL
        self._tally.kills += killed
        # Where nothing is left to submit, a run ends before it can be hit.
        self._aimed &= killed
        if killed and self._harness.keeps_a_ledger:
            found = {row.key for row in self._settled_rows() if row.state is State.SUBMITTING}
            self._tally.in_flight += len(found - self._in_flight)
            self._in_flight |= found
        return killed

    def _wait_for_submissions(self, more: int) -> None:
        """Wait until so many were made, or none is made any more."""
        seen, since = self._submissions(), time.monotonic()
        wanted, patience = seen + more, self._patience if seen else _UNTIL_THE_FIRST
        while seen < wanted and (waited := time.monotonic() - since) < patience:
            time.sleep(0.002)
            if (now := self._submissions()) != seen:
                if seen == 0:
                    # Where it takes long until the first one, it is the machine that is slow.
                    patience = self._patience = max(_NO_MORE_AFTER, 3 * waited)
                seen, since = now, time.monotonic()

    def _submissions(self) -> int:
        return self._emulator.counts().get(("POST", "submit"), 0)

    def _run_to_the_end(self, **options: Any) -> list[dict[str, Any]]:
        self._report.unlink(missing_ok=True)
        exit_code = self._begin(**options).wait(120)
        assert exit_code == 0, (
            f"the flow ended with {exit_code}: {(self._harness.home / 'children.log').read_text()[-3000:]}"
        )
        self._tally.runs += 1
        outcomes: list[dict[str, Any]] = json.loads(self._report.read_text())
        self._tally.errors.update(outcome["error"] for outcome in outcomes if "error" in outcome)
        return outcomes

    def _note_ambiguous(self, outcomes: list[dict[str, Any]]) -> None:
        self._ambiguous |= {outcome["key"] for outcome in outcomes if outcome.get("error") == "AmbiguousSubmission"}

    def _rows(self) -> list[Submission]:
        async def read() -> list[Submission]:
            ledger = Ledger(self._harness.ledger_url, retention=None)
            try:
                return await ledger.recent(100_000)
            finally:
                await ledger.aclose()

        return [row for row in asyncio.run(read()) if row.base_url.rstrip("/") == self._emulator.url]

    def _settled_rows(self) -> list[Submission]:
        """The rows as they stay: a database may still be at work for a client that was killed."""
        rows = self._rows()
        while True:
            time.sleep(0.03)
            again = self._rows()
            if again == rows:
                return rows
            rows = again

    def _add_up(self) -> None:
        tally, books = self._tally, self._emulator.ledger()
        tally.generations += len(self._prompts)
        tally.billed += len(books)
        tally.twice += sum(times > 1 for times in self._emulator.times().values())
        paid_of: dict[str, str] = {entry.generation_id: entry.body["messages"][0]["content"] for entry in books}
        tally.lost += sum(paid_of.get(self._delivered.get(prompt, "")) != prompt for prompt in self._prompts)
        if not self._harness.keeps_a_ledger:
            return
        rows = self._rows()
        allowed = self._allowed(rows)
        digests = {entry.generation_id: entry.digest for entry in books}
        keys = {digests[row.generation_id]: row.key for row in rows if row.generation_id}
        for digest, times in self._emulator.times().items():
            tally.unpermitted += max(0, times - 1 - allowed.get(keys.get(digest, ""), 0))
        tally.ambiguous += len(self._ambiguous)
        silent = {row.key for row in rows if row.reason == _NO_ANSWER}
        told = {row.key for row in rows if row.reason not in (None, _NO_ANSWER)} if self._harness.faults else set[str]()
        tally.unexplained += len(self._ambiguous - self._in_flight - told) + len(silent - self._in_flight)
        tally.unsettled += sum(row.state in (State.SUBMITTED, State.SUBMITTING) for row in rows)
        tally.unsettled += sum(row.state is State.AMBIGUOUS and row.current for row in rows)

    def _allowed(self, rows: list[Submission]) -> Mapping[str, int]:
        """How often each key could be paid for again: what was permitted, and what failed at FoxAPI."""
        keys = {row.key for row in rows if row.attempt > 1}

        async def read() -> Counter[str]:
            ledger = Ledger(self._harness.ledger_url, retention=None)
            try:
                decisions = [decision for key in keys for decision in (await ledger.history(key))[1]]
            finally:
                await ledger.aclose()
            return Counter(decision.key for decision in decisions)

        return asyncio.run(read()) + Counter(row.key for row in rows if row.state is State.FAILED)
