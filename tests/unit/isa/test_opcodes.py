"""The tables against the numbers of RFC 9669, each written here a second time."""

from __future__ import annotations

import pytest

from pbt.isa import opcodes as op

# RFC 9669, appendix A: opcode → how the table of all instructions reads it
OPCODES = {
    0x04: ("ALU", "ADD"), 0x07: ("ALU64", "ADD"), 0x14: ("ALU", "SUB"), 0x2F: ("ALU64", "MUL"),
    0x34: ("ALU", "DIV"),
    0x4F: ("ALU64", "OR"), 0x5C: ("ALU", "AND"), 0x67: ("ALU64", "LSH"), 0x7C: ("ALU", "RSH"),
    0x87: ("ALU64", "NEG"),
    0x9F: ("ALU64", "MOD"), 0xA4: ("ALU", "XOR"), 0xBF: ("ALU64", "MOV"), 0xC7: ("ALU64", "ARSH"),
}  # fmt: skip
JUMPS = {
    0x05: ("JMP", "JA"), 0x06: ("JMP32", "JA"), 0x15: ("JMP", "JEQ"), 0x2D: ("JMP", "JGT"),
    0x35: ("JMP", "JGE"),
    0x46: ("JMP32", "JSET"), 0x5D: ("JMP", "JNE"), 0x66: ("JMP32", "JSGT"), 0x75: ("JMP", "JSGE"),
    0x85: ("JMP", "CALL"),
    0x95: ("JMP", "EXIT"), 0xAD: ("JMP", "JLT"), 0xB6: ("JMP32", "JLE"), 0xC5: ("JMP", "JSLT"),
    0xDE: ("JMP32", "JSLE"),
}  # fmt: skip


@pytest.mark.parametrize(("opcode", "names"), OPCODES.items())
def test_arithmetic(opcode: int, names: tuple[str, str]) -> None:
    assert op.CLASSES[opcode & 7] == names[0]
    assert op.ALU_BY_CODE[opcode & 0xF0, 0].name == names[1]


@pytest.mark.parametrize(("opcode", "names"), JUMPS.items())
def test_jumps(opcode: int, names: tuple[str, str]) -> None:
    assert op.CLASSES[opcode & 7] == names[0]
    assert op.JMP_BY_CODE[opcode & 0xF0].name == names[1]


def test_rows_do_not_collide() -> None:
    assert len(op.ALU_BY_CODE) == len(op.ALU_OPS) == len(op.ALU_BY_NAME)
    assert len(op.JMP_BY_CODE) == len(op.JMP_OPS) == len(op.JMP_BY_NAME)
    assert len(op.ATOMIC_BY_IMM) == len(op.ATOMIC_OPS) == len(op.ATOMIC_BY_NAME)
    assert len(op.CONDITIONAL) == 11


def test_sizes_and_modes() -> None:
    assert {op.BYTES[code] for code in (op.W, op.H, op.B, op.DW)} == {1, 2, 4, 8}
    assert (op.W, op.H, op.B, op.DW) == (0x00, 0x08, 0x10, 0x18)
    assert all(op.SIZE_OF[size] == code for code, size in op.BYTES.items())
    assert (op.LDX | op.MEM | op.DW, op.STX | op.ATOMIC | op.W, op.LDX | op.MEMSX | op.B) == (
        0x79,
        0xC3,
        0x91,
    )
    assert op.LD_IMM64 == 0x18


def test_fetching_atomics_are_the_plain_ones_with_the_lowest_bit() -> None:
    for name in ("ADD", "OR", "AND", "XOR"):
        assert op.ATOMIC_BY_NAME[f"FETCH_{name}"].imm == op.ATOMIC_BY_NAME[name].imm | 1
        assert op.ATOMIC_BY_NAME[name].imm == op.ALU_BY_NAME[name].code
