"""The emulator as a separate process, controlled over HTTP."""

from __future__ import annotations

import asyncio
import inspect
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest

from prefect_foxapi.emulator.__main__ import run
from prefect_foxapi.emulator.http.app import build_app
from prefect_foxapi.emulator.state.clock import Clock
from prefect_foxapi.emulator.state.service import EmulatedService
from tests.emulator.conftest import Start

BODY = {"model": "gpt-5.5", "messages": [{"role": "user", "content": "count 1 to 3"}]}
HEADERS = {"user-agent": "emulator-tests/1", "authorization": "Bearer sk-emulator"}


def command(*options: str) -> list[str]:
    return [sys.executable, "-W", "error", "-m", "prefect_foxapi.emulator", *options]


@contextmanager
def running(*options: str) -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    """Yields a process that listens, and a client of it. The process must exit with 0 and print nothing else."""
    process = subprocess.Popen(
        command("--port", "0", *options), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line.startswith("FoxAPI emulator on http://127.0.0.1:"), line
        with httpx.Client(base_url=line.split(" on ")[1].strip(), headers=HEADERS, verify=False) as api:
            yield process, api
    finally:
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=20)
    assert (process.returncode, output, errors) == (0, "", "")


@pytest.fixture(scope="module")
def shared() -> Iterator[httpx.Client]:
    with running("--stepped", "--duration", "10", "--credits", "1000") as (_, api):
        yield api


@pytest.fixture
def api(shared: httpx.Client) -> httpx.Client:
    shared.post("/emulator/reset")
    return shared


def test_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = subprocess.run(command("--port", str(port)), capture_output=True, text=True, timeout=30, check=False)
    assert refused.returncode == 1
    assert f"127.0.0.1:{port}" in refused.stderr
    process = subprocess.Popen(command("--port", str(port)), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == f"FoxAPI emulator on http://127.0.0.1:{port}\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=20)[0] == ""
    assert process.returncode == 0


def test_generation_and_ledger(api: httpx.Client) -> None:
    accepted = api.post("/v1/llm/generations", json=BODY).json()
    now = api.post("/emulator/clock/advance", json={"seconds": 10}).json()["now"]
    assert api.get(f"/v1/tasks/{accepted['id']}").json()["status"] == "completed"
    api.post("/v1/llm/generations", json={**BODY, "stream": True})
    ledger = api.get("/emulator/ledger").json()
    first, second = ledger["submissions"]
    assert {**first, "created": None} == {
        "generation_id": accepted["id"],
        "digest": first["digest"],
        "model": "gpt-5.5",
        "path": "/v1/llm/generations",
        "created": None,
        "body": BODY,
        "credits": first["credits"],
        "account": 0,
    }
    assert first["created"] == now - 10
    assert ledger["times"] == {first["digest"]: 2}
    assert ledger["credits"] == first["credits"] + second["credits"]
    assert api.get("/v1/account/credits").json()["balance"] == 1000 - ledger["credits"]


def test_faults_scripts_and_counts(api: httpx.Client) -> None:
    rules = [{"kind": "status", "endpoint": "submit", "status": 503, "count": 1}, {"kind": "vanish", "after": 1}]
    assert api.post("/emulator/faults", json=rules).json() == {"added": 2}
    assert api.post("/emulator/scripts", json={"when": "count", "answer": "1, 2, 3"}).json() == {"added": 1}
    responses = [api.post("/v1/llm/generations", json=BODY) for _ in range(2)]
    assert [response.status_code for response in responses] == [503, 200]
    api.post("/emulator/clock/advance", json={"seconds": 10})
    path = f"/v1/tasks/{responses[1].json()['id']}"
    assert api.get(path).json()["results"][0]["choices"][0]["message"]["content"] == "1, 2, 3"
    assert api.get(path).status_code == 404
    api.delete("/emulator/faults")
    api.delete("/emulator/scripts")
    assert api.get(path).status_code == 200
    assert api.get("/emulator/counts").json() == {"POST submit": 2, "GET task": 3}


def test_reset_deletes_everything(api: httpx.Client) -> None:
    accepted = api.post("/v1/llm/generations", json=BODY).json()
    url = api.post("/v1/files/upload/base64", json={"file_data": "aGVsbG8="}).json()["url"]
    api.post("/emulator/faults", json={"kind": "status"})
    api.post("/emulator/reset")
    assert api.get(f"/v1/tasks/{accepted['id']}").status_code == 404
    assert api.get(url).status_code == 404
    assert api.get("/emulator/ledger").json() == {"submissions": [], "times": {}, "credits": 0}
    assert api.get("/v1/account/credits").json()["balance"] == 1000


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("faults", '{"kind": "explode"}'),
        ("faults", "[1]"),
        ("faults", "no JSON"),
        ("faults", ""),
        ("scripts", '{"answer": "x"}'),
        ("scripts", '{"when": "x"}'),
        ("clock/advance", "{}"),
        ("clock/advance", '{"seconds": -1}'),
        ("clock/advance", "[]"),
    ],
)
def test_invalid_admin_requests(path: str, body: str, api: httpx.Client) -> None:
    response = api.post(f"/emulator/{path}", content=body)
    assert (response.status_code, response.json()["error"]["type"]) == (400, "invalid_request_error")


