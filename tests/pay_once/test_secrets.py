"""The API key is nowhere in what a run leaves behind."""

from __future__ import annotations

import base64
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from prefect_foxapi.emulator import Emulator
from tests.pay_once.fork_server import ForkServer
from tests.pay_once.servers import prefect_server
from tests.support.postgres import PostgresForTests

PROBE = "tests.pay_once.leak_probe:leave_traces"
TABLES = ("foxapi_generations", "foxapi_submissions", "foxapi_decisions", "foxapi_uploads")


def forms_of(key: str) -> list[bytes]:
    """The key as it is, backwards, in hexadecimal, and what base64 makes of it wherever it may begin."""
    plain = key.encode()
    encoded = [base64.b64encode(b"." * shift + plain)[4:-4] for shift in range(3)]
    return [plain, plain[::-1], plain.hex().encode(), plain[4:-4], *encoded]


def found_in(folders: list[Path], forms: list[bytes]) -> list[str]:
    """The files below some folders that have one of these."""
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return [str(path) for path in files if any(form in path.read_bytes() for form in forms)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A Prefect server that keeps everything, and where it keeps it."""
    home = tmp_path_factory.mktemp("server")
    with prefect_server(home, records_task_runs=True) as url:
        yield url, home


@pytest.fixture
def key() -> str:
    return f"sk-{secrets.token_hex(20)}"


@pytest.fixture
def emulator(key: str) -> Iterator[Emulator]:
    with Emulator(duration=0.05, api_key=key) as running:
        running.script("doomed", fail={"code": "upstream_error", "message": f"no luck for Bearer {key}"})
        running.script("slow", "at last", duration=30)
        yield running


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_the_key_is_nowhere(
    database: str, key: str, emulator: Emulator, postgres: PostgresForTests, server: tuple[str, Path], tmp_path: Path
) -> None:
    url = postgres.new_database()
    api_url, server_home = server
    environment = {
        "PREFECT_HOME": str(tmp_path / "home"),
        "PREFECT_API_URL": api_url,
        "PREFECT_LOGGING_LEVEL": "DEBUG",
        "PREFECT_LOGGING_ROOT_LEVEL": "DEBUG",
        "PREFECT_LOGGING_TO_API_BATCH_INTERVAL": "0.1",
        "FOXAPI_API_KEY": key,
        "FOXAPI_BASE_URL": emulator.url,
        **({"PREFECT_INTEGRATIONS_FOXAPI_LEDGER_URL": url} if database == "postgresql" else {}),
    }
    with ForkServer(environment, tmp_path / "child.log") as fork_server:
        child = fork_server.run(PROBE, base_url=emulator.url, api_key=key, folder=str(tmp_path))
        assert child.wait_until("done"), (tmp_path / "child.log").read_text()[-3000:]
        assert child.send(signal.SIGKILL) == -signal.SIGKILL
    errors = (tmp_path / "errors.txt").read_text()
    for name in (
        "AmbiguousSubmission",
        "InvalidRequest",
        "AuthenticationError",
        "GenerationFailed",
        "GenerationTimeout",
    ):
        assert name in errors
    ledger = database == "sqlite"
    # What is looked for is found where it is, so that nothing found means something.
    canaries = {"prefect.db": b"canary", "home/storage": b"canary", "child.log": b"is submitted to gpt-5.5"}
    if ledger:
        canaries["home/foxapi/ledger.db"] = b"canary"
    for place, canary in canaries.items():
        assert any(place in path for path in found_in([tmp_path, server_home], [canary])), place
    assert found_in([tmp_path, server_home], forms_of(key)) == []
    if not ledger:
        name = urlsplit(url).path.strip("/")
        rows = [str(row) for table in TABLES for row in postgres.run(f"SELECT t::text FROM {table} t", name)]
        assert any("canary" in row for row in rows)
        assert not any(form.decode() in row for row in rows for form in forms_of(key))
