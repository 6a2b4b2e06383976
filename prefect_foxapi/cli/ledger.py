"""`prefect-foxapi ledger`: inspect the ledger, and settle what is open."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from cyclopts import App, Parameter
from cyclopts.validators import Number

from prefect_foxapi.cli import EXIT_CODES
from prefect_foxapi.cli.json_output import decision_object, print_json, submission_object, usage_object
from prefect_foxapi.cli.tables import (
    decision_table,
    print_error,
    print_table,
    print_text,
    row_table,
    submission_table,
    usage_table,
)
from prefect_foxapi.errors import FoxAPIError, InvalidRequest, LedgerError

if TYPE_CHECKING:
    from prefect_foxapi.ledger import Ledger
    from prefect_foxapi.models.generations import Generation
    from prefect_foxapi.settings import FoxAPISettings

__all__ = ["app"]

_ENVIRONMENT = "PREFECT_INTEGRATIONS_FOXAPI_"
_URL = f"{_ENVIRONMENT}LEDGER_URL"
_DAY = 86400.0

T = TypeVar("T")


class Action(StrEnum):
    """What to do about an unsettled submission. The command line takes `allow-resubmit`, too."""

    COLLECT = "collect"
    FORGET = "forget"
    ALLOW_RESUBMIT = "allow_resubmit"


def _not_negative(type_: Any, value: float | None) -> None:
    # Written so that NaN, too, is refused: cyclopts' own validator lets it through before version 5.
    if value is not None and not value >= 0:
        raise ValueError("Must be >= 0.")


Key = Annotated[str, Parameter(help="A generation key, or its first characters if no other key begins with them.")]
Json = Annotated[bool, Parameter(name="--json", negative="", show_default=False, help="Print JSON.")]
Url = Annotated[
    str | None,
    Parameter(name="--url", help=f"Database of the ledger. Default: {_URL}, or else the file in Prefect's home."),
]

app = App(
    name="ledger",
    help="Inspect the ledger of paid generations, and settle open ones.",
    help_epilogue=f"""\
Examples:
  prefect-foxapi ledger list
  prefect-foxapi ledger settle 3f9a collect
  prefect-foxapi ledger list --url postgresql://user:password@host/database

