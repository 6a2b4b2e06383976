"""The command that runs the emulator: `python -m prefect_foxapi.emulator`."""

from __future__ import annotations

import json
import signal
import sys
import threading
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, CycloptsError, Parameter

from prefect_foxapi.emulator.protocol.errors import describe_error
from prefect_foxapi.emulator.protocol.json_types import as_array
from prefect_foxapi.emulator.server import Emulator
from prefect_foxapi.emulator.state.durations import parse_duration
from prefect_foxapi.emulator.state.fault_rules import FaultRule

_NOT_LISTENING = 1
_INVALID_OPTIONS = 2

app = App(
    name="python -m prefect_foxapi.emulator",
    help="Run a local FoxAPI until SIGINT or SIGTERM.",
    help_epilogue="""
Example: durations as in production, and a 429 for one submission in ten

    python -m prefect_foxapi.emulator \\
        --port 8017 --duration lognormal:8:0.8:1:60 --faults faults.json

  where faults.json contains

    [{"kind": "status", "status": 429, "endpoint": "submit",
      "probability": 0.1}]

Exit codes

  0  stopped by SIGINT or SIGTERM
  1  the address is not available
  2  an option or a file is invalid
""",
    help_format="plaintext",
    version_flags=(),
    default_parameter=Parameter(negative=()),
)
"""The command. Another `cyclopts` command can mount it: `parent.command(app, name="emulator")`."""


@app.default
def run(
    *,
    host: str = "127.0.0.1",
    port: int = 8017,
    api_key: Annotated[tuple[str, ...], Parameter(show_default=" ".join)] = ("sk-emulator",),
    duration: str = "0.5",
    jitter: float = 0.0,
    late_results: float = 0.0,
    credits: int = 1_000_000,
    report_credits: Annotated[bool, Parameter(negative="--no-report-credits")] = True,
    any_user_agent: bool = False,
    stepped: bool = False,
    max_chunks: int = 40,
    faults: Path | None = None,
    scripts: Path | None = None,
    seed: int = 0,
) -> int:
    """Run a local FoxAPI until SIGINT or SIGTERM, and return the exit code.

    Args:
        host: Address to listen on.
        port: Port to listen on; 0 selects a free one.
        api_key: Accepted API key; repeat for several accounts.
        duration: Seconds that a generation takes, or lognormal:MEDIAN[:SIGMA[:LOW[:HIGH]]].
        jitter: Maximum deviation from a fixed duration, as a share of it (0 to 1).
        late_results: Seconds for which generations are completed without results.
        credits: Initial balance of each account.
        report_credits: Report the reserved credits in tasks, as in production.
        any_user_agent: Accept the default User-Agents of HTTP libraries, which the CDN rejects.
        stepped: Change the time by POST /emulator/clock/advance only.
        max_chunks: Approximate maximum number of chunks of a stream.
        faults: JSON file with a fault rule or a list of fault rules.
        scripts: JSON file with a script or a list of scripts.
        seed: Seed of durations and faults.
    """
    try:
        emulator = Emulator(
            host=host,
            port=port,
            api_key=api_key,
            duration=parse_duration(duration, jitter=jitter, seed=seed),
            stepped=stepped,
            late_results=late_results,
            credits=credits,
            report_credits=report_credits,
            max_chunks=max_chunks,
            refuse_library_agents=not any_user_agent,
            seed=seed,
        )
        for rule in _read_list(faults):
            emulator.add_fault(FaultRule.parse(rule))
        for script in _read_list(scripts):
            emulator.script(**script)
    except (OSError, TypeError, ValueError) as error:
        print(f"error: {describe_error(error)}", file=sys.stderr)
        return _INVALID_OPTIONS
    _raise_file_limit()
    return _serve(emulator)


def main() -> None:
    """Run the command with the arguments of the process, and exit."""
    try:
        app(exit_on_error=False)
    except CycloptsError:
        # cyclopts has printed the error. Its own exit code depends on its version.
        sys.exit(_INVALID_OPTIONS)


def _serve(emulator: Emulator) -> int:
    stopped = threading.Event()

    def stop(number: int, frame: object) -> None:
        stopped.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    try:
        with emulator:
            print(f"FoxAPI emulator on {emulator.url}", flush=True)
            stopped.wait()
    except OSError as error:
        print(f"error: cannot listen on {emulator.url.removeprefix('http://')}: {error}", file=sys.stderr)
        return _NOT_LISTENING
    return 0


def _read_list(path: Path | None) -> list[Any]:
    if path is None:
        return []
    data = json.loads(path.read_text(encoding="utf-8"))
    entries = as_array(data)
    return [data] if entries is None else entries


def _raise_file_limit() -> None:
    """Allow as many open files, and so connections, as the system permits."""
    try:
        import resource
    except ImportError:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    main()
