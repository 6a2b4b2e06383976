"""The keys under which Prefect caches results: those of the generations, and none for what is invalid."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr

from prefect_foxapi import FoxAPICredentials
from prefect_foxapi.client.poll_policy import PollPolicy
from prefect_foxapi.models.generation_key import generation_key
from prefect_foxapi.models.requests import GenerationRequest, build_request
from prefect_foxapi.tasks.caching import GenerationCachePolicy, SubmissionPolicy, is_record_of_another, record_key
from tests.models.golden.requests import ACCOUNT, BASE_URL, City
from tests.support.outputs import Capital


def block(**fields: Any) -> FoxAPICredentials:
    return FoxAPICredentials(**{"api_key": SecretStr("sk-one"), **fields})


def cached_as(**inputs: Any) -> str | None:
    """The key under which Prefect keeps the result of `generate` with these arguments."""
    named = {"prompt": "x", "model": "gpt-5.5", "credentials": block(), "openai_parameters": {}, **inputs}
    return GenerationCachePolicy().compute_key(None, named, {})  # type: ignore[arg-type]


def test_cached_under_the_generation_s_key() -> None:
    expected = generation_key(
        GenerationRequest.build("x", model="gpt-5.5"), account=block().account_name, base_url=BASE_URL
    )
    assert cached_as() == f"foxapi-{expected}"


@pytest.mark.parametrize(
    "inputs",
    [
        {"stream": True},
        {"timeout": 1.0},
        {"poll": PollPolicy(interval=5)},
        {"on_delta": print},
        {"on_ambiguous": "resubmit"},
        {"log_lines": True},
        {"credentials": block(timeout=1.0, submit_timeout=2.0, connect_timeout=3.0, max_connections=4)},
        {"credentials": block(allow_http=True)},
        {"credentials": block(base_url="https://api.foxapi.cc/")},
        {"prompt": ["x"]},
        {"sample": 0},
        {"output_type": None},
    ],
)
def test_cached_under_the_same_key(inputs: dict[str, Any]) -> None:
    assert cached_as(**inputs) == cached_as()


@pytest.mark.parametrize(
    "inputs",
    [
        {"prompt": "y"},
        {"model": "gpt-5.6"},
        {"sample": 1},
        {"openai_parameters": {"seed": 1}},
        {"output_type": Capital},
        {"credentials": block(api_key=SecretStr("sk-two"))},
        {"credentials": block(account="team")},
        {"credentials": block(base_url="https://eu.foxapi.cc")},
    ],
)
def test_cached_under_another_key(inputs: dict[str, Any]) -> None:
    assert cached_as(**inputs) not in {None, cached_as()}


def test_two_api_keys_never_share_unless_one_account_is_named() -> None:
    one, other = (block(api_key=SecretStr(f"sk-{name}")) for name in ("one", "other"))
    assert one.account_name != other.account_name
    assert cached_as(credentials=one) != cached_as(credentials=other)
    assert "sk-" not in f"{one.account_name} {cached_as(credentials=one)}"
    named = [block(api_key=SecretStr(f"sk-{name}"), account="team") for name in ("one", "other")]
    assert cached_as(credentials=named[0]) == cached_as(credentials=named[1])


def test_account_s_name_cannot_be_taken_for_a_key_s_digest() -> None:
    assert block(account=block().account_name).account_name == block().account_name
    assert block(account="").account_name == block().account_name


def test_credentials_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOXAPI_API_KEY", "sk-one")
    monkeypatch.delenv("FOXAPI_BASE_URL", raising=False)
    assert cached_as(credentials=None) == cached_as()
    monkeypatch.setenv("FOXAPI_BASE_URL", "https://eu.foxapi.cc")
    assert cached_as(credentials=None) == cached_as(credentials=block(base_url="https://eu.foxapi.cc"))


def test_result_is_an_instance_of_the_very_class() -> None:
    """Another class with the same schema asks the same, and is paid for once; but Prefect stores an instance."""

    class Capital(City):
        """A city."""

    def key_of(output_type: type) -> str:
        request = build_request("x", model="gpt-5.5", output_type=output_type)
        return generation_key(request, account=ACCOUNT, base_url=BASE_URL)

    Capital.__module__ = "elsewhere"
    other = type("Capital", (City,), {"__doc__": "A city.", "__module__": "somewhere"})
    assert key_of(Capital) == key_of(other)
    assert cached_as(output_type=Capital) != cached_as(output_type=other)
    assert cached_as(output_type=list[Capital]) != cached_as(output_type=list[other])  # type: ignore[valid-type]


@pytest.mark.parametrize(
    "inputs",
    [
        {"prompt": ""},
        {"prompt": None},
        {"prompt": object()},
        {"prompt": ["x", {"type": "image_url", "image_url": {"url": "file:///no/such/file"}}]},
        {"prompt": ["x", {"type": "image_url", "image_url": {"url": "data:image/png;base64,%%%"}}]},
        {"model": None},
        {"model": ""},
        {"model": "claude-opus-4-7"},
        {"output_type": object()},
        {"output_type": Capital, "openai_parameters": {"response_format": {"type": "json_object"}}},
        {"openai_parameters": {"tools": object()}},
        {"openai_parameters": {"max_tokens": -1}},
        {"sample": "1"},
        {"sample": object()},
        {"credentials": 5},
        {"credentials": block(api_key=SecretStr(""))},
        {"credentials": block(base_url="http://elsewhere.org")},
    ],
)
def test_no_key_for_what_is_invalid(inputs: dict[str, Any]) -> None:
    """The task itself says what is wrong, and better."""
    assert cached_as(**inputs) is None


def test_no_key_without_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FOXAPI_API_KEY", raising=False)
    assert cached_as(credentials=None) is None


def test_submissions_are_not_cached_by_prefect() -> None:
    assert SubmissionPolicy().compute_key(None, {"prompt": "x", "model": "m"}, {}) is None  # type: ignore[arg-type]


def test_a_record_for_another_generation_is_told_from_this_ones() -> None:
    """As where a file was changed after Prefect had looked for a cached result."""
    key, other = "ab" * 32, "cd" * 32
    for output_type in (None, int, list[int]):
        assert not is_record_of_another(record_key(key, output_type), key, output_type)
        assert is_record_of_another(record_key(other, output_type), key, output_type)
    for of_the_users_own in (None, "mine", key):
        assert not is_record_of_another(of_the_users_own, key, None)
