"""The tasks around generations: files, models, credits, and mending what was left unsettled."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from prefect_foxapi.credentials import FoxAPICredentials
from prefect_foxapi.engine.collector import Wanted
from prefect_foxapi.engine.engine import service
from prefect_foxapi.errors import InvalidRequest
from prefect_foxapi.models.account import Credits, Model, UploadedFile
from prefect_foxapi.models.generations import Generation, UnsettledGeneration
from prefect_foxapi.tasks.factory import task_pair
from prefect_foxapi.tasks.generations import Credentials

if TYPE_CHECKING:
    from prefect_foxapi.ledger import Submission


async def _upload_file(
    source: Path | bytes | str,
    *,
    name: str | None = None,
    auto_cleanup: bool = True,
    credentials: Credentials = None,
) -> UploadedFile:
    """Upload a file, which FoxAPI keeps for 72 hours (contract §7). `generate` uploads local files by itself.

    Args:
        source: A `Path`, which is streamed from disk; bytes; or a URL that FoxAPI shall fetch.
        name: The file's name at FoxAPI; by default that of the path.
        auto_cleanup: Whether FoxAPI may delete the oldest files when the storage is full.
        credentials: A block, the name of a saved block, or None for `FOXAPI_API_KEY`.

    Raises:
        InvalidRequest: There is no such file, it is empty or unreadable, or FoxAPI refuses it.
    """
    block = await FoxAPICredentials.aresolve(credentials)
    return await service().client(block).upload(source, name=name, auto_cleanup=auto_cleanup)


async def _list_models(*, credentials: Credentials = None) -> tuple[Model, ...]:
    """The models that the key may use, with their capabilities (contract §6)."""
    block = await FoxAPICredentials.aresolve(credentials)
    return await service().client(block).models()


async def _get_credits(*, credentials: Credentials = None) -> Credits:
    """Balance and use of the key (contract §8)."""
    block = await FoxAPICredentials.aresolve(credentials)
    return await service().client(block).credits()


async def _list_unsettled(*, credentials: Credentials = None) -> tuple[UnsettledGeneration, ...]:
    """What this account has submitted and never collected, and what nobody can know about, from the ledger."""
    block = await FoxAPICredentials.aresolve(credentials)
    rows = await service().ledger().unsettled(block.account_name)
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
    """Settle what `list_unsettled` lists.

    Args:
        key: Its key, or the beginning of it if that is unambiguous.
        action: `collect` waits for the generation and returns it. `allow_resubmit` lets the next call pay once more
            for an ambiguous one. `forget` takes it out of the ledger; the next call pays.
        credentials: A block, the name of a saved block, or None for `FOXAPI_API_KEY`.

    Raises:
        InvalidRequest: There is no such key, or the action does not fit its state.
    """
    block = await FoxAPICredentials.aresolve(credentials)
    ledger = service().ledger()
    matches: dict[str, Submission] = {}
    for row in await ledger.unsettled(block.account_name):
        # One that was submitted again can have several attempts: the latest of those that can be collected.
        if row.key.startswith(key) and (row.generation_id or row.key not in matches):
            matches[row.key] = row
    if len(matches) != 1:
        found = "no unsettled generation has" if not matches else f"{len(matches)} unsettled generations have"
        raise InvalidRequest(f"key: {found} a key that begins with {key!r}; list_unsettled() lists them", field="key")
    [row] = matches.values()
    if action != "collect":
        await ledger.settle(row.key, action)
        return None
    if row.generation_id is None:
        raise InvalidRequest(
            f"action: nothing is known to collect of {row.key[:12]}, which is {row.state.value}; "
            "allow_resubmit or forget it",
            field="action",
        )
    wanted = Wanted(
        generation_id=row.generation_id, account=block.account_name, model=row.model, key=row.key, timeout=None
    )
    return await service().collect(block, wanted)


upload_file, aupload_file = task_pair(_upload_file)
list_models, alist_models = task_pair(_list_models)
get_credits, aget_credits = task_pair(_get_credits)
list_unsettled, alist_unsettled = task_pair(_list_unsettled)
settle, asettle = task_pair(_settle)
