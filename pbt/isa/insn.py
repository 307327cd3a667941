"""One instruction slot, its eight bytes, and a constructor for each kind of instruction.

Lists of instructions are lists of slots: a 64-bit immediate load takes two, so that a list index
is the number the kernel uses for the instruction.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

from pbt.data import NamedTuple
from pbt.isa import opcodes as op
from pbt.source import PbtError


class EncodingError(PbtError):
    """Bytes or fields that are no instruction."""


class Insn(NamedTuple):
    """One basic instruction, 8 bytes in memory (RFC 9669 section 3.1)."""

    opcode: int  # u8
    dst_reg: int = 0  # u4
    src_reg: int = 0  # u4
    offset: int = 0  # s16: bytes for memory, instructions for jumps
    imm: int = 0  # s32

    @property
    def cls(self) -> int:
        return self.opcode & 7

    @property
    def is_wide(self) -> bool:
        """Whether this is the first slot of a 64-bit immediate load."""
        return self.opcode == op.LD_IMM64


_make = Insn._make


def encode(insns: Iterable[Insn], byteorder: str = "little") -> bytes:
    """Slots → bytes; EncodingError names the slot whose field is out of range."""
    little = byteorder == "little"
    pack = struct.Struct("<BBhi" if little else ">BBhi").pack
    out = []
    for index, (opcode, dst, src, offset, imm) in enumerate(insns):
        regs = dst | src << 4 if little else dst << 4 | src
        if (dst | src) >> 4:
            raise EncodingError(f"instruction {index} cannot be encoded: registers {dst} and {src}")
        try:
            out.append(pack(opcode, regs, offset, imm))
        except struct.error as error:
            raise EncodingError(f"instruction {index} cannot be encoded: {error}") from error
    return b"".join(out)


def decode(data: bytes, byteorder: str = "little") -> list[Insn]:
    """Bytes → slots; EncodingError unless the length is a multiple of 8."""
    if len(data) % 8:
        raise EncodingError(f"{len(data)} bytes of instructions: not a multiple of 8")
    if byteorder == "little":
        return [_make((c, r & 15, r >> 4, o, i)) for c, r, o, i in struct.iter_unpack("<BBhi", data)]
    return [_make((c, r >> 4, r & 15, o, i)) for c, r, o, i in struct.iter_unpack(">BBhi", data)]


def signed(value: int, bits: int) -> int:
    """The low bits of a number, read as two's complement."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def alu(name: str, dst: int, src: int | None = None, imm: int = 0, *, wide: bool = True) -> Insn:
    """dst NAME= src or imm (name from ALU_OPS); `wide=False`: on the low 32 bits."""
    row = op.ALU_BY_NAME[name]
    cls = op.ALU64 if wide else op.ALU
    if src is None:
        return Insn(cls | op.K | row.code, dst, 0, row.offset, signed(imm, 32))
    return Insn(cls | op.X | row.code, dst, src, row.offset, 0)


def mov(dst: int, src: int) -> Insn:
    return Insn(op.ALU64 | op.X | op.MOV, dst, src)


def mov_imm(dst: int, imm: int) -> Insn:
    return Insn(op.ALU64 | op.K | op.MOV, dst, 0, 0, imm)


def end(dst: int, bits: int, to: str) -> Insn:
    """`to`: "le" or "be" (swap if the machine is the other), or "swap" (always)."""
    if to == "swap":
        return Insn(op.ALU64 | op.END, dst, 0, 0, bits)
    return Insn(op.ALU | op.END | (op.TO_BE if to == "be" else op.TO_LE), dst, 0, 0, bits)


def wide(dst: int, imm64: int, pseudo: str = "") -> tuple[Insn, Insn]:
    """Load a 64-bit number, or what `pseudo` says that its halves mean."""
    low, high = signed(imm64, 32), signed(imm64 >> 32, 32)
    return Insn(op.LD_IMM64, dst, op.PSEUDO.index(pseudo), 0, low), Insn(0, 0, 0, 0, high)


def imm64(insns: Sequence[Insn], index: int) -> int:
    """The unsigned 64-bit number of the wide load at `index`."""
    return (insns[index].imm & 0xFFFFFFFF) | (insns[index + 1].imm & 0xFFFFFFFF) << 32


def load(size: int, dst: int, base: int, offset: int, *, sign: bool = False) -> Insn:
    mode = op.MEMSX if sign else op.MEM
    return Insn(op.LDX | mode | op.SIZE_OF[size], dst, base, offset)


def store(size: int, base: int, offset: int, src: int) -> Insn:
    return Insn(op.STX | op.MEM | op.SIZE_OF[size], base, src, offset)


def store_imm(size: int, base: int, offset: int, imm: int) -> Insn:
    return Insn(op.ST | op.MEM | op.SIZE_OF[size], base, 0, offset, imm)


def atomic(name: str, size: int, base: int, offset: int, src: int) -> Insn:
    return Insn(op.STX | op.ATOMIC | op.SIZE_OF[size], base, src, offset, op.ATOMIC_BY_NAME[name].imm)


def jump(offset: int) -> Insn:
    return Insn(op.JMP | op.JA, 0, 0, offset)


def branch(name: str, dst: int, src: int | None, offset: int, imm: int = 0, *, wide: bool = True) -> Insn:
    """Jump `offset` slots on if dst NAME src or imm (name from JMP_OPS)."""
    code = op.JMP_BY_NAME[name].code | (op.JMP if wide else op.JMP32)
    if src is None:
        return Insn(code | op.K, dst, 0, offset, signed(imm, 32))
    return Insn(code | op.X, dst, src, offset)


def call(helper: int) -> Insn:
    return Insn(op.JMP | op.CALL, 0, op.CALL_HELPER, 0, helper)


def call_kfunc(btf_id: int) -> Insn:
    return Insn(op.JMP | op.CALL, 0, op.CALL_KFUNC, 0, btf_id)


def call_local(offset: int) -> Insn:
    return Insn(op.JMP | op.CALL, 0, op.CALL_LOCAL, 0, offset)


EXIT = Insn(op.JMP | op.EXIT)
