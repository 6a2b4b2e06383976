"""Scripts: predefined answers, failures and durations for prompts that contain a given text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from prefect_foxapi.emulator.protocol.json_types import as_object

_NO_EFFECT = "a script needs an answer, results, reasoning, fail, cancel, duration or late_results"


@dataclass(frozen=True)
class Script:
    """A predefined outcome of generations whose prompt contains a text.

    Attributes:
        when: The text; the empty text matches every prompt. Of several matching scripts, the newest applies.
        answer: The content of the answer, or a dict of its fields: `content`, `tool_calls`, `finish_reason`,
            `message` (further fields of the message) and any other field of the completion.
        results: The results of a media generation, in place of the URLs of generated files.
        reasoning: The reasoning, also for a model that does not think.
        fail: The error with which the generation fails: `{"code": …, "message": …}`.
        cancel: Whether the generation is cancelled.
        duration: The duration of the generation in seconds.
        late_results: Seconds for which the generation is `completed` without results.
        count: The number of generations that the script applies to; None for all.
    """

    when: str
    answer: str | Mapping[str, Any] | None = None
    results: list[Any] | None = None
    reasoning: str | None = None
    fail: Mapping[str, str] | None = None
    cancel: bool = False
    duration: float | None = None
    late_results: float | None = None
    count: int | None = None

    @classmethod
    def parse(cls, data: Any) -> Script:
        """Return the script that a JSON object describes.

        Raises:
            ValueError: `when` is missing, a field is unknown, or the script has no effect.
        """
        known = {entry.name for entry in fields(cls)}
        given = as_object(data)
        if given is None or not isinstance(given.get("when"), str) or set(given) - known:
            raise ValueError(f"a script is an object with `when` and some of {', '.join(sorted(known - {'when'}))}")
        script = cls(**given)
        if script == cls(script.when, count=script.count):
            raise ValueError(_NO_EFFECT)
        return script


class ScriptQueue:
    """The active scripts, newest first."""

    def __init__(self) -> None:
        self._scripts: list[tuple[Script, list[None]]] = []

    def add(self, script: Script) -> None:
        """Activate a script."""
        self._scripts.insert(0, (script, []))

    def clear(self) -> None:
        """Deactivate all scripts."""
        self._scripts.clear()

    def take(self, prompt: str) -> Script | None:
        """Return the script that applies to a prompt, and count the use; None without one."""
        for script, uses in self._scripts:
            if script.when in prompt and (script.count is None or len(uses) < script.count):
                uses.append(None)
                return script
        return None
