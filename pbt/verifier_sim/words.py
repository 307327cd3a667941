"""What the verifier knows of a value, in words: "a number from 0 to 65", "the packet, 14 bytes of it checked"."""

from __future__ import annotations

from pbt.typing import Final
from pbt.verifier_sim.reg import MapInfo, Reg
from pbt.verifier_sim.scalar import UNKNOWN, Scalar

_KINDS: Final = {
    "ctx": "the context of the program",
    "fp": "the stack",
    "pkt": "the packet",
    "pkt_meta": "the metadata before the packet",
    "pkt_end": "the end of the packet",
    "buf": "a buffer of the kernel",
    "own": "an object that the program made",
    "func": "a function of the program",
    "dynptr_ptr": "a dynptr",
    "sock": "a socket",
    "sock_common": "a socket",
    "tcp_sock": "a TCP socket",
    "arena": "the arena",
}
_TRUST: Final = {"untrusted_": "an untrusted", "rcu_": "an RCU-protected", "trusted_": "a trusted"}


def _figure(value: int) -> str:
    return str(value) if abs(value) < 1 << 20 else f"{value:#x}"


def span(num: Scalar) -> str:
    """The values that a number may have: "from 0 to 65", "at most 64, perhaps negative"; "" if any."""
    low, high = num.smin, num.smax
    if low >= 0 and high < UNKNOWN.smax:
        return f"from {_figure(low)} to {_figure(high)}"
    if low >= 0:
        return f"not negative, at least {_figure(low)}" if low else "not negative"
    if low > UNKNOWN.smin and high < UNKNOWN.smax:
        return f"from {_figure(low)} to {_figure(high)}"
    if low > UNKNOWN.smin:
        return f"at least {_figure(low)}"
    if num.umin:
        return f"unsigned at least {_figure(num.umin)}"
    aligned = num.mask & -num.mask
    if high < UNKNOWN.smax - aligned:
        return f"at most {_figure(high)}, perhaps negative"
    return ""


def octets(count: int) -> str:
    """How many bytes: "1 byte", "4 bytes"."""
    return f"{count} byte" if count == 1 else f"{count} bytes"


_POINTERS: Final = {
    "map_value": "a value of a map",
    "map_key": "a key of a map",
    "mem": "memory of a helper",
    "ptr_": "a pointer to a structure of the kernel",
    "scalar": "a number",
}


def kind_words(kind: str) -> str:
    """A kind of value, of which nothing else is known."""
    return _POINTERS.get(kind) or _KINDS.get(kind, kind)


def describe(reg: Reg) -> str:
    """A register's value."""
    if reg.mods.startswith("?"):
        return "a pointer of the kernel, which may not be followed here"
    if reg.kind == "scalar":
        if not reg.num.mask:
            return f"the number {_figure(reg.num.smin)}"
        step = reg.num.mask & -reg.num.mask if not reg.num.value & ((reg.num.mask & -reg.num.mask) - 1) else 1
        multiple = f"a multiple of {step}" if 1 < step <= 4096 else "a number"
        limits = span(reg.num)
        return f"{multiple} {limits}" if limits else f"{multiple} without known limits"
    return f"{_what(reg)}{_where(reg)}{', or null' if reg.null else ''}"


def _what(reg: Reg) -> str:
    """What a pointer points to."""
    info = reg.obj
    if isinstance(info, MapInfo):
        name = f"map {info.name}" if info.name else "a map"
        parts = {"map_value": f"a value of {name} ({info.value_size} bytes)", "map_key": f"a key of {name}"}
        return parts.get(reg.kind, name)
    if reg.kind == "mem":
        kind = "a record of a ring buffer" if "ringbuf_" in reg.mods else "memory"
        return f"{kind} ({reg.size} bytes)"
    if reg.kind == "ptr_":
        trust = next((words for mod, words in _TRUST.items() if reg.mods.startswith(mod)), "a")
        return f"{trust} pointer to the kernel's struct {info}"
    return _KINDS.get(reg.kind, reg.type_name)


def _where(reg: Reg) -> str:
    """Where in its memory a pointer points, and how much of a packet is checked from there."""
    off = reg.off + (0 if reg.num.mask else reg.num.smin)
    out = f", at fp{off:+d}" if reg.kind == "fp" else f", at offset {off}" if off else ""
    if reg.num.mask:
        limits = span(reg.num).replace("from ", "")
        out += f" plus {limits or 'anything'}" if out else f", at offset {limits or 'anything'}"
    if reg.kind in ("pkt", "pkt_meta"):
        out += f", {octets(reg.size) if reg.size else 'no bytes'} of it checked"
    return out
