"""Every instruction of RFC 9669 on the interpreter, at the edges of its operands."""

from __future__ import annotations

import pytest

from pbt.isa import opcodes as op
from pbt.isa.asm import assemble
from pbt.isa.insn import Insn, signed
from pbt.isa.interp import Fault, Machine, call_back, run, trace

M64, M32 = (1 << 64) - 1, (1 << 32) - 1
MIN64, MIN32 = 1 << 63, 1 << 31
A, B = 0x8877665544332211, 0x00000000FFFFFFF0


def number(value: int) -> str:
    return f"{value & M64:#x} ll"


def binary(text: str, left: int, right: int) -> int:
    """r1 and r2 set, one instruction on them, r1 returned."""
    return run(Machine(), assemble(f"r1 = {number(left)}\nr2 = {number(right)}\n{text}\nr0 = r1\nexit"))


# (operator, left, right, 64-bit result, 32-bit result)
ALU = (
    ("+=", 1, 2, 3, 3),
    ("+=", M64, 1, 0, 0),
    ("+=", M32, 1, 1 << 32, 0),
    ("+=", A, B, 0x8877665644332201, 0x44332201),
    ("-=", 0, 1, M64, M32),
    ("-=", MIN64, 1, MIN64 - 1, M32),
    ("-=", 1 << 32, 1, M32, M32),
    ("*=", 1 << 32, 1 << 32, 0, 0),
    ("*=", M64, M64, 1, 1),
    ("*=", 0x10001, 0x10001, 0x100020001, 0x20001),
    ("/=", 7, 2, 3, 3),
    ("/=", M64, 2, MIN64 - 1, MIN32 - 1),
    ("/=", 7, 0, 0, 0),
    ("/=", A, 1 << 32, 0x88776655, 0),
    ("/=", MIN64, M64, 0, 0),
    ("%=", 7, 4, 3, 3),
    ("%=", A, 0, A, 0x44332211),
    ("%=", A, 1 << 32, 0x44332211, 0x44332211),
    ("%=", M64, 10, 5, 5),
    ("s/=", -7, 2, -3, -3),
    ("s/=", 7, -2, -3, -3),
    ("s/=", -7, -2, 3, 3),
    ("s/=", -7, 0, 0, 0),
    ("s/=", MIN64, -1, MIN64, 0),
    ("s/=", MIN32, -1, -(1 << 31), MIN32),
    ("s%=", -7, 2, -1, -1),
    ("s%=", 7, -2, 1, 1),
    ("s%=", -7, 0, -7, -7),
    ("s%=", MIN64, -1, 0, 0),
    ("s%=", MIN32, -1, 0, 0),
    ("&=", A, B, 0x44332210, 0x44332210),
    ("|=", A, B, 0x88776655FFFFFFF1, 0xFFFFFFF1),
    ("^=", A, A, 0, 0),
    ("^=", A, M64, ~A, ~A),
    ("<<=", 1, 31, MIN32, MIN32),
    ("<<=", 1, 32, 1 << 32, 1),
    ("<<=", 1, 63, MIN64, MIN32),
    ("<<=", 1, 64, 1, 1),
    ("<<=", 1, 65, 2, 2),
    (">>=", MIN64, 63, 1, 0),
    (">>=", MIN32, 31, 1, 1),
    (">>=", A, 32, 0x88776655, 0x44332211),
    (">>=", A, 64 + 4, A >> 4, 0x04433221),
    ("s>>=", MIN64, 63, M64, 0),
    ("s>>=", MIN32, 31, 1, M32),
    ("s>>=", A, 4, 0xF887766554433221, 0x04433221),
    ("s>>=", A, 68, 0xF887766554433221, 0x04433221),
    ("=", A, B, B, 0xFFFFFFF0),
)


@pytest.mark.parametrize(("operator", "left", "right", "wide", "narrow"), ALU)
def test_arithmetic_on_registers(operator: str, left: int, right: int, wide: int, narrow: int) -> None:
    assert binary(f"r1 {operator} r2", left, right) == wide & M64
    assert binary(f"w1 {operator} w2", left, right) == narrow & M32


@pytest.mark.parametrize(("operator", "left", "right", "wide", "narrow"), [
    row for row in ALU if -(1 << 31) <= signed(row[2], 64) < 1 << 31])  # fmt: skip
