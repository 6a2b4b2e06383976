"""The stepped clock."""

from __future__ import annotations

import pytest

from prefect_foxapi.emulator.state.clock import Clock


def test_stepped_clock_goes_forward_only() -> None:
    clock = Clock(stepped=True, start=100.0)
    clock.advance(2.5)
    assert clock.now() == 102.5
    with pytest.raises(ValueError, match="seconds"):
        clock.advance(-1)
