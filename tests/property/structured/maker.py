"""The maker of a random program: what it knows of registers and stack, labels, and the pieces still to come.

It keeps a rough idea of what each register and each stack slot holds, uses it mostly, and ignores it now and
then; so about half of the programs are accepted, and the refused ones come close.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from pbt.isa import insn as make
from pbt.isa import opcodes as op
from pbt.isa.insn import EXIT, Insn
from pbt.uapi.helpers import HELPERS
from tests.property.structured.world import Program

NUMBERS = (
    0, 1, 2, 3, 4, 7, 8, 15, 16, 31, 63, 64, 100, 255, 256, 4095, 65535, -1, -2, -8, -16, -128, 1 << 30,
)  # fmt: skip
SAFE = frozenset(("num", "small"))


class Held(NamedTuple):
    """What a register or a stack slot holds.

    kind: "num", "small" (0 to `size`), "ctx", "stack", "value" and "packet" (`size` bytes may be used),
    "maybe" (a value of `size` bytes, or null), "record", "map".
    """

    kind: str
    size: int = 0


NUM = Held("num")
Piece = Callable[["Maker"], None]


class Function(NamedTuple):
    """A function to be made behind the program: what it takes, what its body does, the most it may return."""

    label: int
    takes: dict[int, Held]
    pieces: tuple[Piece, ...]
    most: int = -1  # any number


class _Jump(NamedTuple):
    """A jump, a call or a load of a function's address, whose target is a label."""

    insn: Insn
    label: int


