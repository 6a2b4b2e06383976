"""Emulators, and a plain HTTP client of them: ours is not used here, so that the two cannot agree on a mistake."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from prefect_foxapi.emulator import Emulator

WIRE = Path(__file__).parents[1] / "api_payloads"
Start = Callable[..., Emulator]
Connect = Callable[..., httpx.Client]
Fetch = Callable[[str], httpx.Response]


@pytest.fixture
def wire() -> Callable[[str], Any]:
    """Reads a payload of the contract."""
    return lambda name: json.loads((WIRE / f"{name}.json").read_text())


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts emulators, with a stepped clock unless told otherwise."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(Emulator(**{"stepped": True, "duration": 10.0, **options}))


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Makes HTTP clients of an emulator."""
    with ExitStack() as stack:

        def make(emulator: Emulator, **headers: str | None) -> httpx.Client:
            given = {"authorization": f"Bearer {emulator.api_key}", "user-agent": "emulator-tests/1", **headers}
            kept = {name: value for name, value in given.items() if value is not None}
            # There is no TLS to verify, and loading the certificates would take longer than a test.
            client = httpx.Client(base_url=emulator.url, headers=kept, timeout=10, verify=False)
            if given["user-agent"] is None:
                del client.headers["user-agent"]
            return stack.enter_context(client)

        yield make


@pytest.fixture
def emulator(start: Start) -> Emulator:
    """An emulator with a stepped clock, in which a generation takes ten seconds."""
    return start()


@pytest.fixture
def api(emulator: Emulator, connect: Connect) -> httpx.Client:
    """A client of `emulator`."""
    return connect(emulator)


@pytest.fixture
def fetch() -> Iterator[Fetch]:
    """Gets a URL as anybody could, without a key."""
    with httpx.Client(verify=False) as client:
        yield client.get


@pytest.fixture
def submit(api: httpx.Client) -> Callable[..., dict[str, Any]]:
    """Submits a generation that must be accepted."""

    def act(prompt: str | list[Any] = "count 1 to 3", *, model: str = "gpt-5.5", **further: Any) -> dict[str, Any]:
        messages = prompt if isinstance(prompt, list) else [{"role": "user", "content": prompt}]
        body = {"model": model, "messages": messages, **further}
        response = api.post("/v1/llm/generations", content=json.dumps(body))
        assert response.status_code == 200, response.text
        return response.json()

    return act


@pytest.fixture
def answer(emulator: Emulator, api: httpx.Client, submit: Callable[..., dict[str, Any]]) -> Callable[..., Any]:
    """Submits a generation, lets it end, and gives its completion."""

    def act(*args: Any, **further: Any) -> dict[str, Any]:
        generation_id = submit(*args, **further)["id"]
        emulator.advance(10)
        return api.get(f"/v1/tasks/{generation_id}").json()["results"][0]

    return act
