"""What would mend a refusal, from what is known at its place; for each reason that can say more than its row."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from pbt.data import NamedTuple
from pbt.isa import opcodes as op
from pbt.isa.insn import Insn
from pbt.typing import Final
from pbt.verifier_sim.env import Refuse
from pbt.verifier_sim.reg import MapInfo, Reg
from pbt.verifier_sim.state import State
from pbt.verifier_sim.trail import Origin
from pbt.verifier_sim.words import describe, octets


class Place(NamedTuple):
    """Where a program was refused: the refusal, the instruction, the state before it, where its registers came from."""

    refused: Refuse
    insn: Insn
    state: State
    origins: Mapping[int, Origin]

    @property
    def regno(self) -> int:
        """The register that the reason names, -1 if it names none."""
        found = re.search(r"\bR(\d+)", self.refused.reason)
        return int(found[1]) if found else -1

    @property
    def reg(self) -> Reg | None:
        """That register, if it is one of r0 to r10."""
        return self.state.frame.regs[self.regno] if 0 <= self.regno <= 10 else None

    @property
    def reg_of_access(self) -> Reg | None:
        """The register that a load or store goes by, None for other instructions."""
        kind = self.insn.opcode & 7
        if kind not in (op.LDX, op.ST, op.STX):
            return None
        return self.state.frame.regs[self.insn.src_reg if kind == op.LDX else self.insn.dst_reg]

    @property
    def access(self) -> tuple[int, int]:
        """Offset and bytes of a load or store, (0, 0) for other instructions."""
        if self.insn.opcode & 7 not in (op.LDX, op.ST, op.STX):
            return 0, 0
        return self.insn.offset, op.BYTES[self.insn.opcode & 0x18]


def mend(number: str, refused: Refuse, insn: Insn, state: State, origins: Mapping[int, Origin]) -> str:
    """A sentence, or "" if the reason's own says all."""
    told = _MEND.get(number)
    return told(Place(refused, insn, state, origins)) if told else ""


def _unset(place: Place) -> str:
    """A register that a call cleared."""
    origin = place.origins.get(place.regno)
    if origin is None or not 1 <= place.regno <= 5:
        return ""
    takes = f"{place.refused.hint} " if "takes" in place.refused.hint else ""
    return f"{takes}The call at {origin.pc} cleared r1 to r5: keep what is needed later in r6 to r9, or on the stack."


def _negative(place: Place) -> str:
    """A number that may be below zero, or a pointer that it moved."""
    reg = place.reg
    if reg is None or reg.num.smin >= 0:
        return ""
    which = "The size" if reg.kind == "scalar" else "The number that was added to the pointer"
    return f"{which} may be negative: compare it as an unsigned one with a constant limit, or mask it."


def _lost(place: Place) -> str:
    """A pointer that a call has made a mere number."""
    origin = place.origins.get(place.regno)
    before = origin.before if origin else None
    if before is None:
        return ""
    if before.kind in ("pkt", "pkt_meta", "pkt_end"):
        return "Packets may lie elsewhere after this call: load data and data_end anew, and compare again."
    if before.ref:
        return "What was given back is the kernel's again: use it before."
    return f"It was {describe(before)}: use it before, or get it anew."


def _no_pointer(place: Place) -> str:
    """A number is followed as if it were a pointer."""
    reg, lost = place.reg, _lost(place)
    if lost:
        return lost
    if reg is not None and not reg.num.mask and not reg.num.value:
        return f"r{place.regno} is null on this way: the check before leads to the wrong side."
    return ""


def _packet(place: Place) -> str:
    """How many bytes are read, and how many were compared with the end of the packet."""
    reg, (offset, size) = place.reg, place.access
    if reg is None or not size:
        return ""
    need = reg.off + offset + size
    if reg.num.mask:
        return (
            f"The offset varies, and what was checked before it was added does not count: compare this pointer "
            f"plus {offset + size} with data_end."
        )
    checked = f"{reg.size} are checked" if reg.size else "none are checked on this way"
    bytes_ = "1 byte is" if need == 1 else f"{need} bytes are"
    return f"{bytes_} needed from the start, {checked}: go on only if data + {need} <= data_end."


def _no_limits(place: Place) -> str:
    """A pointer moves by a number; which side of it is open, and what the memory holds."""
    numbers = [place.state.frame.regs[n] for n in (place.insn.src_reg, place.insn.dst_reg)]
    number = next((reg for reg in numbers if reg.kind == "scalar" and reg.num.mask), None)
    target = next((reg for reg in numbers if reg.kind != "scalar"), None)
    if number is None or target is None:
        return ""
    size = target.obj.value_size if isinstance(target.obj, MapInfo) else target.size
    memory = f" ({size} bytes lie there)" if size and target.kind in ("map_value", "mem") else ""
    if number.num.smin < 0 and "unbounded min" in place.refused.reason:
        return f"The number may be negative: compare it as an unsigned one with a constant limit{memory}, or mask it."
    return f"Compare the number with a constant limit{memory}, or mask it."


