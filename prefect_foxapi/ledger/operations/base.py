"""The base of the operations that change the ledger."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from prefect_foxapi.errors import LedgerError
from prefect_foxapi.ledger.operations.unit_of_work import ReadSet, UnitOfWork
from prefect_foxapi.ledger.records import Claimant, GenerationIdentity, State, Submission

__all__ = ["Operation", "check_identity", "new_submission"]


class Operation(ABC):
    """A change of the ledger, executed in a transaction that it may share with other operations.

    `apply` either raises before it has changed anything, or completes. It can be applied again after a transaction with
    an unknown result: the token or the generation id shows whether the change has been made already.
    """

    @abstractmethod
    def declare_reads(self, reads: ReadSet) -> None:
        """Add to `reads` the rows that `apply` needs."""

    @abstractmethod
    def apply(self, unit: UnitOfWork) -> Any:
        """Change the rows of `unit`, and return the result for the caller."""


def check_identity(row: Submission, identity: GenerationIdentity) -> None:
    """Raise if `row` belongs to another account or another FoxAPI than `identity`: results are not shared between them.

    Raises:
        LedgerError: The two differ.
    """
    if (row.account, row.base_url) != (identity.account, identity.base_url):
        raise LedgerError(
            "the ledger's row for this key belongs to another account or another FoxAPI: either two different requests "
            "have the same key, or the database was edited. Use a separate ledger for each account, or forget the row",
            key=identity.key,
        )


def new_submission(
    identity: GenerationIdentity, claimant: Claimant, *, state: State = State.SUBMITTING, **values: Any
) -> Submission:
    """Return a submission that is not in the ledger yet."""
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
