"""Output for people: rich tables, and text that is safe to print.

Model names, answers and error messages come from outside. `printable` is the one place that makes them safe for a
terminal; everything that the commands print passes through it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

from prefect_foxapi.ledger import Decision, State, Submission, Usage

__all__ = [
    "age",
    "decision_table",
    "print_error",
    "print_table",
    "print_text",
    "printable",
    "row_table",
    "submission_table",
    "usage_table",
]

_STYLES = {
    State.COMPLETED: "green",
    State.SUBMITTED: "cyan",
    State.FAILED: "red",
    State.AMBIGUOUS: "bold yellow",
    State.SUBMITTING: "blue",
}
_KEY_LENGTH = 12

# C0, DEL and C1 control characters; marks, embeddings, overrides and isolates of bidirectional text; line and
# paragraph separators; halves of surrogate pairs, which no output stream can encode.
_UNSAFE = r"\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
_UNSAFE_IN_LINE = re.compile(f"[{_UNSAFE}]")
_UNSAFE_IN_TEXT = re.compile(rf"(?![\n\t])[{_UNSAFE}]")


def printable(text: str, *, multiline: bool = False) -> str:
    r"""Return `text` with its control and bidirectional formatting characters as escapes, such as `\x1b`.

    Args:
        text: Any text.
        multiline: Whether line feeds and tabs are kept as they are.
    """
    return (_UNSAFE_IN_TEXT if multiline else _UNSAFE_IN_LINE).sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def print_table(table: Table) -> None:
    """Print a table on stdout: as wide as the terminal, or as wide as it needs to be in a pipe or a file."""
    console = Console()
    if not sys.stdout.isatty():
        # Measured against a width that no table reaches.
        needed = console.measure(table, options=console.options.update(max_width=1_000_000)).maximum
        console = Console(width=needed)
    console.print(table)


def print_text(text: str, *, multiline: bool = False) -> None:
    """Print text on stdout, its lines as long as they are."""
    # Not with rich, which expands tabs.
    print(printable(text, multiline=multiline))


def print_error(message: str) -> None:
    """Print a message on stderr."""
    Console(stderr=True).print(Text(printable(message, multiline=True), style="red"), soft_wrap=True)


def age(seconds: float) -> str:
    """Return a time span in its largest unit: `3 d`, `5 h`, `12 min`, `8 s`."""
    for name, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {name}"
    return f"{max(seconds, 0):.0f} s"


def row_table(rows: Iterable[Submission], now: float) -> Table:
    """Return a table with one line for each submission."""
    # In a pipe the keys are complete: a program may read them.
    length = _KEY_LENGTH if sys.stdout.isatty() else None
    table = _table("age", "state", "model", "key", "generation", "submitted by")
    for row in rows:
        table.add_row(
            _cell(age(now - row.claimed_at)),
            _state(row, now),
            _cell(row.model),
            _cell(row.key[:length]),
            _cell(row.generation_id),
            _cell(row.claimant),
        )
    return table


def submission_table(row: Submission, now: float) -> Table:
    """Return a table with everything about one submission."""
    table = _table("", "", title=f"attempt {row.attempt}")
    table.show_header = False
    tokens = f"{row.prompt_tokens or 0} + {row.completion_tokens or 0}"
    facts: dict[str, object] = {
        "state": _state(row, now),
        "reason": row.reason,
        "generation": row.generation_id,
        "model": f"{row.model} ({row.kind})",
        "account": row.account,
        "base URL": row.base_url,
        "submitted by": row.claimant,
        "claimed": _time(row.claimed_at),
        "deadline": _time(row.deadline) if row.state is State.SUBMITTING else None,
        "accepted": _time(row.accepted_at),
        "finished": _time(row.finished_at),
        "expires": _time(row.expires_at),
        "credits": row.credits,
        "tokens": tokens if tokens != "0 + 0" else None,
        "result": "kept" if row.result_kept else None,
        "billed": None if row.billed else "no: the result of another key",
        "error": row.error,
    }
    for name, value in facts.items():
        if value is not None:
            table.add_row(_cell(name), value if isinstance(value, Text) else _cell(value))
    return table


def decision_table(decisions: Iterable[Decision]) -> Table:
    """Return a table of the permissions to pay again."""
    table = _table("when", "decision", "found", "generation", "by", title="decisions")
    for decision in decisions:
        values = (_time(decision.at), decision.action, decision.found, decision.generation_id, decision.by)
        table.add_row(*map(_cell, values))
    return table


def usage_table(usage: Iterable[Usage]) -> Table:
    """Return a table of credits and tokens, with the sums in the last line."""
    usage = list(usage)
    table = _table("day (UTC)", "model", "flow")
    table.show_footer = True
    columns = {
        "submissions": [one.submissions for one in usage],
        "ambiguous": [one.ambiguous for one in usage],
        "failed": [one.failed for one in usage],
        "credits": [one.credits for one in usage],
        "tokens in": [one.prompt_tokens for one in usage],
        "tokens out": [one.completion_tokens for one in usage],
    }
    for name, values in columns.items():
        known = [value for value in values if value is not None]
        table.add_column(name, footer=_number(sum(known) if known else None), justify="right", overflow="fold")
    for one, *numbers in zip(usage, *columns.values(), strict=True):
        table.add_row(_cell(one.day), _cell(one.model), _cell(one.flow_name), *(_number(number) for number in numbers))
    return table


def _table(*headers: str, title: str | None = None) -> Table:
    table = Table(title=title, title_justify="left")
    for header in headers:
        # Folded rather than cut: keys and ids are there to be copied.
        table.add_column(header, overflow="fold")
    return table


def _cell(value: object) -> Text:
    # Text, since rich reads a string as markup.
    return Text("—" if value is None else printable(str(value)))


def _number(number: float | None) -> str:
    return "—" if number is None else f"{number:,.10g}"


def _state(row: Submission, now: float) -> Text:
    text = Text(row.state.value, style=_STYLES.get(row.state, "dim"))
    if row.state is State.SUBMITTING:
        text.append(" (deadline past)" if row.deadline <= now else f" (for {age(row.deadline - now)} more)")
    if row.permitted:
        text.append(" (may be submitted again)")
    if not row.current:
        text.append(" (superseded)")
    return text


def _time(at: float | None) -> str | None:
    if at is None:
        return None
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
