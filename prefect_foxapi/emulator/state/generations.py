"""A generation as a pure function of the time: nothing runs while it does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from prefect_foxapi.emulator.answers.chunks import Chunk

STREAM_KEPT = 15 * 60.0
"""Seconds for which the chunks are kept after the end (contract §4)."""

_PENDING_SHARE = 0.1
_PENDING_LONGEST = 1.0
_LATE_PROGRESS = 50


@dataclass
class Generation:
    """An accepted generation.

    Attributes:
        id: Its id.
        kind: `llm`, `image`, `video` or `audio`.
        model: Its model, as sent.
        account: The API key that pays.
        created: When it was accepted (Unix seconds).
        duration: Seconds until its end.
        late: Seconds after the end during which the results are missing.
        streamed: Whether it was submitted with `stream: true`.
        results: Its results.
        chunks: What its stream sends.
        failure: `code` and `message`, if it fails.
        cancelled: Whether it is cancelled instead of completed.
        further: Further fields of the task.
    """

    id: str
    kind: str
    model: str
    account: str
    created: float
    duration: float
    late: float = 0.0
    streamed: bool = False
    results: list[Any] = field(default_factory=list[Any])
    chunks: list[Chunk] = field(default_factory=list[Chunk])
    failure: Mapping[str, str] | None = None
    cancelled: bool = False
    further: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def starts(self) -> float:
        """When it leaves `pending`."""
        return round(self.created + min(_PENDING_SHARE * self.duration, _PENDING_LONGEST), 6)

    @property
    def ends(self) -> float:
        """When it is over."""
        return round(self.created + self.duration, 6)

    def chunks_kept(self, now: float) -> bool:
        """Whether its stream can be read."""
        return now < self.ends + STREAM_KEPT

    def as_accepted(self) -> dict[str, Any]:
        """The answer to the submission: the keys of the seed, in its order."""
        return self._task("pending", 0, None, None)

    def as_task(self, now: float) -> dict[str, Any]:
        """The task as it is at the time `now`."""
        if now < self.starts:
            return self._task("pending", 0, None, None)
        if now < self.ends:
            return self._task("processing", min(99, int(100 * (now - self.created) / self.duration)), None, None)
        if self.failure is not None:
            return self._task("failed", 99, None, {**self.failure, "type": "task_error"})
        if self.cancelled:
            return self._task("cancelled", 99, None, None)
        if now < round(self.ends + self.late, 6):
            return self._task("completed", _LATE_PROGRESS, None, None)
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
            **self.further,
        }
