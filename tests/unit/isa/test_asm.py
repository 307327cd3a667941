"""Text → instructions: the verifier's spelling, labels, comments, and errors with their place."""

from __future__ import annotations

import pytest

from pbt.isa.asm import assemble, read
from pbt.isa.insn import Insn, wide
from pbt.source import ScriptError

SPELLINGS = (
    ("r1 += r2", Insn(0x0F, 1, 2)),
    ("w1 += w2", Insn(0x0C, 1, 2)),
    ("r10 -= -5", Insn(0x17, 10, 0, 0, -5)),
    ("w3 <<= 7", Insn(0x64, 3, 0, 0, 7)),
    ("r3 s>>= 0x10", Insn(0xC7, 3, 0, 0, 16)),
    ("r1 s/= r2", Insn(0x3F, 1, 2, 1)),
    ("w1 s%= -3", Insn(0x94, 1, 0, 1, -3)),
    ("r1 = r2", Insn(0xBF, 1, 2)),
    ("w1 = w2", Insn(0xBC, 1, 2)),
    ("r1 = 5", Insn(0xB7, 1, 0, 0, 5)),
    ("w1 = 0xffffffff", Insn(0xB4, 1, 0, 0, -1)),
    ("r1 = (s8)r2", Insn(0xBF, 1, 2, 8)),
    ("w1 = (s16)w2", Insn(0xBC, 1, 2, 16)),
    ("r1 = (s32)r2", Insn(0xBF, 1, 2, 32)),
    ("r1 = -r1", Insn(0x87, 1)),
    ("w1 = -w1", Insn(0x84, 1)),
    ("r1 = be16 r1", Insn(0xDC, 1, 0, 0, 16)),
    ("r1 = le64 r1", Insn(0xD4, 1, 0, 0, 64)),
    ("r1 = bswap32 r1", Insn(0xD7, 1, 0, 0, 32)),
    ("r1 = *(u32 *)(r2 +4)", Insn(0x61, 1, 2, 4)),
    ("r1=*(u64*)(r2-4)", Insn(0x79, 1, 2, -4)),
    ("r1 = *(s8 *)(r2 +0)", Insn(0x91, 1, 2)),
    ("*(u16 *)(r10 -2) = r3", Insn(0x6B, 10, 3, -2)),
    ("*(u8 *)(r10 -1) = -1", Insn(0x72, 10, 0, -1, -1)),
    ("lock *(u64 *)(r1 +8) += r2", Insn(0xDB, 1, 2, 8, 0)),
    ("lock *(u32 *)(r1 +8) ^= w2", Insn(0xC3, 1, 2, 8, 0xA0)),
    ("r2 = atomic_fetch_or((u64 *)(r1 +0), r2)", Insn(0xDB, 1, 2, 0, 0x41)),
    ("w2 = atomic_xchg((u32 *)(r1 +0), w2)", Insn(0xC3, 1, 2, 0, 0xE1)),
    ("r0 = atomic_cmpxchg((u64 *)(r1 +0), r0, r2)", Insn(0xDB, 1, 2, 0, 0xF1)),
    ("w4 = load_acquire((u8 *)(r1 +3))", Insn(0xD3, 4, 1, 3, 0x100)),
    ("store_release((u64 *)(r1 +3), r4)", Insn(0xDB, 1, 4, 3, 0x110)),
    ("goto +3", Insn(0x05, 0, 0, 3)),
    ("goto pc-3", Insn(0x05, 0, 0, -3)),
    ("gotol pc+70000", Insn(0x06, 0, 0, 0, 70000)),
    ("may_goto pc+2", Insn(0xE5, 0, 0, 2)),
    ("if r1 == r2 goto +1", Insn(0x1D, 1, 2, 1)),
    ("if w1 s<= -1 goto pc-2", Insn(0xD6, 1, 0, -2, -1)),
    ("if r1 & 0x80 goto +1", Insn(0x45, 1, 0, 1, 0x80)),
    ("call 6", Insn(0x85, 0, 0, 0, 6)),
    ("call bpf_ktime_get_ns#5", Insn(0x85, 0, 0, 0, 5)),
    ("call kfunc#123", Insn(0x85, 0, 2, 0, 123)),
    ("call pc+4", Insn(0x85, 0, 1, 0, 4)),
    ("callx r5", Insn(0x8D, 5)),
    ("exit", Insn(0x95)),
    ("r0 = *(u8 *)skb[23]", Insn(0x30, 0, 0, 0, 23)),
    ("r0 = *(u16 *)skb[r7 +14]", Insn(0x48, 0, 7, 0, 14)),
    (".insn 0xff 1 2 -3 4", Insn(0xFF, 1, 2, -3, 4)),
)  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), SPELLINGS)
def test_spellings(text: str, expected: Insn) -> None:
    assert assemble(text) == [expected]


@pytest.mark.parametrize("line", ["  12: r0 = 1", "12: (b7) r0 = 1", "r0 = 1 ; why", "r0 = 1 # why", "r0 = 1 // why",
                                  "first: r0 = 1", "\n\n r0 = 1 \n", "first:\nr0=1"])  # fmt: skip
def test_what_stands_around_an_instruction(line: str) -> None:
    assert assemble(line) == [Insn(0xB7, 0, 0, 0, 1)]


def test_labels_count_slots_of_wide_loads() -> None:
    made = assemble("top: r1 = 0x1 ll\nif r1 == 0 goto end\nr2 = map_fd[3]\ngoto top\nend: exit")
    assert made[2].offset == 3 and made[5].offset == -6


