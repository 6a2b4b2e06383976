"""What was paid for, and what it returned: one SQL database, moved by compare-and-set.

`Ledger` is all that the rest of the package uses. `python -m prefect_foxapi.ledger` looks at it and mends it.
"""

from typing import TYPE_CHECKING, Any

from prefect_foxapi.compatibility import moved_name
from prefect_foxapi.ledger.records import Claimant, Decision, GenerationIdentity, Lease, State, Submission, Usage

if TYPE_CHECKING:
    from prefect_foxapi.ledger.ledger import Ledger

__all__ = ["Claimant", "Decision", "GenerationIdentity", "Lease", "Ledger", "State", "Submission", "Usage"]


def __getattr__(name: str) -> Any:
    # Imported when it is first used: SQLAlchemy takes a quarter of a second, and a flow may never come to pay.
    if name != "Ledger":
        return moved_name("ledger", name)
    from prefect_foxapi.ledger.ledger import Ledger

    return Ledger
