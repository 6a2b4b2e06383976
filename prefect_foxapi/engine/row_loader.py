"""Looking up many keys at once: those that are asked for while one look-up is under way share the next."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prefect_foxapi.ledger import Ledger, Submission


class RowLoader:
    """Gathers look-ups into few queries, without making a lonely one wait."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._next: asyncio.Future[dict[str, Submission]] | None = None
        self._keys: list[str] = []
        self._one_at_a_time = asyncio.Lock()

    async def find(self, key: str) -> Submission | None:
        """The row of a key, as it is at some moment after this was called.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        self._keys.append(key)
        if self._next is None:
            self._next = asyncio.ensure_future(self._find())
        # Shielded: the query is everybody's, and one who is cancelled must not take it away.
        return (await asyncio.shield(self._next)).get(key)

    async def _find(self) -> dict[str, Submission]:
        async with self._one_at_a_time:
            keys, self._keys, self._next = self._keys, [], None
            return await self._ledger.find(keys)