def _stack(place: Place) -> str:
    """How far beyond the stack an access reaches."""
    reg, (offset, size) = place.reg, place.access
    if reg is None or reg.kind != "fp":
        return ""
    low = reg.off + offset + reg.num.smin
    room = -(reg.off + offset)
    if reg.num.mask and size and low >= -512 and room >= size:
        return f"{room} bytes lie between r{place.regno} and the end of the stack: limit the index to {room - size}."
    if not size and low >= -512:
        taken = re.search(r" size=(\d+)", place.refused.reason)
        more = f", and {taken[1]} are taken: start at fp-{taken[1]}, or take fewer" if taken else ""
        return f"{room} bytes lie between r{place.regno} and the end of the stack{more}."
    at = f"fp{reg.off + offset + reg.num.smin:+d}"
    return f"{octets(size)} at {at} do not lie between fp-512 and fp+0." if size else ""


def _null(place: Place) -> str:
    if place.reg is None or not place.reg.null:
        return ""
    return f"Leave, or go around this, if r{place.regno} is null: if (!p) return 0;"


def _argument(place: Place) -> str:
    """What a helper is given instead of a pointer of the kind that it wants."""
    reg, expected = place.reg, place.refused.reason.partition("expected=")[2].split(", ")
    if reg is None or reg.null:
        return f"Leave, or go around this, if r{place.regno} is null." if reg else ""
    lost = _lost(place)
    if lost:
        return lost
    wanted = "memory: pass an address, such as that of a variable" if "fp" in expected else ""
    wanted = wanted or {"map_ptr": "a map: pass its address", "ctx": "the context of the program"}.get(
        expected[0], ""
    )
    return f"r{place.regno} is {describe(reg)}, and the helper wants {wanted}." if wanted else ""


def _unaligned(place: Place) -> str:
    """Where an access starts, and the nearest place below where it may."""
    reg, (offset, size) = place.reg_of_access, place.access
    if reg is None or not size:
        return ""
    at = reg.off + offset
    if reg.num.mask:
        return f"The offset varies: let it be a multiple of {size}, by a mask or a shift."
    here, near = (f"fp{n:+d}" if reg.kind == "fp" else f"offset {n}" for n in (at, at - at % size))
    return f"It starts at {here}: a multiple of {size} is needed, such as {near}."


def _trusted(place: Place) -> str:
    """What a kernel function, or a helper that takes ownership, is given."""
    found = re.search(r"arg#?(\d+)$", place.refused.reason)
    regno = place.regno if found is None else int(found[1]) + ("trusted" in place.refused.reason)
    if not 0 <= regno <= 5:
        return ""
    reg = place.state.frame.regs[regno]
    if "constant" in place.refused.reason:
        return f"r{regno} is {describe(reg)}: write the number itself."
    if reg.null:
        return f"r{regno} is {describe(reg)}: leave, or go around this, if it is null."
    return f"r{regno} is {describe(reg)}: pass a pointer that holds a reference, or stay inside of an RCU section."


def _given_back(place: Place) -> str:
    """What is given back instead of something that is held."""
    found = re.search(r"\b(?:R|arg )(\d+)", place.refused.reason)
    reg = place.state.frame.regs[int(found[1])] if found and int(found[1]) <= 5 else None
    if found is None or reg is None:
        return ""
    return f"r{found[1]} is {describe(reg)}: give back what a reserve or lookup returned, once."


def _field(place: Place) -> str:
    """The field that a map's value lacks."""
    found = re.fullmatch(r"map '(.*)' has no valid (\w+)", place.refused.reason)
    return f"Give the value of map {found[1]} a field of type struct {found[2]}." if found else ""


def _field_place(place: Place) -> str:
    """Where a field is, and where the pointer points."""
    found = re.fullmatch(r"off (-?\d+) doesn't point to '(.*)' that is at (-?\d+)", place.refused.reason)
    if found is None:
        return ""
    return f"It points to offset {found[1]}, and {found[2]} lies at offset {found[3]}: pass the address of the field."


def _parameter(place: Place) -> str:
    """What a global function, or one of the kernel, is given instead of what it wants."""
    found = re.search(r"\bR(\d+) is not a scalar", f"{place.refused.reason} {place.refused.hint}")
    reg = place.state.frame.regs[int(found[1])] if found else None
    if found is None or reg is None:
        return ""
    return f"r{found[1]} is {'unset' if reg.kind == 'uninit' else describe(reg)}, and a number is wanted."


def _depth(place: Place) -> str:
    starts = [frame.start for frame in place.state.frames]
    if len(set(starts)) == len(starts):
        return ""
    return "A function calls itself, and nothing says how often: use a loop with a constant limit."


def _leak(place: Place) -> str:
    """What is held, and that each way out has to give it back."""
    if not place.state.refs:
        return ""
    taken = place.state.refs[0][1]
    return (
        f"On this way nothing gives back what instruction {taken} took: submit, discard or release it before."
    )


_MEND: Final[Mapping[str, Callable[[Place], str]]] = {
    "PBT-V019": _depth,
    "PBT-V021": _unset,
    "PBT-V024": _null,
    "PBT-V025": _no_pointer,
    "PBT-V030": _negative,
    "PBT-V031": _packet,
    "PBT-V032": _unaligned,
    "PBT-V040": _stack,
    "PBT-V042": _no_limits,
    "PBT-V052": _no_limits,
    "PBT-V058": _argument,
    "PBT-V065": _trusted,
    "PBT-V066": _leak,
    "PBT-V067": _given_back,
    "PBT-V069": _field,
    "PBT-V070": _field_place,
    "PBT-V083": _parameter,
    "PBT-V084": _parameter,
    "PBT-V100": _trusted,
}