def test_web_pages_cannot_use_the_admin_routes(api: httpx.Client) -> None:
    assert api.post("/emulator/reset", headers={"origin": "https://example.com"}).status_code == 403


@pytest.mark.parametrize(("client", "status"), [("203.0.113.9", 403), ("127.0.0.1", 200), ("::1", 200)])
async def test_other_machines_cannot_use_the_admin_routes(client: str, status: int, start: Start) -> None:
    app = build_app(EmulatedService(start().settings, Clock()))
    transport = httpx.ASGITransport(app, client=(client, 50_000))
    async with httpx.AsyncClient(transport=transport, base_url="http://emulator", headers=HEADERS) as api:
        assert (await api.post("/emulator/reset")).status_code == status
        assert (await api.get("/v1/account/credits")).status_code == 200


def test_options_and_files(tmp_path: Path) -> None:
    (tmp_path / "faults.json").write_text(json.dumps([{"kind": "status", "endpoint": "credits", "status": 418}]))
    (tmp_path / "scripts.json").write_text(json.dumps([{"when": "count", "answer": "1, 2, 3", "duration": 0.01}]))
    files = ("--faults", str(tmp_path / "faults.json"), "--scripts", str(tmp_path / "scripts.json"))
    with running(*files, "--api-key", "sk-a", "--api-key", "sk-b", "--any-user-agent", "--report-credits") as (_, api):
        for key in ("sk-a", "sk-b"):
            api.headers.update({"authorization": f"Bearer {key}", "user-agent": "python-httpx/0.28.1"})
            accepted = api.post("/v1/llm/generations", json=BODY).json()
            assert accepted["usage"]["credits_reserved"] > 0
            assert api.get("/v1/account/credits").status_code == 418
            deadline = time.monotonic() + 10
            while (task := api.get(f"/v1/tasks/{accepted['id']}").json())["status"] != "completed":
                assert time.monotonic() < deadline
            assert task["results"][0]["choices"][0]["message"]["content"] == "1, 2, 3"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--duration", "soon"], "soon"),
        (["--faults", "/nonexistent.json"], "/nonexistent.json"),
        (["--jitter", "2"], "jitter"),
        (["--port", "many"], "--port"),
        (["--colour", "red"], "--colour"),
    ],
)
def test_invalid_options(options: list[str], named: str) -> None:
    refused = subprocess.run(command(*options), capture_output=True, text=True, timeout=30, check=False)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert named in refused.stderr


@pytest.mark.parametrize(
    ("option", "content", "named"),
    [
        ("--faults", '[{"kind": "status"}, {"kind": "status", "probability": 2}]', "probability"),
        ("--faults", '{"kind": "vanish", "endpoint": "submit"}', "vanish"),
        ("--scripts", '{"answer": "x"}', "when"),
        ("--scripts", "no JSON", "line 1"),
    ],
)
def test_invalid_files(option: str, content: str, named: str, tmp_path: Path) -> None:
    (tmp_path / "given.json").write_text(content)
    options = (option, str(tmp_path / "given.json"))
    refused = subprocess.run(command(*options), capture_output=True, text=True, timeout=30, check=False)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert named in refused.stderr


def test_help_names_every_option_and_exit_code() -> None:
    shown = subprocess.run(command("--help"), capture_output=True, text=True, timeout=30, check=True)
    for name in inspect.signature(run).parameters:
        assert f"--{name.replace('_', '-')} " in shown.stdout
    codes = [line.split()[0] for line in shown.stdout.partition("Exit codes")[2].splitlines() if line.strip()]
    assert codes == ["0", "1", "2"]


PARENT = """
import sys
from cyclopts import App
from prefect_foxapi.emulator.__main__ import app
parent = App(name="parent")
parent.command(app, name="emulator")
assert "prefect" not in sys.modules
parent(["emulator", "--port", sys.argv[1]])
"""


def test_command_can_be_mounted() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        mounted = [sys.executable, "-W", "error", "-c", PARENT]
        refused = subprocess.run([*mounted, port], capture_output=True, text=True, timeout=30, check=False)
    assert (refused.returncode, refused.stdout) == (1, "")
    process = subprocess.Popen([*mounted, "0"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("FoxAPI emulator on http://127.0.0.1:")
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == 0
    process.stdout.close()


async def test_500_streams_at_once() -> None:
    count = 500
    with running("--duration", "1.5", "--max-chunks", "8") as (_, api):
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(str(api.base_url), headers=HEADERS, connector=connector) as session:

            async def read(number: int) -> tuple[int, int]:
                messages = [{"role": "user", "content": f"number {number}"}]
                body = {**BODY, "messages": messages, "stream": True}
                async with session.post("/v1/llm/generations", json=body) as response:
                    accepted: dict[str, Any] = await response.json()
                async with session.get(accepted["stream"]["url"]) as response:
                    text = await response.text()
                return text.count("event: chunk"), text.count("event: done")

            seen = await asyncio.gather(*(read(number) for number in range(count)))
        assert {done for _, done in seen} == {1}
        assert min(chunks for chunks, _ in seen) > 4
        assert sorted(api.get("/emulator/ledger").json()["times"].values()) == [1] * count
