"""Generations, their streams, the list of models, and the account."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

from sse_starlette.sse import EventSourceResponse
from starlette.responses import Response
from starlette.routing import BaseRoute

from prefect_foxapi.emulator.http.broken_responses import reset, transport_of
from prefect_foxapi.emulator.http.middleware import Handler, RequestContext, endpoint, json_response, read_json
from prefect_foxapi.emulator.protocol.errors import invalid_param, not_found
from prefect_foxapi.emulator.protocol.json_types import json_text
from prefect_foxapi.emulator.state.clock import ClockStopped
from prefect_foxapi.emulator.state.faults import StreamInterruption
from prefect_foxapi.emulator.state.generations import Generation
from prefect_foxapi.emulator.state.service import EmulatedService

_NO_KEEP_ALIVE = 86_400
_DISCONNECT_LIMIT = 60.0

Event = dict[str, Any]


async def submit_chat(context: RequestContext) -> Response:
    """Serve `POST /v1/llm/generations`."""
    body = await read_json(context.request, context.service.settings.max_body)
    return json_response(context.service.submit_chat(body, context.submission).as_accepted())


def _submit_media(kind: str) -> Handler:
    async def submit(context: RequestContext) -> Response:
        body = await read_json(context.request, context.service.settings.max_body)
        return json_response(context.service.submit_media(kind, body, context.submission).as_accepted())

    return submit


async def get_task(context: RequestContext) -> Response:
    """Serve `GET /v1/tasks/{task_id}`. `sync_upstream` has no effect, since there is no upstream."""
    return json_response(_generation(context).as_task(context.service.clock.now()))


async def stream(context: RequestContext) -> Response:
    """Serve `GET /v1/llm/generations/{task_id}/stream`."""
    generation = _generation(context)
    if not generation.streamed:
        raise not_found(f"The task `{generation.id}` was not submitted with stream=true.")
    if not generation.has_stream(context.service.clock.now()):
        raise not_found(f"The stream of the task `{generation.id}` has expired.")
    offset = context.request.query_params.get("offset", "0")
    if not re.fullmatch(r"[0-9]{1,15}", offset):
        raise invalid_param("offset", "must be an integer of 0 or more")
    interruption = context.fault.on_stream(len(generation.chunks[int(offset) :]))
    silent = interruption is not None and interruption.silence
    ping: Any = _NO_KEEP_ALIVE if silent else context.service.settings.keep_alive
    # LF as in production: a client may split the stream at empty lines of LF.
    return EventSourceResponse(_events(context, generation, int(offset), interruption), ping=ping, sep="\n")


def _generation(context: RequestContext) -> Generation:
    return context.service.generation(context.request.path_params["task_id"], context.account)


async def _events(
    context: RequestContext, generation: Generation, offset: int, interruption: StreamInterruption | None
) -> AsyncIterator[Event]:
    clock = context.service.clock
    limit = None if interruption is None else interruption.after_chunks
    try:
        for chunk in generation.chunks[offset:][:limit]:
            await clock.sleep_until(chunk.due)
            yield {"event": "chunk", "data": f'{chunk.open_json},"emulated_at":{clock.now():.6f}}}'}
        if limit is None:
            await clock.sleep_until(generation.ends)
        if interruption is None:
            yield _final_event(generation)
        elif interruption.error is not None:
            yield _error_event(interruption.error)
        elif interruption.silence is not None:
            await clock.pause(interruption.silence)
            transport_of(context.request.scope).close()
            # The server cancels the response once it has noticed that the connection is closed.
            await clock.pause(_DISCONNECT_LIMIT)
    except ClockStopped:
        reset(context.request.scope)


def _final_event(generation: Generation) -> Event:
    if generation.failure is not None:
        return _error_event(generation.failure.get("message", ""))
    if generation.cancelled:
        return _error_event("The generation was cancelled.")
    return {"event": "done", "data": json_text({"total_chunks": len(generation.chunks)})}


def _error_event(message: str) -> Event:
    return {"event": "error", "data": json_text({"message": message})}


async def list_models(context: RequestContext) -> Response:
    """Serve `GET /v1/configs/llm_generations_models`."""
    models = [model.as_listed() for model in context.service.models.values()]
    return json_response({"object": "list", "data": models})


async def get_credits(context: RequestContext) -> Response:
    """Serve `GET /v1/account/credits`."""
    return json_response(context.service.billing.accounts[context.account].as_json())


def generation_routes(service: EmulatedService) -> list[BaseRoute]:
    """Return the routes, the most frequent first."""
    return [
        endpoint(service, "GET", "/v1/tasks/{task_id}", "task", get_task),
        endpoint(service, "POST", "/v1/llm/generations", "submit", submit_chat),
        endpoint(service, "GET", "/v1/llm/generations/{task_id}/stream", "stream", stream),
        endpoint(service, "GET", "/v1/configs/llm_generations_models", "models", list_models),
        endpoint(service, "GET", "/v1/account/credits", "credits", get_credits),
        endpoint(service, "POST", "/v1/images/generations", "submit", _submit_media("image")),
        endpoint(service, "POST", "/v1/videos/generations", "submit", _submit_media("video")),
        endpoint(service, "POST", "/v1/audios/generations", "submit", _submit_media("audio")),
    ]
