"""What to tell a user whom the kernel refused."""

from __future__ import annotations

import errno
import os

_MEANINGS = {
    errno.EINVAL: "the kernel does not know this request, or a number in it is out of range",
    errno.E2BIG: "too large for this kernel: too many instructions, or fields that it does not know",
    errno.EACCES: "the kernel's verifier refused the program; its log says why",
    errno.ENOMEM: "not enough memory for this in the kernel",
    errno.ENOENT: "the kernel has no such object",
    errno.EBUSY: "something else holds this already",
    errno.ENOSPC: "no room is left",
    errno.ENOSYS: "this kernel is built without it",
    errno.EOPNOTSUPP: "this kernel or its hardware does not support it",
    524: "this kernel does not support it for this type",
    errno.EMFILE: "too many open files: raise the limit with `ulimit -n`",
    errno.ENFILE: "the system has too many open files",
}


def hint(number: int) -> str:
    """A sentence for the user about `errno`, from the state of this machine; "" if there is none."""
    return permission() if number == errno.EPERM else _MEANINGS.get(number, "")


def permission() -> str:
    """Why a system call may have answered EPERM."""
    if os.geteuid() != 0 and not _capable():
        off = _read("/proc/sys/kernel/unprivileged_bpf_disabled")
        extra = " (kernel.unprivileged_bpf_disabled is set)" if off not in ("", "0") else ""
        return f"run as root, or with CAP_BPF and CAP_PERFMON{extra}"
    mode = _read("/sys/kernel/security/lockdown").partition("[")[2].partition("]")[0]
    if mode not in ("", "none"):
        return f"the kernel is locked down ({mode}); see kernel_lockdown(7)"
    return "a security policy of this machine or its container forbids this"


def _capable() -> bool:
    """Whether CAP_SYS_ADMIN (21) or CAP_BPF (39) is effective."""
    for line in _read("/proc/self/status").splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) & (1 << 21 | 1 << 39))
    return False


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return ""
