"""Random programs with a shape: numbers, stack, maps, helpers, packets, loops and calls, mostly sensible.

The generator keeps a rough idea of what each register holds, uses it mostly, and ignores it now and
then; so about half of the programs are accepted, and the refused ones come close.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import NamedTuple

from pbt.isa import insn as make
from pbt.isa import opcodes as op
from pbt.isa.insn import EXIT, Insn
from pbt.uapi.helpers import HELPERS
from pbt.verifier_sim import MapInfo

MAPS = (
    MapInfo("hash", "HASH", 4, 16, 8),
    MapInfo("ring", "RINGBUF", 0, 0, 4096),
    MapInfo("array", "ARRAY", 4, 48, 4),
    MapInfo("one", "ARRAY", 4, 64, 1),
)
TYPES = (
    "SOCKET_FILTER",
    "KPROBE",
    "TRACEPOINT",
    "XDP",
    "SCHED_CLS",
    "CGROUP_SKB",
    "RAW_TRACEPOINT",
    "PERF_EVENT",
)
_ALU = ("ADD", "SUB", "MUL", "DIV", "MOD", "AND", "OR", "XOR", "LSH", "RSH", "ARSH", "SDIV", "SMOD")
_LIKELY = ("ADD", "AND", "SUB", "OR", "LSH", "RSH", "MUL", "ARSH", "XOR")
_JUMPS = ("JEQ", "JNE", "JGT", "JGE", "JLT", "JLE", "JSGT", "JSGE", "JSLT", "JSLE", "JSET")
_NUMBERS = (
    0,
    1,
    2,
    3,
    4,
    7,
    8,
    15,
    16,
    31,
    63,
    64,
    100,
    255,
    256,
    4095,
    65535,
    -1,
    -2,
    -8,
    -16,
    -128,
    1 << 30,
)
_ATOMICS = ("ADD", "OR", "AND", "XOR", "FETCH_ADD", "FETCH_OR", "XCHG", "CMPXCHG")
_PLAIN_HELPERS = ("ktime_get_ns", "get_prandom_u32", "get_smp_processor_id", "get_current_pid_tgid")
_CONTEXT = {  # offsets that are numbers, and the size to read them with
    "SOCKET_FILTER": ((0, 4), (4, 4), (8, 4), (16, 4)),
    "XDP": ((12, 4), (16, 4)),
    "SCHED_CLS": ((0, 4), (8, 4), (16, 4)),
    "CGROUP_SKB": ((0, 4), (4, 4), (8, 4)),
    "KPROBE": ((0, 8), (8, 8), (104, 8), (112, 4), (16, 2)),
    "TRACEPOINT": ((8, 8), (16, 8), (24, 4), (32, 1)),
    "RAW_TRACEPOINT": ((0, 8), (8, 8), (16, 8)),
    "PERF_EVENT": ((0, 8), (168, 8), (8, 8)),
}
_PACKET = {"XDP": (0, 4), "SCHED_CLS": (76, 80), "CGROUP_SKB": (76, 80)}


class Program(NamedTuple):
    prog_type: str
    insns: list[Insn]
    map_of: Mapping[int, tuple[int, str, int]]


class _Jump(NamedTuple):
    """A jump whose target is a label."""

    insn: Insn
    label: int


class _Maker:
    def __init__(self, rng: random.Random, prog_type: str) -> None:
        self.rng, self.prog_type = rng, prog_type
        self.out: list[Insn | _Jump] = []
        self.map_of: dict[int, tuple[int, str, int]] = {}
        self.labels: dict[int, int] = {}
        self.kinds: dict[int, str] = {1: "ctx"}  # register → "num", "small", "value", "pkt", "ctx", "stack"
        self.sizes: dict[int, int] = {}
        self.stack: set[int] = set()
        self.ctx = -1
        self.functions: list[int] = []

    # --- small things -----------------------------------------------------------------------------

    def emit(self, *insns: Insn) -> None:
        self.out.extend(insns)

    def label(self) -> int:
        self.labels[len(self.labels)] = -1
        return len(self.labels) - 1

    def place(self, label: int) -> None:
        self.labels[label] = len(self.out)

    def jump(self, insn: Insn, label: int) -> None:
        self.out.append(_Jump(insn, label))

    def chance(self, of: float) -> bool:
        return self.rng.random() < of

    def number(self) -> int:
        if self.chance(0.1):
            return self.rng.randrange(-(1 << 31), 1 << 31)
        return self.rng.choice(_NUMBERS)

    def having(self, *kinds: str) -> int | None:
        found = [r for r, kind in self.kinds.items() if kind in kinds]
        return self.rng.choice(found) if found else None

    def a_number(self) -> int:
        found = self.having("num", "small")
        if found is None or self.chance(0.02):
            found = self.target()
            self.emit(make.mov_imm(found, self.number()))
            self.kinds[found] = "num"
        return found

    def target(self) -> int:
        """A register to overwrite: seldom one that holds something precious."""
        free = [r for r in range(10) if r != self.ctx and self.kinds.get(r, "num") in ("num", "small")]
        return self.rng.choice(free) if free and not self.chance(0.03) else self.rng.choice(range(2, 10))

    def set(self, reg: int, kind: str, size: int = 0) -> None:
        self.kinds[reg] = kind
        self.sizes[reg] = size
        if reg == self.ctx and kind != "ctx":
            self.ctx = -1

    def clobber(self) -> None:
        for reg in range(1, 6):
            self.kinds.pop(reg, None)

    def load_map(self, reg: int, index: int) -> None:
        self.map_of[len(self.out)] = (index, "map_fd", 0)
        self.emit(*make.wide(reg, 0, "map_fd"))

    def slot(self, size: int = 8) -> int:
        if self.stack and self.chance(0.7):
            base = self.rng.choice(sorted(self.stack))
        else:
            base = -8 * self.rng.randrange(1, 9)
        return base + (self.rng.randrange(0, 8 // size) * size if size < 8 else 0)

    # --- pieces -----------------------------------------------------------------------------------

    def arithmetic(self) -> None:
        rng = self.rng
        dst = self.a_number()
        name = rng.choice(_LIKELY if self.chance(0.85) else _ALU)
        wide = self.chance(0.65)
        if self.chance(0.4):
            src = self.a_number()
            self.emit(make.alu(name, dst, src, wide=wide))
        else:
            imm = rng.randrange(0, 64 if wide else 32) if name in ("LSH", "RSH", "ARSH") else self.number()
            if name in ("DIV", "MOD", "SDIV", "SMOD") and not imm:
                imm = 3
            self.emit(make.alu(name, dst, None, imm, wide=wide))
        self.set(dst, "num")

    def unary(self) -> None:
        dst = self.a_number()
        kind = self.rng.randrange(4)
        if kind == 0:
            self.emit(make.alu("NEG", dst, wide=self.chance(0.6)))
        elif kind == 1:
            self.emit(make.end(dst, self.rng.choice((16, 32, 64)), self.rng.choice(("le", "be", "swap"))))
        elif kind == 2:
            wide = self.chance(0.6)
            bits = self.rng.choice((8, 16, 32) if wide else (8, 16))
            src = self.a_number()
            self.emit(Insn((op.ALU64 if wide else op.ALU) | op.X | op.MOV, dst, src, bits))
        else:
            self.emit(make.mov_imm(dst, self.number()))
        self.set(dst, "num")

    def copy(self) -> None:
        src = self.rng.choice(sorted(self.kinds)) if self.kinds else self.a_number()
        dst = self.target()
        if self.kinds[src] in ("num", "small") and self.chance(0.35):
            self.emit(Insn(op.ALU | op.X | op.MOV, dst, src))
        else:
            self.emit(make.mov(dst, src))
        self.set(dst, self.kinds[src], self.sizes.get(src, 0))

    def bound(self) -> None:
        """Make a number small, by a mask or by a comparison."""
        reg, most = self.a_number(), self.rng.choice((1, 3, 7, 15, 31, 32, 47, 63))
        if self.chance(0.5):
            self.emit(make.alu("AND", reg, None, most, wide=self.chance(0.7)))
        else:
            name, wide = self.rng.choice(("JGT", "JGE", "JSGT", "JGT")), self.chance(0.7)
            self.jump(make.branch(name, reg, None, 0, most, wide=wide), self.end)
            if name == "JSGT" and self.chance(0.8):
                self.jump(make.branch("JSLT", reg, None, 0, 0, wide=wide), self.end)
        self.set(reg, "small", most)

    def compare(self) -> None:
        """A branch over some pieces."""
        reg, after = self.a_number(), self.label()
        name, wide = self.rng.choice(_JUMPS), self.chance(0.65)
        if self.chance(0.45):
            other = self.a_number()
            self.jump(make.branch(name, reg, other, 0, wide=wide), after)
        else:
            self.jump(make.branch(name, reg, None, 0, self.number(), wide=wide), after)
        before = dict(self.kinds), dict(self.sizes)
        for _ in range(self.rng.randrange(0, 4)):
            self.rng.choice((self.arithmetic, self.unary, self.copy, self.fill, self.spill))()
        kept = {r: k for r, k in self.kinds.items() if before[0].get(r) == k}
        if self.chance(0.9):
            self.kinds = kept
        self.place(after)

    def spill(self) -> None:
        size = self.rng.choice((8, 8, 8, 4, 4, 2, 1))
        if self.chance(0.3):
            off = self.slot(size)
            self.emit(make.store_imm(size, 10, off, self.number()))
        else:
            known = sorted(self.kinds)
            reg = self.rng.choice(known) if size == 8 and self.chance(0.4) and known else self.a_number()
            off = self.slot(size)
            self.emit(make.store(size, 10, off, reg))
        self.stack.add(off // 8 * 8)

    def fill(self) -> None:
        size = self.rng.choice((8, 8, 8, 4, 4, 2, 1))
        off, dst = self.slot(size), self.target()
        self.emit(make.load(size, dst, 10, off, sign=size < 8 and self.chance(0.2)))
        self.set(dst, "num")

    def context(self) -> None:
        if self.ctx < 0:
            return
        off, size = self.rng.choice(_CONTEXT[self.prog_type])
        if self.chance(0.02):
            off += self.rng.choice((1, 2, 200))
        dst = self.target()
        self.emit(make.load(size, dst, self.ctx, off))
        self.set(dst, "num")

    def variable_stack(self) -> None:
        """An access of the stack at an offset that varies."""
        index, base = self.having("small"), self.target()
        if index is None or base == index:
            return
        self.emit(make.mov(base, 10), make.alu("ADD", base, None, -8 * self.rng.randrange(1, 10)))
        self.emit(make.alu("ADD", base, index))
        self.set(base, "stack")
        self.access(base, 1, 0)

    def access(self, base: int, size: int, off: int) -> None:
        kind = self.rng.randrange(5)
        if kind < 2:
            dst = self.target()
            self.emit(make.load(size, dst, base, off, sign=size < 8 and self.chance(0.15)))
            self.set(dst, "num")
        elif kind == 2:
            self.emit(make.store(size, base, off, self.a_number()))
        elif kind == 3 or size < 4:
            self.emit(make.store_imm(size, base, off, self.number()))
        else:
            name, src = self.rng.choice(_ATOMICS), self.a_number()
            if name == "CMPXCHG" and self.kinds.get(0) not in ("num", "small"):
                name = "XCHG"
            self.emit(make.atomic(name, size, base, off, src))

    def lookup(self) -> None:
        index, size = self.rng.choice(((0, 16), (2, 48), (3, 64)))
        if self.chance(0.7):
            self.emit(make.store_imm(4, 10, -4, self.rng.choice((0, 0, 1, 3, 9))))
        else:
            self.emit(make.store(4, 10, -4, self.a_number()))
        self.load_map(1, index)
        self.emit(make.mov(2, 10), make.alu("ADD", 2, None, -4), make.call(HELPERS["map_lookup_elem"].id))
        self.stack.add(-8)
        self.clobber()
        if self.chance(0.95):
            self.jump(make.branch("JEQ", 0, None, 0, 0), self.end)
        dst = self.rng.randrange(6, 10)
        if dst == self.ctx:
            dst = 0
        if dst:
            self.emit(make.mov(dst, 0))
        self.set(0, "value", size)
        self.set(dst, "value", size)

    def direct(self) -> None:
        dst = self.target()
        off = self.rng.choice((0, 8, 16, 60))
        self.map_of[len(self.out)] = (3, "map_value", off)
        self.emit(*make.wide(dst, off << 32, "map_value"))
        self.set(dst, "value", 64 - off)

    def value(self) -> None:
        """An access of a map's value, at a constant or a variable offset."""
        base = self.having("value")
        if base is None:
            return self.rng.choice((self.lookup, self.direct))()
        limit, size = self.sizes[base], self.rng.choice((8, 4, 2, 1))
        index = self.having("small")
        if index is not None and self.chance(0.5):
            self.emit(make.alu(self.rng.choice(("ADD", "ADD", "ADD", "SUB")), base, index))
            limit -= self.sizes[index]
        most = max(limit - size, 0)
        off = self.rng.randrange(0, most + 1) // size * size
        if self.chance(0.05):
            off += self.rng.choice((size, -size, 1))
        self.access(base, size, off)
        if limit < self.sizes[base]:
            self.kinds.pop(base)

    def helper(self) -> None:
        name = self.rng.choice(_PLAIN_HELPERS)
        self.emit(make.call(HELPERS[name].id))
        self.clobber()
        self.set(0, "num")

    def update(self) -> None:
        """map_update_elem or map_delete_elem with a key and a value from the stack."""
        index, size = self.rng.choice(((0, 16), (2, 48)))
        self.emit(make.store_imm(4, 10, -4, 1))
        if self.chance(0.9):
            for at in range(0, size, 8):
                self.emit(make.store_imm(8, 10, -8 - size + at, at))
        value = self.having("value")
        self.emit(make.mov(2, 10), make.alu("ADD", 2, None, -4))
        if value is not None and value > 2 and self.sizes[value] >= size and self.chance(0.3):
            self.emit(make.mov(3, value))
        else:
            self.emit(make.mov(3, 10), make.alu("ADD", 3, None, -8 - size))
        self.load_map(1, index)
        self.emit(make.mov_imm(4, 0), make.call(HELPERS["map_update_elem"].id))
        self.stack.update(range(-8 - size, 0, 8))
        self.clobber()
        self.set(0, "num")

    def probe_read(self) -> None:
        """A helper that fills memory of a size that may vary."""
        if self.prog_type not in ("KPROBE", "TRACEPOINT", "PERF_EVENT", "RAW_TRACEPOINT"):
            return
        small = self.having("small")
        off = -8 * self.rng.randrange(1, 9)
        name = self.rng.choice(("probe_read_kernel", "probe_read_kernel_str", "get_current_comm"))
        if small is not None and small > 2 and self.chance(0.5):
            self.emit(make.mov(2, small))
        else:
            self.emit(make.mov_imm(2, self.rng.choice((8, 16, 4, 1, 64, 0))))
        self.emit(make.mov(1, 10), make.alu("ADD", 1, None, off), make.mov_imm(3, 0))
        self.emit(make.call(HELPERS[name].id))
        self.clobber()
        self.set(0, "num")

    def ring(self) -> None:
        """Reserve a record, write into it, give it back (mostly)."""
        size = self.rng.choice((8, 16, 24))
        self.load_map(1, 1)
        self.emit(make.mov_imm(2, size), make.mov_imm(3, 0), make.call(HELPERS["ringbuf_reserve"].id))
        self.clobber()
        after = self.label()
        self.jump(make.branch("JEQ", 0, None, 0, 0), after if self.chance(0.9) else self.end)
        keep = self.rng.choice([r for r in range(6, 10) if r != self.ctx])
        self.emit(make.mov(keep, 0))
        self.set(keep, "record")
        before = dict(self.kinds)
        for _ in range(self.rng.randrange(0, 3)):
            width = self.rng.choice((8, 4, 1))
            off = self.rng.randrange(0, size - width + 1) // width * width
            if self.chance(0.04):
                off = size
            self.emit(make.store_imm(width, keep, off, 1))
        if self.chance(0.96):
            name = self.rng.choice(("ringbuf_submit", "ringbuf_discard"))
            self.emit(make.mov(1, keep), make.mov_imm(2, 0), make.call(HELPERS[name].id))
        self.kinds = {r: k for r, k in before.items() if r not in (0, keep) and r > 5}
        self.place(after)

    def packet(self) -> None:
        """Compare with the end of the packet, then read."""
        if self.prog_type not in _PACKET or self.ctx < 0:
            return
        data, end = _PACKET[self.prog_type]
        reg, last, limit = 2, 3, 4
        self.emit(make.load(4, reg, self.ctx, data), make.load(4, last, self.ctx, end))
        small = self.having("small")
        moved = small is not None and small > 4 and self.chance(0.5)
        if moved and small is not None:
            self.emit(make.alu("ADD", reg, small))
        size = self.rng.choice((1, 2, 4, 8, 14, 20))
        self.emit(make.mov(limit, reg), make.alu("ADD", limit, None, size))
        name = self.rng.choice(("JGT", "JGT", "JGE", "JLT", "JLE"))
        if name in ("JLT", "JLE"):
            good = self.label()
            self.jump(make.branch(name, limit, last, 0), good)
            self.jump(make.jump(0), self.end)
            self.place(good)
        elif self.chance(0.2):
            self.jump(make.branch({"JGT": "JLT", "JGE": "JLE"}[name], last, limit, 0), self.end)
        else:
            self.jump(make.branch(name, limit, last, 0), self.end)
        width = self.rng.choice((1, 2, 4))
        off = self.rng.randrange(0, max(size - width, 0) + 1)
        if self.chance(0.05):
            off += size
        dst = self.rng.choice((0, 5))
        self.emit(make.load(width, dst, reg, off))
        self.clobber()
        self.set(dst, "num")

    def loop(self) -> None:
        """A counted loop over a few pieces."""
        counter = self.rng.choice([r for r in range(6, 10) if r != self.ctx])
        rounds = self.rng.choice((2, 3, 5, 8, 20))
        up = self.chance(0.6)
        self.emit(make.mov_imm(counter, 0 if up else rounds))
        self.kinds.pop(counter, None)
        self.kinds = {r: k for r, k in self.kinds.items() if r > 5 or k == "num"}
        start = self.label()
        self.place(start)
        before = dict(self.kinds)
        for _ in range(self.rng.randrange(1, 4)):
            self.rng.choice((self.arithmetic, self.unary, self.spill, self.fill, self.value, self.compare))()
            self.kinds.pop(counter, None)
        self.emit(make.alu("ADD", counter, None, 1 if up else -1))
        if up:
            self.jump(make.branch(self.rng.choice(("JLT", "JNE", "JSLT")), counter, None, 0, rounds), start)
        else:
            self.jump(make.branch(self.rng.choice(("JNE", "JSGT", "JGT")), counter, None, 0, 0), start)
        self.kinds = {r: k for r, k in self.kinds.items() if before.get(r) == k}
        self.set(counter, "num")

    def call(self) -> None:
        """A function of the program with two arguments."""
        label = self.label()
        self.functions.append(label)
        self.emit(make.mov(1, self.a_number()))
        if self.chance(0.4):
            self.emit(make.mov(2, 10), make.alu("ADD", 2, None, -8))
        else:
            self.emit(make.mov_imm(2, self.number()))
        self.jump(make.call_local(0), label)
        self.clobber()
        self.set(0, "num")

    def function(self, label: int) -> None:
        self.place(label)
        self.kinds, self.sizes, self.stack, self.ctx = {1: "num"}, {}, set(), -1
        self.end = self.label()
        for _ in range(self.rng.randrange(1, 5)):
            self.rng.choice((self.arithmetic, self.unary, self.bound, self.compare, self.spill, self.fill))()
        if self.chance(0.2):
            self.emit(make.load(8, 3, 2, 0))
        self.emit(make.mov(0, self.a_number()), EXIT)
        self.place(self.end)
        self.emit(make.mov_imm(0, 0), EXIT)

    # --- whole ------------------------------------------------------------------------------------

    def whole(self, length: int) -> Program:
        self.end = self.label()
        self.emit(make.mov(6, 1))
        self.kinds, self.ctx = {1: "ctx", 6: "ctx"}, 6
        pieces = (
            (self.arithmetic, 5), (self.unary, 2), (self.copy, 3), (self.bound, 4), (self.compare, 4),
            (self.spill, 4), (self.fill, 3), (self.context, 3), (self.variable_stack, 2), (self.value, 5),
            (self.helper, 2), (self.update, 1), (self.probe_read, 2), (self.ring, 1), (self.packet, 2),
            (self.loop, 1), (self.call, 1),
        )  # fmt: skip
        choices, weights = zip(*pieces, strict=True)
        for piece in self.rng.choices(choices, weights, k=length):
            piece()
        if self.chance(0.5):
            self.emit(make.mov(0, self.a_number()))
            if self.prog_type == "CGROUP_SKB":
                self.emit(make.alu("AND", 0, None, 1))
            self.emit(EXIT)
        self.place(self.end)
        self.emit(make.mov_imm(0, 0), EXIT)
        for label in self.functions[:]:
            self.function(label)
        return Program(self.prog_type, self._linked(), self.map_of)

    def _linked(self) -> list[Insn]:
        out = []
        for at, item in enumerate(self.out):
            if isinstance(item, _Jump):
                distance = self.labels[item.label] - at - 1
                call = item.insn.opcode == op.JMP | op.CALL
                item = item.insn._replace(imm=distance) if call else item.insn._replace(offset=distance)
            out.append(item)
        return out


