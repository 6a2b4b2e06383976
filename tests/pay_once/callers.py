"""Child programs that ask for one generation in many ways at once."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import Flow, State, flow, get_client, task
from prefect.cache_policies import NO_CACHE
from prefect.flow_engine import run_flow
from prefect.results import ResultRecord
from prefect.task_runners import ThreadPoolTaskRunner

from prefect_foxapi import FoxAPICredentials, FoxAPIError, Generation, agenerate, generate
from tests.pay_once.fork_server import emit
from tests.pay_once.programs import MODEL, POLL, credentials, write_report


def ask_the_same(
    base_url: str,
    api_key: str,
    report: str,
    prompt: str = "the same",
    coroutines: int = 1,
    threads: int = 0,
    go: str | None = None,
) -> None:
    """Ask for one generation from many coroutines of a flow, and from many threads of another.

    Args:
        go: A file to wait for, so that several processes begin at the same moment.
    """
    arguments: dict[str, Any] = {"model": MODEL, "credentials": credentials(base_url, api_key), "poll": POLL}

    async def one() -> dict[str, Any]:
        begun = time.monotonic()
        try:
            return _outcome(await agenerate(prompt, **arguments), begun)
        except FoxAPIError as error:
            return {"error": type(error).__name__, "id": error.generation_id, "seconds": time.monotonic() - begun}

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=max(1, threads)))
    def from_threads() -> list[dict[str, Any]]:
        begun = time.monotonic()
        futures = [generate.submit(prompt, **arguments) for _ in range(threads)]
        return [_outcome(future.result(), begun) for future in futures]

    @flow
    async def from_coroutines() -> list[dict[str, Any]]:
        emit("body")
        while go is not None and not Path(go).exists():
            await asyncio.sleep(0.005)
        emit("asking")
        threaded = asyncio.to_thread(from_threads)
        first, *others = await asyncio.gather(threaded, *(one() for _ in range(coroutines)))
        return [*first, *others]

    write_report(report, asyncio.run(from_coroutines()))


def _outcome(generation: Generation[Any], begun: float) -> dict[str, Any]:
    return {"id": generation.generation_id, "origin": generation.origin, "seconds": time.monotonic() - begun}


def ask_once(
    base_url: str,
    api_key: str,
    report: str,
    prompt: str = "the same",
    flow_run_id: str | None = None,
    caching: str = "usual",
    timeout_seconds: float | None = None,
    nested: bool = False,
    synchronous: bool = False,
    flow_retries: int = 0,
    parameters: dict[str, Any] | None = None,
) -> None:
    """Ask for one generation, and report the states and what came of it.

    Args:
        flow_run_id: The flow run that this is, where it is not a new one.
        caching: `usual`, `refresh` or `never`.
        timeout_seconds: Prefect's own time-out of the task.
        nested: Whether another task asks.
        synchronous: Whether the flow is.
        flow_retries: How often the flow is retried.
    """
    arguments: dict[str, Any] = {
        "model": MODEL,
        "credentials": credentials(base_url, api_key),
        "poll": POLL,
        **(parameters or {}),
    }
    caches: dict[str, dict[str, Any]] = {
        "usual": {},
        "refresh": {"refresh_cache": True},
        "never": {"cache_policy": NO_CACHE},
    }
    options = {**caches[caching], "timeout_seconds": timeout_seconds}

    async def ask() -> dict[str, Any]:
        return told(await agenerate.with_options(**options)(prompt, **arguments, return_state=True))

    @flow(retries=flow_retries)
    async def asynchronously() -> None:
        emit("body")
        within = task(cache_policy=NO_CACHE)(ask) if nested else ask
        write_report(report, [await within()])

    @flow(retries=flow_retries)
    def synchronously() -> None:
        emit("body")
        write_report(report, [told(generate.with_options(**options)(prompt, **arguments, return_state=True))])

    run_this(synchronously if synchronous else asynchronously, flow_run_id)


def run_this(wanted: Flow[[], Any], flow_run_id: str | None) -> None:
    """Run a flow, as a new flow run or as one that exists."""
    flow_run = None
    if flow_run_id is not None:
        with get_client(sync_client=True) as client:
            flow_run = client.read_flow_run(UUID(flow_run_id))
    running = run_flow(wanted, flow_run=flow_run)
    if asyncio.iscoroutine(running):
        asyncio.run(running)


class Caller:
    """Asks in flow runs, each a new one."""

    def __init__(self, credentials: FoxAPICredentials) -> None:
        self._credentials = credentials

    async def state(self, prompt: str = "the same", options: dict[str, Any] | None = None, **arguments: Any) -> State:
        states: list[State] = []

        # It returns nothing: a flow that returned a failed state would fail, too.
        @flow
        async def ask() -> None:
            asking = agenerate.with_options(**options) if options else agenerate
            given = {"model": MODEL, "credentials": self._credentials, "poll": POLL, **arguments}
            states.append(await asking(prompt, **given, return_state=True))

        await ask()
        return states[0]

    async def __call__(self, prompt: str = "the same", **options: Any) -> dict[str, Any]:
        return told(await self.state(prompt, options))


def told(state: State[Any]) -> dict[str, Any]:
    """What a task run came to, as JSON data."""
    result = result_of(state)
    if isinstance(result, Generation):
        return {"state": state.name, "id": result.generation_id, "origin": result.origin, "text": result.text}
    error = {"error": type(result).__name__, "id": getattr(result, "generation_id", None)}
    return {"state": state.name, **error, "message": str(result)}


def result_of(state: State[Any]) -> Any:
    """The result or the exception that a state carries."""
    return state.data.result if isinstance(state.data, ResultRecord) else state.data
