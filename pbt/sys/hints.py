"""What to tell a user whom the kernel refused."""

from __future__ import annotations

import errno

CAPABILITIES = {  # <linux/capability.h>
    "CAP_DAC_READ_SEARCH": 2, "CAP_SYS_ADMIN": 21, "CAP_SYS_RESOURCE": 24, "CAP_SYSLOG": 34, "CAP_PERFMON": 38,
    "CAP_BPF": 39,
}  # fmt: skip
TRACING = ("CAP_BPF", "CAP_PERFMON")  # what loading and attaching take since Linux 5.8

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
    missing = lacking(*TRACING)
    if missing:
        off = _read("/proc/sys/kernel/unprivileged_bpf_disabled")
        extra = " (kernel.unprivileged_bpf_disabled is set)" if off not in ("", "0") else ""
        named = f"{missing[0]} is missing: " if len(missing) < len(TRACING) else ""
        return f"{named}run as root, or with {' and '.join(TRACING)}{extra}"
    mode = _read("/sys/kernel/security/lockdown").partition("[")[2].partition("]")[0]
    if mode not in ("", "none"):
        return f"the kernel is locked down ({mode}); see kernel_lockdown(7)"
    return "a security policy of this machine or its container forbids this"


def lacking(*names: str) -> list[str]:
    """Those of the named capabilities that this process does not have; CAP_SYS_ADMIN stands for each of TRACING."""
    for line in _read("/proc/self/status").splitlines():
        if line.startswith("CapEff:"):
            effective = int(line.split()[1], 16)
            admin = bool(effective >> CAPABILITIES["CAP_SYS_ADMIN"] & 1)
            return [n for n in names if not effective >> CAPABILITIES[n] & 1 and not (admin and n in TRACING)]
    return []


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return ""
