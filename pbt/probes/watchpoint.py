"""watchpoint:ADDRESS:LENGTH:MODE: whenever memory is read, written or executed, by the processor's own means.

Source: perf_event_open(2), PERF_TYPE_BREAKPOINT.
"""

from __future__ import annotations

from collections.abc import Sequence
from errno import EINVAL, ENODEV, ENOSPC, EOPNOTSUPP

from pbt.feature import Context, Place, Provider
from pbt.probes.common import count_parts, explained, number, on_cpus
from pbt.source import KernelError, ScriptError, Span
from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbt.bundle import Program
    from pbt.host.target import Target
    from pbt.views import AttachHost, Closeable

_LENGTHS = (1, 2, 4, 8)
_BITS = {"r": 1, "w": 2, "x": 4}  # HW_BREAKPOINT_R, _W, _X of <linux/hw_breakpoint.h>
_ALL = ("r", "rw", "w", "x")
_MODES = {"x86_64": ("rw", "w", "x"), "i386": ("rw", "w", "x"), "ppc64le": ("r", "rw", "w")}


def _parse(parts: Sequence[str], span: Span) -> Place:
    count_parts("watchpoint", parts, span, 3)
    address, length = number(parts[0], span, "address"), number(parts[1], span, "length")
    if length not in _LENGTHS:
        raise ScriptError(f"Invalid length: {length}", span, "one of 1, 2, 4, 8")
    mode = "".join(sorted(parts[2]))
    if mode not in _ALL:
        raise ScriptError(
            f"Invalid mode: '{parts[2]}'", span, "r (read), w (written) or x (executed), or r and w together"
        )
    return {"address": address, "length": length, "mode": mode, "text": ":".join(parts)}


def _expand(place: Place, target: Target) -> Sequence[Place]:
    return (place,)


def _label(place: Place) -> str:
    return f"watchpoint:{place['text']}"


def _describe(place: Place, target: Target) -> Context:
    return Context("watchpoint", _label(place), "PERF_EVENT", regs=True)


_MISSING = "processors watch few places at once, and not every length and mode; virtual ones often none"


def _attach(host: AttachHost, fd: int, program: Program) -> Sequence[Closeable]:
    """On every CPU, or with a process in each of its threads."""
    from pbt.uapi.consts import PERF_TYPE_BREAKPOINT

    place, arch = program.place, host.target.arch
    modes = _MODES.get(arch.name, _ALL)
    with explained(program.name, dict.fromkeys((EINVAL, ENODEV, ENOSPC, EOPNOTSUPP), _MISSING)):
        if place["mode"] not in modes:
            known = ", ".join(modes)
            raise KernelError(
                f"{arch.name} has no mode '{place['mode']}', only {known}", EOPNOTSUPP, "use rw"
            )
        length = arch.word if place["mode"] == "x" else place["length"]  # a place to execute has one length
        return on_cpus(
            fd,
            host.cpus,
            host.pid,
            type=PERF_TYPE_BREAKPOINT,
            config=0,
            sample_period=1,
            bp_type=sum(_BITS[letter] for letter in place["mode"]),
            bp_addr=place["address"],
            bp_len=length,
        )


def _list(parts: Sequence[str], target: Target) -> Sequence[str]:
    return ()


WATCHPOINT = Provider(
    "watchpoint",
    "Memory that is read, written or executed: `watchpoint:0x7fff0000:8:w`.",
    parse=_parse,
    expand=_expand,
    label=_label,
    describe=_describe,
    attach=_attach,
    list=_list,
    aliases=("w",),
    listed=False,
)
