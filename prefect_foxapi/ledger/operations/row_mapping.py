"""Maps a `Submission` to the columns of its table, and back.

The columns are those of the dataclass, by name: a new field of `Submission` needs a column of the same name, and no
change here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import CursorResult

from prefect_foxapi.ledger.database.schema import submissions
from prefect_foxapi.ledger.records import Claimant, State, Submission

__all__ = ["changed_values", "decode_rows", "encode", "row_columns"]

# `current` is a property of the key, `claimant` has columns of its own, and results are read where they are needed.
_NOT_A_COLUMN = {"current", "claimant", "result"}
_OWN = tuple(field.name for field in fields(Submission) if field.name not in _NOT_A_COLUMN)
_CLAIMANT = tuple(field.name for field in fields(Claimant))

row_columns: tuple[sa.Column[Any], ...] = tuple(submissions.c[name] for name in (*_OWN, *_CLAIMANT))
"""Every column of a submission that `decode_rows` needs: all but the result."""


def decode_rows(rows: CursorResult[Any]) -> Iterator[Submission]:
    """Yield the submissions of a query that selects `row_columns`, and perhaps `result` and `is_current`."""
    names = tuple(rows.keys())
    for values in rows:
        yield _decode(dict(zip(names, values, strict=True)))


def _decode(values: dict[str, Any]) -> Submission:
    claimant = Claimant(**{name: values.pop(name) for name in _CLAIMANT})
    state = State(values.pop("state"))
    error, result = values.pop("error"), values.pop("result", None)
    return Submission(
        claimant=claimant,
        state=state,
        error=json.loads(error) if error else None,
        result=json.loads(result) if result else None,
        current=bool(values.pop("is_current", True)),
        **values,
    )


def encode(row: Submission, result: str | None) -> dict[str, Any]:
    """Return the values of all columns of a new row. `result` is JSON text."""
    return {
        **_encode(row, _OWN),
        **{name: getattr(row.claimant, name) for name in _CLAIMANT},
        "day": datetime.fromtimestamp(row.claimed_at, UTC).strftime("%Y-%m-%d"),
        "result": result,
    }


def changed_values(row: Submission, stored: Submission) -> dict[str, Any]:
    """Return the values of the columns in which `row` differs from `stored`."""
    return _encode(row, (name for name in _OWN if getattr(row, name) != getattr(stored, name)))


def _encode(row: Submission, names: Iterable[str]) -> dict[str, Any]:
    values = {name: getattr(row, name) for name in names}
    if "state" in values:
        values["state"] = row.state.value
    if row.error is not None and "error" in values:
        values["error"] = json.dumps(row.error)
    return values
