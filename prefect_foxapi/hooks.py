"""What the client and the wait tell whoever observes them: frozen data, and the protocol of an observer.

A hook is called on the event loop, in the context of the caller that it concerns, and must return quickly.
What a hook raises is logged and forgotten: observing never breaks what is observed.
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
class RetryScheduled(HookEvent):
    """A request will be sent again after `delay` seconds, because of `reason`."""

    method: str
    path: str
    attempt: int
    delay: float
    reason: str


@dataclass(frozen=True)
class CooldownStarted(HookEvent):
    """FoxAPI answered 429: every request of this client waits for `seconds` (contract §5)."""

    seconds: float


@dataclass(frozen=True)
class StatusChanged(HookEvent):
    """A generation was seen in another status than before."""

    generation_id: str
    status: str
    progress: float
    elapsed: float


@dataclass(frozen=True)
class StreamResumed(HookEvent):
    """A stream broke and goes on at chunk `offset` (contract §4)."""

    generation_id: str
    offset: int
    reason: str


@dataclass(frozen=True)
class StreamFellBackToPolling(HookEvent):
    """A stream cannot be had, or not any more; the wait goes on by polling (contract §4)."""

    generation_id: str
    reason: str


@dataclass(frozen=True)
class StreamResultMismatch(HookEvent):
    """The stream and the generation have different texts; the generation's is the one that counts (contract §4)."""

    generation_id: str


class Hook(Protocol):
    """Whoever wants to know."""

    def __call__(self, event: HookEvent, /) -> None:
        """Take note of what happened."""
        ...


def emit(hooks: Iterable[Hook], event: HookEvent) -> None:
    """Tell every hook."""
    for hook in hooks:
        try:
            hook(event)
        except Exception:
            logger.exception("A hook failed on %s; going on without it", type(event).__name__)
