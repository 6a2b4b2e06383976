"""The durable record of every paid generation, in SQLite or PostgreSQL.

The rest of the package uses `Ledger` and the records that it returns. `python -m prefect_foxapi.ledger` is the command
line to inspect a ledger and to settle open generations.
"""

from typing import TYPE_CHECKING, Any

from prefect_foxapi.compatibility import moved_name
from prefect_foxapi.ledger.records import Claimant, Decision, GenerationIdentity, Lease, State, Submission, Usage

if TYPE_CHECKING:
    from prefect_foxapi.ledger.ledger import Ledger

__all__ = ["Claimant", "Decision", "GenerationIdentity", "Lease", "Ledger", "State", "Submission", "Usage"]


def __getattr__(name: str) -> Any:
    # Imported on first use: SQLAlchemy takes a quarter of a second, and not every process submits something.
    if name != "Ledger":
        return moved_name("ledger", name)
    from prefect_foxapi.ledger.ledger import Ledger

    return Ledger
