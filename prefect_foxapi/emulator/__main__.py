"""`python -m prefect_foxapi.emulator`"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from prefect_foxapi.emulator.protocol.json_types import as_array
from prefect_foxapi.emulator.server import Emulator
from prefect_foxapi.emulator.state.durations import parse_duration
from prefect_foxapi.emulator.state.fault_rules import FaultRule


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m prefect_foxapi.emulator", description="A local FoxAPI.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8017, help="port to listen on; 0 takes a free one")
    parser.add_argument(
        "--api-key", action="append", help="API key to take (default sk-emulator); again for more accounts"
    )
    parser.add_argument(
        "--duration", default="0.5", help="seconds that a generation takes, or lognormal:MEDIAN[:SIGMA[:LOW[:HIGH]]]"
    )
    parser.add_argument("--jitter", type=float, default=0.0, help="by what share a fixed duration varies (0 to 1)")
    parser.add_argument("--late-results", type=float, default=0.0, help="seconds completed without results")
    parser.add_argument("--credits", type=int, default=1_000_000, help="what each account begins with")
    parser.add_argument("--report-credits", action="store_true", help="put credits_reserved into tasks")
    parser.add_argument("--any-user-agent", action="store_true", help="let bare library User-Agents pass")
    parser.add_argument("--stepped", action="store_true", help="time stands still but for POST /emulator/clock/advance")
    parser.add_argument("--max-chunks", type=int, default=40, help="about how many chunks a stream may have")
    parser.add_argument("--faults", type=Path, help="JSON file with a list of fault rules")
    parser.add_argument("--scripts", type=Path, help="JSON file with a list of scripts")
    parser.add_argument("--seed", type=int, default=0, help="makes durations and faults repeatable")
    return parser.parse_args()


def main() -> int:
    """Run until SIGINT or SIGTERM."""
    options = _arguments()
    try:
        emulator = Emulator(
            host=options.host,
            port=options.port,
            api_key=tuple(options.api_key or ("sk-emulator",)),
            duration=parse_duration(options.duration, jitter=options.jitter, seed=options.seed),
            stepped=options.stepped,
            late_results=options.late_results,
            credits=options.credits,
            report_credits=options.report_credits,
            max_chunks=options.max_chunks,
            refuse_library_agents=not options.any_user_agent,
            seed=options.seed,
        )
        for rule in _list_in(options.faults):
            emulator.add_fault(FaultRule.parse(rule))
        for script in _list_in(options.scripts):
            emulator.script(**script)
    except (OSError, TypeError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    _raise_file_limit()
    ended = threading.Event()

    def end(number: int, frame: object) -> None:
        ended.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    try:
        with emulator:
            print(f"FoxAPI emulator on {emulator.url}", flush=True)
            ended.wait()
    except OSError as error:
        print(f"error: cannot listen on {options.host}:{options.port}: {error}", file=sys.stderr)
        return 1
    return 0


def _list_in(path: Path | None) -> list[Any]:
    if path is None:
        return []
    data = json.loads(path.read_text())
    listed = as_array(data)
    return [data] if listed is None else listed


def _raise_file_limit() -> None:
    """Allow as many connections as the system lets this process have."""
    try:
        import resource
    except ImportError:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    sys.exit(main())
