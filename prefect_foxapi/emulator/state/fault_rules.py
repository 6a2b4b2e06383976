"""Fault rules: which requests a fault hits."""

from __future__ import annotations

import random
from functools import cached_property
from typing import Any

from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass

from prefect_foxapi.emulator.state.faults import NO_FAULT, AnyFault, Endpoint, Fault, FaultKind

_FAULT: TypeAdapter[Fault] = TypeAdapter(AnyFault)


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class FaultRule:
    """A fault, and the requests that it hits.

    Example:
        emulator.add_fault(FaultRule("status", endpoint="submit", status=429, retry_after=2, count=1))

    Attributes:
        kind: The kind of the fault:
            `status` (an error response: `status`, `code`, `type`, `message`, `retry_after`),
            `cdn_403` (a 403 of the CDN with an HTML body),
            `reset_before` (the connection is reset before the request is processed),
            `reset_after` (the request is processed and billed, then the connection is reset without a response),
            `truncated` (the request is processed, then the connection closes after half of the response body, which has
            the id of a generation),
            `hang` (no response for `seconds`, then the connection closes; see `processed`),
            `delay` (the request is processed, and the response is sent after `seconds`),
            `late_results` (the generation is `completed` without results for `seconds`),
            `vanish` (the task is not found),
            `fail` (the generation fails with `code` and `message`),
            `sse_drop` (the connection of the stream closes after `chunks` chunks),
            `sse_no_done` (the stream ends after its chunks, without `done`),
            `sse_error` (the stream ends with an `error` event after `chunks` chunks),
            `sse_silence` (the stream sends nothing, not even a comment, for `seconds` after `chunks` chunks, then the
            connection closes).
        endpoint: The endpoint whose requests the rule considers.
        probability: The share of these requests that it hits.
        count: The maximum number of requests that it hits; None for no limit.
        after: The number of requests that it lets pass first.
        status: The HTTP status.
        type: `error.type`; by default the code.
        code: `error.code`; by default the usual code of the status.
        message: `error.message`.
        retry_after: The `Retry-After` header: seconds, or its text.
        retry_after_date: Whether `Retry-After` is sent as an HTTP date, `retry_after` seconds ahead.
        seconds: A duration; see `kind`. It passes in real time for `hang`, `delay` and `sse_silence`, even if the
            clock is stepped.
        processed: Whether a request hit by `status` or `hang` is processed and billed.
        chunks: A number of chunks; see `kind`.

    Raises:
        ValueError: A value is invalid, or the fault cannot act on the endpoint.
    """

    kind: FaultKind
    endpoint: Endpoint = "*"
    probability: float = Field(default=1.0, ge=0, le=1)
    count: int | None = None
    after: int = 0
    status: int = 500
    type: str | None = None
    code: str | None = None
    message: str = "A fault of the emulator."
    retry_after: int | float | str | None = None
    retry_after_date: bool = False
    seconds: float = 30.0
    processed: bool = False
    chunks: int = 1

    def __post_init__(self) -> None:
        if self.endpoint not in {"*", *self.fault.endpoints}:
            raise ValueError(f"the fault {self.kind} does not act on the endpoint {self.endpoint}")

    @classmethod
    def parse(cls, data: Any) -> FaultRule:
        """Return the rule that a JSON object describes.

        Raises:
            ValueError: A field is missing, unknown or invalid, or the fault cannot act on the endpoint.
        """
        return _RULE.validate_python(data)

    @cached_property
    def fault(self) -> Fault:
        """The fault. It has the fields that its kind uses."""
        return _FAULT.validate_python(self)

    def applies_to(self, endpoint: str) -> bool:
        """Return whether the rule considers requests of an endpoint."""
        return self.endpoint in (endpoint, "*") and endpoint in self.fault.endpoints


_RULE = TypeAdapter(FaultRule)


class _ActiveRule:
    def __init__(self, rule: FaultRule) -> None:
        self.rule = rule
        self._seen = 0
        self._hits = 0

    def hits(self, generator: random.Random) -> bool:
        self._seen += 1
        spent = self.rule.count is not None and self._hits >= self.rule.count
        if spent or self._seen <= self.rule.after or generator.random() >= self.rule.probability:
            return False
        self._hits += 1
        return True


class FaultInjector:
    """The active fault rules. The first that hits a request decides.

    Args:
        seed: The seed of the probabilities.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._rules: list[_ActiveRule] = []
        self.reset()

    def reset(self) -> None:
        """Deactivate all rules and start anew with the seed."""
        self._rules.clear()
        self._random = random.Random(self._seed)  # noqa: S311

    def add(self, rule: FaultRule) -> None:
        """Activate a rule."""
        self._rules.append(_ActiveRule(rule))

    def clear(self) -> None:
        """Deactivate all rules."""
        self._rules.clear()

    def draw(self, endpoint: str) -> Fault:
        """Return the fault of a request to an endpoint."""
        for active in list(self._rules):
            if active.rule.applies_to(endpoint) and active.hits(self._random):
                return active.rule.fault
        return NO_FAULT
