"""Limits of a client that are absurd are refused where they are given."""

from __future__ import annotations

import math
from typing import Any

import pytest
from pydantic import SecretStr

from prefect_foxapi import FoxAPICredentials
from prefect_foxapi.client.client import FoxAPIClient
from prefect_foxapi.client.config import ClientConfig
from prefect_foxapi.errors import InvalidRequest

SECONDS = ("timeout", "submit_timeout", "connect_timeout")
REQUESTS = ("max_connections", "max_streams")
NEVER = [0, -1, math.nan, True, None, "5", [], 10**5000 * -1]


@pytest.mark.parametrize("field", [*SECONDS, *REQUESTS])
@pytest.mark.parametrize("value", NEVER, ids=lambda value: type(value).__name__)
def test_limit_that_is_wrong_is_named(field: str, value: Any) -> None:
    for make in (ClientConfig, FoxAPIClient):
        with pytest.raises(InvalidRequest) as caught:
            make("sk-0123456789", **{field: value})
        assert caught.value.field == field
        assert len(str(caught.value)) < 300


@pytest.mark.parametrize("field", SECONDS)
@pytest.mark.parametrize("value", [math.inf, 1e10, 10**400, 10**5000], ids=["inf", "1e10", "10**400", "10**5000"])
def test_deadline_beyond_every_clock_is_refused(field: str, value: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        ClientConfig("sk-0123456789", **{field: value})
    assert caught.value.field == field


def test_block_with_an_infinite_deadline_is_refused_before_it_is_used() -> None:
    block = FoxAPICredentials(api_key=SecretStr("sk-0123456789"), submit_timeout=math.inf)
    with pytest.raises(InvalidRequest) as caught:
        _ = block.client_config
    assert caught.value.field == "submit_timeout"


def test_limits_of_every_number_type_are_accepted() -> None:
    config = ClientConfig("sk-0123456789", timeout=1, submit_timeout=0.5, connect_timeout=1e9, max_connections=1)
    assert config.submission_deadline == 1e9 + 0.5
