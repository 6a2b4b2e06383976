"""Nothing in metadata keeps an answer that is paid for from its owner."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from prefect_foxapi.client.waiter import GenerationWaiter
from prefect_foxapi.engine.calls import Result
from prefect_foxapi.errors import GenerationFailed
from prefect_foxapi.models.generations import Generation, GenerationSnapshot
from tests.conftest import MakeClient
from tests.support.raw_http_server import GENERATION_ID, RawServer, answer, generation

HUGE = int("9" * 400)
ANY: list[Any] = [None, True, False, 0, -1, 1.5, HUGE, "", "odd", "\ud800", [], [1], {}, {"a": {"b": [1]}}, [[]]]
NUMBERS = [*ANY, float("inf"), float("-inf"), float("nan"), 1e308, "100%", "12.5 %", "Infinity", 1776874481123]
OF_THE_TASK = ["object", "type", "model", "progress", "created", "stream", "usage", "error", "task_info"]
OF_THE_COMPLETION = ["id", "object", "created", "model", "usage", "system_fingerprint"]


def nested(depth: int) -> Any:
    value: Any = "deep"
    for _ in range(depth):
        value = [value]
    return value


def done(**fields: Any) -> dict[str, Any]:
    return generation("completed", "mine", **fields)


async def delivered(make_client: MakeClient, body: Any) -> Generation[Any]:
    """Poll a generation, store its result, restore it, and store what the user gets."""
    async with RawServer([answer(body)]) as server:
        snapshot = await GenerationWaiter(make_client(server.url), GENERATION_ID, age=0.0, timeout=200).by_polling()
    assert len(server.requests) == 1
    result = Result(snapshot)
    result.expires_at(0.0)
    restored = Result.restored(json.loads(json.dumps(result.stored())))
    made = restored.generation(origin="billed", latency=1.0)
    assert Generation.model_validate(made.model_dump(mode="json")).text == made.text
    return made


@pytest.mark.parametrize("value", NUMBERS, ids=lambda value: repr(value)[:20])
async def test_any_value_in_any_field_of_the_task(make_client: MakeClient, value: Any) -> None:
    for name in OF_THE_TASK:
        made = await delivered(make_client, done(**{name: value}))
        assert (made.generation_id, made.text) == (GENERATION_ID, "mine"), name


@pytest.mark.parametrize("value", NUMBERS, ids=lambda value: repr(value)[:20])
async def test_any_value_in_any_field_of_the_completion(make_client: MakeClient, value: Any) -> None:
    for name in OF_THE_COMPLETION:
        body = done()
        body["results"][0][name] = value
        assert (await delivered(make_client, body)).text == "mine", name
    for name in ("index", "finish_reason", "logprobs"):
        body = done()
        body["results"][0]["choices"][0][name] = value
        assert (await delivered(make_client, body)).text == "mine", name
    for name in ("role", "reasoning_content", "annotations"):
        body = done()
        body["results"][0]["choices"][0]["message"][name] = value
        assert (await delivered(make_client, body)).text == "mine", name
    for name in ("prompt_tokens", "completion_tokens", "total_tokens", "details"):
        body = done()
        body["results"][0]["usage"][name] = value
        assert (await delivered(make_client, body)).text == "mine", name


@pytest.mark.parametrize(
    "created",
    [
        *[1776874481, 1776874481.9, "1776874481", 1776874481123, 1776874481123456, 1776874481123456789],
        *["2026-04-22T16:14:41Z", "2026-04-22T16:14:41.5+00:00", "2026-04-22 18:14:41+02:00", "2026-04-22T16:14:41"],
    ],
)
async def test_time_in_any_form(make_client: MakeClient, created: Any) -> None:
    made = await delivered(make_client, done(created=created))
    assert made.created == datetime(2026, 4, 22, 16, 14, 41, tzinfo=UTC)


@pytest.mark.parametrize("created", [HUGE, -5, float("inf"), "yesterday", 10**25, {"s": 1}])
async def test_time_that_is_none(make_client: MakeClient, created: Any) -> None:
    assert (await delivered(make_client, done(created=created))).created is None


@pytest.mark.parametrize(
    ("progress", "percent"),
    [(float("inf"), 100), (HUGE, 100), (-HUGE, 0), ("100%", 100), (" 12.5 % ", 12.5), ("half", 0), (None, 0), (33, 33)],
)
def test_progress_in_any_form(progress: Any, percent: float) -> None:
    snapshot = GenerationSnapshot.model_validate(generation("processing", progress=progress))
    assert snapshot.progress == percent


@pytest.mark.parametrize("status", ["COMPLETED", "Completed", " completed\n", None])
async def test_status_in_any_case(make_client: MakeClient, status: Any) -> None:
    assert (await delivered(make_client, {**done(), "status": status})).text == "mine"


async def test_poll_without_an_id(make_client: MakeClient) -> None:
    assert (await delivered(make_client, done(id=None))).generation_id == GENERATION_ID


async def test_results_as_one_object(make_client: MakeClient) -> None:
    body = done()
    body["results"] = body["results"][0]
    assert (await delivered(make_client, body)).text == "mine"


@pytest.mark.parametrize("depth", [90, 110, 200, *range(245, 262), 300, 600])
async def test_results_of_any_depth(make_client: MakeClient, depth: int) -> None:
    body = generation("completed", type="image", results=[{"url": "https://e.org/x.png", "extra": nested(depth)}])
    made = await delivered(make_client, body)
    assert made.results == ({"url": "https://e.org/x.png", "extra": nested(depth)},)
    body = done(extra=nested(depth))
    body["results"][0]["choices"][0]["message"]["extra"] = nested(depth)
    made = await delivered(make_client, body)
    assert made.completion
    assert made.completion.choices[0].message.model_extra == {"extra": nested(depth)}


async def test_number_with_more_digits_than_python_reads(make_client: MakeClient) -> None:
    body = json.dumps(done()).replace('"progress": 100', '"progress": ' + "9" * 5000)
    assert (await delivered(make_client, body)).text == "mine"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (["no luck"], "no luck"),
        ([{"message": "no luck", "code": "x"}], "no luck"),
        ([{"message": "no"}, {"message": "luck"}], "no; luck"),
        ("no luck", "no luck"),
        (5, "5"),
        (nested(300), "deep"),
    ],
)
async def test_error_in_any_form(make_client: MakeClient, error: Any, said: str) -> None:
    async with RawServer([answer(generation("FAILED", error=error))]) as server:
        with pytest.raises(GenerationFailed) as caught:
            await GenerationWaiter(make_client(server.url), GENERATION_ID, age=0.0, timeout=200).by_polling()
    assert said in str(caught.value)
    json.dumps(caught.value.error)


@pytest.mark.parametrize(("object_", "kind"), [("image.generation.task", "image"), (None, "llm"), (5, "llm")])
def test_type_that_is_null_comes_from_the_object(object_: Any, kind: str) -> None:
    snapshot = GenerationSnapshot.model_validate(generation(type=None, object=object_))
    assert snapshot.type == kind


@pytest.mark.parametrize("value", ANY, ids=lambda value: repr(value)[:20])
async def test_acceptance_with_any_metadata(make_client: MakeClient, value: Any) -> None:
    for name in (*OF_THE_TASK, "status", "results"):
        async with RawServer([answer(generation(**{name: value}))]) as server:
            snapshot = await make_client(server.url).submit({"model": "gpt-5.5"})
        assert snapshot.id == GENERATION_ID, name
