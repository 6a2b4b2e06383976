"""What child processes run."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Literal

from prefect import flow
from pydantic import SecretStr

from prefect_foxapi import FoxAPICredentials, FoxAPIError, PollPolicy, agenerate, asettle
from tests.pay_once.fork_server import emit

MODEL = "gpt-5.5"
SUBMIT_TIMEOUT, CONNECT_TIMEOUT = 2.0, 0.5
# The emulator answers at once: with the default policy these tests would wait for their next poll.
POLL = PollPolicy(interval=0.05)


def credentials(base_url: str, api_key: str) -> FoxAPICredentials:
    """Credentials with which a claim's deadline passes soon."""
    return FoxAPICredentials(
        api_key=SecretStr(api_key), base_url=base_url, submit_timeout=SUBMIT_TIMEOUT, connect_timeout=CONNECT_TIMEOUT
    )


def generate_all(
    base_url: str,
    api_key: str,
    prompts: list[str],
    report: str,
    delays: list[float],
    streamed: list[str],
    on_ambiguous: Literal["raise", "resubmit"] | None = None,
    poll_interval: float | None = None,
) -> None:
    """A flow that makes a generation of each prompt, all at once, and reports what became of them.

    Args:
        delays: Seconds after which each is asked for.
        streamed: Those of the prompts whose answers are streamed.
        report: The file for the outcomes: a dict for each prompt.
        poll_interval: Seconds between two polls; None for the default policy.
    """
    block = credentials(base_url, api_key)
    poll = PollPolicy(interval=poll_interval) if poll_interval else None

    async def one(prompt: str) -> dict[str, Any]:
        generation = await agenerate(
            prompt, model=MODEL, credentials=block, stream=prompt in streamed, on_ambiguous=on_ambiguous, poll=poll
        )
        return {"id": generation.generation_id, "origin": generation.origin, "text": generation.text}

    write_report(report, run_all(one, prompts, delays))


def permit(base_url: str, api_key: str, keys: list[str]) -> None:
    """A flow that allows to submit these again."""

    @flow
    async def permit_all() -> None:
        for key in keys:
            await asettle(key, "allow_resubmit", credentials=credentials(base_url, api_key))

    asyncio.run(permit_all())


def run_all(
    one: Callable[[str], Awaitable[dict[str, Any]]], prompts: list[str], delays: list[float]
) -> list[dict[str, Any]]:
    """Run a flow that does `one` for every prompt."""

    async def after(prompt: str, delay: float) -> dict[str, Any]:
        await asyncio.sleep(delay)
        try:
            return {"prompt": prompt, **await one(prompt)}
        except FoxAPIError as error:
            said = {"error": type(error).__name__, "key": error.key, "message": str(error)}
            return {"prompt": prompt, **said}
        except Exception as error:
            return {"prompt": prompt, "error": type(error).__name__, "key": None, "message": str(error)}

    @flow
    async def generations() -> list[dict[str, Any]]:
        emit("body")
        return await asyncio.gather(*map(after, prompts, delays))

    return asyncio.run(generations())


def write_report(path: str, outcomes: list[dict[str, Any]]) -> None:
    """Write a file that is either whole or not there."""
    draft = Path(f"{path}.{os.getpid()}")
    draft.write_text(json.dumps(outcomes))
    draft.rename(path)
