"""The block: as Prefect wants blocks to be, and as users come by one."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from prefect import flow
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings
from prefect.testing.standard_test_suites import BlockStandardTestSuite
from pydantic import SecretStr

from prefect_foxapi import AuthenticationError, FoxAPICredentials, InvalidRequest, agenerate, generate
from prefect_foxapi.emulator import Emulator

pytestmark = pytest.mark.usefixtures("prefect_home")


class TestBlock(BlockStandardTestSuite):
    test_has_a_valid_image = None  # fetches a logo from the internet; the block has none

    @pytest.fixture
    def block(self) -> type[FoxAPICredentials]:
        return FoxAPICredentials


def test_no_key_is_an_authentication_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FOXAPI_API_KEY", raising=False)
    with pytest.raises(AuthenticationError) as caught:
        FoxAPICredentials.from_env()
    # What the user has to know are names, not words.
    assert {"FoxAPICredentials", "FOXAPI_API_KEY"} <= set(re.findall(r"\w+", str(caught.value)))


def test_from_env(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOXAPI_API_KEY", " sk-of-the-environment ")
    monkeypatch.setenv("FOXAPI_BASE_URL", "https://fox.example.com/")
    credentials = FoxAPICredentials.from_env()
    assert credentials.api_key.get_secret_value() == "sk-of-the-environment"
    assert credentials.client_config.base_url == "https://fox.example.com"


def test_the_key_is_masked(credentials: FoxAPICredentials) -> None:
    key = credentials.api_key.get_secret_value()
    assert key not in repr(credentials)
    assert key not in str(credentials.model_dump())
    assert key not in credentials.account_name
    assert key not in repr(credentials.get_client())


def test_accounts_are_told_apart_by_key_unless_named() -> None:
    one, two = (FoxAPICredentials(api_key=SecretStr(f"sk-{name}")) for name in ("one", "two"))
    assert one.account_name != two.account_name
    named = [FoxAPICredentials(api_key=SecretStr(f"sk-{name}"), account="team").account_name for name in "ab"]
    assert named == ["team", "team"]


@pytest.mark.parametrize(
    "base_url", ["http://fox.example.com", "https://fox.example.com/v1", "ftp://fox.example.com", "fox.example.com"]
)
def test_a_base_url_that_cannot_be_used(base_url: str) -> None:
    credentials = FoxAPICredentials(api_key=SecretStr("sk-x"), base_url=base_url)
    with pytest.raises(InvalidRequest) as caught:
        credentials.get_client()
    assert caught.value.field == "base_url"


async def test_the_client_of_a_block(credentials: FoxAPICredentials) -> None:
    async with credentials.get_client() as client:
        assert await client.models()


def test_by_name_in_a_sync_flow(emulator: Emulator, credentials: FoxAPICredentials) -> None:
    credentials.save("sync-fox", overwrite=True)

    @flow
    def ask() -> str:
        generate("by name", model="gpt-5.5", credentials="sync-fox")
        return generate("by name", model="gpt-5.5", credentials="sync-fox", return_state=True).name

    assert ask() == "Cached"
    assert len(emulator.ledger()) == 1


async def test_by_name_in_an_async_flow(emulator: Emulator, credentials: FoxAPICredentials) -> None:
    await credentials.save("async-fox", overwrite=True)

    @flow
    async def ask() -> str:
        await agenerate("by name", model="gpt-5.5", credentials="async-fox")
        return (await agenerate("by name", model="gpt-5.5", credentials="async-fox", return_state=True)).name

    assert await ask() == "Cached"
    assert len(emulator.ledger()) == 1


def test_a_name_is_another_block_in_another_workspace(credentials: FoxAPICredentials, tmp_path: Path) -> None:
    credentials.save("one-of-two", overwrite=True)
    assert FoxAPICredentials.resolve("one-of-two") == credentials
    other = credentials.model_copy(update={"account": "another"})
    other.save("one-of-two", overwrite=True)
    # Remembered for a minute, but not where Prefect has another home.
    assert FoxAPICredentials.resolve("one-of-two").account is None
    with temporary_settings({PREFECT_HOME: tmp_path}):
        assert FoxAPICredentials.resolve("one-of-two").account == "another"


async def test_no_such_block(caplog: pytest.LogCaptureFixture) -> None:
    @flow
    async def ask() -> None:
        await agenerate("x", model="gpt-5.5", credentials="nobody-saved-this")

    with pytest.raises(AuthenticationError) as caught:
        await ask()
    assert "nobody-saved-this" in str(caught.value)
    assert not [record for record in caplog.records if record.levelno > logging.ERROR]


def test_register_by_hand(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "prefect", "block", "register", "-m", "prefect_foxapi"],
        capture_output=True,
        text=True,
        env={**os.environ, "PREFECT_HOME": str(tmp_path), "PREFECT_API_URL": str(PREFECT_API_URL.value())},
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FoxAPI Credentials" in done.stdout
    # The output of Prefect's own command.
    assert re.search(r"\b1 block\b", done.stdout)
