"""Laws of the instruction set: encodings and texts are reversible, the interpreter obeys arithmetic."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pbt.isa import opcodes as op
from pbt.isa.asm import assemble
from pbt.isa.disasm import listing, malformed
from pbt.isa.insn import EXIT, Insn, alu, branch, decode, encode, end, signed, wide
from pbt.isa.interp import Machine, run

M64, M32 = (1 << 64) - 1, (1 << 32) - 1

s16, s32 = st.integers(-(1 << 15), (1 << 15) - 1), st.integers(-(1 << 31), (1 << 31) - 1)
u64 = st.one_of(st.sampled_from([0, 1, 2, M32, M64, 1 << 31, 1 << 63, (1 << 63) - 1]), st.integers(0, M64))
nibble, register = st.integers(0, 15), st.integers(0, 10)
anything = st.builds(Insn, st.integers(0, 255), nibble, nibble, s16, s32)
order = st.sampled_from(["little", "big"])


@given(st.lists(anything, max_size=20), order)
def test_decode_undoes_encode(insns: list[Insn], byteorder: str) -> None:
    assert decode(encode(insns, byteorder), byteorder) == insns


@given(st.binary(max_size=80).map(lambda data: data[: len(data) // 8 * 8]), order)
def test_encode_undoes_decode(data: bytes, byteorder: str) -> None:
    assert encode(decode(data, byteorder), byteorder) == data


@given(st.lists(anything, max_size=12))
def test_assembly_undoes_disassembly_of_any_slots(insns: list[Insn]) -> None:
    """Malformed slots too: they print as their fields."""
    assert assemble("\n".join(text for _, text in listing(insns))) == insns


alu_names = st.sampled_from(
    [r.name for r in op.ALU_OPS if r.name not in ("NEG", "END") and "SX" not in r.name]
)
jump_names = st.sampled_from([r.name for r in op.JMP_OPS if r.text in op.CONDITIONAL])
one = st.one_of(
    st.builds(lambda n, d, s, w: [alu(n, d, s, wide=w)], alu_names, register, register, st.booleans()),
    st.builds(lambda n, d, i, w: [alu(n, d, imm=i, wide=w)], alu_names, register, s32, st.booleans()),
    st.builds(lambda d, b, t: [end(d, b, t)], register,
     st.sampled_from([16, 32, 64]), st.sampled_from(["le", "be", "swap"])),
    st.builds(lambda n, d, s, o, w: [branch(n, d, s, o, wide=w)], jump_names, register, register, s16, st.booleans()),
    st.builds(lambda n, d, i, o, w: [branch(n, d, None, o, i, wide=w)], jump_names, register, s32, s16, st.booleans()),
    st.builds(lambda d, v, p: list(wide(d, v, p)), register, u64, st.sampled_from(op.PSEUDO)),
    st.builds(lambda c, d, s, o: [Insn(c, d, s, o)],
     st.sampled_from([0x61, 0x69, 0x71, 0x79, 0x81, 0x89, 0x91, 0x63, 0x6B, 0x73, 0x7B]),
              register, register, s16),
    st.builds(lambda w, d, s, o, k: [Insn(0xDB if w else 0xC3, d, s, o, k)], st.booleans(), register, register, s16,
              st.sampled_from([r.imm for r in op.ATOMIC_OPS])),
)  # fmt: skip


@given(st.lists(one, max_size=12).map(lambda parts: [insn for part in parts for insn in part]))
def test_assembly_undoes_disassembly_of_programs(insns: list[Insn]) -> None:
    assert list(malformed(insns)) == []
    assert assemble("\n".join(f"{index}: {text}" for index, text in listing(insns))) == insns


# --- the interpreter


def value(left: int, right: int, *insns: Insn) -> int:
    """r1 after the instructions, from r1 and r2."""
    return run(Machine(), [*wide(1, left), *wide(2, right), *insns, Insn(0xBF, 0, 1), EXIT])


def apply(name: str, left: int, right: int, is_wide: bool = True) -> int:
    return value(left, right, alu(name, 1, 2, wide=is_wide))


@given(u64, u64, st.booleans())
def test_quotient_and_remainder_make_up_the_number(left: int, right: int, is_wide: bool) -> None:
    mask, bits = (M64, 64) if is_wide else (M32, 32)
    for div, mod in (("DIV", "MOD"), ("SDIV", "SMOD")):
        quotient, rest = apply(div, left, right, is_wide), apply(mod, left, right, is_wide)
        assert (quotient * right + rest) & mask == left & mask
        if right & mask:
            if div == "DIV":
                assert rest < right & mask
            else:
                assert abs(signed(rest, bits)) < abs(signed(right, bits))
                assert rest == 0 or (signed(rest, bits) < 0) == (signed(left, bits) < 0)


@given(st.sampled_from(["ADD", "SUB", "MUL", "AND", "OR", "XOR"]), u64, u64)
def test_narrow_arithmetic_is_wide_arithmetic_cut_to_32_bits(name: str, left: int, right: int) -> None:
    assert apply(name, left, right, False) == apply(name, left, right) & M32


@given(u64, st.integers(0, 63))
def test_shifts_are_powers_of_two(left: int, by: int) -> None:
    assert apply("LSH", left, by) == left * 2**by & M64
    assert apply("RSH", left, by) == left // 2**by
    assert apply("ARSH", left, by) == signed(left, 64) // 2**by & M64


@given(u64, u64, alu_names, s32)
def test_an_immediate_acts_as_the_register_that_holds_it(left: int, right: int, name: str, imm: int) -> None:
    for is_wide in (True, False):
        assert value(left, right, alu(name, 1, imm=imm, wide=is_wide)) == apply(
            name, left, imm & M64, is_wide
        )


@given(u64, st.sampled_from([16, 32, 64]))
def test_swapping_twice_cuts_to_the_width(left: int, bits: int) -> None:
    assert value(left, 0, end(1, bits, "swap"), end(1, bits, "swap")) == left & (1 << bits) - 1
    assert value(left, 0, end(1, bits, "be")) == value(left, 0, end(1, bits, "swap"))


def taken(name: str, left: int, right: int, is_wide: bool) -> bool:
    return (
        value(
            left,
            right,
            branch(name, 1, 2, 2, wide=is_wide),
            Insn(0xB7, 1),
            Insn(5, 0, 0, 1),
            Insn(0xB7, 1, 0, 0, 1),
        )
        == 1
    )


OPPOSITE = {"JEQ": "JNE", "JGT": "JLE", "JGE": "JLT", "JSGT": "JSLE", "JSGE": "JSLT"}
MIRROR = {"JGT": "JLT", "JGE": "JLE", "JSGT": "JSLT", "JSGE": "JSLE"}


@given(u64, u64, st.booleans())
def test_exactly_one_of_opposite_jumps_is_taken(left: int, right: int, is_wide: bool) -> None:
    for name, opposite in OPPOSITE.items():
        assert taken(name, left, right, is_wide) != taken(opposite, left, right, is_wide)
    for name, mirror in MIRROR.items():
        assert taken(name, left, right, is_wide) == taken(mirror, right, left, is_wide)
    assert taken("JGT", left, right, True) == (left > right)
    assert taken("JSGT", left, right, True) == (signed(left, 64) > signed(right, 64))
    assert taken("JSET", left, right, is_wide) == bool(left & right & (M64 if is_wide else M32))
