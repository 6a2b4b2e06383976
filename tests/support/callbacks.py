"""Callbacks that keep what they are given."""

from __future__ import annotations

from typing import Any

from prefect_foxapi.models.completions import ChatCompletionChunk


class Taken:
    """An `on_delta` that keeps what it is given."""

    def __init__(self) -> None:
        self.chunks: list[ChatCompletionChunk] = []

    def __call__(self, chunk: ChatCompletionChunk) -> None:
        self.chunks.append(chunk)

    @property
    def plain(self) -> list[dict[str, Any]]:
        """Without the time of sending."""
        return [{k: v for k, v in chunk.model_dump().items() if k != "emulated_at"} for chunk in self.chunks]

    @property
    def text(self) -> str:
        return "".join(chunk.text for chunk in self.chunks)

    @property
    def reasoning(self) -> str:
        return "".join(chunk.reasoning for chunk in self.chunks)
