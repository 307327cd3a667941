"""Random programs of families: kernel pointers, locks, later work, graphs, arenas, global functions, dynptrs, iterators,
sections, callbacks, loops, numbers, stack, packets. Number n of a family is always the same program.

pieces.txt is the table of what they are made of.
"""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import NamedTuple

from pbt.source import ScriptError
from tests.property.families.world import GLOBALS, MAPS, MOST_FUNCTIONS, STRUCTS, TYPES, Built, Program, build

_GROUPS = {
    "net": ("SCHED_CLS", "XDP"),
    "trace": ("TRACEPOINT", "RAW_TRACEPOINT", "PERF_EVENT"),
    "sleep": ("SYSCALL",),
}
_LONGEST = 120  # lines of a function, after which no piece is added


class Piece(NamedTuple):
    """A row of the table. `types`: of the programs that it is for; `wants`: kinds of things that have to be there."""

    families: frozenset[str]
    types: frozenset[str]
    wants: frozenset[str]
    text: str


def _row(line: str) -> Piece:
    families, types, text = (part.strip() for part in line.split(" | ", 2))
    named = [kind for name in types.split() for kind in _GROUPS.get(name, (name,))]
    kept, wants = set[str](), set[str]()
    for word, kinds in re.findall(r"\b(keep|get r\d) (\w+(?:/\w+)*)", text):
        if word == "keep":
            kept.add(kinds)
        elif not kept & set(kinds.split("/")):
            wants.add(kinds)
    every = [kind for kinds in _GROUPS.values() for kind in kinds]
    return Piece(
        frozenset(families.split()), frozenset(named if types != "any" else every), frozenset(wants), text
    )


PIECES = tuple(
    _row(line)
    for line in Path(__file__).with_name("pieces.txt").read_text().splitlines()
    if line and not line.startswith("#")
)
FAMILIES = tuple(sorted({name for piece in PIECES for name in piece.families} - {"small"}))


class _Function:
    """A function that is being made: its lines, and what is held: kind → where, a register or an offset of the stack."""

    def __init__(self, maker: _Maker, name: str) -> None:
        self.maker, self.name = maker, name
        self.lines: list[str] = []
        self.held: list[tuple[str, str]] = []
        self.free = ["r6", "r7", "r8", "r9"]
        self.low = 0

    def add(self, text: str) -> None:
        self.lines += [line.strip() for line in text.split(";") if line.strip()]

    def slot(self, size: int) -> int:
        self.low = self.low + size if self.low < 300 else size
        return -self.low

    def can(self, piece: Piece) -> bool:
        kinds = {kind for kind, _ in self.held}
        return self.maker.prog_type in piece.types and all(
            kinds & set(want.split("/")) for want in piece.wants
        )

    def some(self, family: str, depth: int, least: int = 0) -> None:
        """Two pieces at most, less deep inside one another."""
        rng = self.maker.rng
        for _ in range(rng.randint(least, 2)):
            pool = [piece for piece in PIECES if family in piece.families and self.can(piece)]
            if depth >= 0 and pool and len(self.lines) < _LONGEST:
                self.piece(rng.choice(pool).text, depth, family)

    def piece(self, text: str, depth: int, family: str) -> None:
        rng, maker = self.maker.rng, self.maker
        while found := re.search(r"\{([^{}]*)\}", text):
            text = text[: found.start()] + rng.choice(found[1].split("~")) + text[found.end() :]
        maker.labels += 1
        text = re.sub(r"@([a-z]\w*)", rf"\1_{maker.labels}", text)
        main, *others = text.split("||")
        slots = {name: self.slot(16) for name in sorted(set(re.findall(r"\bS\d\b", main)))}
        mine = len(self.held)
        for other in others:
            name, _, body = other.strip().partition(":: ")
            made = maker.function(name, body, depth, family)
            if made is None:
                return
            main = main.replace(f"&{name}", f"&{made}").replace(f"call {name}", f"call {made}")
        for line in map(str.strip, main.split(";")):
            self._line(line, slots, depth, family)
        self.free += [where for _, where in self.held[mine:] if where.startswith("r")]
        del self.held[mine:]

    def _line(self, line: str, slots: dict[str, int], depth: int, family: str) -> None:
        rng = self.maker.rng
        if line == "...":
            self.some(family, depth - 1)
        elif line == "..":
            self.some("small", depth - 1)
        elif line.startswith("keep "):
            _, kind, source = f"{line} r0".split()[:3]
            if self.free and rng.random() < 0.65:
                where = self.free.pop(rng.randrange(len(self.free)))
                self.add(f"{where} = {source}")
            else:
                where = str(self.slot(8))
                self.add(f"*(u64 *)(r10 {where}) = {source}")
            self.held.append((kind, where))
        elif line.startswith("get "):
            _, into, kinds = line.split()
            where = rng.choice([place for kind, place in self.held if kind in kinds.split("/")][-3:])
            self.add(f"{into} = {where}" if where[0] == "r" else f"{into} = *(u64 *)(r10 {where})")
        elif line.startswith("look "):
            at = self.slot(8)
            _, name, goal = line.split()
            self.add(
                f"*(u32 *)(r10 {at}) = 0; r2 = r10; r2 += {at}; r1 = {name}; call map_lookup_elem; if r0 == 0 goto {goal}"
            )
        else:
            for name, at in slots.items():
                line = re.sub(rf"(r\d) = {name}$", rf"\1 = r10; \1 += {at}", line)
                line = re.sub(rf"\({name} \+(\d+)\)", lambda m, at=at: f"(r10 {at + int(m[1])})", line)  # type: ignore[misc]
            self.add(line)


