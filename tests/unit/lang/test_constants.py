"""Constants of C headers against Python's own knowledge of the same headers."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import resource
import select
import signal
import socket
import stat
from types import ModuleType

import pytest

from pbt.arch import NAMES, native
from pbt.lang.constants import CONSTANTS, constants

MODULES = (socket, os, stat, errno, signal, fcntl, mmap, resource, select)
OTHERWISE = {"O_LARGEFILE"}  # 0 to programs of 64 bits, which get the flag without asking


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_constants_are_those_of_the_system(module: ModuleType) -> None:
    """Where Python has a constant of the same name, it has the same value."""
    known = constants(native().name)
    shared = {n: v for n, v in known.items() if isinstance(getattr(module, n, None), int)}
    theirs = {n: int(getattr(module, n)) for n in shared}
    assert (
        shared
        and {n: (v, theirs[n]) for n, v in shared.items() if v != theirs[n] and n not in OTHERWISE} == {}
    )


def test_every_machine_has_its_own() -> None:
    for name in NAMES:
        known = constants(name)
        assert set(CONSTANTS) <= set(known) and known["O_RDWR"] == 2 and "O_DIRECT" in known
    assert (constants("x86_64")["O_DIRECT"], constants("aarch64")["O_DIRECT"]) == (0o40000, 0o200000)
    assert "MAP_32BIT" not in constants("aarch64")


def test_limits_of_integers() -> None:
    for bits in (8, 16, 32, 64):
        assert CONSTANTS[f"UINT{bits}_MAX"] == (1 << bits) - 1
        assert CONSTANTS[f"INT{bits}_MAX"] == (1 << bits - 1) - 1 and CONSTANTS[f"INT{bits}_MIN"] == -(
            1 << bits - 1
        )


def test_names_of_the_kernel() -> None:
    wanted = {
        "TCP_LISTEN": 10,
        "TASK_UNINTERRUPTIBLE": 2,
        "PF_KTHREAD": 0x200000,
        "GFP_KERNEL": 0xCC0,
        "CAP_BPF": 39,
    }
    assert {name: CONSTANTS[name] for name in wanted} == wanted