{EXIT_CODES}""",
    result_action="return_value",
    print_error=False,
    exit_on_error=False,
)


def _epilogue(*examples: str, json: str) -> str:
    listed = "\n".join(f"  prefect-foxapi ledger {example}" for example in examples)
    return f"Examples:\n{listed}\n\nJSON:\n  {json}\n\n{EXIT_CODES}"


_SUBMISSION = """\
    key, attempt, current, state, kind, model, account, base_url, generation_id,
    host, pid, flow_run_id, flow_name, task_run_id,
    claimed_at, deadline, accepted_at, finished_at, expires_at (Unix seconds),
    reason, error, billed, permitted, result_kept,
    credits, prompt_tokens, completion_tokens"""


@app.default
def _without_command(*tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)], url: Url = None) -> Any:
    """Take `--url` before the command, too: `ledger --url URL list`."""
    if tokens and tokens[0] in tuple(app):
        return app([*tokens, "--url", url] if url is not None else tokens)
    wrong = f"unknown command or option {tokens[0]!r}" if tokens else "a command is missing"
    print_error(f"{wrong}; prefect-foxapi ledger --help lists the commands")
    return 2


@app.command(
    name="list",
    help_epilogue=_epilogue(
        "list",
        "list --all --limit 10",
        "list --json | jq -r '.[].generation_id'",
        json=f"An array of submissions:\n{_SUBMISSION}",
    ),
)
def list_submissions(
    *,
    everything: Annotated[
        bool,
        Parameter(
            name="--all", negative="", show_default=False, help="List the latest submissions, whatever their state."
        ),
    ] = False,
    limit: Annotated[int, Parameter(validator=Number(gte=1), help="With --all: at most this many.")] = 100,
    as_json: Json = False,
    url: Url = None,
) -> None:
    """List unsettled submissions: submitted and never collected, or ambiguous. The oldest comes first."""

    async def read(ledger: Ledger) -> None:
        rows = await (ledger.recent(limit) if everything else ledger.unsettled())
        if as_json:
            print_json([submission_object(row) for row in rows])
        elif rows:
            print_table(row_table(rows, ledger.clock()))
        else:
            print_text("No submissions." if everything else "No unsettled submissions.")

    _with_ledger(url, read)


@app.command(
    help_epilogue=_epilogue(
        "show 3f9a",
        "show 3f9a --json",
        json="An object with key, submissions (the fields of `list --json`)\n  and decisions, an array of:\n"
        "    action, found, generation_id, by, at (Unix seconds)",
    )
)
def show(key: Key, /, *, as_json: Json = False, url: Url = None) -> None:
    """Show every submission of one key, and every permission to pay again."""

    async def read(ledger: Ledger) -> None:
        full_key = await _complete(ledger, key)
        rows, decisions = await ledger.history(full_key)
        if as_json:
            print_json(
                {
                    "key": full_key,
                    "submissions": [submission_object(row) for row in rows],
                    "decisions": [decision_object(decision) for decision in decisions],
                }
            )
            return
        print_text(f"key {full_key}")
        for row in rows:
            print_table(submission_table(row, ledger.clock()))
        if decisions:
            print_table(decision_table(decisions))

    _with_ledger(url, read)


@app.command(
    help_epilogue=_epilogue(
        "settle 3f9a collect",
        "settle 3f9a collect --credentials my-block",
        "settle 3f9a allow-resubmit",
        json="An object with key, action, generation_id and text;\n  the last two are null unless ACTION is collect.",
    )
)
def settle(
    key: Key,
    action: Annotated[
        Action,
        Parameter(
            help="collect waits for the generation and prints its text; forget gives it up, and the next call pays; "
            "allow-resubmit lets the next call submit an ambiguous one again, once."
        ),
    ],
    /,
    *,
    credentials: Annotated[
        str | None, Parameter(help="For collect: name of a saved FoxAPICredentials block. Default: FOXAPI_API_KEY.")
    ] = None,
    as_json: Json = False,
    url: Url = None,
) -> None:
    """Decide about an unsettled submission. The ledger records who decided, and when."""

    async def decide(ledger: Ledger) -> str:
        full_key = await _complete(ledger, key)
        if action is not Action.COLLECT:
            await ledger.settle(full_key, action.value)
        return full_key

    full_key = _with_ledger(url, decide)
    generation = _collect(full_key, credentials, url) if action is Action.COLLECT else None
    if as_json:
        print_json(
            {
                "key": full_key,
                "action": action.value,
                "generation_id": generation.generation_id if generation else None,
                "text": generation.text if generation else None,
            }
        )
    elif generation:
        print_text(generation.text or "collected; the answer has no text", multiline=True)
    elif action is Action.FORGET:
        print_text(f"{full_key}: forgotten. The next call pays.")
    else:
        print_text(f"{full_key}: may be submitted once more.")


@app.command(
    help_epilogue=_epilogue(
        "usage",
        "usage --days 7",
        "usage --days 30 --json",
        json="An array of objects, one for each day, model and flow:\n"
        "    day, model, flow_name, submissions, ambiguous, failed,\n"
        "    credits (null where FoxAPI named none), prompt_tokens, completion_tokens",
    )
)
def usage(
    *,
    days: Annotated[float | None, Parameter(validator=_not_negative, help="Only the last DAYS days.")] = None,
    as_json: Json = False,
    url: Url = None,
) -> None:
    """Sum up submissions, credits and tokens by day, model and flow."""

    async def read(ledger: Ledger) -> None:
        sums = await ledger.usage(None if days is None else ledger.clock() - days * _DAY)
        if as_json:
            print_json([usage_object(one) for one in sums])
        elif sums:
            print_table(usage_table(sums))
        else:
            print_text("No usage.")

    _with_ledger(url, read)


def _with_ledger(url: str | None, work: Callable[[Ledger], Awaitable[T]]) -> T:
    """Open the ledger, carry out `work`, and close it."""

    async def run() -> T:
        ledger = _open(url)
        try:
            if not ledger.exists():
                raise LedgerError(f"there is no ledger yet: {ledger}")
            return await work(ledger)
        finally:
            await ledger.aclose()

    return asyncio.run(run())


def _open(url: str | None) -> Ledger:
    # Imported where it is used: SQLAlchemy and Prefect are slow to import, and `--help` needs neither.
    from prefect_foxapi.ledger import Ledger

    settings = _settings()
    try:
        # The recovery folder of the tasks: what they could not write is part of the ledger.
        return Ledger(url or settings.ledger_location(), retention=None, recovery_folder=settings.recovery_folder())
    except LedgerError as error:
        raise LedgerError(f"{'--url' if url else _URL}: {error}") from error


def _settings() -> FoxAPISettings:
    from pydantic import ValidationError

    try:
        from prefect_foxapi.settings import current_settings

        return current_settings()
    except ValidationError as error:
        # Without the values: a URL can hold a password.
        wrong = [f"{error.title}: {'.'.join(map(str, one['loc'])).upper()}: {one['msg']}" for one in error.errors()]
        raise FoxAPIError(f"wrong setting: {'; '.join(wrong)}") from error


async def _complete(ledger: Ledger, prefix: str) -> str:
    """Return the one key that begins with `prefix`."""
    keys = await ledger.keys_like(prefix)
    if prefix in keys:
        return prefix
    if not keys:
        raise InvalidRequest(f"the ledger has no key that begins with {prefix!r}", field="key")
    if len(keys) > 1:
        raise InvalidRequest("\n  ".join([f"more than one key begins with {prefix!r}:", *keys]), field="key")
    return keys[0]


def _collect(key: str, credentials: str | None, url: str | None) -> Generation[Any] | None:
    import httpx

    from prefect_foxapi.tasks.settlement import settle as settle_task

    try:
        with _ledger_url(url):
            return settle_task.fn(key, "collect", credentials=credentials)
    except httpx.HTTPError as error:
        # FoxAPI's are errors of this package: this one is of Prefect's server, which keeps the block.
        raise FoxAPIError(f"Prefect's API did not give the block {credentials!r}: {error}") from error


@contextmanager
def _ledger_url(url: str | None) -> Generator[None]:
    """Let the tasks use the ledger at `url`."""
    before = os.environ.get(_URL)
    if url is not None:
        os.environ[_URL] = url
    try:
        yield
    finally:
        if before is not None:
            os.environ[_URL] = before
        elif url is not None:
            del os.environ[_URL]
