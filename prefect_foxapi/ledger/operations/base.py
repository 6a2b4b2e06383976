"""What every operation on the ledger has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from prefect_foxapi.errors import LedgerError
from prefect_foxapi.ledger.operations.unit_of_work import Picture, Wanted
from prefect_foxapi.ledger.records import Claimant, GenerationIdentity, State, Submission

__all__ = ["Operation", "check_subject", "new_submission"]


class Operation(ABC):
    """Something that happens."""

    @abstractmethod
    def want(self, wanted: Wanted) -> None:
        """Say what `apply` will look at."""

    @abstractmethod
    def apply(self, picture: Picture) -> Any:
        """Move the picture, and return what the caller gets."""


def check_subject(row: Submission, subject: GenerationIdentity) -> None:
    """Two accounts never share, not even if their keys are equal."""
    if (row.account, row.base_url) != (subject.account, subject.base_url):
        raise LedgerError(
            "the ledger's row for this key belongs to another account or another FoxAPI: two different requests have "
            "the same key, or somebody edited the ledger. Use a ledger of its own for each, or forget the row",
            key=subject.key,
        )


def new_submission(
    subject: GenerationIdentity, claimant: Claimant, *, state: State = State.SUBMITTING, **values: Any
) -> Submission:
    """Make a submission that is not in the ledger yet."""
    values.setdefault("generation_id", None)
    return Submission(
        key=subject.key,
        kind=subject.kind,
        account=subject.account,
        base_url=subject.base_url,
        model=subject.model,
        claimant=claimant,
        state=state,
        **values,
    )
