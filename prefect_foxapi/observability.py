"""Logs: a hook that writes events to the log of the Prefect run that asked."""

from __future__ import annotations

import logging

from prefect.exceptions import MissingContextError
from prefect.logging import get_run_logger

from prefect_foxapi.hooks import (
    CapabilitiesUnavailable,
    CooldownStarted,
    GenerationCompleted,
    HookEvent,
    RecordingFailed,
    RetryScheduled,
    StatusChanged,
    StreamFellBackToPolling,
    StreamResultMismatch,
    StreamResumed,
    SubmissionRecorded,
    WaitAbandoned,
)
from prefect_foxapi.models import ChatCompletionChunk

Logger = logging.Logger | logging.LoggerAdapter[logging.Logger]


def run_logger() -> Logger:
    """Return the logger of the current Prefect run, or this package's own outside of a run."""
    try:
        return get_run_logger()
    except MissingContextError:
        return logging.getLogger("prefect_foxapi")


def log_event(event: HookEvent) -> None:
    """Write an event to the log of the run."""
    logger = run_logger()
    match event:
        case SubmissionRecorded(generation_id, model):
            logger.info(
                "Generation %s is submitted to %s; "
                "if this run ends, wait_for_generation(%r) or the next run collects it",
                generation_id,
                model,
                generation_id,
            )
        case GenerationCompleted():
            logger.info("Generation %s is complete: %s", event.generation_id, _summary(event))
        case StatusChanged(generation_id, status, progress, elapsed):
            # The line of `GenerationCompleted` follows a completed one.
            level = logging.DEBUG if status == "completed" else logging.INFO
            logger.log(level, "Generation %s is %s (%.0f %%) after %.1f s", generation_id, status, progress, elapsed)
        case WaitAbandoned(generation_id):
            logger.warning(
                "Waiting for generation %s was cancelled; wait_for_generation(%r) or the next run collects it",
                generation_id,
                generation_id,
            )
        case RecordingFailed("accepted", reason, generation_id):
            logger.error("Generation %s is paid for, but not in the ledger: %s", generation_id, reason)
        case RecordingFailed("rejected" | "unknown" as what, reason):
            logger.error("The ledger could not record the outcome %r of a submission: %s", what, reason)
        case RecordingFailed(what, reason, generation_id):
            logger.warning("The ledger could not record %r of generation %s: %s", what, generation_id, reason)
        case CapabilitiesUnavailable(reason):
            logger.info("The list of models is not available, using the documented capabilities: %s", reason)
        case RetryScheduled(method, path, attempt, delay, reason):
            logger.warning("%s %s failed, attempt %d, again in %.1f s: %s", method, path, attempt, delay, reason)
        case CooldownStarted(seconds):
            logger.warning("FoxAPI answered 429; all requests wait for %.1f s", seconds)
        case StreamResumed(generation_id, offset, reason):
            logger.info("Stream of %s resumes at chunk %d: %s", generation_id, offset, reason)
        case StreamFellBackToPolling(generation_id, reason):
            logger.info("Polling %s, since its stream is not available: %s", generation_id, reason)
        case StreamResultMismatch(generation_id):
            logger.warning(
                "Stream of %s lost or repeated chunks, or differs from the result; the result counts", generation_id
            )
        case _:
            logger.info("%r", event)


def _summary(event: GenerationCompleted) -> str:
    facts = [event.origin, event.model]
    if event.tokens is not None:
        facts.append(f"{event.tokens} tokens")
    if event.credits is not None:
        facts.append(f"{event.credits:g} credits")
    if event.latency is not None:
        facts.append(f"{event.latency:.2f} s")
    return ", ".join(facts)


class LineLogger:
    """Writes the text of a stream to the log of the run, line by line."""

    def __init__(self) -> None:
        self._line = ""

    def __call__(self, chunk: ChatCompletionChunk) -> None:
        """Take the next chunk."""
        *lines, self._line = (self._line + chunk.text).split("\n")
        for line in lines:
            run_logger().info("│ %s", line)

    def close(self) -> None:
        """Write the rest of the last line."""
        if self._line:
            run_logger().info("│ %s", self._line)
            self._line = ""
