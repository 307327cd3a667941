"""Allocation and frame → `Code`: blocks put in order, jumps measured, numbers filled in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pbt.backend.allocate import ABlock, AFunction, Allocation
from pbt.backend.frame import Frame
from pbt.backend.machine import MEnd, MInsn
from pbt.bundle import Code, Place, Reloc
from pbt.data import NamedTuple
from pbt.isa import opcodes as op
from pbt.isa.insn import EXIT, Insn, encode, jump, wide
from pbt.source import NOWHERE, ScriptError, Span

_FAR = 1 << 15
_OPPOSITE = {
    op.JEQ: op.JNE, op.JNE: op.JEQ, op.JGT: op.JLE, op.JLE: op.JGT, op.JGE: op.JLT, op.JLT: op.JGE,
    op.JSGT: op.JSLE, op.JSLE: op.JSGT, op.JSGE: op.JSLT, op.JSLT: op.JSGE,
}  # fmt: skip
_NOWHERE = Place(-1, -1)


class _Label(NamedTuple):
    """A jump to a block: where it stands is known before how far it goes."""

    insn: Insn
    block: str
    span: Span | None


_Item = Insn | _Label


def emit(allocation: Allocation, frames: Sequence[Frame], features: frozenset[str] = frozenset()) -> Code:
    """Instructions of all functions that the main one refers to.

    With "cpu_v4", jumps beyond 32,767 slots are possible; else they are a ScriptError.
    """
    used = _used(allocation)
    insns: list[Insn] = []
    places: list[Place] = []
    relocs: list[Reloc] = []
    starts: dict[str, int] = {}
    for function, frame in zip(allocation.functions, frames, strict=True):
        if function.name in used:
            starts[function.name] = len(insns)
            body = _Body(function, frame, "cpu_v4" in features)
            relocs += (Reloc(len(insns) + r.insn, r.kind, r.name, r.offset) for r in body.relocs)
            insns += body.insns
            places += body.places
    for reloc in relocs:
        if reloc.kind == "func":  # relative to the next instruction, as for a call
            insns[reloc.insn] = insns[reloc.insn]._replace(imm=starts[reloc.name] - reloc.insn - 1)
    return Code(encode(insns), tuple(relocs), tuple(places), tuple(starts.items()))


def _used(allocation: Allocation) -> set[str]:
    """Functions that can be called: the kernel refuses instructions that cannot be reached."""
    functions = {f.name: f for f in allocation.functions}
    found: set[str] = set()
    todo = [allocation.functions[0].name]
    while todo:
        name = todo.pop()
        if name in found:
            continue
        found.add(name)
        symbols = (i.insn.symbol for b in _order(functions[name].blocks) for i in b.insns)
        todo += (s.name for s in symbols if s is not None and s.kind == "func")
    return found


# --- blocks in order ----------------------------------------------------------------------------


def _order(blocks: Sequence[ABlock]) -> list[ABlock]:
    """Blocks that can be reached, each before its successors where there is no loop, and else as given.

    Jumps to blocks that only jump on go to the end of that chain at once.
    """
    by_name = {b.name: b for b in blocks}
    final = {b.name: _final(b.name, by_name) for b in blocks}
    place = {b.name: n for n, b in enumerate(blocks)}
    by_name = {b.name: b._replace(end=_redirected(b.end, final)) for b in blocks}
    entry = blocks[0].name
    seen, order = {entry}, list[ABlock]()
    stack = [(entry, _successors(by_name[entry], place))]
    while stack:
        name, left = stack[-1]
        if left:
            target = left.pop()
            if target not in seen:
                seen.add(target)
                stack.append((target, _successors(by_name[target], place)))
        else:
            order.append(by_name[name])
            stack.pop()
    order.reverse()
    return order


def _successors(block: ABlock, place: Mapping[str, int]) -> list[str]:
    """The one visited last, so the first of this list, comes right behind the block."""
    return sorted(set(block.end.targets), key=lambda name: place[name])


def _final(name: str, blocks: Mapping[str, ABlock]) -> str:
    seen = set()
    while name not in seen and not blocks[name].insns and blocks[name].end.insn is None:
        if not blocks[name].end.then:
            break
        seen.add(name)
        name = blocks[name].end.then
    return name


def _redirected(end: MEnd, final: Mapping[str, str]) -> MEnd:
    if not end.then:
        return end
    then, other = final[end.then], final[end.other] if end.other else ""
    return (
        end._replace(insn=None, then=then, other="")
        if then == other
        else end._replace(then=then, other=other)
    )


# --- one function -------------------------------------------------------------------------------


class _Body:
    """The slots of one function, and their places and relocations, counted from its start."""

    def __init__(self, function: AFunction, frame: Frame, far: bool) -> None:
        self.frame, self.far = frame, far
        self.items: list[_Item] = []
        self.places: list[Place] = []
        self.relocs: list[Reloc] = []
        self.starts: dict[str, int] = {}
        order = _order(function.blocks)
        for block, following in zip(order, [*(b.name for b in order[1:]), ""], strict=True):
            self.starts[block.name] = len(self.items)
            for insn, _ in block.insns:
                self.insn(insn)
            self.end(block.end, following)
        self.insns = [self.measured(at, item) for at, item in enumerate(self.items)]

    def add(self, item: _Item, span: Span | None) -> None:
        self.items.append(item)
        self.places.append(_NOWHERE if span is None else Place(span.start, span.end))

    def insn(self, m: MInsn) -> None:
        insn = self.in_frame(m)
        if insn.is_wide:
            if m.symbol is not None:
                kind, name, offset = m.symbol
                self.relocs.append(Reloc(len(self.items), kind, name, offset))
                halves = wide(insn.dst_reg, 0, "" if kind == "hole" else kind)
                if kind == "map_value":
                    halves = (halves[0], halves[1]._replace(imm=offset))
            else:
                halves = wide(insn.dst_reg, insn.imm)
            for half in halves:
                self.add(half, m.span)
            return
        if m.symbol is not None:
            self.relocs.append(Reloc(len(self.items), *m.symbol))
        self.add(insn, m.span)
        if m.otherwise is not None:
            self.add(m.otherwise, m.span)

    def in_frame(self, m: MInsn) -> Insn:
        if m.slot < 0:
            return m.insn
        at = self.frame.offsets[m.slot]
        if m.insn.cls in (op.ALU, op.ALU64):
            return m.insn._replace(imm=m.insn.imm + at)
        return m.insn._replace(offset=m.insn.offset + at)

    def end(self, end: MEnd, following: str) -> None:
        if not end.then:
            self.add(EXIT, end.span)
            return
        then, other = end.then, end.other
        if end.insn is not None:
            opposite = _OPPOSITE.get(end.insn.opcode & 0xF0)
            insn = end.insn
            if then == following and opposite is not None:
                insn = insn._replace(opcode=insn.opcode & 0x0F | opposite)
                then, other = other, then
            self.add(_Label(insn, then, end.span), end.span)
            then = other
        if then != following:
            self.add(_Label(jump(0), then, end.span), end.span)

    def measured(self, at: int, item: _Item) -> Insn:
        if isinstance(item, Insn):
            return item
        distance = self.starts[item.block] - at - 1
        if -_FAR <= distance < _FAR:
            return item.insn._replace(offset=distance)
        if self.far and item.insn.opcode == op.JMP | op.JA:
            return Insn(op.JMP32 | op.JA, imm=distance)
        raise ScriptError(
            f"the program is too large: a jump over {abs(distance)} instructions, BPF allows {_FAR - 1}",
            item.span or NOWHERE,
            "split the probe or use fewer unrolled steps",
        )
