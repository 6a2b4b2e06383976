"""What the ledger gives out and takes in, as frozen data."""

from __future__ import annotations

import os
import socket
import uuid
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

__all__ = ["Claimant", "Decision", "GenerationIdentity", "Lease", "State", "Submission", "Usage"]

_PROCESS = uuid.uuid4().hex


class State(StrEnum):
    """Where a submission stands. A key's row is only ever in one of the first five."""

    SUBMITTING = "submitting"
    """Claimed; the paid request is about to be sent or under way."""
    SUBMITTED = "submitted"
    """FoxAPI accepted it; anybody may collect it."""
    COMPLETED = "completed"
    FAILED = "failed"
    """FoxAPI accepted it, and it failed there."""
    AMBIGUOUS = "ambiguous"
    """It may have been accepted and billed, or not; or FoxAPI no longer knows it."""
    REFUSED = "refused"
    """It was not accepted, for certain, and costs nothing."""
    FORGOTTEN = "forgotten"
    """Somebody decided to give it up."""


@dataclass(frozen=True)
class Claimant:
    """Who asks.

    Attributes:
        host: Name of the machine.
        pid: Process id on it.
        process: A random id of the process, since process ids are used again.
        flow_run_id: The Prefect flow run, if any.
        task_run_id: The Prefect task run, if any. A retry of the same task run never pays for a failure again.
        flow_name: Name of the flow, for the account of what was spent.
    """

    host: str
    pid: int
    process: str
    flow_run_id: str | None = None
    task_run_id: str | None = None
    flow_name: str | None = None

    @classmethod
    def here(
        cls, *, flow_run_id: str | None = None, task_run_id: str | None = None, flow_name: str | None = None
    ) -> Claimant:
        """This process on this machine."""
        return cls(socket.gethostname(), os.getpid(), f"{_PROCESS}-{os.getpid()}", flow_run_id, task_run_id, flow_name)

    def __str__(self) -> str:
        text = f"{self.host}:{self.pid}"
        if self.flow_run_id:
            name = f" of {self.flow_name!r}" if self.flow_name else ""
            text += f", flow run {self.flow_run_id}{name}"
        return f"{text}, task run {self.task_run_id}" if self.task_run_id else text


@dataclass(frozen=True)
class GenerationIdentity:
    """What is asked.

    Attributes:
        key: The generation key.
        account: Whose money: a name or a digest, never the API key itself.
        base_url: The FoxAPI that is asked.
        model: The model.
        kind: `llm`, `image`, `video` or `audio`.
    """

    key: str
    account: str
    base_url: str
    model: str
    kind: str = "llm"


@dataclass(frozen=True)
class Submission:
    """One submission, usually the one that its key stands for now. Times are Unix seconds.

    Attributes:
        token: Identity of the claim that this submission began with.
        attempt: 1 for the key's first submission.
        deadline: When the submission counts as ambiguous if no answer was recorded by then.
        finished_at: When the generation completed or failed, or the submission was refused or given up.
        expires_at: When the result is of no more use (a URL that dies), if ever.
        reason: Why it is ambiguous, refused or given up.
        error: FoxAPI's error of a failed generation.
        billed: Whether this is a submission of its own, not the result of another key's published here.
        permitted: Whether somebody allowed to submit again although this one is ambiguous.
        result_kept: Whether the ledger keeps the result; otherwise it is fetched by id again.
        previous: Token of the submission that this one replaced.
        result: The result. Shared by all who asked at the same time: to be read, not changed.
        current: Whether the key stands for this submission now.
    """

    key: str
    token: str
    attempt: int
    state: State
    kind: str
    account: str
    base_url: str
    model: str
    generation_id: str | None
    claimant: Claimant
    claimed_at: float
    deadline: float
    accepted_at: float | None = None
    finished_at: float | None = None
    expires_at: float | None = None
    reason: str | None = None
    error: dict[str, Any] | None = None
    billed: bool = True
    permitted: bool = False
    result_kept: bool = False
    credits: float | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    previous: str | None = None
    result: dict[str, Any] | None = field(default=None, repr=False)
    current: bool = True

    @property
    def identity(self) -> GenerationIdentity:
        """What was asked."""
        return GenerationIdentity(self.key, self.account, self.base_url, self.model, self.kind)

    def fresh(self, now: float, max_age: float | None = None) -> bool:
        """Whether a completed result may still be given out at `now`."""
        if self.state is not State.COMPLETED or self.finished_at is None:
            return False
        if self.expires_at is not None and self.expires_at <= now:
            return False
        return max_age is None or self.finished_at + max_age > now


@dataclass(frozen=True)
class Lease:
    """The right, and the only one, to submit a key. Send the request before `deadline`, or give the claim back.

    Attributes:
        key: The generation key.
        attempt: 1 for the key's first submission.
        token: Identity of this claim.
        deadline: When others take the submission for ambiguous, in Unix seconds of the ledger's clock.
        previous: The state in which the claim found the key, `None` where it found nothing.
        subject: What is asked.
        claimant: Who asks.
        claimed_at: When, in Unix seconds.
    """

    key: str
    attempt: int
    token: str
    deadline: float
    previous: State | None
    identity: GenerationIdentity
    claimant: Claimant
    claimed_at: float


@dataclass(frozen=True)
class Decision:
    """A permission that somebody gave: what may be paid again, and why.

    Attributes:
        action: `forget` and `allow_resubmit` (by `settle`), or `resubmit` (by a claim that said so).
        found: The state in which the submission was.
        by: Who decided.
        at: When, in Unix seconds.
    """

    key: str
    token: str
    generation_id: str | None
    action: str
    found: State
    by: str
    at: float


@dataclass(frozen=True)
class Usage:
    """What was spent on one day (UTC), by one flow, on one model.

    Attributes:
        submissions: Submissions that FoxAPI accepted.
        ambiguous: Submissions that may have been billed as well; nobody knows.
        failed: Accepted submissions whose generation failed.
        credits: What they cost, as far as FoxAPI said so; `None` where it never did.
    """

    day: str
    model: str
    flow_name: str | None
    submissions: int
    ambiguous: int
    failed: int
    credits: float | None
    prompt_tokens: int
    completion_tokens: int
