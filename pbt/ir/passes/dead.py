"""Remove what nobody reads: operations, block parameters, stores to slots that are only written."""

from __future__ import annotations

from collections.abc import Iterator

from pbt.data import replace
from pbt.ir.core import Block, Branch, Edge, Function, Jump, Op, Return, Terminator, Value
from pbt.ir.flow import definitions, incoming, points_to


def drop_dead(function: Function) -> Function:
    """Remove operations without effect whose result nobody reads, and parameters likewise."""
    hidden = _hidden_stores(function)
    needed = _needed(function, hidden)
    params = {b.name: b.params for b in function.blocks}

    def block(b: Block) -> Block:
        ops = tuple(o for o in b.ops if (o.info.effect and o not in hidden) or o.result in needed)
        return Block(b.name, tuple(p for p in b.params if p in needed), ops, _end(b.end, params, needed))

    return replace(function, blocks=tuple(map(block, function.blocks)))


def _needed(function: Function, hidden: set[Op]) -> set[Value]:
    made = definitions(function)
    passed = incoming(function)
    todo = [a for o in function.ops() if o.info.effect and o not in hidden for a in o.args]
    for block in function.blocks:
        if isinstance(block.end, Branch):
            todo += (block.end.left, block.end.right)
        elif isinstance(block.end, Return):
            todo.append(block.end.value)
    found: set[Value] = set()
    while todo:
        value = todo.pop()
        if value not in found:
            found.add(value)
            todo += made[value].args if value in made else passed[value]
    return found


def _hidden_stores(function: Function) -> set[Op]:
    """Stores to slots that are never read, compared or shown to anyone."""
    points = points_to(function)
    if not points:
        return set()
    seen = 0
    for value in _observed(function):
        seen |= points.get(value, 0)
    stores = [o for o in function.ops() if o.code in ("store", "atomic_add") and o.args[0] in points]
    return {o for o in stores if not points[o.args[0]] & seen}


def _observed(function: Function) -> Iterator[Value]:
    for op in function.ops():
        if op.code in ("store", "atomic_add"):
            yield op.args[1]
        elif op.info.memory or op.code == "cmp":
            yield from op.args
    for block in function.blocks:
        if isinstance(block.end, Branch):
            yield from (block.end.left, block.end.right)
        elif isinstance(block.end, Return):
            yield block.end.value


def _end(end: Terminator, params: dict[str, tuple[Value, ...]], needed: set[Value]) -> Terminator:
    def edge(e: Edge) -> Edge:
        pairs = zip(params[e.block], e.args, strict=True)
        return Edge(e.block, tuple(a for p, a in pairs if p in needed))

    if isinstance(end, Jump):
        return replace(end, to=edge(end.to))
    return replace(end, then=edge(end.then), other=edge(end.other)) if isinstance(end, Branch) else end
