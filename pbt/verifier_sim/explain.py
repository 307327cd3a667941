"""A refused walk → Refusal: the reason in words, the way there, what was known, and what would mend it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from pbt.isa import opcodes as op
from pbt.isa.disasm import disasm
from pbt.isa.insn import Insn
from pbt.uapi.helpers import BY_ID
from pbt.verifier_sim.explore import Walk
from pbt.verifier_sim.mend import mend
from pbt.verifier_sim.reasons import find, plain
from pbt.verifier_sim.require import uses
from pbt.verifier_sim.state import State, turns
from pbt.verifier_sim.trail import Origin, Trail
from pbt.verifier_sim.verdict import Fact, Refusal, Turn
from pbt.verifier_sim.words import describe

_NAMES = {helper.id: helper.name for helper in BY_ID.values()}


def refusal(slots: Sequence[Insn], found: Walk, trail: Trail | None = None) -> Refusal:
    """Why a walk ended where it did; `trail`: the path, walked again."""
    refused = found.refusal
    assert refused is not None
    row = find(refused.reason)
    state = found.last if found.last is not None and 0 <= found.pc < len(slots) else None
    origins = _origins(slots[found.pc], trail) if state is not None else {}
    return Refusal(
        found.pc,
        refused.reason,
        plain(refused.reason),
        (mend(row.id, refused, slots[found.pc], state, origins) if row and state else "")
        or refused.hint
        or (row.mend if row else ""),
        id=row.id if row else "",
        way=_way(slots, state),
        known=tuple(_known(slots, found.pc, state, origins, refused.reason)) if state is not None else (),
    )


def _origins(insn: Insn, trail: Trail | None) -> dict[int, Origin]:
    """Where the registers that an instruction reads came from."""
    if trail is None:
        return {}
    found = ((n, trail.origin(n)) for n in range(10) if uses(insn)[0] >> n & 1)
    return {n: origin for n, origin in found if origin is not None}


def _way(slots: Sequence[Insn], last: State | None) -> tuple[Turn, ...]:
    """The last branches of the path that was refused, in their order."""
    if last is None:
        return ()
    return tuple(Turn(pc, disasm(slots, pc), jumped) for pc, jumped in reversed(turns(last.path)))


def _known(
    slots: Sequence[Insn], pc: int, last: State, origins: dict[int, Origin], reason: str
) -> Iterator[Fact]:
    """The registers that the refused instruction reads, as the walk knew them, and what is still held.

    Constants that the reason does not name are left out, and so is what is stored somewhere.
    """
    read = uses(slots[pc])[0]
    named = {int(number) for number in re.findall(r"\bR(\d+)", reason)}
    if slots[pc].opcode & 7 in (op.LDX, op.ST, op.STX) and named:
        read = sum(1 << n for n in named)
    for n, reg in enumerate(last.frame.regs[:10]):
        plain_number = reg.kind == "scalar" and not reg.num.mask
        if not read >> n & 1 or reg.kind == "uninit" or (plain_number and named and n not in named):
            continue
        text, origin = f"r{n} is {describe(reg)}", origins.get(n)
        if origin is None or (reg.kind in ("ctx", "fp", "map_ptr") and origin.before is None):
            yield Fact(text)
        elif origin.before is not None:
            yield Fact(f"{text}; it was {describe(origin.before)}, until {_at(slots, origin.pc)}", origin.pc)
        elif slots[origin.pc].opcode & 0xF8 == op.MOV:
            yield Fact(text)  # a constant
        else:
            yield Fact(f"{text}, by {_at(slots, origin.pc)}", origin.pc)
    if slots[pc].opcode == op.JMP | op.EXIT:
        for _, taken in last.refs:
            yield Fact(f"still held is what was taken by {_at(slots, taken)}", taken)


def _at(slots: Sequence[Insn], pc: int) -> str:
    return f"{pc}: {disasm(slots, pc, _NAMES)}"
