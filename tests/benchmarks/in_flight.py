"""A thousand generations in flight at once: what they cost the client's process, and how long they take.

Ours is the body of `agenerate`: request, key, ledger, submission, polls, result, on the background loop, without a
Prefect run. The baseline is a hand-written loop over httpx's own transport with no ledger and no models; it polls at a
fixed interval, chosen so that it would poll about as often if it kept up. Then `agenerate` as Prefect runs it, beside
a task that is cached just so and only sleeps: what Prefect itself costs.
"""

from __future__ import annotations

import asyncio
import json
import logging
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx

from prefect_foxapi.emulator import LogNormal
from tests.benchmarks.processes import API_KEY, HEADERS, ROOT, emulator, measured, megabytes, prefect_server, report

COUNT = 1000
MEDIAN, SIGMA, LOW, HIGH = 4.0, 0.5, 0.4, 12.0
EMULATED = ("--duration", f"lognormal:{MEDIAN}:{SIGMA}:{LOW}:{HIGH}")


def durations(count: int) -> list[float]:
    """How long the emulator's generations take."""
    draw = LogNormal(MEDIAN, SIGMA, low=LOW, high=HIGH)
    return [draw("", {}) for _ in range(count)]


def _prompt(number: int) -> str:
    return f"count to {number}"


