"""Where tracefs is, and mounting it where it is missing."""

from __future__ import annotations

import os

from pbt.source import UsageError

TRACEFS = "/sys/kernel/tracing"
_NESTED = "/sys/kernel/debug/tracing"  # where debugfs mounts it when somebody looks there


def mounts(kind: str) -> list[str]:
    """Where file systems of a kind are mounted and not covered by others, in the order of their mounting."""
    try:
        with open("/proc/self/mountinfo") as file:
            rows = [line.split(" - ", 1) for line in file]
    except OSError:  # no /proc
        return []
    found = [(left.split(), right.split(" ", 1)[0]) for left, right in rows]
    return [_unescape(row[4]) for row, type_ in found if type_ == kind and _seen(_unescape(row[4]), row[2])]


def _seen(path: str, device: str) -> bool:
    """Whether what is at a path is the file system of that device, "major:minor"."""
    try:
        here = os.stat(path).st_dev
    except OSError:
        return False
    return f"{os.major(here)}:{os.minor(here)}" == device


def _unescape(path: str) -> str:
    """The kernel writes blanks, tabs, newlines and backslashes of paths as octal."""
    for code in ("040", "011", "012", "134"):
        path = path.replace(f"\\{code}", chr(int(code, 8)))
    return path


def tracefs() -> str:
    """The path of tracefs; mounts it at its usual place when it is not mounted and that is allowed.

    UsageError with what to do otherwise.
    """
    found = mounts("tracefs")
    if TRACEFS in found or os.path.isdir(f"{TRACEFS}/events"):
        return TRACEFS
    if found:
        return found[0]
    failure = _mount(TRACEFS)
    if not failure:
        return TRACEFS
    if os.path.isdir(_NESTED):
        return _NESTED
    if not os.path.isdir(TRACEFS):
        raise UsageError(f"there is no {TRACEFS} here", _absent())
    raise UsageError(
        f"tracefs is not mounted, and mounting it failed: {os.strerror(failure)}",
        f"as root: mount -t tracefs tracefs {TRACEFS}",
    )


def _absent() -> str:
    try:
        with open("/proc/filesystems") as file:
            known = any(line.split()[-1:] == ["tracefs"] for line in file)
    except OSError:
        return "neither /proc nor /sys is mounted: mount -t proc proc /proc; mount -t sysfs sysfs /sys"
    if known:
        return f"the kernel has tracefs, but not this container: hand {TRACEFS} into it, or mount tracefs anywhere"
    return "the kernel is built without CONFIG_FTRACE"


def _mount(path: str) -> int:
    """0, or errno."""
    import ctypes

    from pbt.sys.syscall import libc

    result = libc.mount(b"tracefs", os.fsencode(path), b"tracefs", ctypes.c_ulong(0), None)
    return 0 if result == 0 else ctypes.get_errno()