def test_wide_loads() -> None:
    assert assemble("r1 = 0x123456789abcdef0 ll") == list(wide(1, 0x123456789ABCDEF0))
    assert assemble("r1 = -1 ll") == list(wide(1, -1))
    assert assemble("r1 = map_value[5][12]") == [Insn(0x18, 1, 2, 0, 5), Insn(0, 0, 0, 0, 12)]
    assert assemble("r1 = btf_id[7]") == [Insn(0x18, 1, 3, 0, 7), Insn(0)]


def test_helpers_and_functions_by_name() -> None:
    helpers = {"ktime_get_ns": 5}
    made = assemble("call bpf_ktime_get_ns\ncall ktime_get_ns\ncall below\nexit\nbelow: exit", helpers)
    assert [(i.src_reg, i.imm) for i in made[:3]] == [(0, 5), (0, 5), (1, 1)]


BAD = (
    ("r0 = 1\nr99 = 1\nexit", 2, 1, "not an instruction"),
    ("exit\n   jump there", 2, 4, "not an instruction"),
    ("r1 += w2", 1, 1, "do not mix"),
    ("if w1 == r2 goto +1", 1, 1, "do not mix"),
    ("r1 = -r2", 1, 1, "in place"),
    ("r1 = be16 r2", 1, 1, "in place"),
    ("r0 = 0\n goto nowhere", 2, 2, "label nowhere is not defined"),
    ("a: exit\na: exit", 2, 1, "label a is defined twice"),
    ("r1 = 0x100000000", 1, 1, "does not fit 32 bits"),
    ("r1 = -2147483649", 1, 1, "does not fit 32 bits"),
    ("r1 = 0x10000000000000000 ll", 1, 1, "does not fit 64 bits"),
    ("r1 = *(u8 *)(r2 +32768)", 1, 1, "offset 32768 does not fit 16 bits"),
    ("exit\nexit\n*(u8 *)(r2 -32769) = 1", 3, 1, "offset -32769 does not fit 16 bits"),
    ("goto +40000", 1, 1, "does not fit 16 bits"),
    ("gotol +2147483648", 1, 1, "does not fit 32 bits"),
    ("call 4294967296", 1, 1, "does not fit 32 bits"),
    ("exit\ncall no_such_thing", 2, 1, "unknown helper or label no_such_thing"),
    ("r1 = heap[1]", 1, 1, "unknown kind of wide load: heap"),
    ("w1 = (s32)w2", 1, 1, "no sign to extend"),
    (".insn 0x100 0 0 0 0", 1, 1, "8 bits"),
    (".map a HASH 4 8", 1, 1, "declared by .map NAME TYPE KEY VALUE ENTRIES"),
    (".map a HASH 4 8 1\n  .map a ARRAY 4 8 1", 2, 3, "map a is declared twice"),
    (".map a HASH 4 8 1\nr1 = map[b]", 2, 1, "no map b is declared"),
    (".insn 0x07 16 0 0 0", 1, 1, "register number 4"),
    (".insn 0x07 1 0 40000 0", 1, 1, "does not fit 16 bits"),
)  # fmt: skip


@pytest.mark.parametrize(("text", "line", "column", "message"), BAD)
def test_errors_stand_where_the_mistake_is(text: str, line: int, column: int, message: str) -> None:
    with pytest.raises(ScriptError, match=message) as caught:
        assemble(text, name="prog.s")
    assert caught.value.span.locate()[:2] == (line, column)
    assert str(caught.value).startswith(f"prog.s:{line}:{column}: ERROR: ")


@pytest.mark.parametrize(("text", "hint"), [
    ("r11 = 5", "there are r0 to r10"),
    ("if r0 = 0 goto out", "comparison is =="),
    ("if r0 == 0", "if r0 == 0 goto label"),
    ("r0 = *(u64)(r1 +0)", "a star in its type"),
    ("r0 = *(u64 *)(r1)", "an address has an offset"),
    ("*(u64 *)(r10 -8) = *(u64 *)(r1 +0)", "a register stands between"),
    ("*(u64 *)(r10 -8) = w1", "how many bytes are stored"),
    ("r0 = r1 + r2", "one step a line"),
    ("return 0", "then exit"),
    ("mov r0, 0", "for example: r1 = 5"),
    ("call ktime_get_nanos", "did you mean ktime_get_ns?"),
    ("goto outt\nout: exit", "did you mean out?"),
])  # fmt: skip
def test_hints_for_what_beginners_write(text: str, hint: str) -> None:
    with pytest.raises(ScriptError) as caught:
        assemble(text, {"ktime_get_ns": 5})
    assert hint in caught.value.hint


def test_a_label_too_far_away_is_an_error_with_a_place() -> None:
    text = "goto end\n" + "r0 = 0\n" * 32768 + "end: exit"
    with pytest.raises(ScriptError, match="a jump of 32768 does not fit 16 bits"):
        assemble(text)
    assert assemble(text.replace("goto", "gotol"))[0] == Insn(0x06, 0, 0, 0, 32768)


def test_maps_and_places() -> None:
    text = ".map a hash 4 8 100\n.map @b BPF_MAP_TYPE_ARRAY 4 16 1\nr1 = map[@b]  // b\n  r2 = value[@b + 8]\nexit"
    insns, spans, maps = read(text)
    assert [map_[:5] for map_ in maps] == [("a", "HASH", 4, 8, 100), ("@b", "ARRAY", 4, 16, 1)]
    assert insns == assemble("r1 = map_fd[1][0]\nr2 = map_value[1][8]\nexit") and len(insns) == 5
    assert [span.locate()[:2] for span in spans] == [(3, 1), (3, 1), (4, 3), (4, 3), (5, 1)]
