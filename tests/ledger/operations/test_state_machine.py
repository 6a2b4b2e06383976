"""The promise, checked against a model: no second paid submission for a key without a reason.

Several clients with clocks of their own claim, submit, crash, hear late or never, collect, and settle, in any order.
The model keeps what is true (what FoxAPI accepted, finished and forgot) and what was permitted, and knows nothing of
how the ledger keeps its rows.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict
from collections.abc import Awaitable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from prefect_foxapi.errors import InvalidRequest, LedgerError
from prefect_foxapi.ledger import Lease, Ledger, State, Submission
from tests.support.factories import DEADLINE, OWNER, RESULT, Clock, claim, claimant, identity, sqlite_url

T = TypeVar("T")

_NUMBERS = itertools.count()
# Mostly the same one, so that something happens to it.
_KEYS = st.sampled_from(["a", "a", "a", "b"])
_CLIENTS = st.integers(0, 2)
_SECONDS = st.sampled_from([1.0, DEADLINE, DEADLINE, 1000.0])
_ENDS = st.sampled_from([State.COMPLETED, State.COMPLETED, State.FAILED, State.FAILED, State.AMBIGUOUS])
_PICK = st.integers(0, 1000)


@dataclass(eq=False)
class Attempt:
    """A claim that was granted, and what is true about it."""

    key: str
    client: int
    claimed: Lease
    instead_of: set[Attempt] = field(default_factory=set["Attempt"])
    """What may have been paid for already, and was permitted to be paid again by this claim."""
    sent: bool = False
    generation_id: str | None = None
    """Given by FoxAPI: accepted, and billed."""
    known: bool = False
    """Whether the ledger was told the id."""


class LedgerMachine(RuleBasedStateMachine):
    loop: ClassVar[asyncio.AbstractEventLoop]
    ledgers: ClassVar[list[Ledger]]
    clocks: ClassVar[list[Clock]]
    file: ClassVar[Path | None]

    def __init__(self) -> None:
        super().__init__()
        self.name = f"example-{next(_NUMBERS)}"
        # Every example begins at the same time; what others have left in the database is under other keys.
        for clock in self.clocks:
            clock.now = 1_800_000_000.0
        self.alive: list[Attempt] = []
        self.attempts: list[Attempt] = []
        self.unexcused: defaultdict[str, set[Attempt]] = defaultdict(set)
        """What was or may have been paid for a key, and may not be paid again."""
        self.permitted: set[str] = set()
        self.outcomes: dict[str, State] = {}
        """How a generation ended at FoxAPI; ambiguous where FoxAPI has forgotten it."""
        self.expiries: dict[str, float | None] = {}
        """When the result of a generation is of no more use."""
        self.rows: dict[str, Submission] = {}
        """What the ledger says after the last step."""
        self.excuses: defaultdict[str, int] = defaultdict(int)

    def run(self, awaitable: Awaitable[T]) -> T:
        return self.loop.run_until_complete(awaitable)

    def key(self, short: str) -> str:
        return f"{self.name}-{short}"

    # The world

    def _use_it_otherwise(self) -> None:
        """Whoever writes next takes in what was spilled."""
        self.run(self.ledgers[0].remember_upload("x", account="x", base_url="x", url="x", expires_at=0))

    @rule(event=st.sampled_from(["time", "time", "time", "jump", "crash"]), client=_CLIENTS, seconds=_SECONDS)
    def the_world_goes_on(self, event: str, client: int, seconds: float) -> None:
        if event == "crash":
            self.alive = [attempt for attempt in self.alive if attempt.client != client]
        elif event == "jump":
            self.clocks[client].step(-seconds)
        else:
            self._all_wait(seconds)

    def _all_wait(self, seconds: float) -> None:
        for clock in self.clocks:
            clock.step(seconds)

    # Submitting

    @rule(
        pause=st.sampled_from([0.0, 0.0, 0.0, DEADLINE, 1000.0]),
        client=_CLIENTS,
        short=_KEYS,
        task=st.sampled_from(["task-1", "task-2"]),
        resubmit=st.sampled_from([False, False, True]),
        max_age=st.sampled_from([None, None, 10.0]),
        fate=st.sampled_from(["accept", "accept", "refuse", "lose", "lose", "die", "hang", "hang"]),
        accepts=st.booleans(),
        ends=_ENDS,
    )
    def asks(
        self,
        pause: float,
        client: int,
        short: str,
        task: str,
        resubmit: bool,
        max_age: float | None,
        fate: str,
        accepts: bool,
        ends: State,
    ) -> None:
        """Somebody wants a generation, and does what there is to do for it."""
        self._all_wait(pause)
        key = self.key(short)
        attempt = self._claim(client, key, task, resubmit, max_age)
        if attempt is None:
            self._collect_whatever_is_found(client, key, ends)
            return
        if fate == "hang":
            return
        attempt.sent = True
        if fate == "accept" or (accepts and fate != "refuse"):
            attempt.generation_id = f"{attempt.key}-gen-{len(self.attempts)}"
        if fate == "die":
            self.alive.remove(attempt)
        else:
            self._hear(attempt, fate)

    def _collect_whatever_is_found(self, client: int, key: str, ends: State) -> None:
        row = self.rows.get(key)
        for attempt in self.attempts:
            if row is not None and row.state is State.SUBMITTED and row.token == attempt.claimed.token:
                self._collect(client, attempt, ends, None)

    def _claim(self, client: int, key: str, task: str, resubmit: bool, max_age: float | None) -> Attempt | None:
        before, now = self.rows.get(key), self.clocks[client].now
        mode = "resubmit" if resubmit else "raise"
        found = self.run(claim(self.ledgers[client], key, task, max_age=max_age, on_ambiguous=mode))
        self.excuses[key] += resubmit or max_age is not None
        if isinstance(found, Submission):
            assert before is not None, "a key of which nothing is known is free"
            return None
        if before is None:
            assert not self.unexcused[key]
        elif before.state is State.AMBIGUOUS or (before.state is State.SUBMITTING and before.deadline <= now):
            assert resubmit or before.token in self.permitted
        elif before.state is State.FAILED:
            assert self.outcomes.get(str(before.generation_id)) is State.FAILED
            assert before.claimant.task_run_id != task, "the same task run would pay for its failure"
            assert not self.unexcused[key]
        else:
            assert before.state is State.COMPLETED
            stale = max_age is not None and before.finished_at is not None and before.finished_at + max_age <= now
            expires_at = self.expiries[str(before.generation_id)] if before.billed else before.expires_at
            assert stale or (expires_at is not None and expires_at <= now)
        attempt = Attempt(key, client, found, self.unexcused[key])
        self.unexcused[key] = {attempt}
        self.attempts.append(attempt)
        self.alive.append(attempt)
        return attempt

    @precondition(lambda self: self.alive)
    @rule(pick=_PICK, what=st.sampled_from(["accept", "accept", "refuse", "lose"]), broken=st.booleans())
    def hears(self, pick: int, what: str, broken: bool) -> None:
        """An answer arrives, however late."""
        attempt = _choose(self.alive, pick)
        if what == "accept" and not attempt.sent:
            attempt.sent = True
            attempt.generation_id = f"{attempt.key}-gen-{len(self.attempts)}-{next(_NUMBERS)}"
        if what == "accept" and attempt.generation_id is None:
            what = "refuse"
        elif what == "refuse" and attempt.generation_id is not None:
            what = "accept"
        self._hear(attempt, what, broken=broken)

    def _hear(self, attempt: Attempt, what: str, *, broken: bool = False) -> None:
        ledger = self.ledgers[attempt.client]
        if what == "accept":
            self._hear_accepted(ledger, attempt, broken)
        elif what == "lose":
            attempt.sent = True
            self.run(ledger.unknown(attempt.claimed, "reset"))
        else:
            self.run(ledger.rejected(attempt.claimed, "429"))
            self.alive.remove(attempt)
            # Whatever it was permitted to replace is in its place again.
            for having in (self.unexcused[attempt.key], *(other.instead_of for other in self.attempts)):
                if attempt in having:
                    having.remove(attempt)
                    having |= attempt.instead_of

    def _hear_accepted(self, ledger: Ledger, attempt: Attempt, broken: bool) -> None:
        accepted = ledger.accepted(attempt.claimed, str(attempt.generation_id))
        if broken and self.file is not None:
            away = self.file.with_name("away")
            self.file.rename(away)
            with pytest.raises(LedgerError):
                self.run(accepted)
            away.rename(self.file)
            self._use_it_otherwise()
        else:
            self.run(accepted)
        if not attempt.known:
            # The same news again changes nothing, not even after a 404 and a permission since.
            attempt.known = True
            self.permitted.discard(attempt.claimed.token)

    # Outcomes

    def _collectable(self) -> list[Attempt]:
        return [attempt for attempt in self.attempts if attempt.known]

    @precondition(lambda self: self._collectable())
    @rule(
        client=_CLIENTS,
        pick=_PICK,
        ends=_ENDS,
        lives=st.sampled_from([None, 100.0]),
    )
    def collects(self, client: int, pick: int, ends: State, lives: float | None) -> None:
        self._collect(client, _choose(self._collectable(), pick), ends, lives)

    def _collect(self, client: int, attempt: Attempt, ends: State, lives: float | None) -> None:
        generation_id, ledger = str(attempt.generation_id), self.ledgers[client]
        if self.outcomes.get(generation_id) is not State.AMBIGUOUS:
            ends = self.outcomes.setdefault(generation_id, ends)
        else:
            ends = State.AMBIGUOUS
        if ends is State.COMPLETED:
            expires_at = self.expiries.setdefault(
                generation_id, None if lives is None else self.clocks[client].now + lives
            )
            assert self.run(ledger.completed(generation_id, RESULT, **OWNER, expires_at=expires_at))
            # Results expire, and are paid for again then.
            self.excuses[attempt.key] += 1
        elif ends is State.FAILED:
            assert self.run(ledger.failed(generation_id, {"message": "no"}, **OWNER))
            self.excuses[attempt.key] += 1
            for having in (self.unexcused[attempt.key], *(other.instead_of for other in self.attempts)):
                having.discard(attempt)
        else:
            self.run(ledger.vanished(generation_id, **OWNER))

    @precondition(lambda self: self._collectable())
    @rule(client=_CLIENTS, pick=_PICK)
    def hears_a_404_that_is_wrong(self, client: int, pick: int) -> None:
        """It is no reason to pay for anything."""
        attempt = _choose(self._collectable(), pick)
        self.run(self.ledgers[client].vanished(str(attempt.generation_id), **OWNER))

    @precondition(lambda self: State.COMPLETED in self.outcomes.values())
    @rule(client=_CLIENTS, short=_KEYS, pick=_PICK)
    def publishes(self, client: int, short: str, pick: int) -> None:
        generation_id = _choose([id for id, ends in self.outcomes.items() if ends is State.COMPLETED], pick)
        key = self.key(short)
        before = self.rows.get(key)
        done = self.run(self.ledgers[client].publish(identity(key), claimant(), generation_id, RESULT))
        assert done == (before is None or before.state in (State.COMPLETED, State.FAILED))
        self.excuses[key] += done

    # Mending

    @rule(client=_CLIENTS, short=_KEYS, action=st.sampled_from(["forget", "allow_resubmit"]))
    def somebody_settles(self, client: int, short: str, action: Any) -> None:
        key, now = self.key(short), self.clocks[client].now
        before = self.rows.get(key)
        try:
            self.run(self.ledgers[client].settle(key, action, by="ann"))
        except InvalidRequest:
            return
        self.excuses[key] += 1
        under_way = before is not None and before.state is State.SUBMITTING and before.deadline > now
        if before is None or under_way or before.state in (State.COMPLETED, State.FAILED):
            # Then it was about what the key stands for no longer.
            assert action == "forget"
            return
        if action == "forget":
            self.unexcused[key].clear()
        else:
            self.permitted.add(before.token)

    # The promise

    @invariant()
    def nothing_is_paid_twice_without_a_reason(self) -> None:
        for key, excuses in list(self.excuses.items()):
            accepted = [attempt for attempt in self.attempts if attempt.key == key and attempt.generation_id]
            assert len(accepted) <= 1 + excuses

    @invariant()
    def what_may_be_paid_for_keeps_its_key(self) -> None:
        rows = self.rows = self.run(self.ledgers[0].find([self.key("a"), self.key("b")]))
        for key, unexcused in list(self.unexcused.items()):
            row = rows.get(key)
            if unexcused:
                assert row is not None
                assert row.state is not State.FAILED
            if row is not None and row.state is State.SUBMITTED:
                assert row.generation_id in {attempt.generation_id for attempt in self.attempts}

    def teardown(self) -> None:
        """What was accepted, and was heard of, can be found."""
        for attempt in self.attempts:
            if attempt.known:
                row = self.run(self.ledgers[0].find_generation(str(attempt.generation_id)))
                assert row is not None
                assert row.token == attempt.claimed.token


def _choose(among: list[T], pick: int) -> T:
    return among[pick % len(among)]


def _check(url: str, folder: Path, *, file: Path | None, examples: int) -> None:
    loop = asyncio.new_event_loop()
    clocks = [Clock(), Clock(), Clock()]
    # Nobody cuts the power here, and without waiting for the disk there is time for more examples.
    options: dict[str, Any] = {"retention": None, "recovery_folder": folder / "spill", "synchronous": "OFF"}
    # The last one keeps no results.
    ledgers = [Ledger(url, clock=clock, keep_results=clock is not clocks[-1], **options) for clock in clocks]
    names = {"loop": loop, "ledgers": ledgers, "clocks": clocks, "file": file}
    try:
        loop.run_until_complete(ledgers[0].find([]))
        run_state_machine_as_test(
            type("Machine", (LedgerMachine,), names),
            settings=settings(
                max_examples=examples,
                stateful_step_count=40,
                deadline=None,
                database=None,
                # Without shrinking, which would take longer than a test may.
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            ),
        )
    finally:
        for ledger in ledgers:
            loop.run_until_complete(ledger.aclose())
        loop.close()


@pytest.mark.hypothesis
def test_the_promise_holds_on_sqlite(tmp_path: Path) -> None:
    _check(sqlite_url(tmp_path), tmp_path, file=tmp_path / "ledger" / "ledger.db", examples=settings().max_examples)


@pytest.mark.hypothesis
def test_the_promise_holds_on_postgresql(tmp_path: Path, postgres: Any) -> None:
    _check(postgres.new_database(), tmp_path, file=None, examples=settings().max_examples * 2 // 5)
