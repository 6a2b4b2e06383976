"""Faults by rule: what goes wrong, where, how often."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

from prefect_foxapi.emulator.protocol.json_types import as_object

Endpoint = Literal["submit", "task", "stream", "models", "upload", "credits", "*"]
"""`submit` is every paid POST, `task` the poll; `*` is every endpoint where the kind makes sense."""

FaultKind = Literal[
    "status",
    "cdn_403",
    "reset_before",
    "reset_after",
    "truncated",
    "hang",
    "delay",
    "late_results",
    "vanish",
    "fail",
    "sse_drop",
    "sse_no_done",
    "sse_error",
    "sse_silence",
]

_ONLY_FOR = {
    "late_results": "submit",
    "fail": "submit",
    "vanish": "task",
    "sse_drop": "stream",
    "sse_no_done": "stream",
    "sse_error": "stream",
    "sse_silence": "stream",
}
_DEFAULT_CODES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "insufficient_quota",
    404: "not_found",
    413: "file_too_large_error",
    422: "invalid_param",
    429: "rate_limit_error",
    500: "internal_error",
    502: "service_unavailable",
    503: "service_unavailable",
    504: "service_unavailable",
}


@dataclass(frozen=True)
class FaultRule:
    """What goes wrong, where, how often.

    Attributes:
        kind: One of
            `status` (an error answer: `status`, `code`, `type`, `message`, `retry_after`),
            `cdn_403` (the CDN's 403 with an HTML body),
            `reset_before` (the connection is reset; the request was not processed),
            `reset_after` (the request was processed and billed, then the connection is reset without an answer),
            `truncated` (processed; half of the body comes, then the connection closes),
            `hang` (no answer for `seconds`, then the connection closes; see `processed`),
            `delay` (processed, and answered after `seconds`),
            `late_results` (the generation is completed without results for `seconds`),
            `vanish` (the task is not found),
            `fail` (the generation fails with `code` and `message`),
            `sse_drop` (the stream's connection is cut after `chunks` chunks),
            `sse_no_done` (the stream ends after its chunks, without `done`),
            `sse_error` (an `error` event after `chunks` chunks),
            `sse_silence` (nothing for `seconds` after `chunks` chunks, not even a comment, then the connection is cut).
        endpoint: Where.
        probability: Of each request that the rule looks at, the share that it hits.
        count: How many requests it hits at most.
        after: How many requests it lets pass first.
        status: The HTTP status.
        type: `error.type`; the code by default.
        code: `error.code`; by default the contract's for the status.
        message: `error.message`.
        retry_after: The `Retry-After` header: seconds, or its text as it is.
        retry_after_date: Send `Retry-After` as an HTTP date that many seconds ahead.
        seconds: See the kind. Of `hang`, `delay` and `sse_silence` they pass in real time, whatever the clock.
        processed: Of `status` and `hang`: whether the request is processed (and billed) all the same.
        chunks: See the kind.
    """

    kind: FaultKind
    endpoint: Endpoint = "*"
    probability: float = 1.0
    count: int | None = None
    after: int = 0
    status: int = 500
    type: str | None = None
    code: str | None = None
    message: str = "A fault of the emulator."
    retry_after: float | str | None = None
    retry_after_date: bool = False
    seconds: float = 30.0
    processed: bool = False
    chunks: int = 1

    def __post_init__(self) -> None:
        if self.kind not in get_args(FaultKind) or self.endpoint not in get_args(Endpoint):
            raise ValueError(f"no such fault: kind {self.kind!r}, endpoint {self.endpoint!r}")
        only = _ONLY_FOR.get(self.kind)
        if only and self.endpoint not in (only, "*"):
            raise ValueError(f"the fault {self.kind} is for the endpoint {only}, not {self.endpoint}")
        if self.kind == "truncated" and self.endpoint == "stream":
            raise ValueError("a stream is cut by the fault sse_drop, not by truncated")
        if not 0 <= self.probability <= 1:
            raise ValueError("probability must be between 0 and 1")
        if self.retry_after_date and not isinstance(self.retry_after, (int, float)):
            raise ValueError("retry_after_date needs retry_after in seconds")

    @classmethod
    def parse(cls, data: Any) -> FaultRule:
        """Read a rule from JSON.

        Raises:
            ValueError: It is none.
        """
        known = {entry.name for entry in fields(cls)}
        given = as_object(data)
        if given is None or "kind" not in given:
            raise ValueError("a fault rule is an object with `kind`")
        if unknown := set(given) - known:
            raise ValueError(f"unknown fields of a fault rule: {', '.join(sorted(unknown))}")
        return cls(**given)

    @property
    def error_code(self) -> str:
        """`error.code` of the answer."""
        return self.code or _DEFAULT_CODES.get(self.status, "server_error")

    def is_for(self, endpoint: str) -> bool:
        """Whether it looks at requests of this endpoint."""
        if self.kind == "truncated" and endpoint == "stream":
            return False
        return endpoint == _ONLY_FOR.get(self.kind, endpoint) and self.endpoint in (endpoint, "*")


@dataclass
class _Standing:
    rule: FaultRule
    seen: int = 0
    hit: int = 0


@dataclass
class FaultPlan:
    """The rules in force. The first that hits a request decides.

    Args:
        seed: Makes the probabilities repeatable.
    """

    seed: int = 0
    _standing: list[_Standing] = field(default_factory=list[_Standing])
    _random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311

    def add(self, rule: FaultRule) -> None:
        """Put a rule in force."""
        self._standing.append(_Standing(rule))

    def clear(self) -> None:
        """Take all rules out of force."""
        self._standing.clear()

    def draw(self, endpoint: str) -> FaultRule | None:
        """The rule that hits this request, if any."""
        for standing in list(self._standing):
            rule = standing.rule
            if not rule.is_for(endpoint):
                continue
            standing.seen += 1
            spent = rule.count is not None and standing.hit >= rule.count
            if spent or standing.seen <= rule.after or self._random.random() >= rule.probability:
                continue
            standing.hit += 1
            return rule
        return None
