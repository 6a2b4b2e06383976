"""`generate` and its kin in real flows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from prefect import flow, task, unmapped
from pydantic import BaseModel

from prefect_foxapi import (
    FoxAPICredentials,
    Generation,
    GenerationFailed,
    GenerationTimeout,
    InvalidRequest,
    OutputInvalid,
    PollPolicy,
    UnsupportedContent,
    agenerate,
    aget_credits,
    alist_models,
    astream_generation,
    asubmit_generation,
    aupload_file,
    await_for_generation,
    document,
    generate,
    get_credits,
    image,
    is_retryable,
    list_models,
    stream_generation,
    submit_generation,
    upload_file,
    user,
    wait_for_generation,
)
from prefect_foxapi.emulator import Emulator
from prefect_foxapi.models.messages import UserMessage

pytestmark = pytest.mark.usefixtures("prefect_home")

SAMPLES = Path(__file__).parents[2] / "flows" / "samples"


class Capital(BaseModel):
    city: str
    population: int


def test_sync_flow(emulator: Emulator, credentials: FoxAPICredentials) -> None:
    emulator.script(when="capital", answer="Paris.")

    @flow
    def ask() -> Generation:
        return generate("The capital of France?", model="gpt-5.5", credentials=credentials, max_tokens=64)

    generation = ask()
    assert generation.text == "Paris."
    assert generation.origin == "billed"
    assert generation.finish_reason == "stop"
    assert generation.usage
    assert generation.usage.total_tokens
    assert generation.latency
    assert generation.created
    assert len(emulator.ledger()) == 1


async def test_async_flow(emulator: Emulator, credentials: FoxAPICredentials) -> None:
    emulator.script(when="capital", answer="Paris.")

    @flow
    async def ask() -> list[Generation]:
        return await asyncio.gather(
            *(agenerate(f"The capital of {name}?", model="gpt-5.5", credentials=credentials) for name in "ABC")
        )

    generations = await ask()
    assert [generation.text for generation in generations] == ["Paris."] * 3
    assert len(emulator.ledger()) == 3


def test_submitted_and_mapped_in_a_sync_flow(emulator: Emulator, credentials: FoxAPICredentials) -> None:
    @flow
    def ask() -> list[Generation]:
        futures = generate.map([f"number {n}" for n in range(5)], model="gpt-5.5", credentials=unmapped(credentials))
        asynchronous = agenerate.submit("number 0", model="gpt-5.5", credentials=credentials)
        return [*(future.result() for future in futures), asynchronous.result()]

    generations = ask()
    assert generations[0].text == generations[5].text
    assert len(emulator.ledger()) == 5


@pytest.mark.parametrize("output_type", [Capital, list[Capital], dict[str, int]])
async def test_output_type(emulator: Emulator, credentials: FoxAPICredentials, output_type: type) -> None:
    @flow
    async def ask() -> Generation:
        return await agenerate("A capital", model="gpt-5.5", credentials=credentials, output_type=output_type)

    generation = await ask()
    if output_type is Capital:
        assert isinstance(generation.parsed, Capital)
    elif output_type == dict[str, int]:
        assert all(isinstance(value, int) for value in generation.parsed.values())
    else:
        assert all(isinstance(item, Capital) for item in generation.parsed)
    again = await ask()
    assert again.parsed == generation.parsed
    assert len(emulator.ledger()) == 1


async def test_an_invalid_answer_is_kept_and_not_paid_for_again(
    emulator: Emulator, credentials: FoxAPICredentials
) -> None:
    emulator.script(when="capital", answer='{"city": "Paris"}')

    @flow
    async def ask() -> Generation:
        return await agenerate("A capital", model="gpt-5.5", credentials=credentials, output_type=Capital)

    emulator.script(when="A capital", answer='{"city": "Paris"}')
    for _ in range(2):
        with pytest.raises(OutputInvalid) as caught:
            await ask()
        assert caught.value.text == '{"city": "Paris"}'
        assert caught.value.errors[0]["loc"] == ("population",)
        assert caught.value.generation.text == caught.value.text
    assert len(emulator.ledger()) == 1


async def test_local_files_arrive_once(emulator: Emulator, credentials: FoxAPICredentials, tmp_path: Path) -> None:
    import hashlib

    photo = SAMPLES / "photo.jpg"
    copy = tmp_path / "other-name.jpg"
    copy.write_bytes(photo.read_bytes())

    @flow
    async def look() -> list[Generation]:
        return [
            await agenerate(["What is it?", image(photo)], model="gpt-5.5", credentials=credentials),
            await agenerate(["What is it?", image(copy)], model="gpt-5.5", credentials=credentials),
            await agenerate(["And now?", image(copy)], model="gpt-5.5", credentials=credentials),
        ]

    generations = await look()
    digest = hashlib.sha256(photo.read_bytes()).hexdigest()[:12]
    assert all(digest in generation.text for generation in generations)
    assert len(emulator.ledger()) == 2
    assert sum(count for (_, endpoint), count in emulator.counts().items() if "upload" in endpoint) == 1


async def test_a_file_that_changes_on_its_way_costs_nothing(
    emulator: Emulator, credentials: FoxAPICredentials, tmp_path: Path
) -> None:
    content = (SAMPLES / "photo.jpg").read_bytes()
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(content + b"half")
    emulator.add_fault(kind="delay", endpoint="upload", seconds=0.5, count=1)

    @flow
    async def look() -> str:
        return (await agenerate(["What is it?", image(photo)], model="gpt-5.5", credentials=credentials)).origin

    async def change() -> None:
        while not any("upload" in endpoint for _, endpoint in emulator.counts()):
            await asyncio.sleep(0.01)
        photo.write_bytes(content + b"whole")

    with pytest.raises(InvalidRequest) as caught:
        await asyncio.gather(look(), change())
    assert caught.value.field == "file"
    assert not emulator.ledger()
    photo.write_bytes(content + b"half")
    assert await look() == "billed"
    [uploads] = [count for (_, endpoint), count in emulator.counts().items() if "upload" in endpoint]
    # A file that grows before it is sent whole breaks the connection, and goes out once more before it is found out.
    assert uploads in {2, 3}


async def test_local_file_in_the_parameters_of_a_flow_run_is_not_uploaded(
    emulator: Emulator, credentials: FoxAPICredentials, tmp_path: Path
) -> None:
    """A flow run's parameters are JSON, and so come from anyone who may start it."""
    (tmp_path / "secret").write_bytes(b"secret")

    @flow
    async def chat(messages: list[UserMessage]) -> Generation:
        return await agenerate(messages, model="gemini-3-pro-preview", credentials=credentials)

    part = {"type": "file_url", "file_url": {"url": (tmp_path / "secret").as_uri()}}
    with pytest.raises(InvalidRequest) as caught:
        await chat([{"role": "user", "content": [part]}])  # type: ignore[list-item]
    assert caught.value.field == "messages.0.content.0.file_url.url"
    assert not emulator.counts()
    # In a program's own hands the same file goes through a flow's parameters as it is.
    await chat([user("What is it?", document(tmp_path / "secret"))])
    assert len(emulator.ledger()) == 1


