"""A data loader for the ledger's rows: look-ups that arrive while a query runs share the next query."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prefect_foxapi.ledger import Ledger, Submission


class RowLoader:
    """Batches look-ups. A single one does not wait.

    Args:
        ledger: The ledger.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._next: asyncio.Future[dict[str, Submission]] | None = None
        self._keys: list[str] = []
        self._one_query_at_a_time = asyncio.Lock()

    async def load(self, key: str) -> Submission | None:
        """Return the current submission of a key, as of some moment after the call.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        self._keys.append(key)
        if self._next is None:
            self._next = asyncio.ensure_future(self._load())
        # Shielded: the query is shared, so one cancelled caller must not cancel it.
        return (await asyncio.shield(self._next)).get(key)

    async def _load(self) -> dict[str, Submission]:
        async with self._one_query_at_a_time:
            keys, self._keys, self._next = self._keys, [], None
            return await self._ledger.find(keys)
