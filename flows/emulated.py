"""Run an example without a FoxAPI key, against the emulator of the extra `emulator`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

PORT = int(os.environ.get("FOXAPI_EMULATOR_PORT", "8017"))


@contextmanager
def emulator_without_key() -> Iterator[None]:
    """Start an emulator for as long as this lasts, unless `FOXAPI_API_KEY` is set.

    It listens on the same port each time where that is free, so that a second run finds what the first one paid for: a
    generation of another base URL is another generation.
    """
    if os.environ.get("FOXAPI_API_KEY"):
        yield
        return
    from prefect_foxapi.emulator import Emulator

    try:
        emulator = Emulator(port=PORT)
        emulator.start()
    except OSError:
        emulator = Emulator(port=0)
        emulator.start()
    try:
        print(f"FOXAPI_API_KEY is not set: using an emulator of FoxAPI on {emulator.url}, which invents its answers")
        os.environ.update(FOXAPI_API_KEY=emulator.api_key, FOXAPI_BASE_URL=emulator.url)
        yield
    finally:
        emulator.stop()
