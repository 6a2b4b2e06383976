"""The engine of this process, and the Prefect run that uses it."""

from __future__ import annotations

import sys

from prefect.context import FlowRunContext, TaskRunContext

from prefect_foxapi.client.client import FoxAPIClient
from prefect_foxapi.client.config import ClientConfig
from prefect_foxapi.engine.clients import ClientPool
from prefect_foxapi.engine.engine import GenerationEngine
from prefect_foxapi.errors import FoxAPIError
from prefect_foxapi.ledger.records import Claimant
from prefect_foxapi.observability import log_event
from prefect_foxapi.settings import current_settings
from prefect_foxapi.tasks.event_loop import BackgroundLoop, background

_HOOKS = (log_event,)
# Seconds for a claim and for its outcome, each with a busy database.
_LEDGER_GRACE = 60.0


class _Runtime:
    """Clients and engines on one background loop."""

    def __init__(self, loop: BackgroundLoop) -> None:
        self._loop = loop
        self._engines: dict[str, GenerationEngine] = {}
        self.clients = ClientPool(hooks=_HOOKS)

    def engine(self) -> GenerationEngine:
        """Return the engine on the ledger that the settings name."""
        settings = current_settings()
        location = settings.ledger_location()
        engine = self._engines.get(location)
        if engine is None:
            # Imported where it is used: SQLAlchemy takes a quarter of a second.
            from prefect_foxapi.ledger import Ledger

            ledger = Ledger(
                location,
                keep_results=settings.ledger_keeps_results,
                retention=settings.ledger_retention_days * 86400,
                recovery_folder=settings.recovery_folder(),
            )
            engine = self._engines[location] = GenerationEngine(ledger, self.clients, hooks=_HOOKS)
        return engine

    async def aclose(self) -> None:
        """Close every client and ledger."""
        del _runtimes[self._loop]
        await self.clients.aclose()
        for engine in self._engines.values():
            await engine.ledger.aclose()


_runtimes: dict[BackgroundLoop, _Runtime] = {}


def _current_runtime() -> _Runtime:
    if sys.platform == "win32":
        raise FoxAPIError("prefect-foxapi runs on Linux and macOS; on Windows, use WSL")
    loop = background()
    found = _runtimes.get(loop)
    if found is not None:
        return found
    created = _Runtime(loop)
    # Several threads may come here together, and a lock might stay locked in a forked child.
    kept = _runtimes.setdefault(loop, created)
    if kept is created:
        loop.shutdown_grace = lambda: kept.clients.submission_deadline + _LEDGER_GRACE
        loop.on_close(kept.aclose)
    return kept


def current_engine() -> GenerationEngine:
    """Return the engine of this process on the ledger that the settings name."""
    return _current_runtime().engine()


def current_client(config: ClientConfig) -> FoxAPIClient:
    """Return the client of this process for a configuration."""
    return _current_runtime().clients.get(config)


def current_claimant() -> Claimant:
    """Return this process and the current Prefect run as a claimant."""
    flow, task = FlowRunContext.get(), TaskRunContext.get()
    flow_run_id = flow.flow_run.id if flow and flow.flow_run else None
    if task and task.task_run.flow_run_id:
        flow_run_id = task.task_run.flow_run_id
    return Claimant.here(
        flow_run_id=str(flow_run_id) if flow_run_id else None,
        task_run_id=str(task.task_run.id) if task else None,
        flow_name=flow.flow.name if flow and flow.flow else None,
    )
