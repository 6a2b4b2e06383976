"""What users are told about the failures of a database."""

from __future__ import annotations

import sqlite3

import pytest
import sqlalchemy.exc

from prefect_foxapi.errors import LedgerError
from prefect_foxapi.ledger.database.errors import concerns_all, explain, is_about_data, sqlstate

SQLITE = [
    "database is locked",
    "database or disk is full",
    "disk I/O error",
    "file is not a database",
    "database disk image is malformed",
    "attempt to write a readonly database",
    "unable to open database file",
]
SQLSTATES = ["08006", "25006", "28P01", "3D000", "42501", "53100", "53300", "53200", "57P03", "58030"]
WHERE = "sqlite:///a.db"


class ServerError(Exception):
    def __init__(self, sqlstate: str) -> None:
        super().__init__("said by the server")
        self.sqlstate = sqlstate


def _failures() -> list[BaseException]:
    return [
        *(sqlalchemy.exc.OperationalError("SELECT", {}, sqlite3.OperationalError(text)) for text in SQLITE),
        *(sqlalchemy.exc.DBAPIError("SELECT", {}, ServerError(code)) for code in SQLSTATES),
        ConnectionRefusedError(),
        sqlalchemy.exc.DBAPIError("SELECT", {}, RuntimeError("unknown")),
    ]


def test_each_failure_has_a_remedy_of_its_own() -> None:
    said = [explain(error, WHERE) for error in _failures()]
    assert all(WHERE in error.message for error in said)
    assert len({error.message for error in said}) == len(said)


def test_an_explanation_that_is_there_keeps_its_data_for_each_caller() -> None:
    first = LedgerError("it is closed", key="key", generation_id="gen-1")
    again = explain(first, WHERE)
    assert again is not first
    assert (again.message, again.key, again.generation_id) == (first.message, "key", "gen-1")


@pytest.mark.parametrize("error", _failures()[:-1], ids=repr)
def test_what_concerns_the_whole_database_is_not_tried_one_by_one(error: BaseException) -> None:
    assert concerns_all(error)
    assert not is_about_data(error)


def test_the_code_of_the_server_is_found_behind_the_adapter() -> None:
    error = sqlalchemy.exc.DBAPIError("SELECT", {}, ServerError("53100"))
    outer = LedgerError("outer")
    outer.__cause__ = error
    assert sqlstate(outer) == "53100"
    assert sqlstate(None) == ""