def test_arithmetic_on_immediates(operator: str, left: int, right: int, wide: int, narrow: int) -> None:
    """The immediate is sign-extended to 64 bits, then cut to the operation's width."""
    imm = signed(right, 64)
    assert binary(f"r1 {operator} {imm}", left, 0) == wide & M64
    assert binary(f"w1 {operator} {imm}", left, 0) == narrow & M32


@pytest.mark.parametrize("value", [0, 1, A, M64, MIN64, MIN32, M32])
def test_negation(value: int) -> None:
    assert binary("r1 = -r1", value, 0) == -value & M64
    assert binary("w1 = -w1", value, 0) == -value & M32


def test_moves_with_sign() -> None:
    source = 0x00000000_8000_8080
    assert binary("r1 = (s8)r2", A, source) == M64 - 0x7F
    assert binary("r1 = (s16)r2", A, source) == 0xFFFFFFFFFFFF8080
    assert binary("r1 = (s32)r2", A, source) == 0xFFFFFFFF80008080
    assert binary("w1 = (s8)w2", A, source) == 0xFFFFFF80
    assert binary("w1 = (s16)w2", A, source) == 0xFFFF8080
    assert binary("r1 = (s8)r2", A, 0x7F) == 0x7F


def test_a_negative_immediate_of_a_narrow_move_leaves_the_upper_half_zero() -> None:
    assert binary("w1 = -1", A, 0) == M32
    assert binary("r1 = -1", A, 0) == M64


def test_a_narrow_operation_reads_the_low_halves_alone() -> None:
    assert binary("w1 += w2", 0xAAAAAAAA00000001, 0xBBBBBBBB00000002) == 3
    assert binary("w1 /= w2", 0xAAAAAAAA00000008, 0xBBBBBBBB00000000) == 0


# (text, result on a little-endian machine, result on a big-endian machine), of A
SWAPS = (
    ("r1 = le16 r1", 0x2211, 0x1122),
    ("r1 = le32 r1", 0x44332211, 0x11223344),
    ("r1 = le64 r1", A, 0x1122334455667788),
    ("r1 = be16 r1", 0x1122, 0x2211),
    ("r1 = be32 r1", 0x11223344, 0x44332211),
    ("r1 = be64 r1", 0x1122334455667788, A),
    ("r1 = bswap16 r1", 0x1122, 0x1122),
    ("r1 = bswap32 r1", 0x11223344, 0x11223344),
    ("r1 = bswap64 r1", 0x1122334455667788, 0x1122334455667788),
)


@pytest.mark.parametrize(("text", "little", "big"), SWAPS)
def test_byte_order(text: str, little: int, big: int) -> None:
    program = assemble(f"r1 = {A:#x} ll\n{text}\nr0 = r1\nexit")
    assert run(Machine(), program) == little
    assert run(Machine(byteorder="big"), program) == big


# --- jumps

JUMPS = (
    # condition, left, right, taken on 64 bits, taken on the low 32
    ("==", 5, 5, True, True),
    ("==", 1 << 32, 0, False, True),
    ("!=", 1 << 32, 0, True, False),
    (">", 1 << 32, 5, True, False),
    (">", M64, 0, True, True),
    (">", 5, 5, False, False),
    (">=", 5, 5, True, True),
    (">=", 4, 5, False, False),
    (">=", M64, MIN64, True, True),
    ("<", 1 << 32, 5, False, True),
    ("<", 5, 5, False, False),
    ("<", 5, M64, True, True),
    ("<=", 5, 5, True, True),
    ("<=", M64, 5, False, False),
    ("&", 6, 2, True, True),
    ("&", 4, 2, False, False),
    ("&", 1 << 40, 1 << 40, True, False),
    ("s>", 1, -1, True, True),
    ("s>", M32, 0, True, False),
    ("s>", -1, 1, False, False),
    ("s>=", -1, -1, True, True),
    ("s>=", -2, -1, False, False),
    ("s<", -1, 0, True, True),
    ("s<", M32, 0, False, True),
    ("s<", MIN64, M64, True, False),
    ("s<=", -1, -1, True, True),
    ("s<=", 1, -1, False, False),
)


