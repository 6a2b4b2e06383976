"""The tasks about an account: files, models, credits."""

from __future__ import annotations

from pathlib import Path

from prefect_foxapi.credentials import FoxAPICredentials
from prefect_foxapi.models.account import Credits, Model, UploadedFile
from prefect_foxapi.tasks.factory import task_pair
from prefect_foxapi.tasks.generations import Credentials
from prefect_foxapi.tasks.runtime import current_client


async def _upload_file(
    source: Path | bytes | str,
    *,
    name: str | None = None,
    auto_cleanup: bool = True,
    credentials: Credentials = None,
) -> UploadedFile:
    """Upload a file, which FoxAPI keeps for 72 hours, and return where it is. `generate` uploads local files itself.

    Args:
        source: A `Path`, which is streamed from disk; bytes; or a URL for FoxAPI to fetch.
        name: Name of the file at FoxAPI; by default that of the path.
        auto_cleanup: Whether FoxAPI may delete the oldest files when the storage is full.
        credentials: A block, the name of a saved block, or None for `FOXAPI_API_KEY`.

    Raises:
        InvalidRequest: There is no such file, it is empty or unreadable, or FoxAPI refuses it.
    """
    block = await FoxAPICredentials.aresolve(credentials)
    return await current_client(block.client_config).upload(source, name=name, auto_cleanup=auto_cleanup)


async def _list_models(*, credentials: Credentials = None) -> tuple[Model, ...]:
    """Return the models that are available to the key, with their capabilities.

    Args:
        credentials: A block, the name of a saved block, or None for `FOXAPI_API_KEY`.
    """
    block = await FoxAPICredentials.aresolve(credentials)
    return await current_client(block.client_config).models()


async def _get_credits(*, credentials: Credentials = None) -> Credits:
    """Return the remaining and used credits of the key.

    Args:
        credentials: A block, the name of a saved block, or None for `FOXAPI_API_KEY`.
    """
    block = await FoxAPICredentials.aresolve(credentials)
    return await current_client(block.client_config).credits()


upload_file, aupload_file = task_pair(_upload_file)
list_models, alist_models = task_pair(_list_models)
get_credits, aget_credits = task_pair(_get_credits)
