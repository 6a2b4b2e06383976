"""The available models."""

from __future__ import annotations

from typing import Any

from prefect_foxapi.emulator import Model
from tests.emulator.chat_requests import chat, error_of, part


def test_no_models(start: Any, connect: Any) -> None:
    api = connect(start(models=()))
    assert api.get("/v1/configs/llm_generations_models").json() == {"object": "list", "data": []}
    assert error_of(api.post("/v1/llm/generations", json=chat())) == (422, "invalid_request_error", "model_not_found")


def test_custom_models(start: Any, connect: Any) -> None:
    api = connect(start(models=[Model("fox-1", ("text",)), Model("fox-embed", ("vision",))]))
    assert [model["id"] for model in api.get("/v1/configs/llm_generations_models").json()["data"]] == [
        "fox-1",
        "fox-embed",
    ]
    assert api.post("/v1/llm/generations", json=chat("fox-1")).status_code == 200
    assert error_of(api.post("/v1/llm/generations", json=chat("fox-1", part("image_url"))))[2] == (
        "model_not_support_capability"
    )
    assert error_of(api.post("/v1/llm/generations", json=chat("fox-embed")))[2] == "model_not_supported"