def jumps(prefix: str, condition: str, left: int, right: int, operand: str) -> bool:
    text = (
        f"r1 = {number(left)}\nr2 = {number(right)}\nr0 = 1\nif {prefix}1 {condition} {operand} "
        f"goto +1\nr0 = 0\nexit"
    )
    return bool(run(Machine(), assemble(text)))


@pytest.mark.parametrize(("condition", "left", "right", "wide", "narrow"), JUMPS)
def test_conditional_jumps(condition: str, left: int, right: int, wide: bool, narrow: bool) -> None:
    assert jumps("r", condition, left, right, "r2") is wide
    assert jumps("w", condition, left, right, "w2") is narrow
    if -(1 << 31) <= signed(right, 64) < 1 << 31:
        assert jumps("r", condition, left, 0, str(signed(right, 64))) is wide
        assert jumps("w", condition, left, 0, str(signed(right, 64))) is narrow


def test_jumps_count_from_the_next_instruction() -> None:
    assert run(Machine(), assemble("goto +1\nr0 = 1\nr0 += 2\nexit")) == 2
    assert run(Machine(), assemble("gotol +1\nr0 = 1\nr0 += 2\nexit")) == 2
    assert run(Machine(), assemble("r0 = 4\nloop: r0 += -1\nif r0 s> 0 goto loop\nexit")) == 0


def test_a_jump_over_a_wide_load_counts_two_slots() -> None:
    assert run(Machine(), assemble("goto end\nr0 = 0x123456789 ll\nend: r0 += 1\nexit")) == 1


# --- memory

DATA = bytes(range(0x80, 0x90))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("u8", 0x82), ("u16", 0x8382), ("u32", 0x85848382), ("u64", 0x8988878685848382),
        ("s8", 0xFFFFFFFFFFFFFF82), ("s16", 0xFFFFFFFFFFFF8382), ("s32", 0xFFFFFFFF85848382),
    ],
)  # fmt: skip
def test_loads(kind: str, expected: int) -> None:
    machine = Machine()
    at = machine.allocate(DATA)
    assert run(machine, assemble(f"r0 = *({kind} *)(r1 +2)\nexit"), r1=at) == expected
    assert run(machine, assemble(f"r0 = *({kind} *)(r1 -2)\nexit"), r1=at + 4) == expected


def test_big_endian_loads() -> None:
    machine = Machine(byteorder="big")
    assert run(machine, assemble("r0 = *(u32 *)(r1 +0)\nexit"), r1=machine.allocate(DATA)) == 0x80818283


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_stores_touch_their_bytes_alone(size: int) -> None:
    machine = Machine()
    at = machine.allocate(DATA)
    text = f"r2 = {A:#x} ll\n*(u{8 * size} *)(r1 +4) = r2\nr0 = 0\nexit"
    run(machine, assemble(text), r1=at)
    expected = A.to_bytes(8, "little")[:size]
    assert machine.read(at, 16) == DATA[:4] + expected + DATA[4 + size :]


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_stored_immediates_are_sign_extended(size: int) -> None:
    machine = Machine()
    at = machine.allocate(16)
    run(machine, assemble(f"*(u{8 * size} *)(r1 +0) = -2\nr0 = 0\nexit"), r1=at)
    assert machine.read(at, 16) == b"\xfe" + b"\xff" * (size - 1) + bytes(16 - size)


def test_wide_load() -> None:
    assert run(Machine(), assemble(f"r0 = {A:#x} ll\nexit")) == A


@pytest.mark.parametrize("offset", [-513, -520, 0, 1, -3])
def test_the_stack_is_512_bytes_below_r10(offset: int) -> None:
    with pytest.raises(Fault, match="which is no memory") as caught:
        run(Machine(), assemble(f"*(u32 *)(r10 {offset:+d}) = 1\nr0 = 0\nexit"))
    assert caught.value.pc == 0
    assert run(Machine(), assemble("*(u32 *)(r10 -512) = 1\nr0 = *(u32 *)(r10 -512)\nexit")) == 1