class Maker:
    def __init__(self, rng: random.Random, prog_type: str) -> None:
        self.rng, self.prog_type = rng, prog_type
        self.out: list[Insn | _Jump] = []
        self.map_of: dict[int, tuple[int, str, int]] = {}
        self.labels: list[int] = []
        self.held: dict[int, Held] = {}
        self.slots: dict[int, Held] = {}  # offset of a whole stack slot → what was spilled there
        self.busy: set[int] = set()  # registers that pieces around this one still need
        self.functions: list[Function] = []
        self.end = -1  # where to go when something is not as it should be
        self.depth = 0  # of pieces in pieces
        self.carelessness = rng.choice((0.004, 0.06, 0.25))

    # registers ------------------------------------------------------------------------------------

    def chance(self, of: float) -> bool:
        return self.rng.random() < of

    def slip(self) -> bool:
        """Whether to do something wrong here, of which some programs have more than others."""
        return self.rng.random() < self.carelessness

    def number(self) -> int:
        if self.chance(0.1):
            return self.rng.randrange(-(1 << 31), 1 << 31)
        return self.rng.choice(NUMBERS)

    def having(self, *kinds: str) -> int | None:
        found = [reg for reg, held in self.held.items() if held.kind in kinds]
        return self.rng.choice(found) if found else None

    def a_number(self) -> int:
        """A register with a number, to read it."""
        found = self.having("num", "small")
        if found is None or self.slip():
            found = self.target()
            self.emit(make.mov_imm(found, self.number()))
            self.held[found] = NUM
        return found

    def changed(self) -> int:
        """A register with a number, to change it."""
        found = self.a_number()
        return found if found not in self.busy else self.fresh()

    def fresh(self) -> int:
        reg = self.target()
        self.emit(make.mov_imm(reg, self.number()))
        self.held[reg] = NUM
        return reg

    def target(self, first: int = 0) -> int:
        """A register to overwrite: seldom one that holds something precious."""
        free = [r for r in range(first, 10) if r not in self.busy and self.held.get(r, NUM).kind in SAFE]
        if free and not self.slip():
            return self.rng.choice(free)
        return self.rng.choice([r for r in range(2, 10) if r not in self.busy])

    def keeper(self) -> int:
        """A register that survives calls."""
        free = [r for r in range(6, 10) if r not in self.busy]
        cheap = [r for r in free if self.held.get(r, NUM).kind in SAFE]
        return self.rng.choice(cheap or free or [9])

    def clobber(self, result: Held = NUM) -> None:
        for reg in range(1, 6):
            self.held.pop(reg, None)
        self.held[0] = result

    def joined(self, held: dict[int, Held], slots: dict[int, Held]) -> None:
        """Only what is so on both ways is known where they meet."""
        self.held = {reg: was for reg, was in held.items() if self.held.get(reg) == was}
        self.slots = {at: was for at, was in slots.items() if self.slots.get(at) == was}

    # code -----------------------------------------------------------------------------------------

    def emit(self, *insns: Insn) -> None:
        self.out.extend(insns)

    def label(self) -> int:
        self.labels.append(-1)
        return len(self.labels) - 1

    def place(self, label: int) -> None:
        self.labels[label] = len(self.out)

    def jump(self, insn: Insn, label: int) -> None:
        self.out.append(_Jump(insn, label))

    def ending(self, *insns: Insn) -> None:
        """The end of a function: `insns`, and below what is done when something was not as it should be."""
        gives_up = self.wanted(self.end)
        if insns and (gives_up or self.chance(0.75)):
            self.emit(*insns)
            if not gives_up:
                return
        self.place(self.end)
        self.emit(make.mov_imm(0, 0), EXIT)

    def wanted(self, label: int) -> bool:
        """Whether something jumps to a label."""
        return any(isinstance(item, _Jump) and item.label == label for item in self.out)

    def helper(self, name: str, result: Held = NUM) -> None:
        self.emit(make.call(HELPERS[name].id))
        self.clobber(result)

    def load_map(self, reg: int, index: int) -> None:
        self.map_of[len(self.out)] = (index, "map_fd", 0)
        self.emit(*make.wide(reg, 0, "map_fd"))

    def load_function(self, reg: int, function: Function) -> None:
        self.functions.append(function)
        low, high = make.wide(reg, 0, "func")
        self.jump(low, function.label)
        self.emit(high)

    def stack_pointer(self, reg: int, at: int) -> None:
        self.emit(make.mov(reg, 10), make.alu("ADD", reg, None, at))

    # pieces ---------------------------------------------------------------------------------------

    def some(self, pieces: tuple[Piece, ...], least: int, most: int) -> None:
        """A few pieces, not too deep inside one another."""
        if self.depth > 3:
            return
        self.depth += 1
        for _ in range(self.rng.randrange(least, most + 1)):
            self.rng.choice(pieces)(self)
        self.depth -= 1

    @contextmanager
    def keeping(self, *regs: int) -> Iterator[None]:
        """Registers that no piece inside overwrites."""
        fresh = set(regs) - self.busy
        self.busy |= fresh
        yield
        self.busy -= fresh

    @contextmanager
    def undoing(self, piece: Piece) -> Iterator[None]:
        """Whoever gives up inside does `piece` first."""
        before, self.end = self.end, self.label()
        yield
        inside, self.end = self.end, before
        if not self.wanted(inside):
            return
        after, held, slots = self.label(), dict(self.held), dict(self.slots)
        self.jump(make.jump(0), after)
        self.place(inside)
        piece(self)
        self.jump(make.jump(0), self.end)
        self.held, self.slots = held, slots
        self.place(after)

    def function(self, pieces: tuple[Piece, ...], takes: dict[int, Held], most: int = -1) -> Function:
        return Function(self.label(), takes, pieces, most)

    def _body(self, function: Function) -> None:
        self.place(function.label)
        self.held, self.slots, self.busy = dict(function.takes), {}, set()
        self.end, self.depth = self.label(), 1
        self.some(function.pieces, 1, 4)
        least = function.most >= 0 and not self.slip()
        masked = (make.alu("AND", 0, None, function.most),) if least else ()
        self.ending(make.mov(0, self.a_number()), *masked, EXIT)

    def finished(self) -> Program:
        """The functions behind the program, and all jumps with their distances."""
        starts = [0]
        for function in self.functions:  # grows while functions call others
            starts.append(len(self.out))
            self._body(function)
        insns = [self._linked(at) for at in range(len(self.out))]
        return Program(self.prog_type, insns, self.map_of, tuple(starts), self.chance(0.2))

    def _linked(self, at: int) -> Insn:
        item = self.out[at]
        if isinstance(item, Insn):
            return item
        insn, distance = item.insn, self.labels[item.label] - at - 1
        by_imm = insn.opcode in (op.JMP | op.CALL, op.JMP32 | op.JA) or insn.is_wide
        return insn._replace(imm=distance) if by_imm else insn._replace(offset=distance)
