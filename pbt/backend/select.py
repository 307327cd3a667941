"""Operations → instructions on virtual registers, by the table in `rules`.

Numbers and the addresses of slots, maps and map values never occupy a register of their own: they are folded into
instructions or made where they are read. Operations whose result nobody reads are not written at all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from pbt.backend.machine import FRAME, VIRTUAL, MachineProgram, MBlock, MEnd, MFunction, MInsn, Symbol
from pbt.backend.rules import MAKERS, RULES, fits
from pbt.ir.core import (
    INVERSE,
    SWAPPED,
    Branch,
    Condition,
    Edge,
    Function,
    Jump,
    Op,
    Program,
    Terminator,
    Value,
)
from pbt.ir.flow import all_operands, definitions, incoming, points_to
from pbt.isa import insn as isa
from pbt.isa.insn import Insn
from pbt.isa.opcodes import LD_IMM64
from pbt.source import Span

_JUMPS: dict[Condition, str] = {
    "eq": "JEQ", "ne": "JNE", "ult": "JLT", "ule": "JLE", "ugt": "JGT", "uge": "JGE",
    "slt": "JSLT", "sle": "JSLE", "sgt": "JSGT", "sge": "JSGE",
}  # fmt: skip
_MADE = ("const", "slot", "map", "map_value", "func", "variable", "hole")  # made where they are read
_ADDRESSED = ("load", "sload", "store", "atomic_add")


def select(program: Program, helpers: Mapping[str, int], features: frozenset[str]) -> MachineProgram:
    """Choose instructions for a verified program.

    `helpers` gives the id of each helper; with "cpu_v4" in `features`, instructions of the fourth
    version of the instruction set (Linux 6.6) may be used.
    """
    functions = tuple(Selection(f, helpers, features).function() for f in program.functions)
    return MachineProgram(program.name, functions)


class Selection:
    """One function while its instructions are written."""

    def __init__(self, function: Function, helpers: Mapping[str, int], features: frozenset[str]) -> None:
        self.source, self.helpers, self.v4 = function, helpers, "cpu_v4" in features
        self.defs = definitions(function)
        self.reads = Counter(all_operands(function))
        self.needed = _needed(self)
        self.points = points_to(function)
        self.pinned = 0
        self.next = VIRTUAL
        self.regs: dict[Value, int] = {}
        self.blocks: list[MBlock] = []
        self.out: list[MInsn] = []
        self.bases: dict[str, tuple[int, int]] = {}  # map → register with the address of one of its bytes
        self.span: Span | None = None
        self.touches = 0

    # --- what is known of values ------------------------------------------------------------

    def number(self, value: Value) -> int | None:
        """The constant that a value is, signed."""
        made = self.defs.get(value)
        return isa.signed(made.imm, 64) if made is not None and made.code == "const" else None

    def imm(self, value: Value) -> int | None:
        """The same, if an instruction has room for it."""
        number = self.number(value)
        return number if number is not None and fits(number) else None

    def root(self, value: Value) -> tuple[Value, int]:
        """The value as another one plus a constant, as far back as that goes."""
        offset = 0
        while (step := self._step(value)) is not None:
            value, delta = step
            offset += delta
        return value, isa.signed(offset, 64)

    def _step(self, value: Value) -> tuple[Value, int] | None:
        made = self.defs.get(value)
        if made is None or made.code not in ("add", "sub"):
            return None
        left, right = made.args
        number = self.number(right)
        if number is not None:
            return left, number if made.code == "add" else -number
        number = self.number(left)
        return (right, number) if number is not None and made.code == "add" else None

    def made_at_read(self, value: Value) -> Op | None:
        """The operation at the root of a value that never has a register of its own."""
        made = self.defs.get(value)
        if made is not None and made.code in ("add", "sub"):
            root = self.defs.get(self.root(value)[0])
            return root if root is not None and root.code in ("slot", "map_value") else None
        return made if made is not None and made.code in _MADE else None

    # --- writing instructions ---------------------------------------------------------------

    def fresh(self) -> int:
        self.next += 1
        return self.next - 1

    def home(self, value: Value) -> int:
        """The virtual register of a value that has one."""
        if value not in self.regs:
            self.regs[value] = self.fresh()
        return self.regs[value]

    def emit(
        self, insn: Insn, slot: int = -1, symbol: Symbol | None = None, otherwise: Insn | None = None
    ) -> None:
        touches = self.touches | (1 << slot if slot >= 0 else 0)
        self.out.append(MInsn(insn, slot, symbol, otherwise, touches, 0, self.span))

    def alu(self, name: str, dst: int, src: int | None = None, imm: int = 0) -> None:
        self.emit(isa.alu(name, dst, src, imm))

    def put(self, value: Value, dst: int) -> None:
        """Write code that has the value in register `dst`."""
        made = self.made_at_read(value)
        if made is None:
            self.emit(isa.mov(dst, self.home(value)))
        else:
            MAKERS[made.code](self, made, self.root(value)[1], dst)

    def put_number(self, number: int, dst: int) -> None:
        number = isa.signed(number, 64)
        self.emit(isa.mov_imm(dst, number) if fits(number) else Insn(LD_IMM64, dst, 0, 0, number))

    def reg(self, value: Value) -> int:
        """A register that has the value here; not to be written to."""
        made = self.made_at_read(value)
        if made is None:
            return self.home(value)
        if made.code == "map_value" and self.bases.get(made.name, (0, None))[1] == self._byte(value, made):
            return self.bases[made.name][0]
        dst = self.fresh()
        self.put(value, dst)
        if made.code == "map_value":
            self.bases[made.name] = (dst, self._byte(value, made))
        return dst

    def _byte(self, value: Value, made: Op) -> int:
        return made.imm + self.root(value)[1]

    def copy(self, value: Value) -> int:
        """A new register with the value, free to be written to."""
        dst = self.fresh()
        self.put(value, dst)
        return dst

    def address(self, base: Value, offset: int) -> tuple[int, int, int]:
        """(register, offset, slot) for a memory access."""
        root, more = self.root(base)
        offset += more
        made = self.defs.get(root)
        if made is not None and made.code == "slot":
            return FRAME, offset, made.imm
        if made is not None and made.code == "map_value" and made.name in self.bases:
            register, at = self.bases[made.name]
            if -(1 << 15) <= made.imm + offset - at < 1 << 15:
                return register, made.imm + offset - at, -1
        if -(1 << 15) <= offset < 1 << 15:
            return self.reg(root), offset, -1
        far = self.copy(root)
        self.add(far, offset)
        return far, 0, -1

    def add(self, dst: int, number: int) -> None:
        if fits(number):
            self.alu("ADD", dst, imm=number)
        else:
            big = self.fresh()
            self.put_number(number, big)
            self.alu("ADD", dst, big)

    # --- conditions -------------------------------------------------------------------------

    def condition(self, cond: Condition, left: Value, right: Value) -> tuple[Condition, Value, Value]:
        """Look through comparisons whose 0 or 1 is only compared again."""
        while (flag := self.flag(cond, left, right)) is not None:
            compare, holds = flag
            cond = compare.cond if holds else INVERSE[compare.cond]
            left, right = compare.args
        if self.number(left) is not None and self.number(right) is None:
            return SWAPPED[cond], right, left
        return cond, left, right

    def flag(self, cond: Condition, left: Value, right: Value) -> tuple[Op, bool] | None:
        """The comparison that `left cond right` tests, and whether it must hold."""
        made, number = self.defs.get(left), self.number(right)
        if made is None or made.code != "cmp" or cond not in ("eq", "ne") or number not in (0, 1):
            return None
        return made, (cond == "ne") != bool(number)

    def jump_if(self, cond: Condition, left: Value, right: Value) -> Insn:
        """The conditional jump, its distance left open."""
        cond, left, right = self.condition(cond, left, right)
        tested = self.tested_bits(cond, left, right)
        if tested is not None:
            value, mask = tested
            imm = self.imm(mask)
            source = None if imm is not None else self.reg(mask)
            return isa.branch("JSET", self.reg(value), source, 1, imm or 0)
        imm = self.imm(right)
        if imm is not None:
            return isa.branch(_JUMPS[cond], self.reg(left), None, 1, imm)
        source = self.reg(right)
        return isa.branch(_JUMPS[cond], self.reg(left), source, 1)

    def tested_bits(self, cond: Condition, left: Value, right: Value) -> tuple[Value, Value] | None:
        """x and mask of `x & mask != 0` where nothing else reads `x & mask`."""
        made = self.defs.get(left)
        if cond != "ne" or self.number(right) != 0 or made is None or made.code != "and":
            return None
        if self.reads[left] != 1 or self.number(made.args[0]) is not None:
            return None
        return made.args[0], made.args[1]

    def pick(self, dst: int, jump: Insn, other: Value | int) -> None:
        """`dst` stays what it is if `jump` is taken, else becomes `other`."""
        number = other if isinstance(other, int) else self.imm(other)
        if number is not None:
            self.emit(jump, otherwise=isa.mov_imm(dst, number))
        else:
            assert isinstance(other, Value)
            self.emit(jump, otherwise=isa.mov(dst, self.reg(other)))

    # --- blocks -----------------------------------------------------------------------------

    def function(self) -> MFunction:
        self.params = {b.name: b.params for b in self.source.blocks}
        for block in self.source.blocks:
            self.out, self.bases = [], {}
            if block is self.source.blocks[0]:
                self.arguments()
            for o in block.ops:
                if o.code not in _MADE and (o.info.effect or o.result in self.needed):
                    self.operation(o)
            self.terminate(block.name, block.end)
        return MFunction(self.source.name, tuple(self.blocks), self.source.slots, self.pinned)

    def arguments(self) -> None:
        """Take the context or the parameters out of r1 to r5."""
        for o in self.source.ops():
            if o.code in ("ctx", "param") and o.result in self.needed:
                assert o.result is not None
                self.emit(isa.mov(self.home(o.result), 1 + o.imm))

    def operation(self, o: Op) -> None:
        self.span, self.touches = o.span, 0
        if o.info.memory:
            for arg in o.args:
                self.touches |= self.points.get(arg, 0)
        if o.code == "store":
            self.pinned |= self.points.get(o.args[1], 0)
        RULES[o.code](self, o)
        self.touches = 0

    def terminate(self, name: str, end: Terminator) -> None:
        if isinstance(end, Jump):
            self.span = end.span
            self.copies(end.to)
            self.blocks.append(MBlock(name, tuple(self.out), MEnd(None, end.to.block, "", end.span)))
        elif isinstance(end, Branch):
            self.branch(name, end)
        else:
            self.span = end.span
            self.put(end.value, 0)
            self.blocks.append(MBlock(name, tuple(self.out), MEnd(None, "", "", self.span)))

    def branch(self, name: str, end: Branch) -> None:
        self.span = end.span
        cond, left, right = self.condition(end.cond, end.left, end.right)
        then, other = end.then, end.other
        if cond == "eq" and self.tested_bits("ne", left, right) is not None:
            cond, then, other = "ne", other, then
        jump = self.jump_if(cond, left, right)
        body, splits = tuple(self.out), []
        targets = []
        for number, edge in enumerate((then, other)):
            self.out, self.bases = [], {}
            self.copies(edge)
            if self.out:
                targets.append(f"{name}.{number}")
                splits.append(MBlock(targets[-1], tuple(self.out), MEnd(None, edge.block, "", end.span)))
            else:
                targets.append(edge.block)
        self.blocks.append(MBlock(name, body, MEnd(jump, targets[0], targets[1], end.span)))
        self.blocks.extend(splits)

    def copies(self, edge: Edge) -> None:
        """All at once: each parameter of the block gets its argument."""
        pairs = [(p, a) for p, a in zip(self.params[edge.block], edge.args, strict=True) if p in self.needed]
        moves = {self.home(p): self.home(a) for p, a in pairs if self.made_at_read(a) is None and p != a}
        for dst, src in _sequence(moves, self.fresh):
            self.emit(isa.mov(dst, src))
        for param, arg in pairs:
            if self.made_at_read(arg) is not None:
                self.put(arg, self.home(param))


def _sequence(moves: dict[int, int], fresh: Callable[[], int]) -> Iterable[tuple[int, int]]:
    """Parallel copies (to → from) as a sequence; cycles are opened with a fresh register."""
    moves = dict(moves)
    while moves:
        read = set(moves.values())
        free = [dst for dst in moves if dst not in read]
        for dst in free:
            yield dst, moves.pop(dst)
        if not free:
            dst, saved = next(iter(moves)), fresh()
            yield saved, dst
            moves = {d: saved if s == dst else s for d, s in moves.items()}


# --- facts about a whole function ---------------------------------------------------------------


def _needed(selection: Selection) -> set[Value]:
    """Values that need a register where they are computed."""
    passed, needed = incoming(selection.source), set[Value]()
    todo: list[Value] = []
    for block in selection.source.blocks:
        for o in block.ops:
            if o.info.effect:
                todo.extend(_register_reads(selection, o))
        todo.extend(_end_reads(selection, block.end))
    while todo:
        value = todo.pop()
        if value in needed or selection.made_at_read(value) is not None:
            continue
        needed.add(value)
        made = selection.defs.get(value)
        todo.extend(passed.get(value, ()) if made is None else _register_reads(selection, made))
    return needed


def _end_reads(selection: Selection, end: Terminator) -> Sequence[Value]:
    if isinstance(end, Branch):
        return _compared(selection, end.cond, end.left, end.right)
    return () if isinstance(end, Jump) else (end.value,)


def _compared(selection: Selection, cond: Condition, left: Value, right: Value) -> Sequence[Value]:
    cond, left, right = selection.condition(cond, left, right)
    tested = selection.tested_bits("ne" if cond == "eq" else cond, left, right)
    return tested if tested is not None else (left, right)


def _register_reads(selection: Selection, o: Op) -> Sequence[Value]:
    """What the rule of an operation asks registers for."""
    if o.code in _ADDRESSED:
        return (selection.root(o.args[0])[0], *o.args[1:])
    if o.code == "select":
        made = selection.defs.get(o.args[0])
        if made is not None and made.code == "cmp":
            return (*_pick_reads(selection, made), *o.args[1:])
    return _pick_reads(selection, o) if o.code == "cmp" else o.args


def _pick_reads(selection: Selection, compare: Op) -> Sequence[Value]:
    cond, left, right = selection.condition(compare.cond, *compare.args)
    tested = selection.tested_bits(cond, left, right)
    return tested if tested is not None else (left, right)
