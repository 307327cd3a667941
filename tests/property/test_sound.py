"""What the verifier simulator accepts, the interpreter runs inside the predicted states."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from pbt.isa import insn as make
from pbt.isa import opcodes as op
from pbt.isa.insn import EXIT, Insn, encode
from pbt.isa.interp import Fault, Machine, trace
from pbt.verifier_sim import arith, bounds, casts, compare, scalar, tnum, verify
from pbt.verifier_sim.kernels import LATEST, features
from pbt.verifier_sim.scalar import Scalar
from tests.property import structured
from tests.property.concrete import World, inside

KERNELS = ("5.10", "6.1", "6.12", "6.18", "7.3")
NAMES = ("ADD", "SUB", "MUL", "DIV", "MOD", "SDIV", "SMOD", "AND", "OR", "XOR", "LSH", "RSH", "ARSH")
JUMPS = ("JEQ", "JNE", "JGT", "JGE", "JLT", "JLE", "JSGT", "JSGE", "JSLT", "JSLE", "JSET")

_edges = st.sampled_from(
    [0, 1, 2, 7, 255, 256, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1, 2**64 - 2**31]
)
numbers = st.one_of(_edges, st.integers(0, 255), st.integers(0, 2**64 - 1))


@st.composite
def scalars(draw: st.DrawFn) -> tuple[Scalar, int]:
    """A set of numbers and one of its members."""
    member = draw(numbers)
    mask = draw(numbers)
    rules = LATEST
    s = bounds.sync(scalar.UNKNOWN._replace(value=member & ~mask & tnum.M64, mask=mask), rules)
    if draw(st.booleans()):
        low, high = sorted((member, draw(numbers)))
        s = bounds.sync(s._replace(umin=max(s.umin, low), umax=min(s.umax, high)), rules)
    if draw(st.booleans()):
        other = scalar.s64(draw(numbers))
        low, high = sorted((scalar.s64(member), other))
        s = bounds.sync(s._replace(smin=max(s.smin, low), smax=min(s.smax, high)), rules)
    if draw(st.booleans()):
        low, high = sorted((member & tnum.M32, draw(numbers) & tnum.M32))
        s = bounds.sync(s._replace(u32min=max(s.u32min, low), u32max=min(s.u32max, high)), rules)
    return s, member


def _one(code: Insn, dst: int, src: int) -> int:
    """The interpreter's result of one instruction on r1 and r2."""
    insns = [*make.wide(1, dst), *make.wide(2, src), code, make.mov(0, 1), EXIT]
    *_, last = trace(Machine(), insns)
    return last.registers[0]


@settings(max_examples=300, deadline=None)
@given(scalars(), scalars(), st.sampled_from(NAMES), st.booleans(), st.sampled_from(KERNELS))
def test_arithmetic(a: tuple[Scalar, int], b: tuple[Scalar, int], name: str, wide: bool, kernel: str) -> None:
    result = arith.binary(name, a[0], b[0], wide, features(kernel))
    assert result.contains(_one(make.alu(name, 1, 2, wide=wide), a[1], b[1]))


