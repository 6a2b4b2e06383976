"""The ledger as tables for people."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from rich.table import Table
from rich.text import Text

from prefect_foxapi.ledger.records import Decision, State, Submission, Usage

__all__ = ["age", "decision_table", "row_table", "submission_table", "usage_table"]

_STYLES = {
    State.COMPLETED: "green",
    State.SUBMITTED: "cyan",
    State.FAILED: "red",
    State.AMBIGUOUS: "bold yellow",
    State.SUBMITTING: "blue",
}
_KEY_LENGTH = 12


def age(seconds: float) -> str:
    """Say a time span in its largest unit: `3 d`, `5 h`, `12 min`, `8 s`."""
    for name, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {name}"
    return f"{max(seconds, 0):.0f} s"


def row_table(rows: Iterable[Submission], now: float) -> Table:
    """One line for each submission."""
    table = Table("age", "state", "model", "key", "generation", "who")
    for row in rows:
        table.add_row(
            age(now - row.claimed_at),
            _state(row, now),
            Text(row.model),
            Text(row.key[:_KEY_LENGTH]),
            _id(row.generation_id),
            Text(str(row.claimant)),
        )
    return table


def submission_table(row: Submission, now: float) -> Table:
    """Everything about one submission."""
    table = Table("", "", show_header=False, title=f"attempt {row.attempt}", title_justify="left")
    tokens = f"{row.prompt_tokens or 0} + {row.completion_tokens or 0}"
    facts: dict[str, object] = {
        "state": _state(row, now),
        "why": row.reason,
        "generation": row.generation_id,
        "model": f"{row.model} ({row.kind})",
        "account": row.account,
        "base URL": row.base_url,
        "who": row.claimant,
        "claimed": _time(row.claimed_at),
        "deadline": _time(row.deadline) if row.state is State.SUBMITTING else None,
        "accepted": _time(row.accepted_at),
        "finished": _time(row.finished_at),
        "expires": _time(row.expires_at),
        "credits": row.credits,
        "tokens": tokens if tokens != "0 + 0" else None,
        "result": "kept" if row.result_kept else None,
        "paid": None if row.billed else "under another key, and published here",
        "error": row.error,
    }
    for name, value in facts.items():
        if value is not None:
            table.add_row(name, value if isinstance(value, Text) else Text(str(value)))
    return table


def decision_table(decisions: Iterable[Decision]) -> Table:
    """Who allowed to pay again, and when."""
    table = Table("when", "decision", "found", "generation", "by", title="decisions", title_justify="left")
    for decision in decisions:
        when = _time(decision.at)
        table.add_row(when, decision.action, str(decision.found), _id(decision.generation_id), Text(decision.by))
    return table


def usage_table(usage: Iterable[Usage]) -> Table:
    """What was spent, with the sum in the last line."""
    usage = list(usage)
    table = Table("day (UTC)", "model", "flow", show_footer=True)
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
        table.add_column(name, footer=_number(sum(known) if known else None), justify="right")
    for one, *numbers in zip(usage, *columns.values(), strict=True):
        flow = Text(one.flow_name or "—")
        table.add_row(one.day, Text(one.model), flow, *(_number(number) for number in numbers))
    return table


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


def _id(generation_id: str | None) -> Text:
    # Folded rather than cut: it is there to be copied.
    return Text(generation_id or "—", overflow="fold")


def _time(at: float | None) -> str | None:
    if at is None:
        return None
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
