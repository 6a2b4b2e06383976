"""The state machine's second half: what becomes of an accepted generation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from prefect_foxapi.ledger.operations.base import Operation, check_subject, new_submission
from prefect_foxapi.ledger.operations.unit_of_work import Picture, Wanted
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

    def want(self, wanted: Wanted) -> None:
        wanted.generation_ids.add(self.generation_id)

    def apply(self, picture: Picture) -> bool:
        for row in _survival(picture, self):
            current = picture.peek(row.key)
            row = picture.change(
                row,
                result=self.result,
                result_kept=self.result is not None,
                state=State.COMPLETED,
                finished_at=picture.now,
                expires_at=self.expires_at,
                reason=None,
                permitted=False,
                credits=row.credits if self.credits is None else self.credits,
                prompt_tokens=self.tokens[0],
                completion_tokens=self.tokens[1],
            )
            # A submission that was taken for lost and paid again turns out to have the answer, and the other has none.
            if current is not None and current.state in (State.FAILED, State.AMBIGUOUS):
                picture.point(row.key, row.token)
        return any(
            row.state is State.COMPLETED for row in picture.generation(self.account, self.base_url, self.generation_id)
        )


@dataclass(eq=False)
class Fail(Operation):
    """A generation failed at FoxAPI."""

    generation_id: str
    account: str
    base_url: str
    error: dict[str, Any]
    key: str | None = None

    def want(self, wanted: Wanted) -> None:
        wanted.generation_ids.add(self.generation_id)

    def apply(self, picture: Picture) -> bool:
        for row in _survival(picture, self):
            picture.change(
                row, state=State.FAILED, finished_at=picture.now, error=self.error, reason=None, permitted=False
            )
        return any(
            row.state is State.FAILED for row in picture.generation(self.account, self.base_url, self.generation_id)
        )


@dataclass(eq=False)
class Vanish(Operation):
    """FoxAPI no longer knows a generation (contract §5: 404)."""

    generation_id: str
    account: str
    base_url: str

    def want(self, wanted: Wanted) -> None:
        wanted.generation_ids.add(self.generation_id)

    def apply(self, picture: Picture) -> None:
        for row in picture.generation(self.account, self.base_url, self.generation_id):
            # Where the result was not kept, it is as good as never collected. One wrong 404 must not cost anything.
            gone = row.state is State.COMPLETED and not row.result_kept and row.fresh(picture.now)
            if row.state is State.SUBMITTED or gone:
                what = "has the result of" if gone else "knows"
                reason = f"FoxAPI no longer {what} generation {self.generation_id}"
                picture.change(row, state=State.AMBIGUOUS, reason=reason)


@dataclass(eq=False)
class Publish(Operation):
    """A result that was paid for under another key answers this key, too."""

    subject: GenerationIdentity
    claimant: Claimant
    token: str
    generation_id: str
    result: str | None
    finished_at: float | None = None
    tokens: tuple[int | None, int | None] = (None, None)
    expires_at: float | None = None

    def want(self, wanted: Wanted) -> None:
        wanted.keys.add(self.subject.key)

    def apply(self, picture: Picture) -> bool:
        found = picture.current(self.subject.key)
        if found is not None:
            check_subject(found, self.subject)
            if found.token == self.token:
                return True
            if found.state not in (State.COMPLETED, State.FAILED):
                return False
            # What has only just finished is the newest, whatever another machine's clock says.
            replayed = self.finished_at is not None and found.fresh(picture.now)
            if replayed and (found.finished_at or 0) > (self.finished_at or 0):
                return False
        row = new_submission(
            self.subject,
            self.claimant,
            token=self.token,
            attempt=1 if found is None else found.attempt,
            claimed_at=picture.now,
            deadline=picture.now,
            previous=None if found is None else found.token,
            state=State.COMPLETED,
            billed=False,
            generation_id=self.generation_id,
            finished_at=picture.now if self.finished_at is None else self.finished_at,
            expires_at=self.expires_at,
            result_kept=self.result is not None,
            prompt_tokens=self.tokens[0],
            completion_tokens=self.tokens[1],
        )
        picture.add(row, result=self.result)
        picture.point(row.key, row.token)
        return True


@dataclass(eq=False)
class RememberUpload(Operation):
    """A file was uploaded."""

    digest: str
    account: str
    base_url: str
    url: str
    expires_at: float

    def want(self, wanted: Wanted) -> None:
        """It looks at nothing."""

    def apply(self, picture: Picture) -> None:
        picture.remember_upload(**vars(self))


def _survival(picture: Picture, operation: Complete | Fail) -> list[Submission]:
    """The submissions that this outcome is the first for."""
    rows = picture.generation(operation.account, operation.base_url, operation.generation_id)
    return [
        row
        for row in rows
        if row.state in (State.SUBMITTED, State.AMBIGUOUS, State.FORGOTTEN) and operation.key in (None, row.key)
    ]
