"""The columns of a submission are the fields of its dataclass."""

from __future__ import annotations

from dataclasses import replace
from types import NoneType
from typing import Any, get_args, get_type_hints

import sqlalchemy as sa

from prefect_foxapi.ledger import Claimant, State, Submission
from prefect_foxapi.ledger.database.schema import submissions
from prefect_foxapi.ledger.operations.row_mapping import changed_values, decode_rows, encode, row_columns
from tests.support.factories import ACCOUNT, BASE_URL, ERROR, claimant

ROW = Submission(
    key="key",
    token="token",
    attempt=2,
    state=State.COMPLETED,
    kind="image",
    account=ACCOUNT,
    base_url=BASE_URL,
    model="gpt-5.5",
    generation_id="gen-1",
    claimant=claimant(),
    claimed_at=1_800_000_000.25,
    deadline=1_800_000_060.25,
    accepted_at=1_800_000_001.5,
    finished_at=1_800_000_002.5,
    expires_at=1_800_000_099.5,
    reason="a reason",
    error=ERROR,
    billed=False,
    permitted=True,
    result_kept=True,
    credits=1.5,
    prompt_tokens=3,
    completion_tokens=4,
    previous="another",
)


def test_every_field_has_a_column_and_every_column_a_field() -> None:
    row, owner = get_type_hints(Submission), get_type_hints(Claimant)
    kept = {name: hint for name, hint in {**row, **owner}.items() if name not in ("claimant", "current")}
    assert set(submissions.columns.keys()) == {*kept, "day"}
    optional = {name for name, hint in kept.items() if NoneType in get_args(hint)}
    assert {column.name for column in submissions.columns if column.nullable} == optional


def test_every_column_but_the_result_is_read_and_every_column_is_written() -> None:
    names = submissions.columns.keys()
    assert {column.name for column in row_columns} == {*names} - {"result", "day"}
    assert set(encode(ROW, None)) == {*names}


def test_a_row_comes_back_as_it_was_in_whatever_order_its_columns_are_read() -> None:
    engine = sa.create_engine("sqlite://")
    with engine.begin() as connection:
        submissions.create(connection)
        connection.execute(submissions.insert(), [encode(ROW, '{"n": 1}')])
        for columns in (row_columns, tuple(reversed(row_columns))):
            [found] = decode_rows(connection.execute(sa.select(*columns)))
            assert found == ROW
        query = sa.select(sa.literal(0).label("is_current"), submissions.c.result, *row_columns)
        [found] = decode_rows(connection.execute(query))
        assert found == replace(ROW, result={"n": 1}, current=False)
    engine.dispose()


def test_only_what_changed_is_written() -> None:
    changes: dict[str, Any] = {"state": State.FAILED, "error": {"code": "x"}, "credits": None}
    assert changed_values(replace(ROW, **changes), ROW) == {
        "state": "failed",
        "error": '{"code": "x"}',
        "credits": None,
    }
    assert changed_values(ROW, replace(ROW)) == {}
