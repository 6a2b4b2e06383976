"""A child program that leaves as many traces as it can."""

from __future__ import annotations

import asyncio
import pickle
import traceback
from pathlib import Path
from typing import Any

import httpx
from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from pydantic import BaseModel

from prefect_foxapi import (
    FoxAPICredentials,
    FoxAPIError,
    agenerate,
    aget_credits,
    alist_models,
    alist_unsettled,
    asubmit_generation,
    aupload_file,
    generate,
    image,
)
from tests.pay_once.fork_server import emit
from tests.pay_once.programs import MODEL, credentials


class Capital(BaseModel):
    city: str


def leave_traces(base_url: str, api_key: str, folder: str) -> None:
    """Do everything that there is, with the key in a block, by the block's name, and in the environment."""
    block = credentials(base_url, api_key)
    errors: list[str] = []
    faults: list[dict[str, Any]] = [
        {"kind": "reset_after"},
        {"kind": "status", "status": 400, "message": f"your key {api_key} is odd: Authorization: Bearer {api_key}"},
        {"kind": "status", "status": 401, "message": f"unknown key {api_key}"},
        {"kind": "status", "status": 503, "message": f"no channel for {api_key}"},
        {"kind": "truncated"},
        {"kind": "sse_error", "endpoint": "stream", "message": f"no more for {api_key}"},
    ]

    def keep(error: BaseException) -> None:
        texts = [str(error), repr(error), "".join(traceback.format_exception(error)), repr(vars(error))]
        if isinstance(error, FoxAPIError):
            texts.append(pickle.dumps(error).decode("latin-1"))
        errors.extend(texts)

    async def attempt(awaitable: Any) -> None:
        try:
            await awaitable
        except Exception as error:
            keep(error)

    @task
    async def around(given: FoxAPICredentials) -> str:
        generation = await agenerate("within a task", model=MODEL, credentials=given)
        await create_markdown_artifact(f"canary: {generation!r} by {given!r}", key="traces")
        return generation.text

    @flow
    async def with_the_block(given: FoxAPICredentials) -> Any:
        await given.save("traces", overwrite=True)
        for credit in (given, "traces", None):
            await agenerate("canary", model=MODEL, credentials=credit)
        await agenerate("a typed canary", model=MODEL, credentials=given, output_type=Capital)
        await agenerate("a streamed canary", model=MODEL, credentials=given, stream=True)
        await agenerate(["a picture", image(b"\x89PNG canary", name="a.png")], model=MODEL, credentials=given)
        await around(given)
        await aupload_file(b"canary", name="canary.txt", credentials=given)
        await asubmit_generation("submitted", model=MODEL, credentials=given)
        await alist_models(credentials=given)
        await aget_credits(credentials=given)
        for fault in faults:
            httpx.post(
                f"{base_url}/emulator/faults", json={"endpoint": "submit", "count": 1, **fault}
            ).raise_for_status()
            await attempt(agenerate("a fault", model=MODEL, credentials=given, sample=len(errors), stream=True))
        await attempt(agenerate("doomed", model=MODEL, credentials=given))
        await attempt(agenerate("slow", model=MODEL, credentials=given, timeout=0.2))
        await attempt(agenerate("slow", model="", credentials=given))
        cancelled = asyncio.ensure_future(agenerate("slow", model=MODEL, credentials=given))
        await asyncio.sleep(0.2)
        cancelled.cancel()
        await asyncio.wait([cancelled])
        await alist_unsettled(credentials=given)
        return await agenerate.with_options(refresh_cache=True)("canary", model=MODEL, credentials=given)

    @flow
    def synchronously() -> Any:
        return generate("a synchronous canary", model=MODEL, credentials=block)

    asyncio.run(with_the_block(block))
    synchronously()
    Path(folder, "errors.txt").write_text("\n".join(errors))
    emit("done")
    asyncio.run(asyncio.sleep(60))