async def test_submit_and_wait_from_elsewhere(emulator: Emulator, credentials: FoxAPICredentials) -> None:
    @flow
    async def begin() -> tuple[str, str]:
        first = await asubmit_generation("later", model="gpt-5.5", credentials=credentials)
        second = await asubmit_generation("later", model="gpt-5.5", credentials=credentials)
        assert second.generation_id == first.generation_id
        return first.generation_id, second.origin

    @flow
    async def collect(generation_id: str) -> Generation:
        return await await_for_generation(generation_id, credentials=credentials)

    generation_id, origin = await begin()
    assert origin == "resumed"
    assert (await collect(generation_id)).generation_id == generation_id
    assert (await collect(generation_id)).origin == "replayed"
    assert len(emulator.ledger()) == 1


def test_every_sync_twin(emulator: Emulator, credentials: FoxAPICredentials) -> None:
    @flow
    def use_all() -> None:
        submitted = submit_generation("twin", model="gpt-5.5", credentials=credentials)
        assert wait_for_generation(submitted, credentials=credentials).text
        assert stream_generation("twin stream", model="gpt-5.5", credentials=credentials).text
        assert upload_file(SAMPLES / "report.pdf", credentials=credentials).size == 4565
        assert any("video" in model.capabilities for model in list_models(credentials=credentials))
        assert get_credits(credentials=credentials).balance

    use_all()