def test_regions_do_not_touch() -> None:
    machine = Machine()
    at = machine.allocate(4)
    machine.allocate(4)
    with pytest.raises(Fault):
        run(machine, assemble("r0 = *(u64 *)(r1 +0)\nexit"), r1=at)
    with pytest.raises(Fault):
        run(machine, assemble("r0 = *(u8 *)(r1 +4)\nexit"), r1=at)
    with pytest.raises(Fault):
        run(machine, assemble("r0 = *(u8 *)(r1 +0)\nexit"), r1=0)


# --- atomics: (operation, 64-bit cell after, what the source register holds after)

CELL, SOURCE = 0xF0F0F0F0_F0F0F0F0, 0x0FF00FF0_20000001
ATOMICS = (
    ("lock *({t} *)(r1 +8) += {r}2", CELL + SOURCE, None),
    ("lock *({t} *)(r1 +8) |= {r}2", CELL | SOURCE, None),
    ("lock *({t} *)(r1 +8) &= {r}2", CELL & SOURCE, None),
    ("lock *({t} *)(r1 +8) ^= {r}2", CELL ^ SOURCE, None),
    ("{r}2 = atomic_fetch_add(({t} *)(r1 +8), {r}2)", CELL + SOURCE, CELL),
    ("{r}2 = atomic_fetch_or(({t} *)(r1 +8), {r}2)", CELL | SOURCE, CELL),
    ("{r}2 = atomic_fetch_and(({t} *)(r1 +8), {r}2)", CELL & SOURCE, CELL),
    ("{r}2 = atomic_fetch_xor(({t} *)(r1 +8), {r}2)", CELL ^ SOURCE, CELL),
    ("{r}2 = atomic_xchg(({t} *)(r1 +8), {r}2)", SOURCE, CELL),
)


@pytest.mark.parametrize(("text", "after", "fetched"), ATOMICS)
@pytest.mark.parametrize("size", [4, 8])
def test_atomics(text: str, after: int, fetched: int | None, size: int) -> None:
    machine = Machine()
    mask = (1 << 8 * size) - 1
    at = machine.allocate(bytes(8) + CELL.to_bytes(8, "little") + bytes(8))
    shown = text.format(t=f"u{8 * size}", r="r" if size == 8 else "w")
    result = run(machine, assemble(f"r2 = {SOURCE:#x} ll\n{shown}\nr0 = r2\nexit"), r1=at)
    assert result == (SOURCE if fetched is None else fetched & mask)  # a 32-bit fetch zeroes the upper half
    expected = (after & mask).to_bytes(size, "little") + CELL.to_bytes(8, "little")[size:]
    assert machine.read(at, 24) == bytes(8) + expected + bytes(8)


@pytest.mark.parametrize("size", [4, 8])
@pytest.mark.parametrize("equal", [True, False])
def test_compare_and_exchange(size: int, equal: bool) -> None:
    machine = Machine()
    mask = (1 << 8 * size) - 1
    at = machine.allocate(CELL.to_bytes(8, "little"))
    r = "r" if size == 8 else "w"
    expected = CELL if equal else CELL ^ 1
    text = (
        f"r0 = {expected:#x} ll\nr2 = {SOURCE:#x} ll\n{r}0 = atomic_cmpxchg((u{8 * size} *)(r1 "
        f"+0), {r}0, {r}2)\nexit"
    )
    assert run(machine, assemble(text), r1=at) == CELL & mask
    assert machine.load(at, size) == (SOURCE if equal else CELL) & mask


def test_compare_and_exchange_on_32_bits_ignores_the_upper_half_of_r0() -> None:
    machine = Machine()
    at = machine.allocate(b"\5\0\0\0\xff\xff\xff\xff")
    text = "r0 = 0x1200000005 ll\nr2 = 9\nw0 = atomic_cmpxchg((u32 *)(r1 +0), w0, w2)\nexit"
    assert run(machine, assemble(text), r1=at) == 5
    assert machine.read(at, 8) == b"\x09\0\0\0\xff\xff\xff\xff"


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_load_acquire_and_store_release(size: int) -> None:
    machine = Machine()
    at, r = machine.allocate(DATA), "r" if size == 8 else "w"
    kind = f"u{8 * size}"
    text = f"{r}2 = load_acquire(({kind} *)(r1 +1))\nstore_release(({kind} *)(r1 +8), {r}2)\nr0 = r2\nexit"
    assert run(machine, assemble(text), r1=at) == int.from_bytes(DATA[1 : 1 + size], "little")
    assert machine.read(at, 16) == DATA[:8] + DATA[1 : 1 + size] + DATA[8 + size :]


