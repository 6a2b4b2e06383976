"""What every operation on the ledger has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from prefect_foxapi.errors import LedgerError
from prefect_foxapi.ledger.operations.unit_of_work import ReadSet, UnitOfWork
from prefect_foxapi.ledger.records import Claimant, GenerationIdentity, State, Submission

__all__ = ["Operation", "check_identity", "new_submission"]


class Operation(ABC):
    """Something that happens."""

    @abstractmethod
    def declare_reads(self, reads: ReadSet) -> None:
        """Say what `apply` will look at."""

    @abstractmethod
    def apply(self, unit: UnitOfWork) -> Any:
        """Move the picture, and return what the caller gets."""


def check_identity(row: Submission, identity: GenerationIdentity) -> None:
    """Two accounts never share, not even if their keys are equal."""
    if (row.account, row.base_url) != (identity.account, identity.base_url):
        raise LedgerError(
            "the ledger's row for this key belongs to another account or another FoxAPI: two different requests have "
            "the same key, or somebody edited the ledger. Use a ledger of its own for each, or forget the row",
            key=identity.key,
        )


def new_submission(
    identity: GenerationIdentity, claimant: Claimant, *, state: State = State.SUBMITTING, **values: Any
) -> Submission:
    """Make a submission that is not in the ledger yet."""
    values.setdefault("generation_id", None)
    return Submission(
        key=identity.key,
        kind=identity.kind,
        account=identity.account,
        base_url=identity.base_url,
        model=identity.model,
        claimant=claimant,
        state=state,
        **values,
    )
