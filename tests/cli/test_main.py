"""The command as a whole: exit codes, help, imports, and the ways to call it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from prefect_foxapi import __version__
from tests.cli.conftest import SCRIPT, Command, Run, run_process

MODULE = (sys.executable, "-m", "prefect_foxapi.ledger")
COMMANDS = [
    *((), ("ledger",), ("emulator",)),
    *(("ledger", name) for name in ("list", "show", "settle", "usage")),
]


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_every_command_has_help(arguments: tuple[str, ...], command: Command) -> None:
    if arguments == ("emulator",):
        done = run_process(SCRIPT, *arguments, "--help")
        assert "--port" in done.out
    else:
        done = command(*arguments, "--help")
        assert f"prefect-foxapi {' '.join(arguments)}".strip() in done.out
        # Every exit code, and an example that is more than the usage line.
        assert re.findall(r"^  (\d+)  ", done.out, re.MULTILINE) == ["0", "1", "2", "130"]
        assert re.search(rf"^  prefect-foxapi {' '.join(arguments)}", done.out, re.MULTILINE)
    assert (done.code, done.err) == (0, "")


def test_the_version(command: Command) -> None:
    assert command("--version").out.strip() == __version__


@pytest.mark.parametrize(
    "arguments",
    [
        *((), ("nonsense",), ("--nonsense",), ("ledger",), ("ledger", "nonsense"), ("ledger", "--url", "x")),
        *(("ledger", "--url", "x", "nonsense"), ("ledger", "--nonsense", "list"), ("ledger", "list", "--nonsense")),
        *(("ledger", "list", "key"), ("ledger", "list", "--limit", "0"), ("ledger", "list", "--limit", "x")),
        *(
            ("ledger", "list", "--url", "x", "--url", "y"),
            ("ledger", "list", "--json=x"),
            ("ledger", "list", "--no-all"),
        ),
        *(
            ("ledger", "show"),
            ("ledger", "settle"),
            ("ledger", "settle", "key"),
            ("ledger", "settle", "key", "nonsense"),
        ),
        *(
            ("ledger", "usage", "--days", "-1"),
            ("ledger", "usage", "--days", "nan"),
            ("ledger", "usage", "--days", "x"),
        ),
    ],
    ids=" ".join,
)
def test_wrong_arguments_end_with_2(arguments: tuple[str, ...], command: Command, home: Path) -> None:
    done = command(*arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err != ""
    assert list(home.iterdir()) == []


def test_wrong_arguments_of_the_emulator_end_with_2() -> None:
    done = run_process(SCRIPT, "emulator", "--port", "nonsense")
    assert (done.code, done.out) == (2, "")
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LEDGER_URL", "garbage-that-may-be-secret"),
        ("LEDGER_URL", "mysql://user:garbage-that-may-be-secret@host/x"),
        ("LEDGER_RETENTION_DAYS", "garbage-that-may-be-secret"),
        ("ON_AMBIGUOUS", "garbage-that-may-be-secret"),
    ],
)
def test_a_bad_setting_is_one_line(name: str, value: str, home: Path) -> None:
    done = run_process(
        SCRIPT, "ledger", "list", PREFECT_HOME=str(home), **{f"PREFECT_INTEGRATIONS_FOXAPI_{name}": value}
    )
    assert (done.code, done.out) == (1, "")
    assert len(done.err.splitlines()) == 1
    assert f"PREFECT_INTEGRATIONS_FOXAPI_{name}" in done.err
    # The URL of a database may hold a password.
    assert name != "LEDGER_URL" or "garbage" not in done.err


@pytest.mark.parametrize(
    "arguments", [("--help",), ("ledger", "list", "--help"), ("ledger", "list", "--nonsense"), ("nonsense",)]
)
def test_help_imports_nothing_slow(arguments: tuple[str, ...]) -> None:
    absent = ("prefect", "sqlalchemy", "httpx", "pydantic", "starlette", "fastapi", "uvicorn", "jsonschema")
    code = (
        "import sys; from prefect_foxapi.cli.main import main; main(sys.argv[1:]);"
        f"print(*(name for name in {absent!r} if name in sys.modules), file=sys.stderr)"
    )
    done = run_process(sys.executable, "-c", code, *arguments)
    assert done.code == 0
    assert done.err.splitlines()[-1] == ""


def test_the_ledger_module_is_the_same_command(home: Path) -> None:
    def run(*command: str) -> Run:
        return run_process(*command, PREFECT_HOME=str(home))

    for arguments in (("list", "--help"), ("--url", f"sqlite:///{home}/none.db", "list"), ("settle", "key", "x")):
        assert run(*MODULE, *arguments) == run(SCRIPT, "ledger", *arguments)


def test_the_console_script_is_installed_under_its_name() -> None:
    [script] = {entry.value for entry in entry_points(group="console_scripts", name="prefect-foxapi")}
    assert script == "prefect_foxapi.cli.main:main"


@pytest.mark.parametrize("package", ["starlette", "uvicorn", "jsonschema"])
def test_the_emulator_without_its_extra_names_it(package: str) -> None:
    code = (
        f"import sys; sys.modules[{package!r}] = None;"
        "from prefect_foxapi.cli.main import main; sys.exit(main(['emulator', '--port', '0']))"
    )
    done = run_process(sys.executable, "-c", code)
    assert (done.code, done.out) == (1, "")
    assert len(done.err.splitlines()) == 1
    assert "prefect-foxapi[emulator]" in done.err


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_the_emulator_runs_until_a_signal(ending: signal.Signals) -> None:
    with subprocess.Popen(
        [SCRIPT, "emulator", "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert "http://127.0.0.1:" in process.stdout.readline()
        process.send_signal(ending)
        assert process.wait(30) == 0


def test_a_reader_that_has_enough_is_no_traceback(home: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [SCRIPT, "ledger", "list", "--help"], stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60, check=False
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")
