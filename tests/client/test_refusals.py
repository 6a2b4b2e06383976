"""A refusal stays the refusal that its status is, with whatever headers it comes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_foxapi.client.retry import RetryPolicy, retry_after_seconds
from prefect_foxapi.errors import (
    AuthenticationError,
    FoxAPIError,
    InsufficientCredits,
    InvalidRequest,
    RateLimited,
)
from tests.conftest import MakeClient
from tests.support.raw_http_server import GENERATION_ID, RawServer, answer, generation, refusal

BODY = {"model": "gpt-5.5", "messages": [{"role": "user", "content": "count 1 to 3"}]}
REFUSALS: dict[int, type[FoxAPIError]] = {
    400: InvalidRequest,
    401: AuthenticationError,
    402: InsufficientCredits,
    422: InvalidRequest,
    429: RateLimited,
}
ABSURD_TIMES = [
    "Wed, 22 Apr 2026 12:00:00 +99999999999999999999",
    "Wed, 22 Apr 2026 12:00:00 -9999999999",
    "Wed, 22 Apr 99999999999999999999 12:00:00 GMT",
    "Fri, 31 Dec 9999 23:59:59 -2359",
    "Mon, 01 Jan 0001 00:00:00 +2359",
    "Wed, 99999999999999999999 Apr 2026 12:00:00 GMT",
    "Wed, 22 Apr 2026 99999999999999999999:00:00 GMT",
    "9" * 5000,
    "9" * 400 + ".5",
    "1, 2",
    "-1",
    "1e400",
    "nan",
    "é",
    "(" * 3000,
]
ABSURD_HEADERS = [
    *[("Retry-After", value) for value in ABSURD_TIMES],
    *[("Date", value) for value in ABSURD_TIMES[:3]],
    *[("Content-Encoding", value) for value in ("gzip", "deflate", "br", "zstd", "gzip, gzip", "nonsense", "")],
    *[("Content-Type", value) for value in ("", "nonsense", "application/json; charset=nonsense", "a/b;" * 1000)],
    *[("Location", value) for value in ("http://[", "//", "https://e.org:99999999", "\\x")],
    ("Set-Cookie", "a=b; expires=Wed, 22 Apr 99999999999 12:00:00 +99999999999; max-age=" + "9" * 5000),
    ("Set-Cookie", "=;;; version=x; port=x; domain=" + "." * 500),
    ("X-Request-Id", "x" * 20000),
    ("WWW-Authenticate", "Digest " + "," * 2000),
    ("Link", "<" * 1000),
]


@pytest.mark.parametrize(("name", "value"), ABSURD_HEADERS, ids=lambda value: str(value)[:40])
async def test_refusal_stays_one_whatever_its_headers_say(make_client: MakeClient, name: str, value: str) -> None:
    for status, kind in REFUSALS.items():
        async with RawServer([refusal(status, headers={name: value})]) as server:
            client = make_client(server.url, retry=RetryPolicy(attempts=1))
            for call in (
                lambda client: client.submit(BODY),
                lambda client: client.get(GENERATION_ID),
                lambda client: client.upload(b"x", name="x.png"),
            ):
                with pytest.raises(FoxAPIError) as caught:
                    await call(client)
                assert type(caught.value) is kind
                assert caught.value.status == status
                if isinstance(caught.value, RateLimited):
                    assert caught.value.retry_after is None or 0 <= caught.value.retry_after <= 1e9


@pytest.mark.parametrize("header", ABSURD_TIMES)
async def test_absurd_retry_after_does_not_hold_up_what_comes_next(make_client: MakeClient, header: str) -> None:
    async with RawServer([refusal(429, headers={"Retry-After": header}), answer(generation())]) as server:
        client = make_client(server.url, retry=RetryPolicy(retry_after_maximum=30))
        assert (await client.submit(BODY)).id == GENERATION_ID
    assert len(server.requests) == 2


PIECES: Any = st.one_of(
    st.text(max_size=30),
    st.integers().map(str),
    st.sampled_from(["Wed,", "Apr", "Dec", "GMT", "+", "-", ":", ",", " ", "2026", "12:00:00", "AM", "UTC"]),
)


@given(st.lists(PIECES, max_size=9).map(" ".join))
def test_any_retry_after_is_a_finite_number_or_none(header: str) -> None:
    seconds = retry_after_seconds(header)
    assert seconds is None or 0 <= seconds <= 1e9


@given(
    *(st.integers(0, 10**20) for _ in range(5)),
    st.sampled_from(["+", "-"]),
    st.integers(0, 10**20),
)
def test_any_date_of_a_retry_after_is_a_finite_number_or_none(
    day: int, year: int, hour: int, minute: int, second: int, sign: str, zone: int
) -> None:
    seconds = retry_after_seconds(f"Wed, {day} Apr {year} {hour}:{minute}:{second} {sign}{zone}")
    assert seconds is None or 0 <= seconds <= 1e9
