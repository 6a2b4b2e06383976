"""What several test files share: a client with a clock that runs by itself, and its signals."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from prefect_foxapi.client.client import FoxAPIClient
from prefect_foxapi.client.retry import RetryPolicy
from prefect_foxapi.hooks import HookEvent
from tests.support.clocks import RunningClock

API_KEY = "sk-test-0123456789abcdef"
MakeClient = Callable[..., FoxAPIClient]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long begins first: at the end, the other processes would wait for it."""
    # Prefect's own connections to its test server are left to the garbage collector.
    left_open = pytest.mark.filterwarnings(
        "ignore:Exception ignored in. <socket.socket:pytest.PytestUnraisableExceptionWarning"
    )
    for item in items:
        if "prefect_home" in getattr(item, "fixturenames", ()):
            item.add_marker(left_open)
    items.sort(key=lambda item: max((mark.args[0] for mark in item.iter_markers("timeout")), default=0), reverse=True)


@pytest.fixture(scope="session")
def prefect_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Real Prefect, with a server, in a home of its own."""
    # Imported here: most tests do without Prefect.
    from prefect.settings import PREFECT_HOME, PREFECT_LOGGING_TO_API_ENABLED, temporary_settings
    from prefect.testing.utilities import prefect_test_harness

    home = tmp_path_factory.mktemp("prefect-home")
    with temporary_settings({PREFECT_HOME: home, PREFECT_LOGGING_TO_API_ENABLED: False}), prefect_test_harness(120):
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
