"""What this machine withholds from this process: its user, capabilities it lacks, lockdown, settings of the kernel."""

from __future__ import annotations

import os
from collections.abc import Iterator

from pbt.sys import hints

_SETTINGS = ("unprivileged_bpf_disabled", "perf_event_paranoid", "kptr_restrict")


def meaning(errno: int) -> str:
    """What to tell a user about an answer of the system; "" if there is nothing."""
    return hints.hint(errno)


def limits() -> Iterator[tuple[str, str]]:
    """Names and values, for people."""
    missing = hints.lacking(*hints.CAPABILITIES)
    yield "user", "root" if os.geteuid() == 0 else f"uid {os.geteuid()}"
    yield "capabilities", f"without {', '.join(missing)}" if missing else "all that matter"
    yield "lockdown", hints.lockdown() or "none"
    for name in _SETTINGS:
        yield f"kernel.{name}", hints.setting(name) or "not there"
