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
from pbt.verifier_sim.words import describe


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


def _no_pointer(place: Place) -> str:
    """A number is followed as if it were a pointer."""
    reg, origin = place.reg, place.origins.get(place.regno)
    before = origin.before if origin else None
    if before is not None and before.kind in ("pkt", "pkt_meta", "pkt_end"):
        return "Packets may lie elsewhere after this call: load data and data_end anew, and compare again."
    if before is not None and before.ref:
        return "What was given back is the kernel's again: use it before."
    if before is not None:
        return f"It was {describe(before)}: use it before, or get it anew."
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
        return f"{room} bytes lie between r{place.regno} and the end of the stack: limit the size to {room}."
    return "The stack is 512 bytes below the frame pointer."


def _null(place: Place) -> str:
    if place.reg is None or not place.reg.null:
        return ""
    return f"Leave, or go around this, if r{place.regno} is null: if (!p) return 0;"


def _argument(place: Place) -> str:
    """What a helper is given instead of a pointer of the kind that it wants."""
    reg, expected = place.reg, place.refused.reason.partition("expected=")[2].split(", ")
    if reg is None or reg.null:
        return f"Leave, or go around this, if r{place.regno} is null." if reg else ""
    wanted = "memory: pass an address, such as that of a variable" if "fp" in expected else ""
    wanted = wanted or {"map_ptr": "a map: pass its address", "ctx": "the context of the program"}.get(
        expected[0], ""
    )
    return f"r{place.regno} is {describe(reg)}, and the helper wants {wanted}." if wanted else ""


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
    "PBT-V040": _stack,
    "PBT-V052": _no_limits,
    "PBT-V058": _argument,
    "PBT-V066": _leak,
}
