"""Random programs mean the same to a reading of the IR, after the passes, and as machine code."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pbt.backend import proof
from pbt.backend.pipeline import Compiled, compile_program
from pbt.ir import passes, text
from pbt.ir.build import Builder
from pbt.ir.core import BINARY, CONDITIONS, Branch, Function, Jump, Op, Program, Value
from pbt.ir.verify import verify
from pbt.isa.insn import decode, signed, wide
from pbt.isa.interp import Machine, run

M64 = (1 << 64) - 1
HELPERS = {"mix": 1000, "fill": 1001, "sum": 1002, "lookup": 1003, "tick": 1004}
CTX, MAP = 64, 64
EDGES = (0, 1, -1, 2, 7, 8, 63, 64, 255, 256, 65535, 0xFFFFFFFF, 1 << 31, -(1 << 31), (1 << 31) - 1,
         1 << 32, -(1 << 63), (1 << 63) - 1, 0x123456789ABCDEF0)  # fmt: skip


# --- what the helpers of these tests do ---------------------------------------------------------


def helpers(machine: Machine, element: int) -> dict[int, Callable[..., int]]:
    ticks = [0]

    def mix(m: Machine, a: int, b: int, c: int, d: int, e: int) -> int:
        return (a * 3 + b * 5 + 1) & M64

    def fill(m: Machine, at: int, size: int, seed: int, d: int, e: int) -> int:
        m.write(at, bytes((seed + n * 7) & 255 for n in range(size)))
        return 0

    def total(m: Machine, at: int, size: int, c: int, d: int, e: int) -> int:
        return sum((n + 1) * byte for n, byte in enumerate(m.read(at, size)))

    def lookup(m: Machine, key: int, b: int, c: int, d: int, e: int) -> int:
        return 0 if key & 1 else element

    def tick(m: Machine, *args: int) -> int:
        ticks[0] += 1
        return ticks[0] * 1000

    return {1000: mix, 1001: fill, 1002: total, 1003: lookup, 1004: tick}


# --- the meaning of the IR ----------------------------------------------------------------------


def quotient(a: int, b: int) -> int:
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def binary(code: str, a: int, b: int) -> int:
    x, y = signed(a, 64), signed(b, 64)
    if code == "add":
        return a + b
    if code == "sub":
        return a - b
    if code == "mul":
        return a * b
    if code == "udiv":
        return a // b if b else 0
    if code == "umod":
        return a % b if b else a
    if code == "sdiv":
        return quotient(x, y) if y else 0
    if code == "smod":
        return x - y * quotient(x, y) if y else a
    if code == "and":
        return a & b
    if code == "or":
        return a | b
    if code == "xor":
        return a ^ b
    if code == "shl":
        return a << (b & 63)
    return a >> (b & 63) if code == "lshr" else x >> (b & 63)


def holds(cond: str, a: int, b: int) -> bool:
    if cond[0] == "s":
        a, b = signed(a, 64), signed(b, 64)
    return {"eq": a == b, "ne": a != b, "lt": a < b, "le": a <= b, "gt": a > b, "ge": a >= b}[
        cond if len(cond) == 2 else cond[1:]
    ]


class Reading:
    """Runs a function as the docstrings of OPS say."""

    def __init__(self, function: Function, machine: Machine, ctx: int, map_: int, helpers: dict) -> None:
        self.f, self.m, self.ctx, self.map, self.helpers = function, machine, ctx, map_, helpers
        self.slots = [machine.allocate(s.size) for s in function.slots]
        self.v: dict[Value, int] = {}

    def run(self) -> int:
        blocks = {b.name: b for b in self.f.blocks}
        block = self.f.blocks[0]
        for _ in range(100_000):
            for o in block.ops:
                result = self.op(o)
                if o.result is not None:
                    self.v[o.result] = result & M64
            end = block.end
            if isinstance(end, Jump):
                edge = end.to
            elif isinstance(end, Branch):
                edge = end.then if holds(end.cond, self.v[end.left], self.v[end.right]) else end.other
            else:
                return self.v[end.value]
            block = blocks[edge.block]
            values = [self.v[a] for a in edge.args]
            self.v.update(zip(block.params, values, strict=True))
        raise AssertionError("no end")

    def op(self, o: Op) -> int:
        a = [self.v[x] for x in o.args]
        if o.code == "const":
            return o.imm
        if o.code in BINARY:
            return binary(o.code, *a)
        if o.code == "neg":
            return -a[0]
        if o.code in ("zext", "sext"):
            low = a[0] & ((1 << 8 * o.size) - 1)
            return low if o.code == "zext" else signed(low, 8 * o.size)
        if o.code == "bswap":
            return int.from_bytes((a[0] & ((1 << 8 * o.size) - 1)).to_bytes(o.size, "little"), "big")
        if o.code == "cmp":
            return int(holds(o.name, *a))
        if o.code == "select":
            return a[1] if a[0] else a[2]
        if o.code in ("load", "sload"):
            value = self.m.load(a[0] + o.imm & M64, o.size)
            return value if o.code == "load" else signed(value, 8 * o.size)
        if o.code == "store":
            self.m.store(a[0] + o.imm & M64, o.size, a[1])
            return 0
        if o.code == "atomic_add":
            self.m.store(a[0] + o.imm & M64, o.size, self.m.load(a[0] + o.imm & M64, o.size) + a[1])
            return 0
        if o.code == "slot":
            return self.slots[o.imm]
        if o.code == "ctx":
            return self.ctx
        if o.code == "map_value":
            return self.map + o.imm
        assert o.code == "call", o.code
        return self.helpers[HELPERS[o.name]](self.m, *a, *[0] * (5 - len(a)))


Outcome = tuple[int, bytes, bytes]


def world(seed: int) -> tuple[Machine, int, int, dict]:
    machine = Machine()
    content = random.Random(seed)
    ctx = machine.allocate(bytearray(content.choice(EDGES) & 255 for _ in range(CTX)))
    map_ = machine.allocate(bytearray(content.randbytes(MAP)))
    machine.helpers = helpers(machine, map_ + 16)
    return machine, ctx, map_, machine.helpers


def meaning(program: Program, seed: int) -> Outcome:
    machine, ctx, map_, known = world(seed)
    result = Reading(program.functions[0], machine, ctx, map_, known).run()
    return result, machine.read(ctx, CTX), machine.read(map_, MAP)


def execution(compiled: Compiled, seed: int) -> Outcome:
    machine, ctx, map_, _ = world(seed)
    insns = decode(compiled.code.insns)
    for reloc in compiled.code.relocs:
        insns[reloc.insn : reloc.insn + 2] = wide(insns[reloc.insn].dst_reg, map_ + reloc.offset)
    result = run(machine, insns, r1=ctx)
    return result, machine.read(ctx, CTX), machine.read(map_, MAP)


# --- random programs ----------------------------------------------------------------------------


class Maker:
    def __init__(self, seed: int, size: int) -> None:
        self.r, self.left = random.Random(seed), size
        self.b = Builder("main")
        self.slots: list[tuple[Value, int]] = []
        self.n = 0
        self.variables = 5
        for n in range(self.variables):
            self.b.assign(f"x{n}", self.b.load(self.b.ctx(), 8 * n, 8) if n % 2 else n)
        for _ in range(self.r.randrange(4)):
            self.room()
        self.loops = 0

    def room(self) -> None:
        size = self.r.choice((8, 16, 24, 4, 12))
        slot = self.b.slot(size, "room")
        self.b.zero(slot, 0, size)
        self.slots.append((slot, size))

    def pick(self, pool: list[Value]) -> Value:
        r = self.r.random()
        if r < 0.3:
            number = self.r.choice(EDGES) if r < 0.2 else self.r.getrandbits(self.r.choice((4, 8, 33, 64)))
            return self.b.const(number)
        if r < 0.6 or not pool:
            return self.b.read(f"x{self.r.randrange(self.variables)}")
        return self.r.choice(pool)

    def flag(self, pool: list[Value]) -> Value:
        return self.b.compare(self.r.choice(CONDITIONS), self.pick(pool), self.pick(pool))

    def place(self) -> tuple[Value, int, int]:
        """(base, offset, size) of some memory."""
        size = self.r.choice((1, 2, 4, 8))
        kind = self.r.randrange(3)
        if kind == 0 or not self.slots:
            base, room = self.b.map_value("m", 8 * self.r.randrange(3)), 40
        elif kind == 1:
            base, room = self.r.choice(self.slots)
            size = min(size, room)
        else:
            base, room = self.b.ctx(), CTX
        offset = self.r.randrange(0, room - size + 1) // size * size
        if self.r.random() < 0.3:
            base, offset = self.b.add(base, offset), 0
        return base, offset, size

    def body(self, depth: int, pool: list[Value]) -> None:
        pool = list(pool)
        for _ in range(self.r.randrange(1, 9)):
            if self.left <= 0 or self.b.ended:
                return
            self.left -= 1
            self.statement(depth, pool)

    def statement(self, depth: int, pool: list[Value]) -> None:
        b, r = self.b, self.r
        kind = r.randrange(22 if depth < 4 else 17)
        if kind < 6:
            pool.append(b.op(r.choice(BINARY), self.pick(pool), self.pick(pool)))
        elif kind == 6:
            pool.append(r.choice((b.zext, b.sext, b.bswap))(self.pick(pool), r.choice((1, 2, 4, 8))))
        elif kind == 7:
            pool.append(b.neg(self.pick(pool)))
        elif kind == 8:
            pool.append(self.flag(pool))
        elif kind == 9:
            pool.append(b.select(self.flag(pool), self.pick(pool), self.pick(pool)))
        elif kind in (10, 11):
            base, offset, size = self.place()
            pool.append(b.load(base, offset, size, signed=r.random() < 0.3))
        elif kind == 12:
            base, offset, size = self.place()
            b.store(base, offset, size, self.pick(pool))
        elif kind in (13, 14):
            b.assign(f"x{r.randrange(self.variables)}", self.pick(pool))
        elif kind in (15, 16):
            self.call(pool)
        elif kind in (17, 18):
            self.either(depth, pool)
        elif kind == 19:
            self.lookup(depth, pool)
        elif kind == 20 and self.loops < 2:
            self.loop(depth, pool)
        elif kind == 21 and r.random() < 0.2 and depth:
            b.ret(self.pick(pool))

    def call(self, pool: list[Value]) -> None:
        b, r = self.b, self.r
        kind = r.randrange(5)
        if kind < 2 or not self.slots:
            pool.append(b.call("mix", self.pick(pool), self.pick(pool)))
        elif kind == 2:
            pool.append(b.call("tick"))
        elif kind == 3:
            slot, size = r.choice(self.slots)
            at = r.randrange(size)
            b.call("fill", b.add(slot, at) if at else slot, size - at, self.pick(pool))
        else:
            slot, size = r.choice(self.slots)
            pool.append(b.call("sum", slot, size))

    def either(self, depth: int, pool: list[Value]) -> None:
        b = self.b
        yes, no, after = b.block("yes"), b.block("no"), b.block("after")
        if self.r.random() < 0.5:
            b.branch(self.r.choice(CONDITIONS), self.pick(pool), self.pick(pool), yes, no)
        else:
            mask = b.op("and", self.pick(pool), self.pick(pool))
            b.branch(self.r.choice(("ne", "eq")), self.r.choice((mask, self.flag(pool))), 0, yes, no)
        reached = False
        for label in (yes, no):
            b.place(label)
            self.body(depth + 1, pool)
            if not b.ended:
                b.jump(after)
                reached = True
        if reached:
            b.place(after)

    def lookup(self, depth: int, pool: list[Value]) -> None:
        b = self.b
        element = b.call("lookup", self.pick(pool), kind="value")
        yes, after = b.block("hit"), b.block("after")
        b.branch("ne", element, 0, yes, after)
        b.place(yes)
        self.body(depth + 1, pool)
        if not b.ended:
            b.store(element, 8, 8, b.add(b.load(element, 8, 8), self.pick(pool)))
            b.atomic_add(element, 0, 8, self.pick(pool))
            b.jump(after)
        b.place(after)

    def loop(self, depth: int, pool: list[Value]) -> None:
        b = self.b
        self.loops += 1
        counter = f"i{self.loops}.{self.n}"
        self.n += 1
        b.assign(counter, 0)
        head, inside, after = b.block("head"), b.block("inside"), b.block("after")
        b.jump(head)
        b.place(head, sealed=False)
        b.branch("ult", b.read(counter), self.r.randrange(1, 5), inside, after)
        b.place(inside)
        self.body(depth + 1, pool)
        if not b.ended:
            b.assign(counter, b.add(b.read(counter), 1))
            b.jump(head)
        b.seal(head)
        b.place(after)
        self.loops -= 1

    def program(self) -> Program:
        while self.left > 0 and not self.b.ended:
            self.body(0, [])
        if not self.b.ended:
            total = self.b.read("x0")
            for n in range(1, self.variables):
                total = self.b.add(self.b.op("mul", total, 31), self.b.read(f"x{n}"))
            self.b.ret(total)
        return Program("random", (self.b.finish(),))


programs = st.builds(
    lambda seed, size: Maker(seed, size).program(), st.integers(0, 1 << 40), st.integers(1, 90)
)
quick = settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))


@quick
@given(programs, st.integers(0, 99), st.sampled_from((frozenset(), frozenset({"cpu_v4"}))))
def test_machine_code_means_what_the_ir_says(program, seed, features):
    compiled = compile_program(program, features, HELPERS)
    assert execution(compiled, seed) == meaning(program, seed)
    assert proof.check(compiled.machine, compiled.allocation) == []


@quick
@given(programs, st.integers(0, 99))
def test_passes_keep_the_meaning(program, seed):
    expected = meaning(program, seed)
    for step in passes.PASSES:
        program = passes.apply(step, program)
        assert verify(program) == [], step.__name__
        assert meaning(program, seed) == expected, step.__name__
    final = passes.run(program)
    assert verify(final) == []
    assert meaning(final, seed) == expected
    assert execution(compile_program(final, frozenset(), HELPERS), seed) == expected


@quick
@given(programs)
def test_text_is_a_round_trip(program):
    assert verify(program) == []
    assert text.parse(text.dump(program)) == program


@pytest.mark.parametrize("code", ["sdiv", "smod", "udiv", "umod"])
@pytest.mark.parametrize("features", [frozenset(), frozenset({"cpu_v4"})])
def test_division_at_its_edges(code, features):
    numbers = (0, 1, -1, 2, -2, 3, -3, 10, -(1 << 63), (1 << 63) - 1, -(1 << 31), 1 << 31, 1 << 40)
    for right in numbers:
        for constant in (True, False):
            b = Builder("main")
            divisor = right if constant else b.load(b.ctx(), 8, 8)
            b.ret(b.op(code, b.load(b.ctx(), 0, 8), divisor))
            insns = decode(compile_program(Program("p", (b.finish(),)), features, {}).code.insns)
            for left in numbers:
                machine = Machine()
                words = b"".join((n & M64).to_bytes(8, "little") for n in (left, right))
                result = run(machine, insns, r1=machine.allocate(words))
                assert result == binary(code, left & M64, right & M64) & M64, (left, right, constant)
