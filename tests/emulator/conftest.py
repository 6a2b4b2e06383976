"""Emulators, and plain HTTP clients of them. `FoxAPIClient` is not used, since both could share a mistake."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from prefect_foxapi.emulator import Emulator

API_PAYLOADS = Path(__file__).parents[1] / "api_payloads"
Start = Callable[..., Emulator]
Connect = Callable[..., httpx.Client]
Fetch = Callable[[str], httpx.Response]


@pytest.fixture
def payload() -> Callable[[str], Any]:
    """Reads an example payload of the API."""
    return lambda name: json.loads((API_PAYLOADS / f"{name}.json").read_text())


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts emulators, by default with a stepped clock."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(Emulator(**{"stepped": True, "duration": 10.0, **options}))


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Creates HTTP clients of an emulator."""
    with ExitStack() as stack:

        def create(emulator: Emulator, **headers: str | None) -> httpx.Client:
            sent = {"authorization": f"Bearer {emulator.api_key}", "user-agent": "emulator-tests/1", **headers}
            present = {name: value for name, value in sent.items() if value is not None}
            # There is no TLS, and loading the certificates takes longer than a test.
            client = httpx.Client(base_url=emulator.url, headers=present, timeout=10, verify=False)
            if sent["user-agent"] is None:
                del client.headers["user-agent"]
            return stack.enter_context(client)

        yield create


@pytest.fixture
def emulator(start: Start) -> Emulator:
    """An emulator with a stepped clock. A generation takes ten seconds."""
    return start()


@pytest.fixture
def api(emulator: Emulator, connect: Connect) -> httpx.Client:
    """A client of `emulator`."""
    return connect(emulator)


@pytest.fixture
def fetch() -> Iterator[Fetch]:
    """Gets a URL without an API key."""
    with httpx.Client(verify=False) as client:
        yield client.get


@pytest.fixture
def submit(api: httpx.Client) -> Callable[..., dict[str, Any]]:
    """Submits a generation, which must be accepted, and returns the response."""

    def act(prompt: str | list[Any] = "count 1 to 3", *, model: str = "gpt-5.5", **fields: Any) -> dict[str, Any]:
        messages = prompt if isinstance(prompt, list) else [{"role": "user", "content": prompt}]
        body = {"model": model, "messages": messages, **fields}
        response = api.post("/v1/llm/generations", content=json.dumps(body))
        assert response.status_code == 200, response.text
        return response.json()

    return act


@pytest.fixture
def answer(emulator: Emulator, api: httpx.Client, submit: Callable[..., dict[str, Any]]) -> Callable[..., Any]:
    """Submits a generation, waits for its end, and returns the completion."""

    def act(*args: Any, **fields: Any) -> dict[str, Any]:
        generation_id = submit(*args, **fields)["id"]
        emulator.advance(10)
        return api.get(f"/v1/tasks/{generation_id}").json()["results"][0]

    return act
