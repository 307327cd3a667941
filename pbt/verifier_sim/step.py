"""opcode → what the instruction does to a state: the table of steps, one function per class of instruction.

A step changes `state` in place and returns the next slot, or DONE at the end of a path; the other
side of a branch is left in `env.pending`.
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
from pbt.verifier_sim.env import Env
from pbt.verifier_sim.leave import exit_
from pbt.verifier_sim.state import State

Step = Callable[[Env, State, int, Insn], int]


def _table() -> tuple[Step | None, ...]:
    """opcode → step; None where there is no such instruction."""
    steps: list[Step | None] = [None] * 256
    for row in op.ALU_OPS:
        for cls in (op.ALU, op.ALU64):
            steps[cls | row.code] = alu
            if row.name != "NEG":
                steps[cls | row.code | op.X] = alu
    steps[op.ALU64 | op.END | op.X] = None
    for jump in op.JMP_OPS:
        for cls in (op.JMP, op.JMP32):
            if jump.name not in ("JA", "CALL", "EXIT", "JCOND"):
                steps[cls | jump.code] = steps[cls | jump.code | op.X] = jump_if
    steps[op.JMP | op.JA] = steps[op.JMP32 | op.JA] = ja
    steps[op.JMP | op.JCOND] = jcond
    steps[op.JMP | op.CALL], steps[op.JMP | op.EXIT] = call, exit_
    for size in op.BYTES:
        steps[op.LDX | op.MEM | size] = ldx
        steps[op.STX | op.MEM | size] = stx
        steps[op.ST | op.MEM | size] = st
        if size != op.DW:
            steps[op.LDX | op.MEMSX | size] = ldx
            steps[op.LD | op.ABS | size] = steps[op.LD | op.IND | size] = ld_packet
        steps[op.STX | op.ATOMIC | size] = atomic
    steps[op.LD_IMM64] = ld_wide
    return tuple(steps)


STEPS: Final = _table()
"""By opcode."""
