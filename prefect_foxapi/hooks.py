"""Hooks: frozen events of what happens to generations, and the protocol of an observer.

A hook is called on the event loop, in the context of the caller that the event concerns, and returns quickly. What a
hook raises is logged and dropped, so that observing never breaks what is observed.

A hook is synchronous and runs on the thread of the background loop, so it cannot await. Calls of Prefect's API belong
in `tasks/`. No event is emitted for a task run that Prefect answers from its own cache.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

logger = logging.getLogger("prefect_foxapi")


@dataclass(frozen=True)
class HookEvent:
    """Something that happened."""


@dataclass(frozen=True)
class SubmissionRecorded(HookEvent):
    """FoxAPI accepted a submission, and the ledger has its id."""

    generation_id: str
    model: str
    key: str


@dataclass(frozen=True)
class RecordingFailed(HookEvent):
    """The ledger could not record something.

    Attributes:
        what: What was to be recorded: `accepted`, `rejected`, `unknown`, `completed`, `failed`, `vanished` or
            `published`.
        reason: Why it could not.
        generation_id: The generation, where its id is known.
        key: The generation key, where it is known.
    """

    what: str
    reason: str
    generation_id: str | None = None
    key: str | None = None


@dataclass(frozen=True)
class CapabilitiesUnavailable(HookEvent):
    """The live list of models could not be read; the documented capabilities are used instead."""

    reason: str


@dataclass(frozen=True)
class WaitAbandoned(HookEvent):
    """A caller that waited for a generation was cancelled. The generation goes on."""

    generation_id: str
    key: str | None = None


@dataclass(frozen=True)
class GenerationCompleted(HookEvent):
    """A caller has the result of a generation.

    Attributes:
        generation_id: The generation.
        model: The model that answered.
        origin: Where the result came from: `billed`, `replayed`, `joined` or `resumed`.
        key: The generation key, where it is known.
        tokens: Tokens of the prompt and the completion, where FoxAPI gave them.
        credits: Credits that the generation took, where FoxAPI gave them.
        latency: Seconds from the request to the result, where it was waited for.
    """

    generation_id: str
    model: str
    origin: str
    key: str | None = None
    tokens: int | None = None
    credits: float | None = None
    latency: float | None = None


@dataclass(frozen=True)
class RetryScheduled(HookEvent):
    """A request will be sent again after `delay` seconds, because of `reason`."""

    method: str
    path: str
    attempt: int
    delay: float
    reason: str


@dataclass(frozen=True)
class CooldownStarted(HookEvent):
    """FoxAPI answered 429: every request of the client waits for `seconds`."""

    seconds: float


@dataclass(frozen=True)
class StatusChanged(HookEvent):
    """A poll found a generation in another status than before."""

    generation_id: str
    status: str
    progress: float
    elapsed: float


@dataclass(frozen=True)
class StreamResumed(HookEvent):
    """A stream broke and goes on at chunk `offset`."""

    generation_id: str
    offset: int
    reason: str


@dataclass(frozen=True)
class StreamFellBackToPolling(HookEvent):
    """A stream is not available, or no longer; the wait goes on by polling."""

    generation_id: str
    reason: str


@dataclass(frozen=True)
class StreamResultMismatch(HookEvent):
    """The stream has another text or number of chunks than it should have; the generation's result counts."""

    generation_id: str


class Hook(Protocol):
    """An observer of events."""

    def __call__(self, event: HookEvent, /) -> None:
        """Take note of an event."""
        ...


def emit(hooks: Iterable[Hook], event: HookEvent) -> None:
    """Call every hook with an event."""
    for hook in hooks:
        try:
            hook(event)
        except Exception:
            logger.exception("A hook failed on %s; continuing without it", type(event).__name__)
