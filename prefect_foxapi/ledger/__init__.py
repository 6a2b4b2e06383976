"""What was paid for, and what it returned: one SQL database, moved by compare-and-set.

`Ledger` is all that the rest of the package uses. `python -m prefect_foxapi.ledger` looks at it and mends it.
"""

from prefect_foxapi.ledger.rows import Claimant, Claimed, Decision, Row, State, Subject, Usage
from prefect_foxapi.ledger.store import Ledger

__all__ = ["Claimant", "Claimed", "Decision", "Ledger", "Row", "State", "Subject", "Usage"]
