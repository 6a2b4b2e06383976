"""The state machine's second half: what becomes of an accepted generation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from prefect_foxapi.ledger.operations.base import Operation, check_identity, new_submission
from prefect_foxapi.ledger.operations.unit_of_work import ReadSet, UnitOfWork
from prefect_foxapi.ledger.records import Claimant, GenerationIdentity, State, Submission

__all__ = ["Complete", "Fail", "Publish", "RememberUpload", "Vanish"]


@dataclass(eq=False)
class Complete(Operation):
    """A generation completed. `result` is JSON text, or `None` where the ledger does not keep it."""

    generation_id: str
    account: str
    base_url: str
    result: str | None
    key: str | None = None
    credits: float | None = None
    tokens: tuple[int | None, int | None] = (None, None)
    expires_at: float | None = None

    def declare_reads(self, reads: ReadSet) -> None:
        reads.generation_ids.add(self.generation_id)

    def apply(self, unit: UnitOfWork) -> bool:
        for row in _open_submissions(unit, self):
            current = unit.peek(row.key)
            row = unit.update(
                row,
                result=self.result,
                result_kept=self.result is not None,
                state=State.COMPLETED,
                finished_at=unit.now,
                expires_at=self.expires_at,
                reason=None,
                permitted=False,
                credits=row.credits if self.credits is None else self.credits,
                prompt_tokens=self.tokens[0],
                completion_tokens=self.tokens[1],
            )
            # A submission that was taken for lost and paid again turns out to have the answer, and the other has none.
            if current is not None and current.state in (State.FAILED, State.AMBIGUOUS):
                unit.set_current(row.key, row.token)
        return any(
            row.state is State.COMPLETED for row in unit.generation(self.account, self.base_url, self.generation_id)
        )


@dataclass(eq=False)
class Fail(Operation):
    """A generation failed at FoxAPI."""

    generation_id: str
    account: str
    base_url: str
    error: dict[str, Any]
    key: str | None = None

    def declare_reads(self, reads: ReadSet) -> None:
        reads.generation_ids.add(self.generation_id)

    def apply(self, unit: UnitOfWork) -> bool:
        for row in _open_submissions(unit, self):
            unit.update(row, state=State.FAILED, finished_at=unit.now, error=self.error, reason=None, permitted=False)
        return any(
            row.state is State.FAILED for row in unit.generation(self.account, self.base_url, self.generation_id)
        )


@dataclass(eq=False)
class Vanish(Operation):
    """FoxAPI no longer knows a generation (contract §5: 404)."""

    generation_id: str
    account: str
    base_url: str

    def declare_reads(self, reads: ReadSet) -> None:
        reads.generation_ids.add(self.generation_id)

    def apply(self, unit: UnitOfWork) -> None:
        for row in unit.generation(self.account, self.base_url, self.generation_id):
            # Where the result was not kept, it is as good as never collected. One wrong 404 must not cost anything.
            gone = row.state is State.COMPLETED and not row.result_kept and row.fresh(unit.now)
            if row.state is State.SUBMITTED or gone:
                what = "has the result of" if gone else "knows"
                reason = f"FoxAPI no longer {what} generation {self.generation_id}"
                unit.update(row, state=State.AMBIGUOUS, reason=reason)


@dataclass(eq=False)
class Publish(Operation):
    """A result that was paid for under another key answers this key, too."""

    identity: GenerationIdentity
    claimant: Claimant
    token: str
    generation_id: str
    result: str | None
    finished_at: float | None = None
    tokens: tuple[int | None, int | None] = (None, None)
    expires_at: float | None = None

    def declare_reads(self, reads: ReadSet) -> None:
        reads.keys.add(self.identity.key)

    def apply(self, unit: UnitOfWork) -> bool:
        found = unit.current(self.identity.key)
        if found is not None:
            check_identity(found, self.identity)
            if found.token == self.token:
                return True
            if found.state not in (State.COMPLETED, State.FAILED):
                return False
            # What has only just finished is the newest, whatever another machine's clock says.
            replayed = self.finished_at is not None and found.fresh(unit.now)
            if replayed and (found.finished_at or 0) > (self.finished_at or 0):
                return False
        row = new_submission(
            self.identity,
            self.claimant,
            token=self.token,
            attempt=1 if found is None else found.attempt,
            claimed_at=unit.now,
            deadline=unit.now,
            previous=None if found is None else found.token,
            state=State.COMPLETED,
            billed=False,
            generation_id=self.generation_id,
            finished_at=unit.now if self.finished_at is None else self.finished_at,
            expires_at=self.expires_at,
            result_kept=self.result is not None,
            prompt_tokens=self.tokens[0],
            completion_tokens=self.tokens[1],
        )
        unit.add(row, result=self.result)
        unit.set_current(row.key, row.token)
        return True


@dataclass(eq=False)
class RememberUpload(Operation):
    """A file was uploaded."""

    digest: str
    account: str
    base_url: str
    url: str
    expires_at: float

    def declare_reads(self, reads: ReadSet) -> None:
        """It looks at nothing."""

    def apply(self, unit: UnitOfWork) -> None:
        unit.remember_upload(**vars(self))


def _open_submissions(unit: UnitOfWork, operation: Complete | Fail) -> list[Submission]:
    """The submissions that this outcome is the first for."""
    rows = unit.generation(operation.account, operation.base_url, operation.generation_id)
    return [
        row
        for row in rows
        if row.state in (State.SUBMITTED, State.AMBIGUOUS, State.FORGOTTEN) and operation.key in (None, row.key)
    ]
