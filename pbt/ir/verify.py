"""Program → what is wrong with it, in words. A broken invariant is a bug of pbt, never of a script."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pbt.ir.core import (
    CALLS,
    CONDITIONS,
    OPS,
    Block,
    Branch,
    Edge,
    Function,
    Op,
    Program,
    Value,
    edges,
    operands,
)
from pbt.ir.flow import dominators

_SIZES = (1, 2, 4, 8)
_POINTERS = ("ctx", "stack", "map", "value", "mem", "func", "btf")
_TAKE_BTF = (
    "load",
    "sload",
    "number",
    "cmp",
    "call",
    "kfunc",
)  # operations that pointers of kind btf may be given to
_OFFSETS = ("add", "sub")  # the arithmetic that a pointer may take part in


def verify(program: Program) -> list[str]:
    """Every broken invariant as "function, block: what"; empty for a sound program."""
    names = [f.name for f in program.functions]
    errors = [f"function {name} is there twice" for name in sorted({n for n in names if names.count(n) > 1})]
    if not names:
        errors.append("a program needs a function")
    for function in program.functions:
        errors += (f"{function.name}, {error}" for error in _function(function, names))
    return errors


def _function(function: Function, functions: list[str]) -> Iterator[str]:
    if not function.blocks:
        yield "no blocks"
        return
    blocks = {b.name: b for b in function.blocks}
    if len(blocks) != len(function.blocks):
        yield "two blocks of one name"
        return
    entry = function.blocks[0]
    if entry.params:
        yield f"{entry.name}: the entry has parameters"
    shape = list(_edges(function, blocks))
    yield from shape
    if shape:
        return
    if any(e.block == entry.name for b in function.blocks for e in edges(b.end)):
        yield f"{entry.name}: a jump to the entry"
    for block in function.blocks:
        for op in block.ops:
            yield from (f"{block.name}: {op.code}: {error}" for error in _op(op, function, functions))
        yield from (f"{block.name}: {error}" for error in _end(block))
    yield from _definitions(function, blocks)


def _edges(function: Function, blocks: Mapping[str, Block]) -> Iterator[str]:
    for block in function.blocks:
        for edge in edges(block.end):
            if edge.block not in blocks:
                yield f"{block.name}: a jump to {edge.block}, which is not there"
            else:
                yield from (f"{block.name}: {error}" for error in _edge(edge, blocks[edge.block]))


def _edge(edge: Edge, target: Block) -> Iterator[str]:
    if len(edge.args) != len(target.params):
        yield f"{len(edge.args)} arguments for the {len(target.params)} parameters of {target.name}"
        return
    for arg, param in zip(edge.args, target.params, strict=True):
        if "btf" in (arg.kind, param.kind):
            yield f"{arg}, parameter {param} of {target.name}: pointers of kind btf cannot be passed"
        if arg.kind != param.kind and "int" not in (arg.kind, param.kind):
            yield f"{arg} is a {arg.kind}, parameter {param} of {target.name} a {param.kind}"


def _end(block: Block) -> Iterator[str]:
    if isinstance(block.end, Branch) and block.end.cond not in CONDITIONS:
        yield f"unknown condition {block.end.cond}"


def _op(op: Op, function: Function, functions: list[str]) -> Iterator[str]:
    if op.code not in OPS:
        yield "unknown operation"
        return
    info = op.info
    if info.arity >= 0 and len(op.args) != info.arity:
        yield f"{len(op.args)} arguments, not {info.arity}"
        return
    if info.arity < 0 and len(op.args) > 5:
        yield f"{len(op.args)} arguments, a call takes 5 at most"
    if (op.result is None) != (info.result == "") and op.code not in CALLS:
        yield "result missing" if op.result is None else "no result is possible"
        return
    if op.result is not None:
        yield from _kind(op, op.result)
    if op.code not in _TAKE_BTF and any(arg.kind == "btf" for arg in op.args):
        yield "no operation on a pointer of kind btf"
    if op.code == "number" and op.args[0].kind != "btf":
        yield f"{op.args[0]} is a {op.args[0].kind}, not a btf"
    if "size" in info.uses and op.size not in (_SIZES if op.code != "atomic_add" else (4, 8)):
        yield f"size {op.size}"
    if op.code == "cmp" and op.name not in CONDITIONS:
        yield f"unknown condition {op.name}"
    if op.code == "slot" and not 0 <= op.imm < len(function.slots):
        yield f"there is no slot {op.imm}"
    if op.code == "param" and not 0 <= op.imm < len(function.params):
        yield f"there is no parameter {op.imm}"
    if op.code == "ctx" and function.params:
        yield "a subprogram has no context"
    if op.code == "func" and op.name not in functions:
        yield f"there is no function {op.name}"


def _kind(op: Op, result: Value) -> Iterator[str]:
    expected = op.info.result
    if expected == "arg":
        expected = op.args[1].kind if op.code == "select" else op.args[0].kind
        if op.code not in (*_OFFSETS, "select") and any(a.kind in _POINTERS for a in op.args):
            yield "arithmetic on a pointer"
    if expected not in ("any", result.kind) and op.code not in ("load", "select", *_OFFSETS):
        yield f"the result is a {result.kind}, not a {expected}"
    if op.code == "load" and result.kind != "int" and op.size != 8:
        yield "a pointer has 8 bytes"


def _definitions(function: Function, blocks: Mapping[str, Block]) -> Iterator[str]:
    """Each value has one definition, which comes before every use on every path."""
    home: dict[Value, tuple[str, int]] = {}
    for block in function.blocks:
        made = [(p, -1) for p in block.params]
        made += [(o.result, n) for n, o in enumerate(block.ops) if o.result is not None]
        for value, at in made:
            if value in home:
                yield f"{block.name}: {value} is made twice"
            home[value] = (block.name, at)
    idom = dominators(function)
    spans = _intervals(idom)
    for block in function.blocks:
        if block.name not in idom:
            continue
        reads = [(a, n) for n, o in enumerate(block.ops) for a in o.args]
        reads += [(a, len(block.ops)) for a in operands(block.end)]
        for value, at in reads:
            if value not in home:
                yield f"{block.name}: {value} is never made"
            elif home[value][0] == block.name:
                if home[value][1] >= at:
                    yield f"{block.name}: {value} is read before it is made"
            elif not _over(spans, home[value][0], block.name):
                yield f"{block.name}: {value} is not made on every path"


def _over(spans: Mapping[str, tuple[int, int]], above: str, below: str) -> bool:
    if above not in spans:
        return False
    first, last = spans[above]
    return first <= spans[below][0] < last


def _intervals(idom: Mapping[str, str]) -> dict[str, tuple[int, int]]:
    """Block → its number in preorder of the dominator tree, and the first number behind its subtree."""
    below: dict[str, list[str]] = {name: [] for name in idom}
    root = ""
    for name, above in idom.items():
        if name == above:
            root = name
        else:
            below[above].append(name)
    first: dict[str, int] = {}
    found: dict[str, tuple[int, int]] = {}
    stack = [(root, False)]
    while stack:
        name, done = stack.pop()
        if done:
            found[name] = (first[name], len(first))
            continue
        first[name] = len(first)
        stack.append((name, True))
        stack += ((child, False) for child in below[name])
    return found
