"""Settings: where they are read from, and the errors for wrong names and values."""

from __future__ import annotations

from pathlib import Path

import pytest

from prefect_foxapi.errors import InvalidRequest
from prefect_foxapi.settings import FoxAPISettings, current_settings

PREFIX = "PREFECT_INTEGRATIONS_FOXAPI_"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory: `.env` and the TOML files are read from there."""
    monkeypatch.chdir(tmp_path)
    for name in FoxAPISettings.model_fields:
        monkeypatch.delenv(PREFIX + name.upper(), raising=False)
    return tmp_path


def test_the_defaults() -> None:
    settings = current_settings()
    assert (settings.ledger_url, settings.ledger_keeps_results) == (None, True)
    assert (settings.ledger_retention_days, settings.on_ambiguous) == (90, "raise")


def test_the_environment_is_read_again_when_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{PREFIX}LEDGER_RETENTION_DAYS", "7")
    assert current_settings().ledger_retention_days == 7
    monkeypatch.setenv(f"{PREFIX}LEDGER_RETENTION_DAYS", "8")
    assert current_settings().ledger_retention_days == 8


def test_an_empty_ledger_url_does_not_mean_another_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    assert current_settings().ledger_location().startswith("sqlite")
    monkeypatch.setenv(f"{PREFIX}LEDGER_URL", " ")
    with pytest.raises(InvalidRequest) as raised:
        current_settings().ledger_location()
    assert raised.value.field == f"{PREFIX}LEDGER_URL"


@pytest.mark.parametrize(
    ("file", "content"),
    [
        (".env", f"{PREFIX}ON_AMBIGUOUS=resubmit\n"),
        ("prefect.toml", '[integrations.foxapi]\non_ambiguous = "resubmit"\n'),
        ("pyproject.toml", '[tool.prefect.integrations.foxapi]\non_ambiguous = "resubmit"\n'),
    ],
)
def test_files_are_read(folder: Path, file: str, content: str) -> None:
    (folder / file).write_text(content, encoding="utf-8")
    assert FoxAPISettings().on_ambiguous == "resubmit"


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("ledger_retention_days", "-3"),
        ("ledger_keeps_results", "perhaps"),
        ("on_ambiguous", "maybe"),
        ("on_ambiguous", ""),
    ],
)
def test_a_bad_value_names_the_variable_and_the_value(
    monkeypatch: pytest.MonkeyPatch, setting: str, value: str
) -> None:
    variable = PREFIX + setting.upper()
    monkeypatch.setenv(variable, value)
    with pytest.raises(InvalidRequest) as raised:
        current_settings()
    assert raised.value.field == variable
    assert variable in raised.value.message
    assert repr(value) in raised.value.message


def test_a_bad_value_in_a_file_is_found_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A variable that is not of this package, so that the settings are read again.
    monkeypatch.setenv("READ_AGAIN", "1")
    (folder / "prefect.toml").write_text("[integrations.foxapi]\nledger_retention_days = 0\n", encoding="utf-8")
    with pytest.raises(InvalidRequest) as raised:
        current_settings()
    assert raised.value.field == f"{PREFIX}LEDGER_RETENTION_DAYS"


def test_the_value_of_the_ledger_url_is_in_no_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("READ_AGAIN", "1")
    (folder / "prefect.toml").write_text(
        '[integrations.foxapi]\nledger_url = ["postgresql://me:s3cret@db/x"]\n', encoding="utf-8"
    )
    with pytest.raises(InvalidRequest) as raised:
        current_settings()
    assert raised.value.field == f"{PREFIX}LEDGER_URL"
    assert "s3cret" not in str(raised.value)
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__


@pytest.mark.parametrize("name", [f"{PREFIX}LEDGER_RETENTOIN_DAYS", f"{PREFIX}LEDGER_RETENTION_DAY"])
def test_an_unknown_name_is_refused_with_a_suggestion(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    current_settings()
    monkeypatch.setenv(name, "7")
    with pytest.raises(InvalidRequest) as raised:
        current_settings()
    assert raised.value.field == name
    assert f"{PREFIX}LEDGER_RETENTION_DAYS?" in raised.value.message
    monkeypatch.delenv(name)
    assert current_settings().ledger_retention_days == 90


def test_an_unknown_name_like_no_other_lists_them_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{PREFIX}Z", "7")
    with pytest.raises(InvalidRequest) as raised:
        current_settings()
    for name in FoxAPISettings.model_fields:
        assert PREFIX + name.upper() in raised.value.message
