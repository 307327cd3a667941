"""Compute once what is computed twice.

An operation is the same as an earlier one that dominates it if both have the same operands. Loads are
shared along blocks that have one way in, as long as nothing may have written there; a load of what was just
stored is the stored value. Nobody writes to the context, so loads of it are operations like others.
"""

from __future__ import annotations

from pbt.data import NamedTuple, replace
from pbt.ir.core import CALLS, Block, Function, Op, Value
from pbt.ir.effects import CHANGES_CONTEXT, SAME, written
from pbt.ir.flow import definitions, dominators, predecessors, resolved, substitute, with_args

_LOADS = ("load", "sload")
_Key = tuple[object, ...]


class Where(NamedTuple):
    """A piece of memory: `size` bytes from `start`, counted from what `root` points to."""

    root: Value
    start: int
    size: int


_BEHIND = 1 << 31  # more bytes than any piece of memory has


def share(function: Function) -> Function:
    """Replace operations by equal ones that have run before on every path."""
    return _Sharing(function).run()


class _Sharing:
    def __init__(self, function: Function) -> None:
        self.function = function
        self.defs = definitions(function)
        self.to: dict[Value, Value] = {}
        self.known: dict[_Key, Value] = {}
        self.memory: dict[tuple[str, Where], Value] = {}
        self.before = predecessors(function)
        self.steady = not any(self.changes_context(op) for op in function.ops())
        self.after: dict[str, dict[tuple[str, Where], Value]] = {}  # memory at the end of blocks

    def run(self) -> Function:
        blocks = {b.name: b for b in self.function.blocks}
        idom = dominators(self.function)
        below: dict[str, list[str]] = {name: [] for name in idom}
        for name, over in idom.items():
            if name != over:
                below[over].append(name)
        stack: list[tuple[str, list[_Key] | None]] = [(self.function.blocks[0].name, None)]
        while stack:
            name, added = stack.pop()
            if added is not None:  # all blocks below are done
                for key in added:
                    del self.known[key]
                continue
            blocks[name], added = self.block(blocks[name])
            stack.append((name, added))
            stack += ((child, None) for child in reversed(below[name]))
        return substitute(replace(self.function, blocks=tuple(blocks.values())), self.to)

    def block(self, block: Block) -> tuple[Block, list[_Key]]:
        ops, added = [], []
        before = self.before[block.name]
        self.memory = dict(self.after.get(before[0], {})) if len(before) == 1 else {}
        for op in block.ops:
            op = with_args(op, self.to)
            earlier, key = self.earlier(op)
            if earlier is not None and op.result is not None and earlier.kind == op.result.kind:
                self.to[op.result] = earlier
                continue
            if key is not None and op.result is not None and key not in self.known:
                self.known[key] = op.result
                added.append(key)
            self.remember(op)
            ops.append(op)
        self.after[block.name] = self.memory
        return Block(block.name, block.params, tuple(ops), block.end), added

    def changes_context(self, op: Op) -> bool:
        if op.code in ("store", "atomic_add"):
            return self.is_context(self.where(op.args[0], op.imm, op.size).root)
        return op.code == "call" and op.name in CHANGES_CONTEXT

    def earlier(self, op: Op) -> tuple[Value | None, _Key | None]:
        """(an equal value, the key under which this one will be found)."""
        if op.code in _LOADS:
            where = self.where(op.args[0], op.imm, op.size)
            if self.steady and self.is_context(where.root):
                key: _Key = (op.code, where)
                return self.known.get(key), key
            return self.memory.get((op.code, where)), None
        if op.result is None or (op.info.effect and not _pure(op)):
            return None, None
        key = op.code, op.args, op.imm, op.size, op.name, op.result.kind
        return self.known.get(key), key

    def is_context(self, root: Value) -> bool:
        made = self.defs.get(root)
        return made is not None and made.code == "ctx"

    def where(self, root: Value, offset: int, size: int) -> Where:
        while (made := self.defs.get(root)) is not None and made.code == "add":
            number = self.defs.get(resolved(made.args[1], self.to))
            if number is None or number.code != "const":
                break
            root, offset = (
                resolved(made.args[0], self.to),
                offset + (number.imm + (1 << 63)) % (1 << 64) - (1 << 63),
            )
        return Where(root, offset, size)

    def remember(self, op: Op) -> None:
        """What is known of memory after an operation."""
        if op.code in _LOADS and op.result is not None:
            self.memory[op.code, self.where(op.args[0], op.imm, op.size)] = op.result
        elif op.code in ("store", "atomic_add"):
            where = self.where(op.args[0], op.imm, op.size)
            self.memory = {k: v for k, v in self.memory.items() if self.apart(k[1], where)}
            if op.code == "store" and op.size == 8:
                self.memory["load", where] = self.memory["sload", where] = op.args[1]
        elif op.code in CALLS:
            pointers = written(op)
            if pointers is None:
                self.memory = {}
            for pointer in pointers or ():
                where = self.where(pointer, 0, _BEHIND)
                self.memory = {k: v for k, v in self.memory.items() if self.apart(k[1], where)}

    def apart(self, a: Where, b: Where) -> bool:
        """Whether two pieces cannot overlap."""
        if a.root == b.root:
            return a.start + a.size <= b.start or b.start + b.size <= a.start
        if "btf" in (a.root.kind, b.root.kind):  # nobody writes through such a pointer
            return True
        one, two = self.defs.get(a.root), self.defs.get(b.root)
        if one is None or two is None or one.code not in _REGIONS or two.code not in _REGIONS:
            return False
        codes = one.code, two.code
        return (one.code, one.imm) != (two.code, two.imm) and ("slot" in codes or "ctx" in codes)


_REGIONS = ("slot", "ctx", "map_value", "call")  # memory of different kinds does not overlap


def _pure(op: Op) -> bool:
    return op.code == "call" and op.name in SAME
