"""What several test files share: a client with a clock that runs by itself, and its events."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import settings as hypothesis_settings

from prefect_foxapi.client.client import FoxAPIClient
from prefect_foxapi.client.retry import RetryPolicy
from prefect_foxapi.hooks import HookEvent
from tests.support.clocks import RunningClock

API_KEY = "sk-test-0123456789abcdef"
# For `make soak SUITE=properties`.
hypothesis_settings.register_profile("soak", max_examples=2_000, deadline=None)
MakeClient = Callable[..., FoxAPIClient]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests with a Prefect server are the slow ones: they begin first, so that the workers end together."""
    # Prefect's own clients leave connections to its API open, for the garbage collector to close.
    left_open = pytest.mark.filterwarnings(
        r"ignore:Exception ignored in. <socket\.socket:pytest.PytestUnraisableExceptionWarning"
    )

    def order(item: pytest.Item) -> tuple[float, bool]:
        longest = max((mark.args[0] for mark in item.iter_markers("timeout")), default=0)
        return -longest, "prefect_api" not in getattr(item, "fixturenames", ())

    for item in items:
        if "prefect_api" in getattr(item, "fixturenames", ()):
            item.add_marker(left_open)
    items.sort(key=order)


@pytest.fixture(scope="session")
def prefect_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The API of a Prefect server that all workers of a test run share."""
    from tests.pay_once.servers import shared_prefect_server

    base = tmp_path_factory.getbasetemp()
    home = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "prefect"
    with shared_prefect_server(home) as url, _connections_left_open(to_port=urlsplit(url).port):
        yield url


@contextmanager
def _connections_left_open(to_port: int | None) -> Iterator[None]:
    """Let the garbage collector close Prefect's connections to its API in whichever test it runs."""
    report = sys.unraisablehook
    peer = f"raddr=('127.0.0.1', {to_port})"

    def report_others(unraisable: Any) -> None:
        if not (isinstance(unraisable.exc_value, ResourceWarning) and peer in str(unraisable.exc_value)):
            report(unraisable)

    sys.unraisablehook = report_others
    try:
        yield
    finally:
        sys.unraisablehook = report


@pytest.fixture(scope="session")
def prefect_home(prefect_api: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A Prefect home, and a server, for the tests of this worker that need none of their own."""
    # Imported here: most tests do without Prefect.
    from prefect.settings import (
        PREFECT_API_URL,
        PREFECT_HOME,
        PREFECT_LOGGING_TO_API_ENABLED,
        PREFECT_SERVER_ALLOW_EPHEMERAL_MODE,
        temporary_settings,
    )

    home = tmp_path_factory.mktemp("prefect-home")
    settings = {
        PREFECT_HOME: home,
        PREFECT_API_URL: prefect_api,
        PREFECT_LOGGING_TO_API_ENABLED: False,
        PREFECT_SERVER_ALLOW_EPHEMERAL_MODE: False,
    }
    with temporary_settings(settings):
        yield home


@pytest.fixture
def running_clock() -> RunningClock:
    return RunningClock()


@pytest.fixture
def events() -> list[HookEvent]:
    return []


@pytest.fixture
async def make_client(running_clock: RunningClock, events: list[HookEvent]) -> AsyncIterator[MakeClient]:
    """Makes clients of a server; each is closed in the end, and tells `events` what happens."""
    async with AsyncExitStack() as stack:

        def make(base_url: str, **options: Any) -> FoxAPIClient:
            options.setdefault("clock", running_clock)
            options.setdefault("sleep", running_clock.sleep)
            options.setdefault("retry", RetryPolicy(jitter=0))
            client = FoxAPIClient(API_KEY, base_url=base_url, hooks=(events.append,), **options)
            stack.push_async_callback(client.aclose)
            return client

        yield make
