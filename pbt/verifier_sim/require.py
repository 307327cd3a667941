"""The registers that an instruction reads and sets."""

from __future__ import annotations

from pbt.isa import opcodes as op
from pbt.isa.insn import Insn
from pbt.uapi.helpers import BY_ID

CALLER_SAVED = 0b111111  # r0 to r5
ARGUMENTS = 0b111110  # r1 to r5


def uses(insn: Insn) -> tuple[int, int]:
    """Registers that an instruction reads, and those it sets, as bit masks (bit n: register n)."""
    code, dst, src = insn.opcode, 1 << insn.dst_reg, 1 << insn.src_reg
    cls = code & 7
    if cls in (op.ALU, op.ALU64):
        source = src if code & op.X and code & 0xF0 != op.END else 0
        return (source if code & 0xF0 == op.MOV else source | dst), dst
    if cls == op.LDX:
        return src, dst
    if cls == op.ST:
        return dst, 0
    if cls == op.STX:
        return _store(insn, dst, src)
    if cls == op.LD:
        if code == op.LD_IMM64:
            return 0, dst
        return 1 << 6 | (src if code & 0xE0 == op.IND else 0), CALLER_SAVED
    kind = code & 0xF0
    if kind == op.CALL and cls == op.JMP:
        return _call(insn, dst), CALLER_SAVED
    if kind == op.EXIT and cls == op.JMP:
        return 1, 0
    if kind in (op.JA, op.JCOND):
        return 0, 0
    return dst | (src if code & op.X else 0), 0


def _store(insn: Insn, dst: int, src: int) -> tuple[int, int]:
    if insn.opcode & 0xE0 != op.ATOMIC:
        return dst | src, 0
    if insn.imm == op.ATOMIC_BY_NAME["LOAD_ACQ"].imm:
        return src, dst
    if insn.imm == op.ATOMIC_BY_NAME["CMPXCHG"].imm:
        return dst | src | 1, 1
    return dst | src, src if insn.imm & op.FETCH and insn.imm < 0x100 else 0


def _call(insn: Insn, dst: int) -> int:
    if insn.opcode & op.X:
        return ARGUMENTS | dst
    helper = BY_ID.get(insn.imm) if insn.src_reg == op.CALL_HELPER else None
    return ARGUMENTS if helper is None else ((1 << len(helper.args)) - 1) << 1
