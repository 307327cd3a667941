"""opcode → how the instruction is taken apart: one function for each family of instructions.

An instruction is taken apart once, when the first path comes to it, into a step and its operands. A step changes
a state in place and returns the next slot, or DONE at the end of a path; the other side of a branch is left in
`env.pending`.
"""

from __future__ import annotations

from collections.abc import Callable

from pbt.isa import opcodes as op
from pbt.isa.insn import Insn
from pbt.typing import Final
from pbt.verifier_sim.access import atomic, ld_packet, ld_wide, ldx, st, stx
from pbt.verifier_sim.alu import alu
from pbt.verifier_sim.branch import ja, jcond, jump_if
from pbt.verifier_sim.calls import call
from pbt.verifier_sim.env import Decoded, Env, Refuse, Step
from pbt.verifier_sim.leave import exit_

Family = Callable[[Env, int, Insn], Decoded]


def decoded(env: Env, pc: int) -> Decoded:
    """The step of the instruction at a slot, and its operands; Refuse if there is no such instruction."""
    insn = env.insns[pc]
    family = FAMILIES[insn.opcode]
    if family is None:
        raise Refuse(f"unknown opcode {insn.opcode:02x}")
    return family(env, pc, insn)


def _whole(step: Step) -> Family:
    """A family whose steps take instructions as they are: what is rare, or depends on the state alone."""
    return lambda env, pc, insn: (step, insn)


def _table() -> tuple[Family | None, ...]:
    """opcode → family; None where there is no such instruction."""
    families: list[Family | None] = [None] * 256
    for row in op.ALU_OPS:
        for cls in (op.ALU, op.ALU64):
            families[cls | row.code] = alu
            if row.name != "NEG":
                families[cls | row.code | op.X] = alu
    families[op.ALU64 | op.END | op.X] = None
    for jump in op.JMP_OPS:
        for cls in (op.JMP, op.JMP32):
            if jump.name not in ("JA", "CALL", "EXIT", "JCOND"):
                families[cls | jump.code] = families[cls | jump.code | op.X] = jump_if
    families[op.JMP | op.JA] = families[op.JMP32 | op.JA] = _whole(ja)
    families[op.JMP | op.JCOND] = _whole(jcond)
    families[op.JMP | op.CALL], families[op.JMP | op.EXIT] = _whole(call), _whole(exit_)
    for size in op.BYTES:
        families[op.LDX | op.MEM | size] = ldx
        families[op.STX | op.MEM | size] = stx
        families[op.ST | op.MEM | size] = st
        if size != op.DW:
            families[op.LDX | op.MEMSX | size] = ldx
            families[op.LD | op.ABS | size] = families[op.LD | op.IND | size] = _whole(ld_packet)
        families[op.STX | op.ATOMIC | size] = _whole(atomic)
    families[op.LD_IMM64] = ld_wide
    return tuple(families)


FAMILIES: Final = _table()
"""By opcode."""
