"""The operations on accepted generations and on uploads. `submissions.py` shows the whole state machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from typing_extensions import override

from prefect_foxapi.ledger.operations.base import Operation, check_identity, new_submission
from prefect_foxapi.ledger.operations.unit_of_work import ReadSet, UnitOfWork
from prefect_foxapi.ledger.records import Claimant, GenerationIdentity, State, Submission

__all__ = ["Complete", "Fail", "Publish", "RememberUpload", "Vanish"]


@dataclass(eq=False)
class Complete(Operation):
    """Records that a generation completed. `result` is JSON text, or `None` if the ledger does not keep results."""

    generation_id: str
    account: str
    base_url: str
    result: str | None
    key: str | None = None
    credits: float | None = None
    tokens: tuple[int | None, int | None] = (None, None)
    expires_at: float | None = None

    @override
    def declare_reads(self, reads: ReadSet) -> None:
        reads.generation_ids.add(self.generation_id)

    @override
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
            # The current submission has no result, but an earlier one, once ambiguous, now has.
            if current is not None and current.state in (State.FAILED, State.AMBIGUOUS):
                unit.set_current(row.key, row.token)
        return any(
            row.state is State.COMPLETED for row in unit.generation(self.account, self.base_url, self.generation_id)
        )


@dataclass(eq=False)
class Fail(Operation):
    """Records that a generation failed."""

    generation_id: str
    account: str
    base_url: str
    error: dict[str, Any]
    key: str | None = None

    @override
    def declare_reads(self, reads: ReadSet) -> None:
        reads.generation_ids.add(self.generation_id)

    @override
    def apply(self, unit: UnitOfWork) -> bool:
        for row in _open_submissions(unit, self):
            unit.update(row, state=State.FAILED, finished_at=unit.now, error=self.error, reason=None, permitted=False)
        return any(
            row.state is State.FAILED for row in unit.generation(self.account, self.base_url, self.generation_id)
        )


@dataclass(eq=False)
class Vanish(Operation):
    """Records that FoxAPI no longer knows a generation (404)."""

    generation_id: str
    account: str
    base_url: str

    @override
    def declare_reads(self, reads: ReadSet) -> None:
        reads.generation_ids.add(self.generation_id)

    @override
    def apply(self, unit: UnitOfWork) -> None:
        for row in unit.generation(self.account, self.base_url, self.generation_id):
            # A completed generation whose result was not kept is lost as well. It becomes ambiguous rather than free,
            # so that a wrong 404 does not lead to a second payment.
            gone = row.state is State.COMPLETED and not row.result_kept and row.fresh(unit.now)
            if row.state is State.SUBMITTED or gone:
                what = "has the result of" if gone else "knows"
                reason = f"FoxAPI no longer {what} generation {self.generation_id}"
                unit.update(row, state=State.AMBIGUOUS, reason=reason)


@dataclass(eq=False)
class Publish(Operation):
    """Makes a result that was paid for under another key the result of this key, too."""

    identity: GenerationIdentity
    claimant: Claimant
    token: str
    generation_id: str
    result: str | None
    finished_at: float | None = None
    tokens: tuple[int | None, int | None] = (None, None)
    expires_at: float | None = None

    @override
    def declare_reads(self, reads: ReadSet) -> None:
        reads.keys.add(self.identity.key)

    @override
    def apply(self, unit: UnitOfWork) -> bool:
        found = unit.current(self.identity.key)
        if found is not None:
            check_identity(found, self.identity)
            if found.token == self.token:
                return True
            if found.state not in (State.COMPLETED, State.FAILED):
                return False
            # Without `finished_at` the result has just arrived, and is the newest by definition.
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
    """Records an upload."""

    digest: str
    account: str
    base_url: str
    url: str
    expires_at: float

    @override
    def declare_reads(self, reads: ReadSet) -> None:
        pass

    @override
    def apply(self, unit: UnitOfWork) -> None:
        unit.remember_upload(**vars(self))


def _open_submissions(unit: UnitOfWork, operation: Complete | Fail) -> list[Submission]:
    """Return the submissions of a generation that have no outcome yet."""
    rows = unit.generation(operation.account, operation.base_url, operation.generation_id)
    return [
        row
        for row in rows
        if row.state in (State.SUBMITTED, State.AMBIGUOUS, State.FORGOTTEN) and operation.key in (None, row.key)
    ]
