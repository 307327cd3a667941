"""Virtual registers → machine registers, by colouring the interference graph.

Chaitin's scheme with the refinements of Briggs and of George and Appel ("Iterated Register Coalescing",
1996): copies are merged where that cannot make colouring harder, colouring is optimistic, and what finds
no register is kept in a stack slot, or made again if it is a number or an address, and all is tried anew.
The graph is a bit set of neighbours per register.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pbt.backend.liveness import live_out, mask
from pbt.backend.loops import depths
from pbt.backend.machine import (
    ALLOCATABLE,
    FRAME,
    VIRTUAL,
    MachineProgram,
    MBlock,
    MEnd,
    MFunction,
    MInsn,
    effects,
    end_reads,
    rename,
    renamed,
)
from pbt.data import NamedTuple
from pbt.ir.core import Slot
from pbt.ir.flow import members
from pbt.isa import insn as isa

_K = len(ALLOCATABLE)
_PHYSICAL = mask(ALLOCATABLE)
_ROUNDS = 30  # far more than any program needs: each round spills only registers not spilled before


class AInsn(NamedTuple):
    """An instruction on machine registers. `origin`: its number in the block that was allocated; -1 for
    a copy, reload or spill that was put in."""

    insn: MInsn
    origin: int


class ABlock(NamedTuple):
    name: str
    insns: tuple[AInsn, ...]
    end: MEnd


class AFunction(NamedTuple):
    """`registers` and `spills` say where each virtual register lives (a register or a slot number);
    `slots` are those of the function and, behind them, those of the spills."""

    name: str
    blocks: tuple[ABlock, ...]
    slots: tuple[Slot, ...]
    pinned: int
    registers: Mapping[int, int]
    spills: Mapping[int, int]

    def __str__(self) -> str:
        blocks = tuple(MBlock(b.name, tuple(i.insn for i in b.insns), b.end) for b in self.blocks)
        return str(MFunction(self.name, blocks, self.slots))


class Allocation(NamedTuple):
    """All functions on machine registers, in the order of the program."""

    functions: tuple[AFunction, ...]

    def __str__(self) -> str:
        return "\n\n".join(map(str, self.functions))


def allocate(program: MachineProgram) -> Allocation:
    """Give every virtual register a machine register or a place in the frame."""
    return Allocation(tuple(allocate_function(f) for f in program.functions))


class _Work(NamedTuple):
    """A function between two rounds: blocks, the origin of each instruction, and what was spilled."""

    blocks: list[MBlock]
    origins: list[list[int]]
    slots: list[Slot]
    spills: dict[int, int]
    short: set[int]  # made by spilling: live for one instruction, so never to be spilled again


def allocate_function(function: MFunction) -> AFunction:
    """One function; its input stays as it is."""
    origins = [list(range(len(b.insns))) for b in function.blocks]
    work = _Work(list(function.blocks), origins, list(function.slots), {}, set())
    for _ in range(_ROUNDS):
        graph = _Graph(work)
        graph.coalesce()
        colours, failed = graph.colour()
        if not failed:
            return _finish(function, work, graph, colours)
        work = _spill(work, graph, failed)
    raise AssertionError(f"{function.name}: registers cannot be allotted")


# --- the graph ----------------------------------------------------------------------------------


class _Graph:
    """Interference and copies between registers; machine registers keep no list of neighbours."""

    def __init__(self, work: _Work) -> None:
        self.work = work
        self.near: dict[int, int] = {}  # virtual register → bit set of its neighbours
        self.cost: dict[int, float] = {}
        self.alias: dict[int, int] = {}
        self.moves: list[tuple[int, int]] = []
        self._build(work.blocks)
        self.heavy = mask(r for r, near in self.near.items() if near.bit_count() >= _K)

    def _build(self, blocks: Sequence[MBlock]) -> None:
        out, depth = live_out(blocks), depths(blocks)
        for block, level in zip(blocks, depth, strict=True):
            weight = 10.0 ** min(level, 6)
            live = out[block.name] | mask(end_reads(block.end))
            # a value that a branch narrows is better kept where the verifier sees that
            self._count(end_reads(block.end), 4 * weight)
            for insn in reversed(block.insns):
                writes, reads = effects(insn)
                self._count(writes, weight)
                self._count(reads, weight)
                gone = mask(writes)
                beside = (live | gone) & ~(1 << FRAME)
                if insn.is_move and insn.insn.src_reg != FRAME:
                    beside &= ~(1 << insn.insn.src_reg)
                    self.moves.append((insn.insn.dst_reg, insn.insn.src_reg))
                for register in writes:
                    self._meet(register, beside)
                live = (live & ~gone) | mask(reads)

    def _count(self, registers: Iterable[int], weight: float) -> None:
        for register in registers:
            if register >= VIRTUAL:
                self.cost[register] = self.cost.get(register, 0.0) + weight
                self.near.setdefault(register, 0)

    def _meet(self, register: int, others: int) -> None:
        bit = 1 << register
        others &= ~bit
        if register >= VIRTUAL:
            self.near[register] |= others
        for other in members(others >> VIRTUAL << VIRTUAL):
            self.near[other] = self.near.get(other, 0) | bit

    def root(self, register: int) -> int:
        while register in self.alias:
            register = self.alias[register]
        return register

    def coalesce(self) -> None:
        """Merge the two sides of copies until no copy can be merged safely."""
        moves = list(dict.fromkeys(self.moves))
        changed = True
        while changed:
            changed, kept = False, []
            for dst, src in moves:
                a, b = sorted((self.root(dst), self.root(src)))
                if a == b:
                    continue
                if b < VIRTUAL or self.near[b] >> a & 1:
                    continue
                if self._safe(a, b):
                    self._merge(a, b)
                    changed = True
                else:
                    kept.append((dst, src))
            moves = kept
        self.moves = moves

    def _safe(self, a: int, b: int) -> bool:
        if a < VIRTUAL:  # George: every neighbour of b is no obstacle, or one of a already
            return all(self.near[n] >> a & 1 for n in members(self.near[b] & self.heavy))
        both = self.near[a] | self.near[b]  # Briggs: fewer than K neighbours that matter
        shared = self.near[a] & self.near[b]
        heavy = (both & (_PHYSICAL | self.heavy & ~shared)).bit_count()
        if heavy >= _K:
            return False
        return heavy + sum(self.near[n].bit_count() > _K for n in members(shared & self.heavy)) < _K

    def _merge(self, a: int, b: int) -> None:
        self.alias[b] = a
        near = self.near.pop(b)
        for n in members(near >> VIRTUAL << VIRTUAL):
            self.near[n] = self.near[n] & ~(1 << b) | 1 << a
            self._weigh(n)
        self.heavy &= ~(1 << b)
        if a >= VIRTUAL:
            self.near[a] |= near
            self.cost[a] = self._cost(a) + self._cost(b)
            self._weigh(a)

    def _weigh(self, register: int) -> None:
        """Note whether a register has many neighbours now."""
        self.heavy &= ~(1 << register)
        self.heavy |= (self.near[register].bit_count() >= _K) << register

    def _cost(self, register: int) -> float:
        return float("inf") if register in self.work.short else self.cost[register]

    def colour(self) -> tuple[dict[int, int], list[int]]:
        """(register → machine register, registers for which there was none)."""
        order = self._order()
        partners: dict[int, list[int]] = {}
        for dst, src in self.moves:
            a, b = self.root(dst), self.root(src)
            partners.setdefault(a, []).append(b)
            partners.setdefault(b, []).append(a)
        colours: dict[int, int] = {p: p for p in ALLOCATABLE}
        failed = []
        for register in reversed(order):
            near = self.near[register]
            free = (
                _PHYSICAL
                & ~near
                & ~mask(colours[n] for n in members(near >> VIRTUAL << VIRTUAL) if n in colours)
            )
            if not free:
                failed.append(register)
                continue
            wanted = (colours[p] for p in partners.get(register, ()) if p in colours)
            colours[register] = next((c for c in wanted if free >> c & 1), (free & -free).bit_length() - 1)
        return colours, failed

    def _order(self) -> list[int]:
        """Registers in the order in which they leave the graph: easy ones first, then cheap ones."""
        degree = {r: near.bit_count() for r, near in self.near.items()}
        easy = [r for r, d in degree.items() if d < _K]
        hard = {r for r, d in degree.items() if d >= _K}
        gone, order = 0, []
        while easy or hard:
            if easy:
                register = easy.pop()
            else:
                register = min(hard, key=lambda r: (self._cost(r) / degree[r], r))
                hard.discard(register)
            order.append(register)
            gone |= 1 << register
            for n in members((self.near[register] & ~gone) >> VIRTUAL << VIRTUAL):
                degree[n] -= 1
                if n in hard and degree[n] < _K:
                    hard.discard(n)
                    easy.append(n)
        return order


# --- spilling -----------------------------------------------------------------------------------


def _spill(work: _Work, graph: _Graph, failed: Sequence[int]) -> _Work:
    """Keep registers in slots: written behind each definition, read before each use."""
    groups: dict[int, list[int]] = {register: [register] for register in failed}
    for register in list(graph.alias):
        root = graph.root(register)
        if root in groups:
            groups[root].append(register)
    slots, spills, again = list(work.slots), dict(work.spills), dict[int, MInsn]()
    for group in groups.values():
        made = _remade(work.blocks, group)
        if made is not None:
            again[group[0]] = made
            continue
        spills.update(dict.fromkeys(group, len(slots)))
        slots.append(Slot(8, 8, "spill"))
    rewriter = _Rewriter(work, {r: s for r, s in spills.items() if r not in work.spills}, again)
    blocks, origins = zip(*map(rewriter.block, work.blocks, work.origins), strict=True)
    return _Work(list(blocks), list(origins), slots, spills, rewriter.short)


def _remade(blocks: Sequence[MBlock], group: Sequence[int]) -> MInsn | None:
    """The only instruction that writes a register, if it reads nothing and may run again anywhere."""
    if len(group) > 1:
        return None
    made = [i for b in blocks for i in b.insns if group[0] in effects(i)[0]]
    alone = len(made) == 1 and (made[0].insn.is_wide or made[0].insn.opcode == _NUMBER)
    return made[0] if alone and made[0].otherwise is None else None


_NUMBER = isa.mov_imm(0, 0).opcode


class _Rewriter:
    """Puts reloads and spills into blocks."""

    def __init__(self, work: _Work, spills: Mapping[int, int], again: Mapping[int, MInsn]) -> None:
        self.spills, self.again, self.short = spills, again, set(work.short)
        used = (r for b in work.blocks for i in b.insns for r in effects(i)[0])
        self.next = max(max(used, default=0), VIRTUAL) + 1
        self.gone = mask(again)
        self.wanted = mask(spills) | self.gone
        self.recent: dict[int, int] = {}  # what the instruction before had in which register

    def homes(self, registers: int) -> tuple[dict[int, int], list[int]]:
        """A short-lived register for each, and those whose value is not there yet."""
        to = {}
        for register in members(registers):
            to[register] = self.recent.get(register) or self.fresh()
        return to, [register for register in to if register not in self.recent]

    def fresh(self) -> int:
        self.next += 1
        self.short.add(self.next - 1)
        return self.next - 1

    def block(self, block: MBlock, origins: Sequence[int]) -> tuple[MBlock, list[int]]:
        insns: list[MInsn] = []
        numbers: list[int] = []
        self.recent = {}
        for insn, origin in zip(block.insns, origins, strict=True):
            for new, number in self.around(insn, origin):
                insns.append(new)
                numbers.append(number)
        end, reads = block.end, mask(end_reads(block.end)) & self.wanted
        if reads and end.insn is not None:
            to, absent = self.homes(reads)
            insns.extend(self.reload(r, to[r], MInsn(end.insn, span=end.span)) for r in absent)
            numbers.extend([-1] * len(absent))
            end = end._replace(insn=rename(end.insn, to))
        return MBlock(block.name, tuple(insns), end), numbers

    def around(self, insn: MInsn, origin: int) -> list[tuple[MInsn, int]]:
        writes, reads = effects(insn)
        touched = (mask(writes) | mask(reads)) & self.wanted
        if not touched:
            self.recent = {}
            return [(insn, origin)]
        if mask(writes) & self.gone:
            return []
        if insn.is_move and self.same_slot(insn.insn.dst_reg, insn.insn.src_reg):
            return []
        to, absent = self.homes(touched)
        before = [(self.reload(r, to[r], insn), -1) for r in absent if r in reads]
        self.recent = to
        after = [(self.save(r, to[r], insn), -1) for r in members(mask(writes) & self.wanted)]
        return [*before, (renamed(insn, to), origin), *after]

    def same_slot(self, a: int, b: int) -> bool:
        return a in self.spills and self.spills[a] == self.spills.get(b)

    def reload(self, register: int, to: int, at: MInsn) -> MInsn:
        if register in self.again:
            return renamed(self.again[register], {register: to})._replace(span=at.span)
        slot = self.spills[register]
        return MInsn(isa.load(8, to, FRAME, 0), slot, touches=1 << slot, span=at.span)

    def save(self, register: int, source: int, at: MInsn) -> MInsn:
        slot = self.spills[register]
        return MInsn(isa.store(8, FRAME, 0, source), slot, touches=1 << slot, span=at.span)


# --- the product --------------------------------------------------------------------------------


def _finish(function: MFunction, work: _Work, graph: _Graph, colours: Mapping[int, int]) -> AFunction:
    known = {*graph.near, *graph.alias}
    to = {register: colours[graph.root(register)] for register in known}
    blocks = tuple(_finished(b, o, to) for b, o in zip(work.blocks, work.origins, strict=True))
    first = {r for b in function.blocks for i in b.insns for r in (*effects(i)[0], *effects(i)[1])}
    registers = {r: c for r, c in sorted(to.items()) if r in first}
    return AFunction(function.name, blocks, tuple(work.slots), function.pinned, registers, work.spills)


def _finished(block: MBlock, origins: Sequence[int], to: dict[int, int]) -> ABlock:
    insns = [AInsn(renamed(i, to), origin) for i, origin in zip(block.insns, origins, strict=True)]
    kept = tuple(i for i in insns if not (i.insn.is_move and i.insn.insn.dst_reg == i.insn.insn.src_reg))
    end = block.end if block.end.insn is None else block.end._replace(insn=rename(block.end.insn, to))
    return ABlock(block.name, kept, end)
