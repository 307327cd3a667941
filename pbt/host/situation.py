"""What the machine's answers depend on while it runs, beside files: facts to be compared, not understood."""

from __future__ import annotations

import os

BOOT_ID = "/proc/sys/kernel/random/boot_id"
_FILES = (
    BOOT_ID,
    "/proc/modules",  # their tracepoints, types, functions, and where these lie
    "/sys/devices/system/cpu/online",
    "/sys/devices/system/cpu/possible",
    "/proc/sys/kernel/kptr_restrict",
    "/proc/sys/kernel/perf_event_paranoid",
    "/proc/sys/kernel/unprivileged_bpf_disabled",
    "/sys/kernel/security/lockdown",
)
_DYNAMIC = "dynamic_events"  # tracepoints that users made: in tracefs, wherever that is mounted
_TRACEFS = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")
_NAMESPACES = ("cgroup", "mnt", "pid", "user")
_RIGHTS = ("CapEff", "NoNewPrivs", "Seccomp")  # rows of /proc/self/status


def situation() -> tuple[object, ...]:
    """Boot, modules, CPUs, events, and this process's rights and namespaces: as long as these are equal, so is
    what the kernel has and what it lets this user do.

    Plain values that compare. Unreadable facts are told from empty ones.
    """
    status = _read("/proc/self/status") or b""
    rows = [line for line in status.split(b"\n") if line.partition(b":")[0].decode() in _RIGHTS]
    dynamic = [_read(f"{folder}/{_DYNAMIC}") for folder in _TRACEFS]
    return (
        *map(_read, _FILES), next((text for text in dynamic if text is not None), None),
        os.geteuid(), *rows, *map(_namespace, _NAMESPACES),
    )  # fmt: skip


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except OSError:
        return None


def _namespace(kind: str) -> str:
    try:
        return os.readlink(f"/proc/self/ns/{kind}")
    except OSError:
        return ""
