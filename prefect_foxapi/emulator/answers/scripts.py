"""Answers, failures and times laid down beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from prefect_foxapi.emulator.protocol.json_types import as_object

_NO_ANSWER = "a script needs an answer, results, reasoning, fail, cancel, duration or late_results"


@dataclass(frozen=True)
class Script:
    """What happens to generations whose prompt contains a text.

    Attributes:
        when: The text; an empty one is in every prompt. The script that was added last is looked at first.
        answer: The content of the answer, or a dict of its fields: `content`, `tool_calls`, `finish_reason`,
            `message` (further fields of the message) and any other field of the completion.
        results: The results of a generation of media, instead of its URLs.
        reasoning: The thoughts, also for a model that does not think.
        fail: The generation fails with this `{"code": …, "message": …}`.
        cancel: The generation is cancelled.
        duration: Seconds that it takes.
        late_results: Seconds during which it is completed without results.
        count: How many generations it is for; without one, all.
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
        """Read a script from JSON.

        Raises:
            ValueError: A field is unknown, or the script says nothing.
        """
        known = {entry.name for entry in fields(cls)}
        given = as_object(data)
        if given is None or not isinstance(given.get("when"), str) or set(given) - known:
            raise ValueError(f"a script is an object with `when` and some of {', '.join(sorted(known - {'when'}))}")
        script = cls(**given)
        if script == cls(script.when, count=script.count):
            raise ValueError(_NO_ANSWER)
        return script


class ScriptBook:
    """The scripts in force."""

    def __init__(self) -> None:
        self._scripts: list[tuple[Script, list[None]]] = []

    def add(self, script: Script) -> None:
        """Put a script in force."""
        self._scripts.insert(0, (script, []))

    def clear(self) -> None:
        """Take all scripts out of force."""
        self._scripts.clear()

    def take(self, prompt: str) -> Script | None:
        """The script for a prompt, which counts as used."""
        for script, uses in self._scripts:
            if script.when in prompt and (script.count is None or len(uses) < script.count):
                uses.append(None)
                return script
        return None
