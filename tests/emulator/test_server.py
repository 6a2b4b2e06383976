"""Start and stop of an emulator in a thread."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from prefect_foxapi.emulator import Emulator


def test_restart_on_the_same_port(start: Any, connect: Any) -> None:
    emulator = start()
    api = connect(emulator)
    body = {"model": "gpt-5.5", "messages": [{"role": "user", "content": "hi"}]}
    generation_id = api.post("/v1/llm/generations", json=body).json()["id"]
    url = emulator.url
    emulator.stop()
    with pytest.raises(httpx.ConnectError):
        connect(emulator).get("/v1/account/credits")
    emulator.start()
    assert emulator.url == url
    assert connect(emulator).get(f"/v1/tasks/{generation_id}").status_code == 200


def test_start_of_a_running_emulator(emulator: Emulator) -> None:
    with pytest.raises(RuntimeError):
        emulator.start()