@settings(max_examples=300, deadline=None)
@given(scalars(), st.sampled_from((8, 16, 32)), st.booleans(), st.sampled_from(KERNELS))
def test_sign_extension_and_truncation(a: tuple[Scalar, int], bits: int, wide: bool, kernel: str) -> None:
    rules = features(kernel)
    if wide or bits < 32:
        got = casts.sign_extend(a[0], bits // 8, rules, wide)
        assert got.contains(_one(Insn((op.ALU64 if wide else op.ALU) | op.X | op.MOV, 1, 1, bits), a[1], 0))
    kept = casts.truncate(a[0], bits // 8, rules)
    assert kept.contains(a[1] & (1 << bits) - 1)
    assert arith.negate(a[0], wide, rules).contains(_one(make.alu("NEG", 1, wide=wide), a[1], 0))
    assert casts.byte_swap(a[0], bits // 8, rules).contains(_one(make.end(1, bits, "be"), a[1], 0))


def _jumps(name: str, wide: bool, a: int, b: int) -> bool:
    insns = [
        *make.wide(1, a), *make.wide(2, b), make.mov_imm(0, 1), make.branch(name, 1, 2, 1, wide=wide),
        make.mov_imm(0, 0), EXIT,
    ]  # fmt: skip
    *_, last = trace(Machine(), insns)
    return last.registers[0] == 1


@settings(max_examples=300, deadline=None)
@given(scalars(), scalars(), st.sampled_from(JUMPS), st.booleans(), st.sampled_from(KERNELS))
def test_branches(a: tuple[Scalar, int], b: tuple[Scalar, int], name: str, wide: bool, kernel: str) -> None:
    """A decided branch goes the decided way; refinement keeps the numbers that go that way."""
    goes = _jumps(name, wide, a[1], b[1])
    assert compare.taken(name, a[0], b[0], wide, features(kernel)) in (None, goes)
    holds = name if goes else compare.INVERSE[name]
    left, right = compare.refine(holds, a[0], b[0], wide, features(kernel))
    assert (left or a[0]).contains(a[1]) and (right or b[0]).contains(b[1])


# whole programs -------------------------------------------------------------------------------------


def program(rng: random.Random, length: int) -> list[Insn]:
    """Numbers and stack slots, jumps ahead, a few jumps back."""
    insns = [
        Insn(0xB7, r, 0, 0, rng.choice((0, 1, 7, 255, -1, 65536, rng.getrandbits(31)))) for r in range(10)
    ]
    insns[rng.randrange(10)] = make.load(rng.choice((4, 8)), rng.randrange(2, 10), 1, 8 * rng.randrange(4))
    insns.sort(key=lambda i: i.cls != op.LDX)
    insns.extend(_random(rng) for _ in range(length))
    return [*insns, make.mov_imm(0, 0), EXIT]


def _random(rng: random.Random) -> Insn:
    kind, dst, src = rng.randrange(10), rng.randrange(10), rng.randrange(10)
    if kind < 5:
        name = rng.choice((*NAMES, "MOV"))
        wide = rng.random() < 0.6
        if rng.random() < 0.5:
            return make.alu(name, dst, src, wide=wide)
        imm = rng.randrange(1, 32) if name in ("LSH", "RSH", "ARSH") else rng.choice((1, 3, 15, 255, -8))
        return make.alu(name, dst, None, imm, wide=wide)
    place = -8 * rng.randrange(1, 5)
    if kind == 5:
        return make.store(rng.choice((8, 4, 2, 1)), 10, place, src)
    if kind == 6:
        return make.load(rng.choice((8, 4, 2, 1)), dst, 10, place)
    if kind == 7:
        return make.store_imm(8, 10, place, rng.choice((0, 5, -1)))
    offset = rng.randrange(4) if rng.random() < 0.95 else -3
    if rng.random() < 0.5:
        return make.branch(rng.choice(JUMPS), dst, None, offset, rng.choice((0, 1, 100, -1)), wide=kind == 8)
    return make.branch(rng.choice(JUMPS), dst, src, offset, wide=kind == 8)


def test_the_generator_makes_loadable_bytes() -> None:
    assert len(encode(program(random.Random(1), 10))) % 8 == 0


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 40), st.sampled_from(KERNELS))
def test_accepted_programs_stay_inside_the_states(seed: int, length: int, kernel: str) -> None:
    rng = random.Random(seed)
    insns = program(rng, length)
    verdict = verify(insns, prog_type="KPROBE", kernel=kernel, keep_states=True, thorough=True)
    if verdict.kind != "accept":
        return
    machine = Machine()
    context = machine.allocate(bytearray(rng.randbytes(64)))
    steps = 0
    try:
        for step in trace(machine, insns, r1=context, limit=20_000):
            steps += 1
            if step.pc:
                assert verdict.covers(step.pc, step.registers), (step, verdict.before(step.pc))
    except Fault as fault:
        assert "limit" in str(fault), fault


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(KERNELS), st.booleans())
def test_whole_programs_stay_inside_the_states(seed: int, kernel: str, changed: bool) -> None:
    """Maps, helpers, packets, records, loops and calls: no accepted program faults, no register is a surprise."""
    made = structured.program(seed)
    if changed:
        made = structured.mutated(random.Random(seed), made)
    verdict = verify(
        made.insns, prog_type=made.prog_type, maps=structured.MAPS, map_of=made.map_of, declared=made.declared,
        kernel=kernel, keep_states=True, thorough=True, patience=20_000, cpus=64,
    )  # fmt: skip
    if verdict.kind != "accept":
        return

    def watch(pc: int, registers: tuple[int, ...]) -> None:
        states = verdict.states.get(pc, ())
        assert any(inside(state, registers) for state in states), (pc, registers, verdict.before(pc))

    for run in range(2):
        World(made, seed + run, watch).run()
