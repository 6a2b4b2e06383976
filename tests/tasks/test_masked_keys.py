"""A block that went through JSON has asterisks as its key, since secrets are masked there: refused, with the remedy."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prefect import flow, unmapped
from prefect.client.orchestration import get_client
from prefect.serializers import JSONSerializer
from prefect.task_worker import TaskWorker
from prefect.utilities.names import obfuscate
from pydantic import SecretStr

from prefect_foxapi import (
    AuthenticationError,
    FoxAPIClient,
    FoxAPICredentials,
    Generation,
    generate,
    get_credits,
    list_unsettled,
    settle,
    stream_generation,
    submit_generation,
    upload_file,
    wait_for_generation,
)
from prefect_foxapi.emulator import Emulator

MODEL = "gpt-5.5"
MASKED = ["**********", obfuscate("sk-0123456789abcdef"), obfuscate("sk-0123456789abcdef", show_tail=True), "***"]


def has_remedy(error: AuthenticationError) -> bool:
    """Whether the message names the saved block, which a masked key can be replaced by."""
    return "credentials='my-foxapi'" in error.message


def masked_by_json(block: FoxAPICredentials) -> FoxAPICredentials:
    return FoxAPICredentials.model_validate(json.loads(block.model_dump_json()))


def parameters_of_delayed(prefect_home: Path) -> list[Path]:
    return list((prefect_home / "storage" / "parameters").glob("*"))


@pytest.mark.parametrize(
    "delayed",
    [
        lambda **given: generate.delay("hello", model=MODEL, **given),
        lambda **given: stream_generation.delay("hello", model=MODEL, **given),
        lambda **given: submit_generation.apply_async(("hello",), {"model": MODEL, **given}),
        lambda **given: wait_for_generation.delay("task-llm-1-abcdefgh", **given),
        lambda **given: get_credits.delay(**given),
        lambda **given: generate.with_options(retries=1).delay("hello", model=MODEL, **given),
        lambda **given: generate.with_options(result_serializer="pickle").delay("hello", model=MODEL, **given),
        lambda credentials: generate.map(["hello"], model=MODEL, credentials=unmapped(credentials), deferred=True),
    ],
)
def test_block_in_the_parameters_of_a_delayed_task_is_refused_where_it_is_delayed(
    delayed: Callable[..., Any], credentials: FoxAPICredentials, prefect_home: Path
) -> None:
    before = parameters_of_delayed(prefect_home)
    with pytest.raises(AuthenticationError) as caught:
        delayed(credentials=credentials)
    assert has_remedy(caught.value)
    assert parameters_of_delayed(prefect_home) == before


async def test_name_of_a_saved_block_works_in_a_delayed_task(
    emulator: Emulator, credentials: FoxAPICredentials, prefect_home: Path
) -> None:
    await credentials.save("delayed-fox", overwrite=True)
    delayed = generate.delay("delayed", model=MODEL, credentials="delayed-fox")
    async with get_client() as client:
        await TaskWorker(generate).execute_task_run(await client.read_task_run(delayed.task_run_id))
    assert len(emulator.ledger()) == 1


@pytest.mark.parametrize("account", [None, "team"])
@pytest.mark.parametrize("key", MASKED)
def test_masked_key_is_refused_by_every_task(
    emulator: Emulator, key: str, account: str | None, prefect_home: Path
) -> None:
    block = FoxAPICredentials(api_key=SecretStr(key), base_url=emulator.url, account=account)
    for asking in (
        lambda: generate.fn("hello", model=MODEL, credentials=block),
        lambda: stream_generation.fn("hello", model=MODEL, credentials=block),
        lambda: submit_generation.fn("hello", model=MODEL, credentials=block),
        lambda: wait_for_generation.fn("task-llm-1-abcdefgh", credentials=block),
        lambda: get_credits.fn(credentials=block),
        lambda: upload_file.fn(b"bytes", credentials=block),
        lambda: list_unsettled.fn(credentials=block),
        lambda: settle.fn("ab" * 32, "forget", credentials=block),
        block.get_client,
        lambda: FoxAPIClient(key, base_url=emulator.url),
    ):
        with pytest.raises(AuthenticationError) as caught:
            asking()
        assert has_remedy(caught.value)
    assert not emulator.counts()


@pytest.mark.parametrize("key", MASKED)
def test_masked_key_of_the_environment_is_refused(
    emulator: Emulator, key: str, monkeypatch: pytest.MonkeyPatch, prefect_home: Path
) -> None:
    """As where a variable was copied from the log of a CI system."""
    monkeypatch.setenv("FOXAPI_API_KEY", key)
    monkeypatch.setenv("FOXAPI_BASE_URL", emulator.url)
    with pytest.raises(AuthenticationError) as caught:
        generate.fn("hello", model=MODEL)
    assert has_remedy(caught.value)
    assert not emulator.counts()


def test_masked_block_gets_no_answer_of_another_account(
    emulator: Emulator, credentials: FoxAPICredentials, prefect_home: Path
) -> None:
    """Without its key, an account is what its block says it is; a cache hit needs no request that would fail."""
    named = credentials.model_copy(update={"account": "team"})

    @flow
    def ask(block: FoxAPICredentials) -> Generation:
        return generate("the secret of the team", model=MODEL, credentials=block)

    assert ask(named).origin == "billed"
    with pytest.raises(AuthenticationError) as caught:
        ask(masked_by_json(named))
    assert has_remedy(caught.value)
    assert len(emulator.ledger()) == 1


def test_block_in_the_parameters_of_a_flow_run_that_come_from_the_api(
    emulator: Emulator, credentials: FoxAPICredentials, prefect_home: Path
) -> None:
    """As where a flow run is run again, or its parameters are copied in the UI."""

    @flow
    def ask(block: FoxAPICredentials) -> Generation:
        return generate("hello", model=MODEL, credentials=block)

    stored = json.loads(json.dumps(ask.serialize_parameters({"block": credentials})))
    with pytest.raises(AuthenticationError) as caught:
        ask(**ask.validate_parameters(stored))
    assert has_remedy(caught.value)
    assert not emulator.counts()


def test_parameters_that_another_version_stored_are_refused_by_the_worker(
    emulator: Emulator, credentials: FoxAPICredentials, prefect_home: Path
) -> None:
    stored = JSONSerializer().dumps({"credentials": credentials})
    block = JSONSerializer().loads(stored)["credentials"]
    with pytest.raises(AuthenticationError) as caught:
        generate.fn("hello", model=MODEL, credentials=block)
    assert has_remedy(caught.value)
    assert not emulator.counts()


@pytest.mark.parametrize("key", ["sk-a*b-0123456789", "sk-**-0123456789"])
def test_key_with_single_asterisks_is_not_taken_for_a_masked_one(key: str) -> None:
    assert FoxAPICredentials(api_key=SecretStr(key)).client_config.api_key == key