async def test_every_async_twin(emulator: Emulator, credentials: FoxAPICredentials) -> None:
    @flow
    async def use_all() -> None:
        submitted = await asubmit_generation("twin", model="gpt-5.5", credentials=credentials)
        assert (await await_for_generation(submitted, credentials=credentials)).text
        assert (await astream_generation("twin stream", model="gpt-5.5", credentials=credentials)).text
        assert (await aupload_file(SAMPLES / "report.pdf", credentials=credentials)).size == 4565
        assert any("video" in model.capabilities for model in await alist_models(credentials=credentials))
        assert (await aget_credits(credentials=credentials)).balance

    await use_all()


async def test_bad_requests_cost_nothing(emulator: Emulator, credentials: FoxAPICredentials) -> None:
    @flow
    async def ask(**arguments: object) -> Generation:
        return await agenerate(credentials=credentials, **arguments)

    video = {"type": "video_url", "video_url": {"url": "https://e.org/a.mp4"}}
    for expected, field, arguments in (
        (InvalidRequest, "max_tokens", {"prompt": "x", "model": "claude-opus-4-7"}),
        (UnsupportedContent, "messages.0.content.1.video_url", {"prompt": ["x", video], "model": "gpt-5.5"}),
        (InvalidRequest, "timeout", {"prompt": "x", "model": "gpt-5.5", "timeout": 0}),
    ):
        with pytest.raises(expected) as caught:
            await ask(**arguments)
        assert caught.value.field == field
    assert emulator.ledger() == []


@pytest.mark.parametrize(
    ("submitting", "options", "field"),
    [
        (agenerate, {"poll": 5}, "poll"),
        (agenerate, {"timeout": "30"}, "timeout"),
        (agenerate, {"timeout": float("nan")}, "timeout"),
        (agenerate, {"timeout": 10**400}, "timeout"),
        (agenerate, {"sample": 10**5000}, "sample"),
        (agenerate, {"max_token": 5}, "max_token"),
        (agenerate, {"retries": 3}, "retries"),
        (agenerate, {"sync": True}, "sync"),
        (agenerate, {"messages": []}, "messages"),
        (astream_generation, {"temprature": 0}, "temprature"),
        (asubmit_generation, {"callback_url": "https://e.org"}, "callback_url"),
        (agenerate, {"on_ambiguous": 10**5000}, "on_ambiguous"),
        (astream_generation, {"timeout": 10**400}, "timeout"),
        (astream_generation, {"on_delta": 10**400}, "on_delta"),
        (astream_generation, {"log_lines": "no"}, "log_lines"),
        (asubmit_generation, {"sample": -(10**5000)}, "sample"),
        (agenerate, {"on_ambiguous": "resumbit"}, "on_ambiguous"),
        (agenerate, {"log_lines": True}, "log_lines"),
        (astream_generation, {"poll": 5}, "poll"),
        (astream_generation, {"stream": True}, "stream"),
        (asubmit_generation, {"timeout": 60}, "timeout"),
        (asubmit_generation, {"poll": PollPolicy()}, "poll"),
        (asubmit_generation, {"on_delta": print}, "on_delta"),
        (asubmit_generation, {"on_ambiguous": 1}, "on_ambiguous"),
    ],
)
async def test_options_that_are_wrong_or_of_another_task_are_neither_sent_nor_paid_for(
    emulator: Emulator,
    credentials: FoxAPICredentials,
    submitting: Callable[..., Coroutine[Any, Any, Any]],
    options: dict[str, Any],
    field: str,
) -> None:
    @flow
    async def ask() -> None:
        await submitting("options", model="gpt-5.5", credentials=credentials, **options)

    with pytest.raises(InvalidRequest) as caught:
        await ask()
    assert caught.value.field == field
    assert emulator.ledger() == []


