"""Where what happens is told: the log of the Prefect run that asked."""

from __future__ import annotations

import logging

from prefect.context import FlowRunContext, TaskRunContext
from prefect.exceptions import MissingContextError
from prefect.logging import get_run_logger

from prefect_foxapi.hooks import (
    CooldownStarted,
    HookEvent,
    RetryScheduled,
    StatusChanged,
    StreamFellBackToPolling,
    StreamResultMismatch,
    StreamResumed,
)
from prefect_foxapi.ledger import Claimant
from prefect_foxapi.models.completions import ChatCompletionChunk
from prefect_foxapi.models.generations import Generation

Logger = logging.Logger | logging.LoggerAdapter[logging.Logger]


def run_logger() -> Logger:
    """The logger of the current Prefect run, or this package's own outside of one."""
    try:
        return get_run_logger()
    except MissingContextError:
        return logging.getLogger("prefect_foxapi")


def log_event(event: HookEvent) -> None:
    """A hook that writes what the client and the wait tell into the run's log."""
    logger = run_logger()
    match event:
        case StatusChanged(generation_id, status, progress, elapsed):
            # A completed one is told of by `log_generation`, a moment later and in full.
            level = logging.DEBUG if status == "completed" else logging.INFO
            logger.log(level, "Generation %s is %s (%.0f %%) after %.1f s", generation_id, status, progress, elapsed)
        case RetryScheduled(method, path, attempt, delay, reason):
            logger.warning("%s %s failed, attempt %d, again in %.1f s: %s", method, path, attempt, delay, reason)
        case CooldownStarted(seconds):
            logger.warning("FoxAPI asks for fewer requests; all of them wait for %.1f s", seconds)
        case StreamResumed(generation_id, offset, reason):
            logger.info("Stream of %s goes on at chunk %d: %s", generation_id, offset, reason)
        case StreamFellBackToPolling(generation_id, reason):
            logger.info("Polling %s, since there is no stream: %s", generation_id, reason)
        case StreamResultMismatch(generation_id):
            logger.warning("Stream and result of %s have different texts; the result counts", generation_id)
        case _:
            logger.info("%r", event)


def log_generation(generation: Generation[object]) -> None:
    """One line that says what a generation was and whether it was paid for now."""
    facts = [generation.origin, generation.model]
    if generation.usage and generation.usage.total_tokens is not None:
        facts.append(f"{generation.usage.total_tokens} tokens")
    if generation.credits is not None:
        facts.append(f"{generation.credits:g} credits")
    if generation.latency is not None:
        facts.append(f"{generation.latency:.2f} s")
    run_logger().info("Generation %s is complete: %s", generation.generation_id, ", ".join(facts))


def current_claimant() -> Claimant:
    """This process, asking for the current Prefect run, if there is one."""
    flow, task = FlowRunContext.get(), TaskRunContext.get()
    flow_run_id = flow.flow_run.id if flow and flow.flow_run else None
    if task and task.task_run.flow_run_id:
        flow_run_id = task.task_run.flow_run_id
    return Claimant.here(
        flow_run_id=str(flow_run_id) if flow_run_id else None,
        task_run_id=str(task.task_run.id) if task else None,
        flow_name=flow.flow.name if flow and flow.flow else None,
    )


class LineLog:
    """Writes a stream's text into the run's log, line by line."""

    def __init__(self) -> None:
        self._begun = ""

    def __call__(self, chunk: ChatCompletionChunk) -> None:
        """Take the next chunk."""
        *lines, self._begun = (self._begun + chunk.text).split("\n")
        for line in lines:
            run_logger().info("│ %s", line)

    def close(self) -> None:
        """Write what is left of the last line."""
        if self._begun:
            run_logger().info("│ %s", self._begun)
            self._begun = ""
