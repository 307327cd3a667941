"""What interval and profile share: the forms of a period, and the clock event that keeps it.

`s:5`, `ms:100`, `us:500`, `hz:99`, and `5s`, `100ms`, or a bare number of nanoseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from errno import EINVAL

from pbt.feature import Context, Place
from pbt.probes.common import count_parts, explained, matching, number, on_cpus
from pbt.source import ScriptError, Span
from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbt.bundle import Program
    from pbt.host.target import Target
    from pbt.views import AttachHost, Closeable

UNITS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}  # in ns
NAMED: tuple[str, ...] = ("hz", "ms", "s", "us")  # as a part of their own
LEAST = 1_000  # ns: a shorter period would do nothing but fire
MOST = 2**63 - 1  # ns: the kernel refuses a sample_period with the highest bit set


def parse(provider: str, parts: Sequence[str], span: Span) -> Place:
    """A place: `text`, its unit and number in the form of the longest standing, and `ns`, the period, or
    `hz`, the frequency."""
    count_parts(provider, parts, span, 1, 2)
    if len(parts) == 2:
        unit, digits, known = parts[0], parts[1], NAMED
    else:
        digits = parts[0].rstrip("abcdefghijklmnopqrstuvwxyz")
        unit, known = parts[0][len(digits) :] or "ns", tuple(UNITS)
    if unit not in known:
        raise ScriptError(
            f"Invalid unit '{unit}' for {provider} probe", span, f"units are {', '.join(known)}"
        )
    count = number(digits, span, f"{provider} rate")
    if unit == "hz":
        return {"text": f"hz:{count}", "hz": count}
    ns = count * UNITS[unit]
    text = f"{unit}:{count}" if len(parts) == 2 else f"us:{ns // UNITS['us']}"
    return _period(provider, text, ns, span)


def _period(provider: str, text: str, ns: int, span: Span) -> Place:
    if ns < LEAST:
        raise ScriptError(
            f"{provider} period of {ns} ns is too short",
            span,
            f"at least {LEAST} ns; write a unit as in {provider}:1s or {provider}:100ms",
        )
    if ns > MOST:
        raise ScriptError(f"{provider} period of {ns} ns is too long", span, f"at most {MOST} ns: 292 years")
    return {"text": text, "ns": ns}


def expand(place: Place, target: Target) -> Sequence[Place]:
    return (place,)


def describe(provider: str, place: Place) -> Context:
    """A profile samples processes; an interval ticks whoever runs."""
    label = f"{provider}:{place['text']}"
    return Context(provider, label, "PERF_EVENT", regs=True, anyone=provider == "interval")


_HINTS = {EINVAL: "the frequency may exceed /proc/sys/kernel/perf_event_max_sample_rate"}


def attach(cpus: Sequence[int], pid: int | None, fd: int, program: Program) -> Sequence[Closeable]:
    from pbt.uapi.consts import PERF_COUNT_SW, PERF_TYPE_SOFTWARE

    place = program.place
    rate = {"sample_freq": place["hz"]} if "hz" in place else {"sample_period": place["ns"]}
    with explained(program.name, _HINTS):
        return on_cpus(fd, cpus, pid, type=PERF_TYPE_SOFTWARE, config=PERF_COUNT_SW["CPU_CLOCK"], **rate)


def listed(parts: Sequence[str], target: Target) -> Sequence[str]:
    return [f"{unit}:" for unit in matching((parts[0] if parts else "") or "*", NAMED)]


def one_cpu(host: AttachHost, fd: int, program: Program) -> Sequence[Closeable]:
    """On the first CPU that is online, whatever process runs there."""
    return attach(host.cpus[:1], None, fd, program)


def every_cpu(host: AttachHost, fd: int, program: Program) -> Sequence[Closeable]:
    """On each CPU that is online, or in each thread of the session's process."""
    return attach(host.cpus, host.pid, fd, program)
