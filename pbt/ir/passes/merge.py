"""Fewer blocks: drop what cannot be reached, jump past blocks that only jump on, join neighbours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from pbt.data import replace
from pbt.ir.core import Block, Branch, Edge, Function, Jump, Op, Terminator, Value, edges
from pbt.ir.flow import (
    all_operands,
    incoming,
    predecessors,
    reachable,
    resolved,
    substitute,
    with_edge,
)
from pbt.ir.passes.fold import holds

_ROUNDS = 20


def merge_blocks(function: Function) -> Function:
    """All simplifications of the control flow, until nothing changes."""
    function = _reachable(function)
    for _ in range(_ROUNDS):
        before = function
        for step in (_equal_parameters, _thread, _join):
            function = step(function)
        if function is before:
            break
    return function


def _reachable(function: Function) -> Function:
    names = reachable(function)
    if len(names) == len(function.blocks):
        return function
    return replace(function, blocks=tuple([b for b in function.blocks if b.name in names]))


# --- parameters ---------------------------------------------------------------------------------


def _equal_parameters(function: Function) -> Function:
    """A parameter that is the same value, or the same number, on every edge needs not be passed."""
    numbers = {o.result: o.imm for o in function.ops() if o.code == "const"}
    to: dict[Value, Value] = {}
    constants: dict[Value, int] = {}
    for param, args in incoming(function).items():
        different = {resolved(a, to) for a in args} - {param}
        values = {numbers.get(a) for a in different}
        if len(different) == 1:
            to[param] = different.pop()
        elif len(values) == 1 and (number := values.pop()) is not None:
            constants[param] = number
    return _without(function, to, constants) if to or constants else function


def _without(function: Function, to: Mapping[Value, Value], constants: Mapping[Value, int]) -> Function:
    params = {b.name: b.params for b in function.blocks}

    def edge(e: Edge) -> Edge:
        pairs = zip(params[e.block], e.args, strict=True)
        return Edge(e.block, tuple(a for p, a in pairs if p not in to and p not in constants))

    def block(b: Block) -> Block:
        kept = tuple(p for p in b.params if p not in to and p not in constants)
        made = tuple(Op("const", (), p, constants[p]) for p in b.params if p in constants)
        return Block(b.name, kept, made + b.ops, _map_edges(b.end, edge))

    return substitute(replace(function, blocks=tuple(map(block, function.blocks))), to)


def _map_edges(end: Terminator, change: Callable[[Edge], Edge]) -> Terminator:
    if isinstance(end, Jump):
        to = change(end.to)
        return end if to is end.to else replace(end, to=to)
    if isinstance(end, Branch):
        then, other = change(end.then), change(end.other)
        return end if then is end.then and other is end.other else replace(end, then=then, other=other)
    return end


# --- jumps --------------------------------------------------------------------------------------


def _thread(function: Function) -> Function:
    """Edges into a block that does nothing go where that block would go."""
    threads = _Threads(function)
    ends = [_one_way(_map_edges(b.end, threads.edge)) for b in function.blocks]
    if all(new is b.end for new, b in zip(ends, function.blocks, strict=True)):
        return function
    blocks = zip(function.blocks, ends, strict=True)
    made = tuple([Block(b.name, b.params, b.ops, end) for b, end in blocks])
    return _reachable(replace(function, blocks=made))


def _one_way(end: Terminator) -> Terminator:
    if isinstance(end, Branch) and end.then.block == end.other.block and end.then.args == end.other.args:
        return Jump(end.then, end.span)
    return end


class _Threads:
    def __init__(self, function: Function) -> None:
        self.blocks = {b.name: b for b in function.blocks}
        self.numbers = {o.result: o.imm for o in function.ops() if o.code == "const" and o.result is not None}
        only_numbers = [b for b in function.blocks[1:] if all(o.code == "const" for o in b.ops)]
        reads = Counter(all_operands(function)) if only_numbers else Counter[Value]()
        self.passable = {b.name for b in only_numbers if self._empty(b, reads)}

    def _empty(self, block: Block, reads: Counter[Value]) -> bool:
        """Whether nothing but the block's own end reads what is made in it, which is numbers."""
        targets = [e.block for e in edges(block.end)]
        if not targets or block.name in targets:
            return False
        own = Counter(_ends_reads(block.end))
        passed = {a for e in edges(block.end) for a in e.args}
        made = [o.result for o in block.ops if o.result is not None]
        return all(reads[p] == own[p] for p in block.params) and all(
            reads[m] == own[m] and m not in passed for m in made
        )

    def edge(self, edge: Edge) -> Edge:
        seen = set()
        while edge.block in self.passable and edge.block not in seen:
            seen.add(edge.block)
            block = self.blocks[edge.block]
            to = dict(zip(block.params, edge.args, strict=True))
            following = self._following(block.end, to)
            if following is None:
                break
            edge = with_edge(following, {p: a for p, a in to.items() if p != a})
        return edge

    def _following(self, end: Terminator, to: Mapping[Value, Value]) -> Edge | None:
        if isinstance(end, Jump):
            return end.to
        assert isinstance(end, Branch)
        left, right = (self.numbers.get(to.get(v, v)) for v in (end.left, end.right))
        if left is None or right is None:
            return None
        return end.then if holds(end.cond, left, right) else end.other


def _ends_reads(end: Terminator) -> list[Value]:
    own = [end.left, end.right] if isinstance(end, Branch) else []
    return own + [a for e in edges(end) for a in e.args]


# --- neighbours ---------------------------------------------------------------------------------


def _join(function: Function) -> Function:
    """A block whose only predecessor has nowhere else to go becomes part of it."""
    before = predecessors(function)
    blocks = {b.name: b for b in function.blocks}
    to: dict[Value, Value] = {}
    gone: set[str] = set()
    for name in list(blocks):
        if name in gone:
            continue
        block = blocks[name]
        while isinstance(block.end, Jump) and _only(block, before):
            target = blocks[block.end.to.block]
            to.update(zip(target.params, block.end.to.args, strict=True))
            block = Block(name, block.params, block.ops + target.ops, target.end)
            gone.add(target.name)
            before.update(_renamed(before, target, name))
        blocks[name] = block
    if not gone:
        return function
    kept = tuple(b for b in blocks.values() if b.name not in gone)
    return substitute(replace(function, blocks=kept), to)


def _only(block: Block, before: Mapping[str, list[str]]) -> bool:
    assert isinstance(block.end, Jump)
    target = block.end.to.block
    return before[target] == [block.name] and target != block.name


def _renamed(before: Mapping[str, list[str]], old: Block, new: str) -> dict[str, list[str]]:
    targets = {e.block for e in edges(old.end)}
    return {t: [new if p == old.name else p for p in before[t]] for t in targets}
