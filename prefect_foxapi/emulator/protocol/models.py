"""The models that the emulator offers, with their capabilities and prices.

`gpt-*` and `kimi-*` take text and images, `claude-*` files as well, `gemini-*` also video and audio. Two rules go
beyond the capabilities:

- `gemini-2.5-flash-lite` accepts one video per request; a second one is a `model_rule_violation`.
- `gemini-*-pro*` models always think. `claude-*` and `kimi-*` think if the body has `reasoning_effort` (other than
  `"none"`) or `thinking` (other than `{"type": "disabled"}`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from prefect_foxapi.emulator.protocol.json_types import as_object

CAPABILITIES = ("text", "vision", "video", "audio", "file")
NEEDED_CAPABILITY = {"image_url": "vision", "video_url": "video", "audio_url": "audio", "file_url": "file"}

Thinking = Literal["never", "asked", "always"]


@dataclass(frozen=True)
class Model:
    """A chat model.

    Attributes:
        id: The name of the model.
        capabilities: The kinds of content it accepts, in the order of `CAPABILITIES`.
        thinking: Whether it thinks before it answers: never, if the request asks for it, or always.
        max_videos: The highest number of videos in one request; None for no limit.
        prompt_price: Credits for 1,000 prompt tokens.
        completion_price: Credits for 1,000 completion tokens.
    """

    id: str
    capabilities: tuple[str, ...]
    thinking: Thinking = "never"
    max_videos: int | None = None
    prompt_price: int = 5
    completion_price: int = 25

    def thinks(self, body: Mapping[str, Any]) -> bool:
        """Return whether the model thinks before it answers this request."""
        if self.thinking != "asked":
            return self.thinking == "always"
        thinking = as_object(body.get("thinking"))
        if thinking is not None:
            return thinking.get("type") != "disabled"
        return body.get("reasoning_effort") not in (None, "none")

    def price(self, prompt_tokens: int, completion_tokens: int) -> int:
        """Return the price of a generation in credits, rounded up; at least 1."""
        thousandths = prompt_tokens * self.prompt_price + completion_tokens * self.completion_price
        return max(1, -(-thousandths // 1000))

    def as_listed(self) -> dict[str, Any]:
        """Return the entry of the model in the list of models."""
        return {"id": self.id, "object": "model", "capabilities": list(self.capabilities)}


_GPT = ("gpt-5.5", "gpt-5.4", "gpt-5.4-mini", "gpt-5.2", "gpt-5", "gpt-5-mini", "gpt-4.1", "gpt-4o", "gpt-4o-mini")
_CLAUDE = ("claude-opus-4-7", "claude-opus-4-6", "claude-sonnet-4-6", "claude-sonnet-4-5", "claude-haiku-4-5")
_GEMINI_PRO = ("gemini-3-pro-preview", "gemini-2.5-pro")
_GEMINI = ("gemini-3-flash-preview", "gemini-2.5-flash")
_KIMI = ("kimi-k2.6", "kimi-k2.5")

_VISION = ("text", "vision")
_VISION_AND_FILES = ("text", "vision", "file")

MODELS = (
    *(Model(name, _VISION) for name in _GPT),
    *(Model(name, _VISION_AND_FILES, thinking="asked", completion_price=40) for name in _CLAUDE),
    *(Model(name, CAPABILITIES, thinking="always", completion_price=30) for name in _GEMINI_PRO),
    *(Model(name, CAPABILITIES, completion_price=10) for name in _GEMINI),
    Model("gemini-2.5-flash-lite", CAPABILITIES, max_videos=1, prompt_price=1, completion_price=4),
    *(Model(name, _VISION, thinking="asked", completion_price=10) for name in _KIMI),
)


@dataclass(frozen=True)
class MediaModel:
    """A model that generates images, videos or audio.

    Attributes:
        id: The name of the model.
        kind: The kind of media it generates.
        price: Credits for one result.
    """

    id: str
    kind: Literal["image", "video", "audio"]
    price: int


MEDIA_MODELS = (
    MediaModel("gpt-image-2", "image", 40),
    MediaModel("gemini-3-pro-image-preview", "image", 60),
    MediaModel("z-image-turbo", "image", 5),
    MediaModel("sora-2", "video", 500),
    MediaModel("veo-3.1", "video", 800),
    MediaModel("suno-v5", "audio", 100),
    MediaModel("qwen3-tts", "audio", 10),
)
