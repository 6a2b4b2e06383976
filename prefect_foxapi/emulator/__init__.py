"""A local FoxAPI, for demos and tests without network access, an API key or costs.

    python -m prefect_foxapi.emulator --port 8017

or, in a test:

    with Emulator() as emulator:
        ...  # emulator.url, emulator.api_key

It keeps a billing ledger, injects faults by rule, and its time can be stepped. It needs the extra `emulator`:
`pip install 'prefect-foxapi[emulator]'`.
"""

from importlib import import_module

try:
    # Starlette imports it on the first upload only.
    import_module("python_multipart")

    from prefect_foxapi.emulator.answers.scripts import Script
    from prefect_foxapi.emulator.protocol.models import Model
    from prefect_foxapi.emulator.server import Emulator
    from prefect_foxapi.emulator.state.billing import Submission
    from prefect_foxapi.emulator.state.durations import Duration, Fixed, LogNormal
    from prefect_foxapi.emulator.state.fault_rules import FaultRule
except ModuleNotFoundError as error:
    if (error.name or "").startswith("prefect_foxapi"):
        raise
    raise ImportError(
        f"the emulator needs {error.name}, which its extra installs: pip install 'prefect-foxapi[emulator]'",
        name=error.name,
    ) from error

__all__ = [
    "Duration",
    "Emulator",
    "FaultRule",
    "Fixed",
    "LogNormal",
    "Model",
    "Script",
    "Submission",
]
