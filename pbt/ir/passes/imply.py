"""Decide branches by branches that have been taken before: `if (@x[tid])` in a probe that asked `/@x[tid]/`."""

from __future__ import annotations

from pbt.data import replace
from pbt.ir.core import INVERSE, SWAPPED, Branch, Condition, Function, Jump, Terminator, Value
from pbt.ir.flow import dominators, predecessors, reverse_postorder

_Fact = tuple[Condition, object, object]


def imply(function: Function) -> Function:
    """Jump where a branch on every path here has told what a later one asks."""
    if sum(isinstance(b.end, Branch) for b in function.blocks) < 2:
        return function
    numbers = {o.result: o.imm for o in function.ops() if o.code == "const"}
    before, over = predecessors(function), dominators(function)
    blocks = {b.name: b for b in function.blocks}
    facts: dict[str, frozenset[_Fact]] = {}
    for name in reverse_postorder(function):
        known = facts.get(over[name], frozenset()) if over[name] != name else frozenset()
        if before[name] == [over[name]]:
            known |= _learnt(blocks[over[name]].end, name, numbers)
        facts[name] = known
        end = _decided(blocks[name].end, known, numbers)
        if end is not blocks[name].end:
            blocks[name] = blocks[name]._replace(end=end)
    return replace(function, blocks=tuple(blocks.values()))


def _learnt(end: Terminator, to: str, numbers: dict[Value | None, int]) -> frozenset[_Fact]:
    """What holds in block `to` because a branch went there."""
    if not isinstance(end, Branch) or end.then.block == end.other.block:
        return frozenset()
    cond = end.cond if end.then.block == to else INVERSE[end.cond]
    left, right = (_named(value, numbers) for value in (end.left, end.right))
    return frozenset({(cond, left, right), (SWAPPED[cond], right, left)})


def _decided(end: Terminator, known: frozenset[_Fact], numbers: dict[Value | None, int]) -> Terminator:
    if not isinstance(end, Branch):
        return end
    left, right = (_named(value, numbers) for value in (end.left, end.right))
    if (end.cond, left, right) in known:
        return Jump(end.then, end.span)
    return Jump(end.other, end.span) if (INVERSE[end.cond], left, right) in known else end


def _named(value: Value, numbers: dict[Value | None, int]) -> object:
    return numbers.get(value, value)