# --- calls


def test_helpers_get_five_arguments_and_clobber_them() -> None:
    seen = []

    def helper(machine: Machine, *args: int) -> int:
        seen.append(args)
        return -1

    text = "r1 = 1\nr2 = 2\nr3 = 3\nr4 = 4\nr5 = 5\nr6 = 6\ncall 7\nr6 += r0\nr0 = r6\nexit"
    assert run(Machine({7: helper}), assemble(text)) == 5
    assert seen == [(1, 2, 3, 4, 5)]
    assert run(Machine({7: helper}), assemble("r1 = 1\ncall 7\nr0 = r1\nexit")) != 1


def test_callx_reads_the_number_from_a_register() -> None:
    assert run(Machine({7: lambda machine, *args: 42}), assemble("r3 = 7\ncallx r3\nexit")) == 42


def test_local_calls_keep_r6_to_r9_and_give_a_fresh_stack() -> None:
    text = """
        r6 = 1
        r7 = 2
        *(u64 *)(r10 -8) = 5
        r1 = 10
        call double
        r0 += r6
        r0 += r7
        r1 = *(u64 *)(r10 -8)
        r0 += r1
        exit
    double:
        r6 = 100
        r7 = 100
        *(u64 *)(r10 -8) = 9
        r0 = r1
        r0 += r1
        exit
    """
    assert run(Machine(), assemble(text)) == 20 + 1 + 2 + 5


def test_nine_frames_are_one_too_many() -> None:
    def chain(calls: int) -> list[Insn]:
        middle = "".join(f"f{i}: call f{i + 1}\nexit\n" for i in range(calls))
        return assemble(f"{middle}f{calls}: r0 = 3\nexit")

    assert run(Machine(), chain(7)) == 3
    with pytest.raises(Fault, match="more than 8 call frames"):
        run(Machine(), chain(8))


def test_call_back_runs_a_subprogram_and_keeps_the_registers() -> None:
    text = "r6 = 5\nr1 = 3\ncall 1\nr0 += r6\nexit\nr0 = r1\nr0 *= r2\nexit"
    program = assemble(text)
    machine = Machine({1: lambda m, a, *rest: call_back(m, program, 5, a, 7)})
    assert run(machine, program) == 3 * 7 + 5


# --- what no verified program does

FRAME = Insn(0xBF, 1, 10)  # r1 = r10


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ([Insn(0x07)], "control leaves the program"),
        ([Insn(0x05, 0, 0, -2)], "control leaves the program"),
        (assemble("loop: goto loop"), "more than 100 instructions"),
        (assemble("call 999\nexit"), "unknown helper 999"),
        ([Insn(0xE7)], "unknown arithmetic opcode"),
        ([Insn(0xF5)], "unknown jump opcode"),
        ([Insn(0x20)], "legacy packet access"),
        ([FRAME, Insn(op.STX | op.ATOMIC | op.DW, 1, 2, -8, 0x33)], "unknown atomic operation"),
        ([FRAME, Insn(0xA1, 2, 1, -8)], "unknown load opcode"),
        ([FRAME, Insn(0xA3, 1, 2, -8)], "unknown store opcode"),
    ],
)  # fmt: skip
def test_faults(program: list[Insn], message: str) -> None:
    with pytest.raises(Fault, match=message) as caught:
        run(Machine(), program, limit=100)
    assert 0 <= caught.value.pc <= len(program) or "leaves" in message


def test_trace_gives_the_registers_before_each_instruction() -> None:
    steps = list(trace(Machine(), assemble("r0 = 1\ngoto +1\nr0 = 2\nr0 += 5\nexit"), r1=11, r2=12))
    assert [step.pc for step in steps] == [0, 1, 3, 4]
    assert [step.registers[0] for step in steps] == [0, 1, 1, 6]
    assert steps[0].registers[1:3] == (11, 12)
    assert steps[0].registers[10] == steps[-1].registers[10] != 0


def test_text_ends_at_the_first_nul() -> None:
    machine = Machine()
    assert machine.text(machine.allocate(b"abc\0def") + 1) == b"bc"
