"""Instructions → text: every row of the tables there and back, what is malformed, fields taken apart."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pbt.isa import opcodes as op
from pbt.isa.asm import assemble
from pbt.isa.disasm import anatomy, disasm, listing, malformed
from pbt.isa.insn import Insn, alu, atomic, branch, end, load, store, store_imm, wide


def rows() -> Iterator[Insn]:
    """One instruction of each shape that the tables allow."""
    for is_wide in (True, False):
        for row in op.ALU_OPS:
            if row.name == "NEG":
                yield alu("NEG", 4, wide=is_wide)
            elif row.name.startswith("MOVSX"):
                if is_wide or row.name != "MOVSX32":
                    yield alu(row.name, 4, 5, wide=is_wide)
            elif row.name != "END":
                yield alu(row.name, 4, 10, wide=is_wide)
                yield alu(row.name, 10, imm=-77, wide=is_wide)
        for jump in op.JMP_OPS:
            if jump.text in op.CONDITIONAL:
                yield branch(jump.name, 3, 7, -4, wide=is_wide)
                yield branch(jump.name, 3, None, 9, -1, wide=is_wide)
                yield branch(jump.name, 3, None, 9, 0x7FFFFFFF, wide=is_wide)
    for bits in (16, 32, 64):
        for to in ("le", "be", "swap"):
            yield end(2, bits, to)
    for size in (1, 2, 4, 8):
        yield load(size, 1, 10, -8)
        yield store(size, 10, 32767, 9)
        yield store_imm(size, 1, -32768, -5)
        yield atomic("LOAD_ACQ", size, 1, 0, 2)
        yield atomic("STORE_REL", size, 1, 0, 2)
        if size < 8:
            yield load(size, 1, 10, -8, sign=True)
            yield Insn(op.LD | op.ABS | op.SIZE_OF[size], 0, 0, 0, 14)
            yield Insn(op.LD | op.IND | op.SIZE_OF[size], 0, 3, 0, -14)
    for atomically in op.ATOMIC_OPS[:-2]:
        yield atomic(atomically.name, 4, 1, -16, 2)
        yield atomic(atomically.name, 8, 1, -16, 2)
    yield from (Insn(op.JMP, 0, 0, -7), Insn(op.JMP32, 0, 0, 0, 99999), Insn(op.JMP | op.JCOND, 0, 0, 5))
    yield from (
        Insn(0x85, 0, 0, 0, 5),
        Insn(0x85, 0, 1, 0, -9),
        Insn(0x85, 0, 2, 0, 77),
        Insn(0x8D, 3),
        Insn(0x95),
    )


@pytest.mark.parametrize("insn", list(rows()), ids=lambda insn: disasm([insn], 0))
def test_there_and_back(insn: Insn) -> None:
    text = disasm([insn], 0)
    assert not text.startswith(".insn")
    assert assemble(text) == [insn]
    assert list(malformed([insn])) == []


@pytest.mark.parametrize("kind", op.PSEUDO)
def test_wide_loads_there_and_back(kind: str) -> None:
    slots = list(wide(3, 0x7 << 32 | 0x80000001, kind))
    assert assemble(disasm(slots, 0)) == slots
    assert [index for index, _ in listing(slots)] == [0]


def test_texts_are_distinct() -> None:
    texts = [disasm([insn], 0) for insn in rows()]
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize(
    "insn",
    [
        Insn(0x07, 11), Insn(0x0F, 1, 11), Insn(0x07, 1, 1), Insn(0x07, 1, 0, 1), Insn(0x0F, 1, 2, 0, 1),  # add
        Insn(0x37, 1, 0, 2, 5), Insn(0x47, 1, 0, 1, 5),  # offset 1 means signed for division alone
        Insn(0x8F, 1, 2), Insn(0x87, 1, 0, 0, 1), Insn(0x87, 1, 2),  # neg
        Insn(0xBF, 1, 2, 7), Insn(0xB7, 1, 0, 8, 1), Insn(0xBC, 1, 2, 32),  # mov with sign
        Insn(0xD4, 1, 0, 0, 8), Insn(0xD7, 1, 0, 0, 24), Insn(0xDF, 1, 0, 0, 16), Insn(0xD4, 1, 2, 0, 16),  # end
        Insn(0xE7, 1), Insn(0xF7, 1),  # codes nobody has
        Insn(0x0D), Insn(0x05, 1), Insn(0x05, 0, 0, 0, 1), Insn(0x06, 0, 0, 1, 0),  # ja
        Insn(0x95, 1), Insn(0x95, 0, 1), Insn(0x95, 0, 0, 1), Insn(0x95, 0, 0, 0, 1), Insn(0x96), Insn(0x9D),  # exit
        Insn(0x85, 1), Insn(0x85, 0, 3), Insn(0x85, 0, 0, 1), Insn(0x86, 0, 0, 0, 1), Insn(0x8D, 11),
        Insn(0x8D, 1, 1),
        Insn(0x15, 1, 1, 1, 1), Insn(0x1D, 1, 2, 1, 1), Insn(0x1D, 12, 2, 1), Insn(0x1D, 1, 12, 1),
        Insn(0xF5, 1),
        Insn(0xE5, 1), Insn(0xE6), Insn(0xE5, 0, 0, 0, 1),  # may_goto
        Insn(0x61, 1, 2, 0, 1), Insn(0x99, 1, 2), Insn(0xE1, 1, 2), Insn(0x61, 11, 1), Insn(0x61, 1, 11),  # ldx
        Insn(0x62, 1, 1), Insn(0x63, 1, 2, 0, 1), Insn(0x82, 1), Insn(0xC2, 1),  # st, stx
        Insn(0xD3, 1, 2, 0, 0),
        Insn(0xCB, 1, 2, 0, 0xE1), Insn(0xDB, 1, 2, 0, 0x02), Insn(0xDB, 1, 2, 0, 0xE0),  # atomic
        Insn(0x38), Insn(0x30, 1), Insn(0x30, 0, 1), Insn(0x30, 0, 0, 1), Insn(0x00), Insn(0x18, 1),  # ld
    ],
    ids=str,
)  # fmt: skip
def test_malformed(insn: Insn) -> None:
    assert list(malformed([insn])) == [0]
    text = disasm([insn], 0)
    assert text.startswith(".insn") and assemble(text) == [insn]


@pytest.mark.parametrize(
    "slots",
    [
        [Insn(0x18, 1, 7), Insn(0)], [Insn(0x18, 11), Insn(0)], [Insn(0x18, 1, 0, 1), Insn(0)],
        [Insn(0x18, 1), Insn(0x95)], [Insn(0x18, 1), Insn(0, 1)], [Insn(0x18, 1), Insn(0, 0, 1)],
        [Insn(0x18, 1), Insn(0, 0, 0, 1)],
    ],
)  # fmt: skip
def test_malformed_wide_loads_lose_no_slot(slots: list[Insn]) -> None:
    assert next(malformed(slots)) == 0
    assert assemble("\n".join(text for _, text in listing(slots))) == slots


def test_names_of_helpers_and_symbols() -> None:
    slots = [Insn(0x85, 0, 0, 0, 5), *wide(1, 3, "map_fd"), Insn(0x85, 0, 0, 0, 9999)]
    named = dict(listing(slots, {5: "ktime_get_ns"}, {1: "map[@x]"}))
    assert named == {0: "call bpf_ktime_get_ns#5", 1: "r1 = map[@x]", 3: "call 9999"}


@pytest.mark.parametrize(
    ("insn", "meanings"),
    [
        (Insn(0x0F, 1, 2), {"class": ("111", "ALU64"), "source": ("1", "register"), "code": ("0000", "ADD")}),
        (Insn(0x34, 1, 0, 1, 3), {"class": ("100", "ALU"), "source": ("0", "immediate"), "code": ("0011", "SDIV")}),
        (Insn(0x65, 1, 0, -2, -1), {"code": ("0110", "JSGT"), "offset": ("fffe", "-2"), "imm": ("ffffffff", "-1")}),
        (Insn(0x79, 1, 10, -8), {"size": ("11", "8 bytes"), "mode": ("011", "MEM"), "src_reg": ("1010", "r10"),
                                 "offset": ("fff8", "-8")}),
        (Insn(0xC3, 1, 2, 0, 1), {"class": ("011", "STX"), "size": ("00", "4 bytes"), "mode": ("110", "ATOMIC")}),
        (Insn(0xF7), {"code": ("1111", "unknown")}),
    ],
)  # fmt: skip
def test_anatomy(insn: Insn, meanings: dict[str, tuple[str, str]]) -> None:
    parts = {part.name: (part.value, part.meaning) for part in anatomy(insn)}
    assert {name: parts[name] for name in meanings} == meanings


@pytest.mark.parametrize("insn", [Insn(0x0F, 1, 2), Insn(0x79, 1, 10, -8), Insn(0x95)])
def test_anatomy_covers_every_bit_once(insn: Insn) -> None:
    """The values, joined from the high to the low end of each place, are the instruction's bits."""
    parts = {part.name: part.value for part in anatomy(insn)}
    middle = parts["code"] + parts["source"] if "code" in parts else parts["mode"] + parts["size"]
    assert int(middle + parts["class"], 2) == insn.opcode
    assert int(parts["src_reg"] + parts["dst_reg"], 2) == insn.src_reg << 4 | insn.dst_reg
