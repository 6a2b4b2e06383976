"""The records that `Ledger` takes and returns, as frozen data."""

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
    """The state of a submission. The current submission of a key is in one of the first five."""

    SUBMITTING = "submitting"
    """Claimed. The paid request is about to be sent, or under way."""
    SUBMITTED = "submitted"
    """FoxAPI accepted it. Any process can collect the result."""
    COMPLETED = "completed"
    """The result is known."""
    FAILED = "failed"
    """FoxAPI accepted it, and the generation failed."""
    AMBIGUOUS = "ambiguous"
    """Whether it was accepted and billed cannot be determined, or FoxAPI no longer knows the generation."""
    REFUSED = "refused"
    """FoxAPI did not accept it, and nothing was billed."""
    FORGOTTEN = "forgotten"
    """A user gave it up (`settle(key, "forget")`)."""


@dataclass(frozen=True)
class Claimant:
    """The process and run that claim a key.

    Attributes:
        host: Name of the machine.
        pid: Process id on that machine.
        process: Random id of the process, since operating systems reuse process ids.
        flow_run_id: The Prefect flow run, if any.
        task_run_id: The Prefect task run, if any. A retry of the same task run does not pay again after a failure.
        flow_name: Name of the flow; `Ledger.usage` groups by it.
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
        """Return the claimant for this process."""
        return cls(socket.gethostname(), os.getpid(), f"{_PROCESS}-{os.getpid()}", flow_run_id, task_run_id, flow_name)

    def __str__(self) -> str:
        text = f"{self.host}:{self.pid}"
        if self.flow_run_id:
            name = f" of {self.flow_name!r}" if self.flow_name else ""
            text += f", flow run {self.flow_run_id}{name}"
        return f"{text}, task run {self.task_run_id}" if self.task_run_id else text


@dataclass(frozen=True)
class GenerationIdentity:
    """The generation that a key stands for.

    Attributes:
        key: The generation key.
        account: The account that pays: a name or a digest, never the API key itself.
        base_url: Origin of the FoxAPI that makes the generation.
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
    """One submission of a key. Times are Unix seconds.

    Attributes:
        key: The generation key.
        token: Random id of the claim that this submission began with.
        attempt: 1 for the key's first submission.
        state: The state of the submission.
        kind: `llm`, `image`, `video` or `audio`.
        account: The account that pays.
        base_url: Origin of the FoxAPI that makes the generation.
        model: The model.
        generation_id: FoxAPI's id, once the submission is accepted.
        claimant: The process and run that claimed the key.
        claimed_at: When the key was claimed.
        deadline: When the submission becomes ambiguous if no answer is recorded by then.
        accepted_at: When the acceptance was recorded.
        finished_at: When the generation completed or failed, or the submission was refused or given up.
        expires_at: When the result can no longer be used, because its URLs expire; `None` if it stays usable.
        reason: Why the submission is ambiguous, refused or forgotten.
        error: FoxAPI's error, if the generation failed.
        billed: Whether this submission was sent to FoxAPI. False for a result that `publish` copied from another key.
        permitted: Whether a user allowed to submit again although this submission is ambiguous.
        result_kept: Whether the ledger stores the result. Otherwise it has to be fetched from FoxAPI by id.
        credits: Credits reserved or spent, if FoxAPI reported them.
        prompt_tokens: Tokens of the prompt, if known.
        completion_tokens: Tokens of the completion, if known.
        previous: Token of the submission that this one replaced.
        result: The result as JSON data, shared between concurrent callers: do not modify it.
        current: Whether this is the key's current submission.
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
        """The generation that was submitted."""
        return GenerationIdentity(self.key, self.account, self.base_url, self.model, self.kind)

    def is_overdue(self, now: float) -> bool:
        """Return whether the answer to the submission is missing at its deadline: it is ambiguous then.

        Args:
            now: The ledger's time, in Unix seconds.
        """
        return self.state is State.SUBMITTING and self.deadline <= now

    def is_claimable(self, now: float, max_age: float | None = None) -> bool:
        """Return whether a claim of the key may be granted while this is its current submission.

        If false, `Ledger.claim` returns this submission to every claimant. If true, the answer also depends on the
        claimant and on permissions: after a failure the same task run gets no claim, and an ambiguous submission has
        to be permitted.

        Args:
            now: The ledger's time, in Unix seconds.
            max_age: Age in seconds at which a completed result is out of date; `None` accepts any age.
        """
        match self.state:
            case State.COMPLETED:
                return not self.fresh(now, max_age)
            case State.FAILED | State.AMBIGUOUS:
                return True
            case _:
                return self.is_overdue(now)

    def fresh(self, now: float, max_age: float | None = None) -> bool:
        """Return whether the submission has a result that may be used.

        Args:
            now: The ledger's time, in Unix seconds.
            max_age: Age in seconds at which the result is out of date; `None` accepts any age.
        """
        if self.state is not State.COMPLETED or self.finished_at is None:
            return False
        if self.expires_at is not None and self.expires_at <= now:
            return False
        return max_age is None or self.finished_at + max_age > now


@dataclass(frozen=True)
class Lease:
    """The exclusive right to submit a key, until its deadline.

    Attributes:
        key: The generation key.
        attempt: 1 for the key's first submission.
        token: Random id of this claim.
        deadline: When the submission becomes ambiguous if no answer is recorded, in Unix seconds of the ledger's clock.
        previous: State of the submission that this one replaces; `None` if the key had none.
        identity: The generation to submit.
        claimant: The owner of the lease.
        claimed_at: When the lease was granted, in Unix seconds.
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
    """A user's decision that a key may be paid for again.

    Attributes:
        key: The generation key.
        token: Token of the submission that was decided about.
        generation_id: Its generation, if known.
        action: `forget` or `allow_resubmit` (by `settle`), or `resubmit` (by `claim(on_ambiguous="resubmit")`).
        found: State of the submission at that time.
        by: The user or claimant that decided.
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
    """What one flow spent on one model on one day.

    Attributes:
        day: The day in UTC, as `2027-01-31`.
        model: The model.
        flow_name: Name of the flow; `None` for calls outside of flows.
        submissions: Number of submissions that FoxAPI accepted.
        ambiguous: Number of submissions that may have been billed in addition.
        failed: Number of accepted submissions whose generation failed.
        credits: Sum of the credits that FoxAPI reported; `None` if it reported none.
        prompt_tokens: Sum of the known prompt tokens.
        completion_tokens: Sum of the known completion tokens.
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