class _Maker:
    """A program that is being made."""

    def __init__(self, rng: random.Random, prog_type: str) -> None:
        self.rng, self.prog_type = rng, prog_type
        self.labels, self.counted = 0, 0
        self.functions: list[_Function] = []

    def function(self, name: str, body: str, depth: int, family: str) -> str | None:
        """Another function, by its template; a global one has its name, once."""
        if name in GLOBALS:
            if any(made.name == name for made in self.functions):
                return name
        elif self.counted == MOST_FUNCTIONS:
            return None
        else:
            name, self.counted = f"fn{self.counted}", self.counted + 1
        made = _Function(self, name)
        self.functions.append(made)
        made.piece(body, depth - 1, family)
        return name


def program(family: str, number: int) -> Program:
    """Program `number` of a family, as its pieces are meant."""
    rng = random.Random(f"{family} {number}")
    types = sorted({kind for piece in PIECES if family in piece.families for kind in piece.types})
    maker = _Maker(rng, rng.choice(types))
    main = _Function(maker, "main")
    if rng.random() < 0.6:
        main.free.remove("r6")
        main.add("r6 = r1")
        main.held.append(("ctx", "r6"))
    main.some(family, rng.choice((1, 2, 3)), least=1)
    main.add("r0 = 0; exit")
    return Program(
        maker.prog_type, tuple((made.name, tuple(made.lines)) for made in (main, *maker.functions))
    )


_NUMBER = re.compile(r"(?<=[ +-])\d+(?=\)|$)")
_REGISTER = re.compile(r"\br\d\b")
_SWAPS = (
    ("+=", "-="), (" > ", " >= "), (" == ", " != "), (" < ", " <= "), ("s>", ">"), ("u64", "u32"), ("u32", "u64"),
    ("u8", "u64"), ("s8", "u8"), ("r", "w"),
)  # fmt: skip
_EXTRA = (
    "call ktime_get_ns", "r0 = 0", "exit", "*(u64 *)(r10 -8) = 0", "*(u8 *)(r10 -3) = 1", "r1 = r10", "r2 = 8",
    "kcall bpf_rcu_read_unlock", "kcall bpf_rcu_read_lock", "kcall bpf_preempt_disable", "r2 = *(u64 *)(r10 -16)",
)  # fmt: skip


def changed(program: Program, number: int) -> Program:
    """The same with a few statements left out, doubled, exchanged or altered."""
    rng = random.Random(f"changed {number}")
    functions = [(name, list(lines)) for name, lines in program.functions]
    for _ in range(rng.choice((1, 1, 1, 1, 2, 3))):
        lines = rng.choice(functions)[1] if rng.random() < 0.4 else functions[0][1]
        _change(rng, lines)
    return program._replace(functions=tuple((name, tuple(lines)) for name, lines in functions))


def _change(rng: random.Random, lines: list[str]) -> None:
    at, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    line = lines[at]
    if line.endswith(":") or lines[other].endswith(":"):  # labels stay where they are
        return
    how = rng.randrange(7)
    if how == 0 and len(lines) > 2:
        del lines[at]
    elif how == 1:
        lines.insert(at, line)
    elif how == 2:
        lines[at], lines[other] = lines[other], line
    elif how == 3:
        lines[at] = _NUMBER.sub(
            lambda _: str(rng.choice((0, 1, 2, 4, 7, 8, 9, 16, 24, 32, 64, 100))), line, count=1
        )
    elif how == 4:
        lines[at] = _REGISTER.sub(lambda _: f"r{rng.choice((0, 1, 2, 3, 6, 7, 8, 9))}", line, count=1)
    elif how == 5:
        lines.insert(at, rng.choice(_EXTRA))
    elif "call" not in line:
        lines[at] = line.replace(*rng.choice(_SWAPS), 1)


def made(family: str, number: int) -> Built:
    """Program `number`, the odd ones changed."""
    while True:
        found = program(family, number)
        try:
            return build(changed(found, number) if number % 2 else found)
        except ScriptError:  # the change left no program
            number += 1_000_003 * 2


__all__ = ["FAMILIES", "MAPS", "STRUCTS", "TYPES", "Built", "Program", "made", "program"]
