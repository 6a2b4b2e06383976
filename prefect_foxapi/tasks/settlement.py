"""The tasks about generations that were submitted and never collected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from prefect_foxapi.client.waiter import WaitOptions
from prefect_foxapi.credentials import FoxAPICredentials
from prefect_foxapi.engine.calls import GenerationRef
from prefect_foxapi.errors import InvalidRequest
from prefect_foxapi.models.generations import Generation, UnsettledGeneration
from prefect_foxapi.tasks.factory import task_pair
from prefect_foxapi.tasks.generations import Credentials
from prefect_foxapi.tasks.runtime import current_engine

if TYPE_CHECKING:
    from prefect_foxapi.ledger import Submission


async def _list_unsettled(*, credentials: Credentials = None) -> tuple[UnsettledGeneration, ...]:
    """Return what this account submitted and never collected, and what is ambiguous, from the ledger.

    Args:
        credentials: A block, the name of a saved block, or None for `FOXAPI_API_KEY`.
    """
    block = await FoxAPICredentials.aresolve(credentials)
    rows = await current_engine().ledger.unsettled(block.account_name)
    return tuple(
        UnsettledGeneration(
            key=row.key,
            state=row.state.value,
            model=row.model,
            generation_id=row.generation_id,
            submitted_at=row.claimed_at,
            submitted_by=str(row.claimant),
            reason=row.reason,
        )
        for row in rows
    )


async def _settle(
    key: str, action: Literal["collect", "forget", "allow_resubmit"], *, credentials: Credentials = None
) -> Generation[Any] | None:
    """Settle an unsettled generation and return its result, if it has one.

    Args:
        key: Its key, or an unambiguous beginning of it.
        action: `collect` waits for the generation. `allow_resubmit` lets the next call submit an ambiguous one once
            more. `forget` removes it from the ledger; the next call pays.
        credentials: A block, the name of a saved block, or None for `FOXAPI_API_KEY`.

    Returns:
        The generation for `collect`, else None.

    Raises:
        InvalidRequest: There is no such key, or the action does not fit its state.
    """
    block = await FoxAPICredentials.aresolve(credentials)
    engine = current_engine()
    matches: dict[str, Submission] = {}
    for row in await engine.ledger.unsettled(block.account_name):
        # A key can have several attempts: the latest that can be collected counts.
        if row.key.startswith(key) and (row.generation_id or row.key not in matches):
            matches[row.key] = row
    if len(matches) != 1:
        found = "no unsettled generation has" if not matches else f"{len(matches)} unsettled generations have"
        raise InvalidRequest(f"key: {found} a key that begins with {key!r}; list_unsettled() lists them", field="key")
    [row] = matches.values()
    if action != "collect":
        await engine.ledger.settle(row.key, action)
        return None
    if row.generation_id is None:
        raise InvalidRequest(
            f"action: {row.key[:12]} is {row.state.value} and has no generation id to collect; use allow_resubmit or "
            "forget",
            field="action",
        )
    ref = GenerationRef(row.generation_id, block.account_name, row.model, row.key)
    return await engine.collect(block.client_config, ref, WaitOptions())


list_unsettled, alist_unsettled = task_pair(_list_unsettled)
settle, asettle = task_pair(_settle)
