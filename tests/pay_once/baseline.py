"""What a careful user of Prefect writes by hand: the baseline."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
from prefect import task
from prefect.cache_policies import INPUTS, TASK_SOURCE

from tests.pay_once.programs import MODEL, run_all, write_report

_client: httpx.AsyncClient


@task(retries=3, retry_delay_seconds=0.5, cache_policy=INPUTS + TASK_SOURCE, persist_result=True)
async def submit(prompt: str) -> str:
    body = {"model": MODEL, "messages": [{"role": "user", "content": prompt}]}
    answer = await _client.post("/v1/llm/generations", json=body)
    return answer.raise_for_status().json()["id"]


@task(retries=3, retry_delay_seconds=0.5, cache_policy=INPUTS + TASK_SOURCE, persist_result=True)
async def generate(prompt: str) -> dict[str, Any]:
    generation_id = await submit(prompt)
    while True:
        snapshot = (await _client.get(f"/v1/tasks/{generation_id}")).raise_for_status().json()
        if snapshot["status"] == "failed":
            raise RuntimeError(snapshot["error"]["message"])
        if snapshot["status"] == "completed" and snapshot["results"]:
            return {"id": generation_id, "text": snapshot["results"][0]["choices"][0]["message"]["content"]}
        await asyncio.sleep(0.5)


def generate_all(
    base_url: str, api_key: str, prompts: list[str], report: str, delays: list[float], **unused: object
) -> None:
    """The same flow as `programs.generate_all`."""
    global _client
    headers = {"Authorization": f"Bearer {api_key}", "User-Agent": "baseline/1"}
    _client = httpx.AsyncClient(base_url=base_url, headers=headers, timeout=30)
    write_report(report, run_all(generate, prompts, delays))
