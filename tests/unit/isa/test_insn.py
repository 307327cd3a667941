"""Instruction slots and their bytes: both byte orders, fields at their limits, constructors."""

from __future__ import annotations

import pytest

from pbt.isa import insn as make
from pbt.isa import opcodes as op
from pbt.isa.insn import EncodingError, Insn, decode, encode, imm64, signed, wide

# bytes written out by hand from the layout of RFC 9669 section 3.1
LITTLE = (
    (Insn(0x07, 1, 0, 0, 0x11223344), "0701000044332211"),
    (Insn(0x0F, 1, 2), "0f21000000000000"),
    (Insn(0x7B, 10, 3, -8), "7b3af8ff00000000"),
    (Insn(0x05, 0, 0, -2), "0500feff00000000"),
    (Insn(0xB7, 0, 0, 0, -1), "b7000000ffffffff"),
    (Insn(0x95), "9500000000000000"),
    (Insn(0xDB, 1, 2, 0x1234, 0xF1), "db213412f1000000"),
)
BIG = (
    (Insn(0x07, 1, 0, 0, 0x11223344), "0710000011223344"),
    (Insn(0x0F, 1, 2), "0f12000000000000"),
    (Insn(0x7B, 10, 3, -8), "7ba3fff800000000"),
    (Insn(0x95), "9500000000000000"),
)


@pytest.mark.parametrize(("insn", "hexa"), LITTLE)
def test_little_endian_bytes(insn: Insn, hexa: str) -> None:
    assert encode([insn]).hex() == hexa
    assert decode(bytes.fromhex(hexa)) == [insn]


@pytest.mark.parametrize(("insn", "hexa"), BIG)
def test_big_endian_bytes(insn: Insn, hexa: str) -> None:
    assert encode([insn], "big").hex() == hexa
    assert decode(bytes.fromhex(hexa), "big") == [insn]


def test_a_wide_load_is_two_slots() -> None:
    slots = list(wide(3, 0x1122334455667788))
    assert encode(slots).hex() == "18030000887766550000000044332211"
    assert slots[0].is_wide and not slots[1].is_wide
    assert imm64(slots, 0) == 0x1122334455667788


@pytest.mark.parametrize("value", [0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 32, 1 << 63, (1 << 64) - 1])
def test_wide_numbers_survive(value: int) -> None:
    assert imm64(decode(encode(wide(0, value))), 0) == value


def test_negative_wide_numbers_are_their_patterns() -> None:
    assert imm64(wide(0, -2), 0) == (1 << 64) - 2


@pytest.mark.parametrize("kind", op.PSEUDO)
def test_pseudo_loads_carry_their_kind_in_the_source_register(kind: str) -> None:
    assert wide(1, 7, kind)[0] == Insn(0x18, 1, op.PSEUDO.index(kind), 0, 7)


@pytest.mark.parametrize(
    "bad",
    [
        Insn(256), Insn(-1), Insn(0, 16), Insn(0, 0, 16), Insn(0, -1), Insn(0, 0, 0, 1 << 15),
        Insn(0, 0, 0, -(1 << 15) - 1),
        Insn(0, 0, 0, 0, 1 << 31), Insn(0, 0, 0, 0, -(1 << 31) - 1),
    ],
)  # fmt: skip
@pytest.mark.parametrize("order", ["little", "big"])
def test_fields_out_of_range_are_refused_by_index(bad: Insn, order: str) -> None:
    with pytest.raises(EncodingError, match="instruction 1 "):
        encode([make.EXIT, bad], order)


def test_fields_at_their_limits() -> None:
    edges = [Insn(255, 15, 15, -(1 << 15), -(1 << 31)), Insn(0, 0, 0, (1 << 15) - 1, (1 << 31) - 1)]
    assert decode(encode(edges)) == edges
    assert decode(encode(edges, "big"), "big") == edges


@pytest.mark.parametrize("length", [1, 7, 9, 15])
def test_a_part_of_a_slot_is_no_program(length: int) -> None:
    with pytest.raises(EncodingError, match=f"{length} bytes"):
        decode(bytes(length))


def test_no_bytes_are_no_instructions() -> None:
    assert decode(b"") == [] and encode([]) == b""


@pytest.mark.parametrize(
    ("value", "bits", "expected"),
    [
        (0x7F, 8, 127), (0x80, 8, -128), (0x180, 8, -128), (-1, 8, -1), (0xFFFF, 16, -1),
        (1 << 31, 32, -(1 << 31)),
        ((1 << 63) - 1, 64, (1 << 63) - 1), (1 << 63, 64, -(1 << 63)), (1 << 64, 64, 0),
    ],
)  # fmt: skip
def test_signed(value: int, bits: int, expected: int) -> None:
    assert signed(value, bits) == expected


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (make.alu("ADD", 1, 2), Insn(0x0F, 1, 2)),
        (make.alu("ADD", 1, imm=5), Insn(0x07, 1, 0, 0, 5)),
        (make.alu("ADD", 1, 2, wide=False), Insn(0x0C, 1, 2)),
        (make.alu("SDIV", 1, 2), Insn(0x3F, 1, 2, 1)),
        (make.alu("SMOD", 1, imm=3), Insn(0x97, 1, 0, 1, 3)),
        (make.alu("MOVSX16", 1, 2), Insn(0xBF, 1, 2, 16)),
        (make.alu("AND", 1, imm=0xFFFFFFFF), Insn(0x57, 1, 0, 0, -1)),
        (make.mov(1, 2), Insn(0xBF, 1, 2)),
        (make.mov_imm(1, -1), Insn(0xB7, 1, 0, 0, -1)),
        (make.end(1, 16, "be"), Insn(0xDC, 1, 0, 0, 16)),
        (make.end(1, 32, "le"), Insn(0xD4, 1, 0, 0, 32)),
        (make.end(1, 64, "swap"), Insn(0xD7, 1, 0, 0, 64)),
        (make.load(4, 1, 10, -4), Insn(0x61, 1, 10, -4)),
        (make.load(1, 1, 2, 0), Insn(0x71, 1, 2)),
        (make.load(2, 1, 2, 0, sign=True), Insn(0x89, 1, 2)),
        (make.store(8, 10, -8, 1), Insn(0x7B, 10, 1, -8)),
        (make.store_imm(2, 10, -2, 7), Insn(0x6A, 10, 0, -2, 7)),
        (make.atomic("FETCH_ADD", 8, 1, 0, 2), Insn(0xDB, 1, 2, 0, 1)),
        (make.atomic("XCHG", 4, 1, 8, 2), Insn(0xC3, 1, 2, 8, 0xE1)),
        (make.jump(-1), Insn(0x05, 0, 0, -1)),
        (make.branch("JSGT", 1, None, 3, -1), Insn(0x65, 1, 0, 3, -1)),
        (make.branch("JNE", 1, 2, 3), Insn(0x5D, 1, 2, 3)),
        (make.branch("JLE", 1, 2, 3, wide=False), Insn(0xBE, 1, 2, 3)),
        (make.call(5), Insn(0x85, 0, 0, 0, 5)),
        (make.call_local(-3), Insn(0x85, 0, 1, 0, -3)),
        (make.EXIT, Insn(0x95)),
    ],
)
def test_constructors(made: Insn, expected: Insn) -> None:
    assert made == expected