class _Complaints(logging.Handler):
    """Counts what is logged as a warning or worse: every failed request is."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.count += 1


def _together(one: Callable[[int], Awaitable[Any]], count: int) -> dict[str, Any]:
    """Run so many at once, and say what it took."""

    async def everything() -> int:
        return len(await asyncio.gather(*(one(number) for number in range(count))))

    return _taken(lambda: asyncio.run(everything()), count)


def _taken(work: Callable[[], int], count: int) -> dict[str, Any]:
    complaints = _Complaints()
    logging.getLogger("prefect_foxapi").addHandler(complaints)
    logging.getLogger("prefect.task_runs").addHandler(complaints)
    before, cpu, began, started = megabytes(), time.process_time(), time.time(), time.monotonic()
    done = work()
    assert done == count
    return {
        "cpu": (time.process_time() - cpu) / count * 1e3,
        "wall": time.monotonic() - started,
        "began": began,
        "before": before,
        "memory": megabytes(),
        "complaints": complaints.count,
    }


def ours(url: str, count: int) -> dict[str, Any]:
    """The body of `agenerate`."""
    from prefect_foxapi import FoxAPICredentials, agenerate

    credentials = FoxAPICredentials(api_key=API_KEY, base_url=url)

    async def one(number: int) -> None:
        generation = await agenerate.fn(_prompt(number), model="gpt-5.5", credentials=credentials)
        assert generation.text

    return _together(one, count)


def plain(url: str, count: int, interval: float) -> dict[str, Any]:
    """A hand-written loop."""

    async def everything() -> int:
        async with httpx.AsyncClient(base_url=url, headers=HEADERS, timeout=None) as client:

            async def one(number: int) -> None:
                request = {"model": "gpt-5.5", "messages": [{"role": "user", "content": _prompt(number)}]}
                answer = await client.post("/v1/llm/generations", json=request)
                generation_id = answer.raise_for_status().json()["id"]
                while True:
                    await asyncio.sleep(interval)
                    task = (await client.get(f"/v1/tasks/{generation_id}")).raise_for_status().json()
                    if task["results"]:
                        assert task["results"][0]["choices"][0]["message"]["content"]
                        return

            return len(await asyncio.gather(*(one(number) for number in range(count))))

    return _taken(lambda: asyncio.run(everything()), count)


def in_flow(url: str, count: int) -> dict[str, Any]:
    """`agenerate` in a flow."""
    from prefect import flow

    from prefect_foxapi import FoxAPICredentials, agenerate

    credentials = FoxAPICredentials(api_key=API_KEY, base_url=url)

    @flow
    async def ask() -> int:
        asked = (agenerate(_prompt(number), model="gpt-5.5", credentials=credentials) for number in range(count))
        return len(await asyncio.gather(*asked))

    return _taken(lambda: asyncio.run(ask()), count)


def sleeping_in_flow(count: int) -> dict[str, Any]:
    """Tasks that are cached as `agenerate` is and return the like, and only sleep as long."""
    from prefect import flow, task
    from prefect.cache_policies import INPUTS

    from prefect_foxapi.models.generations import Generation, GenerationSnapshot

    lengths = durations(count)
    completed = json.loads((ROOT / "tests" / "api_payloads" / "task_completed.json").read_text())
    made = Generation.from_snapshot(GenerationSnapshot.model_validate(completed), origin="billed", latency=1.0)

    @task(cache_policy=INPUTS, result_serializer="json")
    async def sleep(prompt: str, seconds: float) -> Generation[Any]:
        await asyncio.sleep(seconds)
        return made

    @flow
    async def ask() -> int:
        return len(await asyncio.gather(*(sleep(_prompt(number), lengths[number]) for number in range(count))))

    return _taken(lambda: asyncio.run(ask()), count)


def _submitted_within(url: str, began: float) -> float:
    """Seconds from the beginning until the last submission was accepted."""
    ledger = httpx.get(f"{url}/emulator/ledger").json()
    return max(submission["created"] for submission in ledger["submissions"]) - began


def _polls(url: str, count: int) -> float:
    return httpx.get(f"{url}/emulator/counts").json()["GET task"] / count


def run(count: int = COUNT) -> list[dict[str, str]]:
    """The rows of this benchmark: what, ours, baseline, ratio, target."""
    module, lengths = __spec__.name, durations(count)
    longest = max(lengths)
    with emulator(*EMULATED) as url:
        mine = measured(module, "ours", url=url, count=count)
        mine |= {"polls": _polls(url, count), "submitted": _submitted_within(url, mine["began"])}
    interval = sum(lengths) / count / max(mine["polls"] - 0.5, 0.5)
    with emulator(*EMULATED) as url:
        theirs = measured(module, "plain", url=url, count=count, interval=interval)
        theirs |= {"polls": _polls(url, count), "submitted": _submitted_within(url, theirs["began"])}
    with tempfile.TemporaryDirectory() as home, prefect_server(Path(home)) as api, emulator(*EMULATED) as url:
        environment = {"PREFECT_API_URL": api, "PREFECT_LOGGING_LEVEL": "INFO"}
        asleep = measured(module, "sleeping_in_flow", environment, count=count)
        flow = measured(module, "in_flow", environment, url=url, count=count)
        flow |= {"submitted": _submitted_within(url, flow["began"])}

    def allowed(taken: dict[str, Any]) -> str:
        return f"≤ {1.3 * longest + taken['submitted']:.1f} s"

    where = f"{count} in flight"
    return [
        _row(f"{where}, CPU per generation, beside plain httpx", mine["cpu"], theirs["cpu"], "ms", "≤ 0.25"),
        _row(f"{where}, polls per generation", mine["polls"], theirs["polls"], "", ""),
        _row(f"{where}, wall (longest {longest:.1f} s)", mine["wall"], theirs["wall"], "s", allowed(mine)),
        _row(f"{where}, until all are submitted", mine["submitted"], theirs["submitted"], "s", ""),
        _row(f"{where}, failed requests", mine["complaints"], theirs["complaints"], "", "0"),
        _row(
            f"{where}, memory above Prefect's own",
            mine["memory"] - mine["before"],
            theirs["memory"] - theirs["before"],
            "MB",
            "≤ 250 MB",
        ),
        _row(
            f"{where}, agenerate in a flow, CPU, beside a quarter of plain httpx and a task that sleeps",
            flow["cpu"],
            theirs["cpu"] / 4 + asleep["cpu"],
            "ms",
            "≤ 1.00",
        ),
        _row(
            f"{where}, agenerate in a flow, CPU, beside its body and a task that sleeps",
            flow["cpu"],
            mine["cpu"] + asleep["cpu"],
            "ms",
            "",
        ),
        _row(f"{where}, agenerate in a flow, wall, beside a task that sleeps", flow["wall"], asleep["wall"], "s", ""),
        _row(f"{where}, agenerate in a flow, failed requests", flow["complaints"], asleep["complaints"], "", "0"),
        _row(
            f"{where}, agenerate in a flow, memory beside a task that sleeps",
            flow["memory"],
            asleep["memory"],
            "MB",
            "≤ 250 MB above",
        ),
    ]


def _row(what: str, ours: float, baseline: float, unit: str, target: str) -> dict[str, str]:
    def said(value: float) -> str:
        return f"{value:.0f} {unit}".rstrip() if unit == "MB" or value == int(value) else f"{value:.2f} {unit}".rstrip()

    ratio = f"{ours / baseline:.2f}" if baseline else ""
    return {"what": what, "ours": said(ours), "baseline": said(baseline), "ratio": ratio, "target": target}


if __name__ == "__main__":
    modes = {"ours": ours, "plain": plain, "in_flow": in_flow, "sleeping_in_flow": sleeping_in_flow}
    report(modes)
