"""The answer to a poll that is about another generation is not the result, however complete it is."""

from __future__ import annotations

from typing import Any

import pytest

from prefect_foxapi.client.waiter import GenerationWaiter
from prefect_foxapi.errors import GenerationTimeout, UnreadableResponse
from tests.conftest import MakeClient
from tests.support.raw_http_server import GENERATION_ID, RawServer, answer, chunk, event, generation, streams

OTHER_ID = "task-llm-1776874481-another1"
DONE = answer(generation("completed", "mine"))
OTHERS = {
    "completed": generation("completed", "another's", id=OTHER_ID),
    "failed": generation("failed", id=OTHER_ID, error={"message": "another's"}),
    "pending": generation(id=OTHER_ID),
    "other case": generation("completed", "another's", id=GENERATION_ID.upper()),
    "longer": generation("completed", "another's", id=GENERATION_ID + "0"),
}


@pytest.mark.parametrize("body", OTHERS.values(), ids=OTHERS.keys())
async def test_poll_of_another_generation_is_asked_again(make_client: MakeClient, body: Any) -> None:
    async with RawServer([answer(body), DONE]) as server:
        snapshot = await make_client(server.url).get(GENERATION_ID)
    completion = snapshot.completion()
    assert completion
    assert (snapshot.id, completion.choices[0].message.content) == (GENERATION_ID, "mine")
    assert len(server.requests) == 2


async def test_both_ids_are_named(make_client: MakeClient) -> None:
    async with RawServer([answer(OTHERS["completed"])]) as server:
        with pytest.raises(UnreadableResponse) as caught:
            await make_client(server.url).get(GENERATION_ID)
    assert caught.value.generation_id == GENERATION_ID
    assert GENERATION_ID in str(caught.value)
    assert OTHER_ID in str(caught.value)


@pytest.mark.parametrize("body", OTHERS.values(), ids=OTHERS.keys())
async def test_wait_never_ends_with_another_generation(make_client: MakeClient, body: Any) -> None:
    async with RawServer([answer(body)]) as server:
        with pytest.raises(GenerationTimeout) as caught:
            await GenerationWaiter(make_client(server.url), GENERATION_ID, age=0.0, timeout=200).by_polling()
    assert isinstance(caught.value.__cause__, UnreadableResponse)


@pytest.mark.parametrize("ending", [event("done", {"total_chunks": 1}), event("error", {"message": "no"})])
async def test_poll_after_a_stream(make_client: MakeClient, ending: bytes) -> None:
    script = {
        f"GET /v1/llm/generations/{GENERATION_ID}": [streams(chunk("mine"), ending)],
        f"GET /v1/tasks/{GENERATION_ID}": [answer(OTHERS["completed"]), answer(OTHERS["failed"]), DONE],
    }
    async with RawServer(script) as server:
        snapshot, _ = await GenerationWaiter(make_client(server.url), GENERATION_ID, age=0.0).by_stream()
    completion = snapshot.completion()
    assert completion
    assert completion.choices[0].message.content == "mine"
