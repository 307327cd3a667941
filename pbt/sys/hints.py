"""What to tell a user whom the kernel refused."""

from __future__ import annotations

import errno
from collections.abc import Sequence

CAPABILITIES = {  # <linux/capability.h>
    "CAP_DAC_READ_SEARCH": 2, "CAP_SYS_ADMIN": 21, "CAP_SYS_RESOURCE": 24, "CAP_SYSLOG": 34, "CAP_PERFMON": 38,
    "CAP_BPF": 39,
}  # fmt: skip
TRACING = ("CAP_BPF", "CAP_PERFMON")  # what loading and attaching take since Linux 5.8

_READS = ("helper bpf_probe_read", "func bpf_probe_read", "helper bpf_copy_from", "func bpf_copy_from")
_MEANINGS = {
    errno.EINVAL: "the kernel does not know this request, or a number in it is out of range",
    errno.E2BIG: "too large for this kernel: too many instructions, or fields that it does not know",
    errno.EACCES: "the kernel's verifier refused the program; its log says why",
    errno.ENOMEM: "not enough memory: the machine's, or what this process may have (`ulimit -v`)",
    errno.ENOENT: "the kernel has no such object",
    errno.EBUSY: "something else holds this already",
    errno.ENOSPC: "no room is left",
    errno.ENOSYS: "this kernel is built without it, or a container hides it (seccomp)",
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
    return restriction() or "a security policy of this machine or its container forbids this"


def restriction() -> str:
    """What this process lacks or the kernel is told to refuse; "" if nothing of the kind is to be seen."""
    missing = lacking(*TRACING)
    if missing:
        named = f"{missing[0]} is missing: " if len(missing) < len(TRACING) else ""
        return f"{named}run as root, or with {' and '.join(TRACING)}{_settings(missing)}"
    mode = lockdown()
    if mode:
        return f"the kernel is locked down ({mode}); see kernel_lockdown(7)"
    if lacking("CAP_SYS_ADMIN"):
        return (
            f"CAP_SYS_ADMIN is missing, which some probes take besides {' and '.join(TRACING)}: run as root"
        )
    return ""


def _settings(missing: Sequence[str]) -> str:
    """What else decides where capabilities are missing."""
    bpf, perf = setting("unprivileged_bpf_disabled"), setting("perf_event_paranoid")
    said = (
        ["kernel.unprivileged_bpf_disabled is set"] if bpf not in ("", "0") and "CAP_BPF" in missing else []
    )
    said += [f"kernel.perf_event_paranoid is {perf}"] if perf and "CAP_PERFMON" in missing else []
    return f" ({', '.join(said)})" if said else ""


def setting(name: str) -> str:
    """The value of kernel.NAME; "" if there is no such setting."""
    return _read(f"/proc/sys/kernel/{name}")


def lockdown() -> str:
    """The mode in which the kernel is locked down, "integrity" or "confidentiality"; "" if it is not."""
    mode = _read("/sys/kernel/security/lockdown").partition("[")[2].partition("]")[0]
    return "" if mode == "none" else mode


def refused_helper(log: str) -> str:
    """What to say where the verifier does not let a program read the kernel's memory; "" if it is not about that."""
    if lockdown() != "confidentiality" or not any(word in log for word in _READS):
        return ""
    return (
        "the kernel is locked down (confidentiality): no program may read its memory; see kernel_lockdown(7)"
    )


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
