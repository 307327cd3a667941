"""Facts about the control flow and the data flow of a function, for passes and for the backend."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from pbt.data import replace
from pbt.ir.core import (
    Block,
    Branch,
    Edge,
    Function,
    Jump,
    Op,
    Return,
    Terminator,
    Value,
    edges,
    operands,
)


def definitions(function: Function) -> dict[Value, Op]:
    """Each value that an operation makes, and that operation; parameters of blocks have none."""
    return {op.result: op for op in function.ops() if op.result is not None}


def all_operands(function: Function) -> Iterable[Value]:
    """Every value as often as it is read."""
    for block in function.blocks:
        for op in block.ops:
            yield from op.args
        yield from operands(block.end)


def incoming(function: Function) -> dict[Value, list[Value]]:
    """Parameter of a block → its arguments on all edges."""
    params = {b.name: b.params for b in function.blocks}
    found: dict[Value, list[Value]] = {p: [] for ps in params.values() for p in ps}
    for block in function.blocks:
        for edge in edges(block.end):
            for param, arg in zip(params[edge.block], edge.args, strict=True):
                found[param].append(arg)
    return found


def predecessors(function: Function) -> dict[str, list[str]]:
    """Block → the blocks that jump to it, once for each edge."""
    found: dict[str, list[str]] = {b.name: [] for b in function.blocks}
    for block in function.blocks:
        for edge in edges(block.end):
            found[edge.block].append(block.name)
    return found


def reachable(function: Function) -> set[str]:
    """Blocks that can be reached."""
    ends = {b.name: b.end for b in function.blocks}
    todo = [function.blocks[0].name]
    found = set(todo)
    while todo:
        for edge in edges(ends[todo.pop()]):
            if edge.block not in found:
                found.add(edge.block)
                todo.append(edge.block)
    return found


def reverse_postorder(function: Function) -> list[str]:
    """Blocks that can be reached; each one before its successors, loops apart."""
    after = {b.name: [e.block for e in edges(b.end)] for b in function.blocks}
    entry = function.blocks[0].name
    seen, order, stack = {entry}, list[str](), [(entry, reversed(after[entry]))]
    while stack:
        name, left = stack[-1]
        for target in left:
            if target not in seen:
                seen.add(target)
                stack.append((target, reversed(after[target])))
                break
        else:
            order.append(name)
            stack.pop()
    order.reverse()
    return order


def dominators(function: Function) -> dict[str, str]:
    """Reachable block → the last block that every path to it passes; the entry → itself.

    Cooper, Harvey, Kennedy, "A Simple, Fast Dominance Algorithm" (2001).
    """
    order = reverse_postorder(function)
    place = {name: n for n, name in enumerate(order)}
    before = predecessors(function)
    found = {order[0]: order[0]}
    changed = True
    while changed:
        changed = False
        for name in order[1:]:
            new = ""
            for pred in before[name]:
                if pred in found:
                    new = _common(new, pred, found, place) if new else pred
            if found.get(name) != new:
                found[name], changed = new, True
    return found


def _common(a: str, b: str, found: Mapping[str, str], place: Mapping[str, int]) -> str:
    while a != b:
        while place[a] > place[b]:
            a = found[a]
        while place[b] > place[a]:
            b = found[b]
    return a


def points_to(function: Function) -> dict[Value, int]:
    """Value → bit set of the stack slots that it may point into; values that point to none are absent."""
    points: dict[Value, int] = {}
    flows = [(o.result, o.args) for o in function.ops() if o.result is not None and not o.info.memory]
    flows += [(param, tuple(args)) for param, args in incoming(function).items()]
    for op in function.ops():
        if op.code == "slot" and op.result is not None:
            points[op.result] = 1 << op.imm
    changed = bool(points)
    while changed:
        changed = False
        for result, args in flows:
            old = mask = points.get(result, 0)
            for arg in args:
                mask |= points.get(arg, 0)
            if mask != old:
                points[result], changed = mask, True
    return points


def members(bits: int) -> Iterator[int]:
    """The numbers in a bit set, lowest first."""
    while bits:
        low = bits & -bits
        yield low.bit_length() - 1
        bits ^= low


# --- rewriting ----------------------------------------------------------------------------------


def resolved(value: Value, to: Mapping[Value, Value]) -> Value:
    """What a value is replaced with in the end."""
    while value in to:
        value = to[value]
    return value


def substitute(function: Function, to: Mapping[Value, Value]) -> Function:
    """Read other values in place of some, everywhere."""
    if not to:
        return function
    return replace(function, blocks=tuple(_block(b, to) for b in function.blocks))


def _block(block: Block, to: Mapping[Value, Value]) -> Block:
    ops = tuple([with_args(o, to) for o in block.ops])
    return Block(block.name, block.params, ops, with_operands(block.end, to))


def with_args(op: Op, to: Mapping[Value, Value]) -> Op:
    if not to:
        return op
    for arg in op.args:
        if arg in to:
            args = tuple([resolved(a, to) for a in op.args])
            return Op(op.code, args, op.result, op.imm, op.size, op.name, op.span)
    return op


def with_operands(end: Terminator, to: Mapping[Value, Value]) -> Terminator:
    if not to or not any(a in to for a in operands(end)):
        return end
    if isinstance(end, Jump):
        return replace(end, to=with_edge(end.to, to))
    if isinstance(end, Branch):
        left, right = resolved(end.left, to), resolved(end.right, to)
        return replace(
            end, left=left, right=right, then=with_edge(end.then, to), other=with_edge(end.other, to)
        )
    return Return(resolved(end.value, to), end.span)


def with_edge(edge: Edge, to: Mapping[Value, Value]) -> Edge:
    if not edge.args:
        return edge
    return Edge(edge.block, tuple(resolved(a, to) for a in edge.args))


def next_id(function: Function) -> int:
    """A number that no value has yet."""
    ids = [p.id for b in function.blocks for p in b.params]
    ids += [o.result.id for o in function.ops() if o.result is not None]
    return max(ids, default=-1) + 1
