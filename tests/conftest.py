"""What several test files share: a client with a clock that runs by itself, and its signals."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
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
    items.sort(key=lambda item: max((mark.args[0] for mark in item.iter_markers("timeout")), default=0), reverse=True)


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
