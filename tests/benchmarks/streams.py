"""How long after the emulator's end of a generation its result is there, by stream, over real sockets.

The lag counts from the moment that the generation ends until the call returns, the fetch of the result included.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
from httpx_sse import aconnect_sse

from tests.benchmarks.processes import API_KEY, HEADERS, emulator, measured, quantile, report

IN_FLIGHT = (1, 100, 500)
DURATIONS = "lognormal:4:0.4:1:12"
# One generation at a time says little: this many one after the other.
ALONE = 10

Results = list[tuple[float, str]]
"""For each generation, when its result was there (Unix seconds), and its id."""
FirstDeltas = dict[str, float]
"""For each prompt, seconds from the sending of the first chunk until it was taken."""


def body(prompt: str) -> dict[str, Any]:
    """A request."""
    return {"model": "gpt-5.5", "messages": [{"role": "user", "content": prompt}], "stream": True}


def by_client(url: str, count: int) -> dict[str, Any]:
    """The client and `GenerationWaiter.by_stream`."""
    from prefect_foxapi.client.client import FoxAPIClient
    from prefect_foxapi.client.waiter import GenerationWaiter

    async def run() -> tuple[Results, FirstDeltas]:
        first: FirstDeltas = {}
        async with FoxAPIClient(API_KEY, base_url=url) as client:

            async def one(prompt: str) -> tuple[float, str]:
                submitted = await client.submit(body(prompt))
                wait = GenerationWaiter(client, submitted.id, model="gpt-5.5", age=0.0)
                await wait.by_stream(_first_delta(prompt, first))
                return time.time(), submitted.id

            return await _all(one, count), first

    return _lags(url, *asyncio.run(run()))


def by_task(url: str, count: int) -> dict[str, Any]:
    """The body of `astream_generation`: with the ledger, on the background loop, without a Prefect run."""
    from prefect_foxapi import FoxAPICredentials, astream_generation

    credentials = FoxAPICredentials(api_key=API_KEY, base_url=url)

    async def run() -> tuple[Results, FirstDeltas]:
        first: FirstDeltas = {}

        async def one(prompt: str) -> tuple[float, str]:
            generation = await astream_generation.fn(
                prompt, model="gpt-5.5", credentials=credentials, on_delta=_first_delta(prompt, first)
            )
            return time.time(), generation.generation_id

        return await _all(one, count), first

    return _lags(url, *asyncio.run(run()))


def by_httpx(url: str, count: int) -> dict[str, Any]:
    """A hand-written loop over httpx's own transport, with httpx-sse."""

    async def run() -> tuple[Results, FirstDeltas]:
        first: FirstDeltas = {}
        limits = httpx.Limits(max_connections=1000)
        async with httpx.AsyncClient(base_url=url, headers=HEADERS, timeout=120, limits=limits) as client:

            async def one(prompt: str) -> tuple[float, str]:
                answer = await client.post("/v1/llm/generations", json=body(prompt))
                generation_id = answer.json()["id"]
                path = f"/v1/llm/generations/{generation_id}/stream"
                async with aconnect_sse(client, "GET", path) as source:
                    async for event in source.aiter_sse():
                        if event.event == "chunk":
                            chunk = json.loads(event.data)
                            first.setdefault(prompt, time.time() - chunk["emulated_at"])
                task = await client.get(f"/v1/tasks/{generation_id}")
                assert task.json()["results"]
                return time.time(), generation_id

            return await _all(one, count), first

    return _lags(url, *asyncio.run(run()))


def by_polling(url: str, count: int, interval: float) -> dict[str, Any]:
    """A hand-written loop over httpx's own transport that polls at a fixed interval."""

    async def run() -> tuple[Results, FirstDeltas]:
        async with httpx.AsyncClient(base_url=url, headers=HEADERS, timeout=120) as client:

            async def one(prompt: str) -> tuple[float, str]:
                answer = await client.post("/v1/llm/generations", json=body(prompt))
                generation_id = answer.json()["id"]
                while True:
                    await asyncio.sleep(interval)
                    task = await client.get(f"/v1/tasks/{generation_id}")
                    if task.json()["results"]:
                        return time.time(), generation_id

            return await _all(one, count), {}

    return _lags(url, *asyncio.run(run()))


async def _all(one: Callable[[str], Awaitable[tuple[float, str]]], count: int) -> Results:
    await one("the first one opens connections, and is not measured")
    if count == 1:
        return [await one(f"count to {number}") for number in range(ALONE)]
    return list(await asyncio.gather(*(one(f"count to {number}") for number in range(count))))


def _first_delta(prompt: str, first: FirstDeltas) -> Callable[[Any], None]:
    def take(chunk: Any) -> None:
        first.setdefault(prompt, time.time() - chunk.model_extra["emulated_at"])

    return take


def _lags(url: str, results: Results, first: FirstDeltas) -> dict[str, Any]:
    lags: list[float] = []
    with httpx.Client(base_url=url, headers=HEADERS) as client:
        for there, generation_id in results:
            lags.append(there - client.get(f"/v1/tasks/{generation_id}").json()["completed_at"])
    return {"lags": lags, "first": list(first.values())}


def run() -> list[dict[str, str]]:
    """The rows of this benchmark: what, ours, baseline, ratio, target."""
    rows: list[dict[str, str]] = []
    for count in IN_FLIGHT:
        with emulator("--duration", DURATIONS) as url:
            plain = measured(__spec__.name, "by_httpx", url=url, count=count)
            polled = measured(__spec__.name, "by_polling", url=url, count=count, interval=5.0)
            client = measured(__spec__.name, "by_client", url=url, count=count)
            task = measured(__spec__.name, "by_task", url=url, count=count)
        where = f"{count} in flight"
        rows += [
            _row(f"lag, {where}, client, beside plain httpx streams", client["lags"], plain["lags"], "median ≤ 50 ms"),
            _row(f"lag, {where}, task body, beside plain httpx streams", task["lags"], plain["lags"], "median ≤ 50 ms"),
            _row(f"lag, {where}, task body, beside polls every 5 s", task["lags"], polled["lags"], ""),
            _row(f"first delta, {where}, beside plain httpx streams", task["first"], plain["first"], "≤ 50 ms"),
        ]
    return rows


def _row(what: str, ours: list[float], baseline: list[float], target: str) -> dict[str, str]:
    def said(values: list[float]) -> str:
        return f"median {quantile(values, 0.5) * 1e3:.0f} ms, p95 {quantile(values, 0.95) * 1e3:.0f} ms"

    ratio = f"{quantile(ours, 0.5) / quantile(baseline, 0.5):.3f}"
    return {"what": what, "ours": said(ours), "baseline": said(baseline), "ratio": ratio, "target": target}


if __name__ == "__main__":
    report({"by_client": by_client, "by_task": by_task, "by_httpx": by_httpx, "by_polling": by_polling})