def program(seed: int) -> Program:
    """The random program of a seed."""
    rng = random.Random(seed)
    return _Maker(rng, rng.choice(TYPES)).whole(rng.randrange(3, 26))


def unprivileged(seed: int) -> Program:
    """The random program of a seed, a socket filter: what may be loaded without privileges."""
    rng = random.Random(seed)
    return _Maker(rng, "SOCKET_FILTER").whole(rng.randrange(3, 26))


def mutated(rng: random.Random, program: Program) -> Program:
    """The program with one or two instructions changed a little: another register, number, size."""
    insns = list(program.insns)
    for _ in range(rng.randrange(1, 3)):
        at = rng.randrange(len(insns))
        insn = insns[at]
        if insn.is_wide or (at and insns[at - 1].is_wide):
            continue
        how = rng.randrange(5)
        if how == 0:
            insn = insn._replace(dst_reg=rng.randrange(10))
        elif how == 1 and insn.opcode & 7 not in (op.ST,):
            insn = insn._replace(src_reg=rng.randrange(10)) if insn.src_reg else insn
        elif how == 2 and insn.opcode & 7 not in (op.JMP, op.JMP32):
            insn = insn._replace(offset=insn.offset + rng.choice((-8, -1, 1, 4, 8))) if insn.offset else insn
        elif how == 3 and insn.imm and insn.opcode != op.JMP | op.CALL:
            insn = insn._replace(imm=rng.choice(_NUMBERS))
        elif how == 4:
            insn = make.mov_imm(rng.randrange(10), rng.choice(_NUMBERS))
        insns[at] = insn
    return program._replace(insns=insns)
