"""Waiting for work that must come to its end although its caller is cancelled."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import anyio


async def await_to_completion(future: asyncio.Future[Any]) -> None:
    """Wait until a task or future is done, however often the caller is cancelled meanwhile.

    The outcome is not raised here: the caller raises its own cancellation.
    """
    # anyio cancels again and again until it works, and Prefect's timeouts are anyio's.
    with anyio.CancelScope(shield=True):
        while not future.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait({future})
    if not future.cancelled():
        future.exception()
