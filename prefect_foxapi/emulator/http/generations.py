"""The calls about generations, models and the account (contract §2, §3, §4, §6, §8, §9)."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

from sse_starlette.sse import EventSourceResponse
from starlette.responses import Response
from starlette.routing import BaseRoute

from prefect_foxapi.emulator.http.broken_responses import reset, transport_of
from prefect_foxapi.emulator.http.middleware import Call, Handler, guarded, json_answer, read_json
from prefect_foxapi.emulator.protocol.errors import invalid_param, not_found
from prefect_foxapi.emulator.protocol.json_types import json_text
from prefect_foxapi.emulator.state.clock import ClockStopped
from prefect_foxapi.emulator.state.generations import Generation
from prefect_foxapi.emulator.state.service import Gateway

_SILENT = 86_400
_BREAKING = ("sse_drop", "sse_error", "sse_silence")
_UNTIL_CANCELLED = 60.0


async def submit_chat(call: Call) -> Response:
    """POST /v1/llm/generations"""
    body = await read_json(call.request, call.gateway.settings.max_body)
    generation = call.gateway.submit_chat(body, call.account, call.request.url.path, call.fault)
    return json_answer(generation.as_accepted())


def _submit_media(kind: str) -> Handler:
    async def submit(call: Call) -> Response:
        body = await read_json(call.request, call.gateway.settings.max_body)
        path = call.request.url.path
        generation = call.gateway.submit_media(kind, body, call.account, path, call.origin, call.fault)
        return json_answer(generation.as_accepted())

    return submit


async def get_task(call: Call) -> Response:
    """GET /v1/tasks/{task_id}; `sync_upstream` is accepted, and there is no upstream."""
    generation = call.gateway.generation(call.request.path_params["task_id"], call.account)
    return json_answer(generation.as_task(call.gateway.clock.now()))


async def stream(call: Call) -> Response:
    """GET /v1/llm/generations/{task_id}/stream"""
    generation = call.gateway.generation(call.request.path_params["task_id"], call.account)
    if not generation.streamed:
        raise not_found(f"The task `{generation.id}` was not submitted with stream=true.")
    if not generation.chunks_kept(call.gateway.clock.now()):
        raise not_found(f"The stream of the task `{generation.id}` is gone.")
    offset = call.request.query_params.get("offset", "0")
    if not re.fullmatch(r"[0-9]{1,15}", offset):
        raise invalid_param("offset", "must be an integer of 0 or more")
    silent = call.fault is not None and call.fault.kind == "sse_silence"
    ping: Any = _SILENT if silent else call.gateway.settings.keep_alive
    return EventSourceResponse(_events(call, generation, int(offset)), ping=ping)


async def _events(call: Call, generation: Generation, offset: int) -> AsyncIterator[dict[str, Any]]:
    clock, fault = call.gateway.clock, call.fault
    chunks = generation.chunks[offset:]
    breaks = fault is not None and fault.kind in _BREAKING and fault.chunks <= len(chunks)
    try:
        for chunk in chunks[: fault.chunks] if fault is not None and breaks else chunks:
            await clock.sleep_until(chunk.due)
            yield {"event": "chunk", "data": f'{chunk.head},"emulated_at":{clock.now():.6f}}}'}
        if fault is None or not breaks:
            await clock.sleep_until(generation.ends)
            if fault is None or fault.kind != "sse_no_done":
                yield _ending(generation)
        elif fault.kind == "sse_error":
            yield {"event": "error", "data": json_text({"message": fault.message})}
        else:
            await clock.pause(fault.seconds if fault.kind == "sse_silence" else 0)
            transport_of(call.request.scope).close()
            await clock.pause(_UNTIL_CANCELLED)
    except ClockStopped:
        reset(call.request.scope)


def _ending(generation: Generation) -> dict[str, Any]:
    if generation.failure is not None:
        return {"event": "error", "data": json_text({"message": generation.failure.get("message", "")})}
    if generation.cancelled:
        return {"event": "error", "data": json_text({"message": "The generation was cancelled."})}
    return {"event": "done", "data": json_text({"total_chunks": len(generation.chunks)})}


async def list_models(call: Call) -> Response:
    """GET /v1/configs/llm_generations_models"""
    listed = [model.as_listed() for model in call.gateway.models.values()]
    return json_answer({"object": "list", "data": listed})


async def get_credits(call: Call) -> Response:
    """GET /v1/account/credits"""
    return json_answer(call.gateway.books.accounts[call.account].as_json())


def api_routes(gateway: Gateway) -> list[BaseRoute]:
    """The routes, the busiest first."""
    return [
        guarded(gateway, "GET", "/v1/tasks/{task_id}", "task", get_task),
        guarded(gateway, "POST", "/v1/llm/generations", "submit", submit_chat),
        guarded(gateway, "GET", "/v1/llm/generations/{task_id}/stream", "stream", stream),
        guarded(gateway, "GET", "/v1/configs/llm_generations_models", "models", list_models),
        guarded(gateway, "GET", "/v1/account/credits", "credits", get_credits),
        guarded(gateway, "POST", "/v1/images/generations", "submit", _submit_media("image")),
        guarded(gateway, "POST", "/v1/videos/generations", "submit", _submit_media("video")),
        guarded(gateway, "POST", "/v1/audios/generations", "submit", _submit_media("audio")),
    ]
