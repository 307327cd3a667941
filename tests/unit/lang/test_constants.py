"""Constants of C headers against Python's own knowledge of the same headers."""

from __future__ import annotations

import errno
import os
import signal
import socket
import stat

import pytest

from pbt.lang.constants import CONSTANTS

assert errno and signal


@pytest.mark.parametrize("module", [socket, os, stat])
def test_constants_are_those_of_the_system(module: object) -> None:
    """Where Python has a constant of the same name, it has the same value."""
    shared = {n: v for n, v in CONSTANTS.items() if isinstance(getattr(module, n, None), int)}
    assert shared and {n: int(getattr(module, n)) for n in shared} == shared


def test_limits_of_integers() -> None:
    for bits in (8, 16, 32, 64):
        assert CONSTANTS[f"UINT{bits}_MAX"] == (1 << bits) - 1
        assert CONSTANTS[f"INT{bits}_MAX"] == (1 << bits - 1) - 1 and CONSTANTS[f"INT{bits}_MIN"] == -(
            1 << bits - 1
        )
