"""What must hold before an instruction runs: the registers it reads, and its needs in words."""

from __future__ import annotations

from collections.abc import Sequence

from pbt.isa import opcodes as op
from pbt.isa.insn import Insn
from pbt.uapi.helpers import ARG_KINDS, BY_ID

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


def needs(insns: Sequence[Insn], pc: int) -> tuple[str, ...]:
    """What the verifier wants before the instruction at `pc`, one short sentence each."""
    insn = insns[pc]
    read, written = uses(insn)
    out = [f"r{n} holds a value" for n in range(op.REGISTERS) if read >> n & 1]
    if written >> 10 & 1:
        out.append("r10 is not written: it is the frame pointer")
    cls, code = insn.opcode & 7, insn.opcode & 0xF0
    size = op.BYTES[insn.opcode & 0x18]
    if cls == op.LDX:
        out.append(f"r{insn.src_reg} points to memory readable at {insn.offset:+d}, {size} bytes")
    elif cls in (op.ST, op.STX):
        out.append(f"r{insn.dst_reg} points to memory writable at {insn.offset:+d}, {size} bytes")
    elif insn.opcode == op.JMP | op.CALL and insn.src_reg == op.CALL_HELPER and insn.imm in BY_ID:
        for at, kind in enumerate(BY_ID[insn.imm].args):
            out.append(f"r{at + 1}: {ARG_KINDS.get(kind.partition(':')[0], kind)}")
    elif insn.opcode == op.JMP | op.EXIT:
        out.append("every reference taken was given back")
    elif cls in (op.ALU, op.ALU64) and code in (op.DIV, op.MOD) and not insn.opcode & op.X:
        out.append("the divisor is not 0")
    return tuple(out)
