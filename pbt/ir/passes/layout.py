"""Blocks that hardly ever run stand behind all others, so that the way through the others is straight."""

from __future__ import annotations

from pbt.data import replace
from pbt.ir.core import Block, Branch, Function, Op, Value
from pbt.ir.flow import definitions, predecessors, reverse_postorder


def cold_last(function: Function) -> Function:
    """Move behind the others what runs only when a helper fails, or when a map gets a new key."""
    cold = _cold(function)
    if not cold:
        return function
    blocks = sorted(function.blocks, key=lambda block: block.name in cold)
    return replace(function, blocks=tuple(blocks))


def _cold(function: Function) -> set[str]:
    defs = definitions(function)
    blocks = {block.name: block for block in function.blocks}
    before, found = predecessors(function), set[str]()
    for name in reverse_postorder(function):
        ways = before[name]
        if ways and all(way in found or _unlikely(blocks[way], blocks[name], defs) for way in ways):
            found.add(name)
    return found


def _unlikely(block: Block, to: Block, defs: dict[Value, Op]) -> bool:
    """Whether a branch goes from `block` to `to` only when something failed or was not there yet."""
    end = block.end
    if not isinstance(end, Branch) or end.then.block == end.other.block:
        return False
    call, zero = defs.get(end.left), defs.get(end.right)
    if call is None or call.code != "call" or zero is None or zero.code != "const" or zero.imm:
        return False
    if end.cond in ("slt", "sge"):
        return (end.cond == "slt") == (end.then.block == to.name)
    if end.cond not in ("eq", "ne") or (end.cond == "eq") != (end.then.block == to.name):
        return False
    return call.name == "ringbuf_reserve" or (call.name == "map_lookup_elem" and _inserts(to))


def _inserts(block: Block) -> bool:
    return any(op.name == "map_update_elem" for op in block.ops)
