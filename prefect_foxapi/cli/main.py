"""The command `prefect-foxapi`.

| command | what it does |
| --- | --- |
| `prefect-foxapi ledger list` | lists unsettled submissions, or the latest ones (`--all`) |
| `prefect-foxapi ledger show KEY` | shows every submission of one key, and every decision about it |
| `prefect-foxapi ledger settle KEY ACTION` | collects or forgets an unsettled submission, or allows to resubmit it |
| `prefect-foxapi ledger usage` | sums up credits and tokens by day, model and flow |
| `prefect-foxapi emulator` | runs a local FoxAPI |
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from runpy import run_module
from typing import Annotated

from cyclopts import App, CycloptsError, Parameter

from prefect_foxapi.cli import EXIT_CODES
from prefect_foxapi.cli.ledger import app as ledger_app
from prefect_foxapi.cli.tables import print_error
from prefect_foxapi.errors import FoxAPIError
from prefect_foxapi.version import __version__

__all__ = ["app", "main"]

app = App(
    name="prefect-foxapi",
    version=__version__,
    version_flags=["--version"],
    help="Inspect the ledger of paid generations, settle open ones, and run a local FoxAPI.",
    help_format="plaintext",
    help_epilogue=f"""\
Examples:
  prefect-foxapi ledger list
  prefect-foxapi ledger usage --days 7
  prefect-foxapi emulator --port 8017

{EXIT_CODES}""",
    result_action="return_value",
    print_error=False,
    exit_on_error=False,
)
app.command(ledger_app)


@app.default
def _no_command(*tokens: Annotated[str, Parameter(show=False)]) -> int:
    if tokens:
        print_error(f"unknown command {tokens[0]!r}; prefect-foxapi --help lists the commands")
    else:
        app.help_print([], console=app.error_console)
    return 2


# The emulator's own app answers `--help`.
@app.command(name="emulator", help_flags=[], version_flags=[])
def _emulator(*options: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)]) -> None:
    """Run a local FoxAPI, for demos and tests without network access, an API key or costs."""
    arguments = sys.argv
    sys.argv = ["prefect-foxapi emulator", *options]
    try:
        # As `python -m` does: its packages are an extra, and the other commands do not wait for them.
        run_module("prefect_foxapi.emulator", run_name="__main__", alter_sys=True)
    except ImportError as error:
        if (error.name or "").startswith("prefect_foxapi"):
            raise
        raise FoxAPIError(f"{error}. The emulator is an extra: pip install 'prefect-foxapi[emulator]'") from error
    finally:
        sys.argv = arguments


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: Its arguments; those of the process by default.

    Returns:
        The exit code.
    """
    try:
        code = app(sys.argv[1:] if arguments is None else list(arguments))
        # Here rather than at exit, where a closed pipe could no longer be handled.
        sys.stdout.flush()
    except CycloptsError as error:
        print_error(f"{error}\nprefect-foxapi --help lists the commands; --help after a command lists its options")
        return 2
    except FoxAPIError as error:
        print_error(str(error))
        return 1
    except BrokenPipeError:
        # The reader (`| head`) has enough. Nothing is left to be flushed at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code if isinstance(code, int) else 0
