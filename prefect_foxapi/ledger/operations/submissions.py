"""The state machine: one class for each thing that can happen to a key until FoxAPI has accepted its submission.

What comes after that is in `outcomes.py`. The whole:

    (none) ──claim──▶ submitting ──accepted──▶ submitted ──▶ completed │ failed
                          │  │                     └── FoxAPI no longer knows it ──▶ ambiguous
                          │  └── refused for certain ──▶ what the claim had found
                          └── response lost, or the deadline past ──▶ ambiguous

    failed, completed but stale ──claim──▶ submitting (a new submission, attempt + 1)
    ambiguous ──claim with a permission──▶ submitting (a new submission, attempt + 1)
    completed, its result not kept and no longer at FoxAPI ──▶ ambiguous

Each `apply` reads and moves a `UnitOfWork`, which a batch of operations shares; it either raises before it changed
anything, or is done. Each can be applied again after a transaction whose end is unknown: the token or the generation id
says whether it already happened.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from prefect_foxapi.errors import FoxAPIError, InvalidRequest, LedgerError
from prefect_foxapi.ledger.operations.base import Operation, check_identity, new_submission
from prefect_foxapi.ledger.operations.unit_of_work import ReadSet, UnitOfWork
from prefect_foxapi.ledger.records import Claimant, GenerationIdentity, Lease, State, Submission

__all__ = ["Accept", "CatchUp", "Claim", "Lose", "Refuse", "Settle"]

_NO_ANSWER = "no answer was recorded by the deadline"


@dataclass(eq=False)
class Claim(Operation):
    """Ask for a key: the right to submit it, or what is known of it."""

    identity: GenerationIdentity
    claimant: Claimant
    token: str
    seconds: float
    max_age: float | None = None
    asked_at: float | None = None
    resubmit: bool = False

    def declare_reads(self, reads: ReadSet) -> None:
        reads.keys.add(self.identity.key)

    def apply(self, unit: UnitOfWork) -> Lease | Submission:
        row = unit.current(self.identity.key)
        if row is None:
            return self._begin(unit, None)
        check_identity(row, self.identity)
        if row.token == self.token and row.state in (State.SUBMITTING, State.AMBIGUOUS):
            # Written by a transaction whose end was unknown; nothing was sent since.
            fields: dict[str, Any] = {"state": State.SUBMITTING, "reason": None, "permitted": False}
            return self._lease(unit.update(row, deadline=unit.now + self.seconds, **fields), None)
        if row.state is State.SUBMITTING and row.deadline <= unit.now:
            row = unit.update(row, state=State.AMBIGUOUS, reason=_NO_ANSWER)
        if row.attempt > 1 and row.state in (State.AMBIGUOUS, State.FAILED):
            for other in unit.load_history(row.key):
                # One that was taken for lost, until its id came. The key goes on standing for what may have been paid
                # for as well, should this one fail.
                if other.state is State.SUBMITTED:
                    return other
        if row.state is State.AMBIGUOUS and self.resubmit and not row.permitted:
            if self.asked_at is not None and row.claimed_at >= self.asked_at:
                # The asker has waited for this one. If all who did submitted again, each of them could be billed.
                return row
            unit.record_decision(row, "resubmit", str(self.claimant))
            return self._begin(unit, row)
        return self._begin(unit, row) if self._free(row, unit.now) else row

    def _free(self, row: Submission, now: float) -> bool:
        if row.state is State.AMBIGUOUS:
            return row.permitted
        if row.state is State.COMPLETED:
            return not row.fresh(now, self.max_age)
        if row.state is not State.FAILED:
            return False
        if self.claimant.task_run_id is not None and self.claimant.task_run_id == row.claimant.task_run_id:
            return False
        return self.asked_at is None or row.finished_at is None or row.finished_at < self.asked_at

    def _begin(self, unit: UnitOfWork, found: Submission | None) -> Lease:
        row = new_submission(
            self.identity,
            self.claimant,
            token=self.token,
            attempt=1 if found is None else found.attempt + 1,
            claimed_at=unit.now,
            deadline=unit.now + self.seconds,
            previous=None if found is None else found.token,
        )
        unit.add(row)
        unit.set_current(row.key, row.token)
        return self._lease(row, None if found is None else found.state)

    def _lease(self, row: Submission, previous: State | None) -> Lease:
        return Lease(
            row.key, row.attempt, row.token, row.deadline, previous, self.identity, self.claimant, row.claimed_at
        )


@dataclass(eq=False)
class CatchUp(Operation):
    """Nothing by itself; what is owed to the ledger is written before it, as before every other operation."""

    def declare_reads(self, reads: ReadSet) -> None:
        """It looks at nothing."""

    def apply(self, unit: UnitOfWork) -> None:
        """It changes nothing."""


@dataclass(eq=False)
class Accept(Operation):
    """FoxAPI accepted a submission. Without `lease`, only the token is known (a spill on a full disk)."""

    token: str
    generation_id: str
    lease: Lease | None = None
    credits: float | None = None

    def declare_reads(self, reads: ReadSet) -> None:
        if self.lease is None:
            reads.tokens_without_key.add(self.token)
        else:
            reads.keys.add(self.lease.key)
            reads.tokens.add(self.token)

    def apply(self, unit: UnitOfWork) -> bool:
        row = unit.submission(self.token)
        if row is None:
            if self.lease is None:
                return False
            row = self._restore(unit, self.lease)
        if row.generation_id == self.generation_id:
            return True
        if row.generation_id is not None:
            raise LedgerError(
                f"one claim led to two generations: {row.generation_id} is recorded, {self.generation_id} is not",
                generation_id=self.generation_id,
                key=row.key,
            )
        current = unit.peek(row.key)
        row = unit.update(
            row,
            state=State.SUBMITTED,
            generation_id=self.generation_id,
            accepted_at=unit.now,
            finished_at=None,
            reason=None,
            permitted=False,
            credits=self.credits,
        )
        # Nobody else pays while this one can be collected; a submission that is under way keeps the key.
        if current is None or current.state is State.FAILED:
            unit.set_current(row.key, row.token)
        return True

    def _restore(self, unit: UnitOfWork, lease: Lease) -> Submission:
        return unit.add(
            new_submission(
                lease.identity,
                lease.claimant,
                token=self.token,
                attempt=lease.attempt,
                claimed_at=lease.claimed_at,
                deadline=lease.deadline,
            )
        )


@dataclass(eq=False)
class Refuse(Operation):
    """FoxAPI did not accept a submission, for certain, or it was never sent."""

    key: str
    token: str
    reason: str

    def declare_reads(self, reads: ReadSet) -> None:
        reads.histories.add(self.key)

    def apply(self, unit: UnitOfWork) -> None:
        row = unit.submission(self.token)
        if row is None or row.generation_id is not None or row.state is State.REFUSED:
            return
        current = unit.peek(row.key)
        unit.update(row, state=State.REFUSED, reason=self.reason, finished_at=unit.now)
        if current is None or current.token != row.token:
            return
        before = row.previous and unit.submission(row.previous)
        while before and before.state in (State.REFUSED, State.FORGOTTEN):
            before = before.previous and unit.submission(before.previous)
        unit.set_current(row.key, before.token if before else None)


@dataclass(eq=False)
class Lose(Operation):
    """The response was lost: the submission may have been accepted, or not."""

    key: str
    token: str
    reason: str

    def declare_reads(self, reads: ReadSet) -> None:
        reads.keys.add(self.key)
        reads.tokens.add(self.token)

    def apply(self, unit: UnitOfWork) -> None:
        row = unit.submission(self.token)
        if row is not None and row.state is State.SUBMITTING:
            unit.update(row, state=State.AMBIGUOUS, reason=self.reason)


@dataclass(eq=False)
class Settle(Operation):
    """A person decides about what is unsettled."""

    key: str
    action: Literal["forget", "allow_resubmit"]
    by: str

    def declare_reads(self, reads: ReadSet) -> None:
        reads.histories.add(self.key)

    def apply(self, unit: UnitOfWork) -> Submission | None:
        row = unit.current(self.key)
        if row is not None and row.state is State.SUBMITTING and row.deadline <= unit.now:
            row = unit.update(row, state=State.AMBIGUOUS, reason=_NO_ANSWER)
        return self._forget(unit, row) if self.action == "forget" else self._allow(unit, row)

    def _forget(self, unit: UnitOfWork, row: Submission | None) -> None:
        if row is not None and row.state in (State.AMBIGUOUS, State.SUBMITTED):
            unit.set_current(row.key, None)
            given_up = [row]
        else:
            # Paid for, and superseded before its id arrived.
            given_up = [other for other in unit.history(self.key) if other.state is State.SUBMITTED]
        if not given_up:
            raise self._not_applicable(unit, row)
        for other in given_up:
            unit.record_decision(other, "forget", self.by)
            unit.update(
                other, state=State.FORGOTTEN, finished_at=unit.now, reason=f"given up by {self.by}", permitted=False
            )

    def _allow(self, unit: UnitOfWork, row: Submission | None) -> Submission:
        if row is None or row.state is not State.AMBIGUOUS:
            raise self._not_applicable(unit, row)
        if not row.permitted:
            unit.record_decision(row, "allow_resubmit", self.by)
            row = unit.update(row, permitted=True)
        return row

    def _not_applicable(self, unit: UnitOfWork, row: Submission | None) -> FoxAPIError:
        if row is None:
            return InvalidRequest("the ledger has no row for this key: nothing is to be settled", key=self.key)
        fits = {
            State.SUBMITTING: f"its submission is under way for another {row.deadline - unit.now:.0f} s; wait",
            State.SUBMITTED: f"collect generation {row.generation_id} (if FoxAPI no longer knows it, that makes it "
            "ambiguous), or forget it",
            State.COMPLETED: "nothing is to be settled; refresh the call to pay for a new answer",
            State.FAILED: "nothing is to be settled; the next call pays anew",
        }
        said = f"{self.action} does not fit a generation that is {row.state}: {fits.get(row.state, '')}"
        return InvalidRequest(said, key=self.key, generation_id=row.generation_id)
