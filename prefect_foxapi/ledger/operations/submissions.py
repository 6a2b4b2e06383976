"""The operations of a key until FoxAPI has accepted its submission, and those that settle it.

The operations on accepted generations are in `outcomes.py`. The whole state machine:

    (none) ──claim──▶ submitting ──accepted──▶ submitted ──▶ completed │ failed
                          │  │                     └── FoxAPI no longer knows it ──▶ ambiguous
                          │  └── refused ──▶ the state before the claim
                          └── response lost, or deadline passed ──▶ ambiguous

    failed, completed but out of date ──claim──▶ submitting (a new submission, attempt + 1)
    ambiguous ──claim with a permission──▶ submitting (a new submission, attempt + 1)
    completed, result not kept and unknown to FoxAPI ──▶ ambiguous
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from typing_extensions import override

from prefect_foxapi.errors import AmbiguousSubmission, FoxAPIError, InvalidRequest, LedgerError
from prefect_foxapi.ledger.operations.base import Operation, check_identity, new_submission
from prefect_foxapi.ledger.operations.unit_of_work import ReadSet, UnitOfWork
from prefect_foxapi.ledger.records import Claimant, GenerationIdentity, Lease, State, Submission

__all__ = ["Accept", "CatchUp", "Claim", "Lose", "Refuse", "Settle"]

_NO_ANSWER = "no answer was recorded by the deadline"


@dataclass(eq=False)
class Claim(Operation):
    """Grants the lease of a key, or returns its current submission."""

    identity: GenerationIdentity
    claimant: Claimant
    token: str
    seconds: float
    max_age: float | None = None
    asked_at: float | None = None
    resubmit: bool = False

    @override
    def declare_reads(self, reads: ReadSet) -> None:
        reads.keys.add(self.identity.key)

    @override
    def apply(self, unit: UnitOfWork) -> Lease | Submission:
        row = unit.current(self.identity.key)
        if row is None:
            return self._begin(unit, None)
        check_identity(row, self.identity)
        if row.token == self.token and row.state in (State.SUBMITTING, State.AMBIGUOUS):
            # An earlier transaction with an unknown result wrote this claim, and nothing was sent since.
            fields: dict[str, Any] = {"state": State.SUBMITTING, "reason": None, "permitted": False}
            return self._lease(unit.update(row, deadline=unit.now + self.seconds, **fields), None)
        if row.is_overdue(unit.now):
            row = unit.update(row, state=State.AMBIGUOUS, reason=_NO_ANSWER)
        if not row.is_claimable(unit.now, self.max_age):
            return row
        if row.attempt > 1 and row.state in (State.AMBIGUOUS, State.FAILED):
            for other in unit.load_history(row.key):
                # An earlier submission was ambiguous, and its id arrived later. It is collected before anything is
                # paid again. The key keeps its current submission, which may have been billed as well.
                if other.state is State.SUBMITTED:
                    return other
        if row.state is State.FAILED and not self._may_repeat_failure(row):
            return row
        if row.state is State.AMBIGUOUS and not row.permitted:
            # A caller that waited for this very submission does not repeat it: if all callers that waited for it did,
            # each of them could be billed.
            waited = self.asked_at is not None and row.claimed_at >= self.asked_at
            if not self.resubmit or waited:
                return row
            unit.record_decision(row, "resubmit", str(self.claimant))
        return self._begin(unit, row)

    def _may_repeat_failure(self, row: Submission) -> bool:
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
    """Does nothing itself: like every operation, it makes the queue write pending recoveries first."""

    @override
    def declare_reads(self, reads: ReadSet) -> None:
        pass

    @override
    def apply(self, unit: UnitOfWork) -> None:
        pass


@dataclass(eq=False)
class Accept(Operation):
    """Records that FoxAPI accepted a submission.

    An id that another key was billed for already belongs to that key: this submission is ambiguous then, and the error
    is the result of the operation. `lease` is `None` if only the token is known: the recovery log stores no more on a
    full disk.
    """

    token: str
    generation_id: str
    lease: Lease | None = None
    credits: float | None = None

    @override
    def declare_reads(self, reads: ReadSet) -> None:
        if self.lease is None:
            reads.tokens_without_key.add(self.token)
        else:
            reads.keys.add(self.lease.key)
            reads.tokens.add(self.token)
        reads.new_generation_ids.add(self.generation_id)

    @override
    def apply(self, unit: UnitOfWork) -> bool | AmbiguousSubmission:
        row = unit.submission(self.token)
        if row is None:
            if self.lease is None:
                return False
            row = self._restore(unit, self.lease)
        if row.generation_id == self.generation_id:
            return True
        if row.generation_id is not None:
            raise LedgerError(
                f"two generations were accepted for one claim: {row.generation_id} is recorded, {self.generation_id} "
                "is not",
                generation_id=self.generation_id,
                key=row.key,
            )
        current = unit.peek(row.key)
        owner = unit.owner(row.base_url, self.generation_id, other_than=row.key)
        if owner is None:
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
        elif row.state in (State.SUBMITTING, State.AMBIGUOUS):
            # It may have been billed under an id that FoxAPI did not give. The id's own answer is another request's.
            row = unit.update(row, state=State.AMBIGUOUS, reason=self._mixed_up(owner))
        # The key's callers collect this generation instead of paying again, unless another submission is open.
        if current is None or current.state is State.FAILED:
            unit.set_current(row.key, row.token)
        if owner is None:
            return True
        return AmbiguousSubmission(
            f"{self._mixed_up(owner)}, while that of {row.key} may have been accepted and billed; it is not retried "
            f'automatically (on_ambiguous="resubmit" allows that)',
            key=row.key,
            submitted_at=row.claimed_at,
            submitted_by=str(row.claimant),
        )

    def _mixed_up(self, owner: Submission) -> str:
        return f"FoxAPI answered with the id {self.generation_id}, which is that of the submission of key {owner.key}"

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
    """Records that a submission was not accepted, or never sent, and restores what the claim had found."""

    key: str
    token: str
    reason: str

    @override
    def declare_reads(self, reads: ReadSet) -> None:
        reads.histories.add(self.key)

    @override
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
    """Records that the response was lost: the submission is ambiguous."""

    key: str
    token: str
    reason: str

    @override
    def declare_reads(self, reads: ReadSet) -> None:
        reads.keys.add(self.key)
        reads.tokens.add(self.token)

    @override
    def apply(self, unit: UnitOfWork) -> None:
        row = unit.submission(self.token)
        if row is not None and row.state is State.SUBMITTING:
            unit.update(row, state=State.AMBIGUOUS, reason=self.reason)


@dataclass(eq=False)
class Settle(Operation):
    """Records a user's decision about an unsettled key."""

    key: str
    action: Literal["forget", "allow_resubmit"]
    by: str

    @override
    def declare_reads(self, reads: ReadSet) -> None:
        reads.histories.add(self.key)

    @override
    def apply(self, unit: UnitOfWork) -> Submission | None:
        row = unit.current(self.key)
        if row is not None and row.is_overdue(unit.now):
            row = unit.update(row, state=State.AMBIGUOUS, reason=_NO_ANSWER)
        return self._forget(unit, row) if self.action == "forget" else self._allow(unit, row)

    def _forget(self, unit: UnitOfWork, row: Submission | None) -> None:
        if row is not None and row.state in (State.AMBIGUOUS, State.SUBMITTED):
            unit.set_current(row.key, None)
            given_up = [row]
        else:
            # Submissions that were replaced before their id arrived.
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
            return InvalidRequest("the ledger has no row for this key: there is nothing to settle", key=self.key)
        advice = {
            State.SUBMITTING: f"wait: its submission is open for at most {row.deadline - unit.now:.0f} s more",
            State.SUBMITTED: f"collect generation {row.generation_id}, or forget it",
            State.COMPLETED: "there is nothing to settle; refresh the call to pay for a new result",
            State.FAILED: "there is nothing to settle; the next call submits again",
        }
        return InvalidRequest(
            f"cannot apply {self.action} to a generation that is {row.state}: {advice.get(row.state, '')}",
            key=self.key,
            generation_id=row.generation_id,
        )
