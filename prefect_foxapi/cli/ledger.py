"""Look at the ledger and mend it: `python -m prefect_foxapi.ledger list|show|settle|usage`."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.text import Text

from prefect_foxapi.cli.tables import decision_table, row_table, submission_table, usage_table
from prefect_foxapi.errors import FoxAPIError, InvalidRequest, LedgerError
from prefect_foxapi.ledger.ledger import Ledger
from prefect_foxapi.settings import current_settings

__all__ = ["default_url", "main"]

_URL = "PREFECT_INTEGRATIONS_FOXAPI_LEDGER_URL"
_DAY = 86400.0
_PIPE_WIDTH = 200


def default_url() -> str:
    """The ledger that the settings name, or else the one in Prefect's home."""
    return current_settings().ledger_location()


def collect_generation(key: str, credentials: str | None) -> str:
    """Wait for an unsettled generation with a saved block's or the environment's credentials; return its text."""
    # Imported where it is used: the other commands need not wait for all of Prefect.
    from prefect_foxapi.tasks.settlement import settle

    generation = settle.fn(key, "collect", credentials=credentials)
    return generation.text if generation else ""


def main(
    arguments: Sequence[str] | None = None,
    *,
    url: Callable[[], str] = default_url,
    collect: Callable[[str, str | None], str] = collect_generation,
) -> int:
    """Run the command.

    Args:
        arguments: Its arguments; those of the process by default.
        url: Names the ledger where `--url` is not given.
        collect: Collects the generation of a key, with a block's credentials, and returns what to print.

    Returns:
        0, or 1 where it did not work. Arguments that cannot be understood end the process with 2.
    """
    options = _parser().parse_args(arguments)
    # In a pipe or a file nothing is to be cut off.
    console = Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH)
    complaints = Console(stderr=True)
    try:
        collected = asyncio.run(_run(options, options.url or url(), console))
        if collected is not None:
            if options.url:
                os.environ[_URL] = options.url
            console.print(Text(collect(collected, options.credentials) or "collected"))
    except FoxAPIError as error:
        complaints.print(Text(str(error), style="red"))
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m prefect_foxapi.ledger", description=__doc__)
    parser.add_argument("--url", help=f"the ledger's database (default: ${_URL}, or the file in Prefect's home)")
    commands = parser.add_subparsers(dest="command", required=True)
    listing = commands.add_parser("list", help="what was submitted and never collected, and what is ambiguous")
    listing.add_argument("--all", action="store_true", help="the latest submissions, settled or not")
    listing.add_argument("--limit", type=int, default=100, help="with --all: how many (default: 100)")
    show = commands.add_parser("show", help="everything about one key")
    show.add_argument("key", help="the key, or its beginning")
    settle = commands.add_parser("settle", help="decide about what is unsettled")
    settle.add_argument("key", help="the key, or its beginning")
    settle.add_argument(
        "action",
        type=lambda word: word.replace("_", "-"),
        choices=("collect", "forget", "allow-resubmit"),
        help="collect: wait for it; forget: the next call pays; allow-resubmit: the next call may pay once more",
    )
    settle.add_argument("--credentials", help="for collect: the name of a saved block (default: FOXAPI_API_KEY)")
    usage = commands.add_parser("usage", help="what was spent, by day, model and flow")
    usage.add_argument("--days", type=float, help="only the last so many days")
    return parser


async def _run(options: argparse.Namespace, url: str, console: Console) -> str | None:
    """Carry out a command. Returns the key that is to be collected, if any."""
    # Where the tasks spill, too: what they could not write is looked at and mended here.
    ledger = Ledger(url, retention=None, spill_folder=current_settings().spill_folder())
    try:
        if not ledger.exists():
            raise LedgerError(f"there is no ledger yet: {ledger}")
        if options.command == "list":
            await _list(ledger, console, options.limit if options.all else None)
        elif options.command == "usage":
            since = None if options.days is None else ledger.clock() - options.days * _DAY
            usage = await ledger.usage(since)
            console.print(usage_table(usage) if usage else "Nothing was spent.")
        else:
            key = await _key(ledger, options.key)
            if options.command == "show":
                await _show(ledger, console, key)
            elif options.action == "collect":
                return key
            else:
                await _settle(ledger, console, key, options.action)
    finally:
        await ledger.aclose()
    return None


async def _list(ledger: Ledger, console: Console, limit: int | None) -> None:
    rows = await (ledger.unsettled() if limit is None else ledger.recent(limit))
    if rows:
        console.print(row_table(rows, ledger.clock()))
    else:
        console.print("Nothing is unsettled." if limit is None else "Nothing was ever submitted.")


async def _show(ledger: Ledger, console: Console, key: str) -> None:
    rows, decisions = await ledger.history(key)
    console.print(Text(f"key {key}"))
    for row in rows:
        console.print(submission_table(row, ledger.clock()))
    if decisions:
        console.print(decision_table(decisions))


async def _settle(ledger: Ledger, console: Console, key: str, action: str) -> None:
    if action == "forget":
        await ledger.settle(key, "forget")
        console.print(Text(f"{key} is forgotten: the next call pays."))
    else:
        await ledger.settle(key, "allow_resubmit")
        console.print(Text(f"{key} may be submitted once more."))


async def _key(ledger: Ledger, prefix: str) -> str:
    keys = await ledger.keys_like(prefix)
    if prefix in keys:
        return prefix
    if not keys:
        raise InvalidRequest(f"the ledger has no key that begins with {prefix!r}")
    if len(keys) > 1:
        raise InvalidRequest("\n  ".join([f"more than one key begins with {prefix!r}:", *keys]))
    return keys[0]


if __name__ == "__main__":
    sys.exit(main())