async def test_a_stream_takes_a_poll_policy_and_is_cached(emulator: Emulator, credentials: FoxAPICredentials) -> None:
    @flow
    async def ask() -> Generation:
        return await astream_generation("polled", model="gpt-5.5", credentials=credentials, poll=PollPolicy(interval=1))

    assert (await ask()).origin == "billed"
    asked = emulator.counts()
    assert (await ask()).origin == "replayed"
    assert emulator.counts() == asked


async def test_a_failed_generation_is_paid_for_again_by_the_next_call_only(
    emulator: Emulator, credentials: FoxAPICredentials
) -> None:
    emulator.script(when="doomed", fail={"code": "upstream_error", "message": "no luck"})

    @flow
    async def ask() -> Generation:
        tried = agenerate.with_options(retries=2, retry_delay_seconds=0)
        return await tried("doomed", model="gpt-5.5", credentials=credentials)

    for paid in (1, 2):
        with pytest.raises(GenerationFailed) as caught:
            await ask()
        assert caught.value.code == "upstream_error"
        assert caught.value.key
        assert len(emulator.ledger()) == paid


async def test_a_wait_that_is_over_can_be_taken_up_again(emulator: Emulator, credentials: FoxAPICredentials) -> None:
    emulator.script(when="slow", answer="at last", duration=1.0)

    @flow
    async def ask(timeout: float) -> Generation:
        return await agenerate("slow", model="gpt-5.5", credentials=credentials, timeout=timeout)

    with pytest.raises(GenerationTimeout) as caught:
        await ask(0.2)
    assert caught.value.generation_id
    assert caught.value.key
    assert caught.value.last_status in {None, "pending", "processing"}
    generation = await ask(30)
    assert generation.text == "at last"
    assert generation.origin == "resumed"
    assert len(emulator.ledger()) == 1


async def test_a_result_that_cannot_be_read_is_not_lost(emulator: Emulator, credentials: FoxAPICredentials) -> None:
    odd = [{"type": "text", "text": "paid for"}]
    emulator.script(when="odd", answer={"message": {"content": odd}})

    @flow
    async def ask() -> Generation:
        tried = agenerate.with_options(retries=1, retry_delay_seconds=0, retry_condition_fn=is_retryable)
        return await tried("odd", model="gpt-5.5", credentials=credentials)

    for origin in ("billed", "replayed"):
        with pytest.raises(OutputInvalid) as caught:
            await ask()
        assert caught.value.generation.results[0]["choices"][0]["message"]["content"] == odd
        assert caught.value.generation.origin == origin
        assert caught.value.errors
        assert caught.value.key
    assert len(emulator.ledger()) == 1


async def test_within_another_task(emulator: Emulator, credentials: FoxAPICredentials) -> None:
    @task(retries=1, retry_delay_seconds=0)
    async def outer(fail: list[bool]) -> str:
        generation = await agenerate("nested", model="gpt-5.5", credentials=credentials)
        if fail.pop():
            raise RuntimeError("after paying")
        return generation.origin

    fail = [False, True]

    @flow
    async def ask() -> str:
        return await outer.with_options(cache_policy=None)(fail)

    await ask()
    assert len(emulator.ledger()) == 1


async def test_thinking_is_in_the_stream_only(emulator: Emulator, credentials: FoxAPICredentials) -> None:
    emulator.script(when="think", answer="42", reasoning="six times seven")
    heard: list[str] = []

    @flow
    async def ask() -> Generation:
        return await astream_generation(
            "think", model="gemini-3-pro-preview", credentials=credentials, on_delta=lambda c: heard.append(c.text)
        )

    generation = await ask()
    assert generation.text == "42" == "".join(heard)
    assert generation.reasoning == "six times seven"
