"""Where tracefs is, and mounting it where it is missing."""

from __future__ import annotations

import ctypes
import errno
import os

from pbt.source import UsageError
from pbt.sys.syscall import libc

TRACEFS = "/sys/kernel/tracing"
_NESTED = "/sys/kernel/debug/tracing"  # where debugfs mounts it when somebody looks there


def mounts(kind: str) -> list[str]:
    """Where file systems of a kind are mounted, in the order of /proc/mounts."""
    with open("/proc/mounts") as file:
        rows = [line.split() for line in file]
    return [_unescape(row[1]) for row in rows if row[2] == kind]


def _unescape(path: str) -> str:
    """/proc/mounts writes blanks, tabs, newlines and backslashes as octal."""
    for code in ("040", "011", "012", "134"):
        path = path.replace(f"\\{code}", chr(int(code, 8)))
    return path


def tracefs() -> str:
    """The path of tracefs; mounts it at its usual place when it is not mounted and that is allowed.

    UsageError with the command to run otherwise.
    """
    found = mounts("tracefs")
    if TRACEFS in found:
        return TRACEFS
    if found:
        return found[0]
    failure = _mount(TRACEFS)
    if not failure:
        return TRACEFS
    if os.path.isdir(_NESTED):
        return _NESTED
    if failure == errno.ENOENT:
        raise UsageError("this kernel has no tracefs", "it is built without CONFIG_FTRACE")
    raise UsageError(
        f"tracefs is not mounted, and mounting it failed: {os.strerror(failure)}",
        f"as root: mount -t tracefs tracefs {TRACEFS}",
    )


def _mount(path: str) -> int:
    """0, or errno."""
    result = libc.mount(b"tracefs", path.encode(), b"tracefs", ctypes.c_ulong(0), None)
    return 0 if result == 0 else ctypes.get_errno()
