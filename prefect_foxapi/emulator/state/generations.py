"""Generations. Their status is a function of the time: nothing runs in the background."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from prefect_foxapi.emulator.answers.chunks import Chunk

STREAM_LIFETIME = 15 * 60.0
"""Seconds for which the chunks of a stream are kept after the end of the generation."""

_PENDING_SHARE = 0.1
_MAX_PENDING = 1.0
_PROGRESS_WITHOUT_RESULTS = 50


@dataclass
class Generation:
    """An accepted generation.

    Attributes:
        id: The id.
        kind: `llm`, `image`, `video` or `audio`.
        model: The model, as sent.
        account: The API key that pays for it.
        created: The time of acceptance (Unix seconds).
        duration: Seconds from acceptance to the end.
        late_results: Seconds after the end for which the results are missing.
        streamed: Whether it was submitted with `stream: true`.
        results: The results.
        chunks: The chunks of the stream.
        failure: `code` and `message` of the error with which it fails; None if it does not.
        cancelled: Whether it is cancelled instead of completed.
        extra_fields: Further fields of the task.
    """

    id: str
    kind: str
    model: str
    account: str
    created: float
    duration: float
    late_results: float = 0.0
    streamed: bool = False
    results: list[Any] = field(default_factory=list[Any])
    chunks: list[Chunk] = field(default_factory=list[Chunk])
    failure: Mapping[str, str] | None = None
    cancelled: bool = False
    extra_fields: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def starts(self) -> float:
        """The time at which `pending` ends (Unix seconds)."""
        return round(self.created + min(_PENDING_SHARE * self.duration, _MAX_PENDING), 6)

    @property
    def ends(self) -> float:
        """The time at which the generation ends (Unix seconds)."""
        return round(self.created + self.duration, 6)

    def has_stream(self, now: float) -> bool:
        """Return whether the chunks of the stream are still kept."""
        return now < self.ends + STREAM_LIFETIME

    def as_accepted(self) -> dict[str, Any]:
        """Return the response to the submission, with its keys in the order of the real service."""
        return self._task("pending", 0, None, None)

    def as_task(self, now: float) -> dict[str, Any]:
        """Return the task at the time `now` (Unix seconds)."""
        if now < self.starts:
            return self._task("pending", 0, None, None)
        if now < self.ends:
            return self._task("processing", min(99, int(100 * (now - self.created) / self.duration)), None, None)
        if self.failure is not None:
            return self._task("failed", 99, None, {**self.failure, "type": "task_error"})
        if self.cancelled:
            return self._task("cancelled", 99, None, None)
        if now < round(self.ends + self.late_results, 6):
            return self._task("completed", _PROGRESS_WITHOUT_RESULTS, None, None)
        return {**self._task("completed", 100, self.results, None), "completed_at": self.ends}

    def _task(
        self, status: str, progress: int, results: list[Any] | None, error: Mapping[str, str] | None
    ) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": f"{self.kind}.generation.task",
            "type": self.kind,
            "model": self.model,
            "status": status,
            "progress": progress,
            "created": int(self.created),
            "stream": {"url": f"/v1/llm/generations/{self.id}/stream"} if self.streamed else None,
            "results": results,
            "error": error,
            **self.extra_fields,
        }
