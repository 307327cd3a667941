"""Two programs → one that runs either of them, as the kernel says when it runs."""

from __future__ import annotations

from pbt.data import replace
from pbt.ir.core import Block, Branch, Edge, Function, Jump, Op, Program, Return, Terminator, Value

_CONTEXT, _WHICH, _ZERO = Value(0, "ctx"), Value(1, "int"), Value(2, "int")
_FREE = 3  # the first number of a value that the head does not use


def joined(entry: Program, other: Program, kfunc: str, prefix: str) -> Program:
    """`entry`, or `other` where the kernel's function `kfunc` of the context is not 0.

    Neither sees that the other is there: each keeps its stack slots and the functions that the kernel calls
    back; names of those and of blocks get the `prefix` in `other`.
    """
    first = _Half(entry, "", _FREE, 0)
    second = _Half(other, prefix, first.end, len(first.main.slots))
    head = Block(
        "which",
        (),
        (
            Op("ctx", (), _CONTEXT),
            Op("kfunc", (_CONTEXT,), _WHICH, name=kfunc),
            Op("const", (), _ZERO, imm=0),
        ),
        Branch("ne", _WHICH, _ZERO, Edge(second.start), Edge(first.start)),
    )
    blocks, slots = (head, *first.blocks, *second.blocks), (*first.main.slots, *second.main.slots)
    main = replace(first.main, blocks=blocks, slots=slots)
    return Program(entry.name, (main, *first.called, *second.called))


class _Half:
    """A program with new names: for its blocks, its functions, and what its main function computes."""

    def __init__(self, program: Program, prefix: str, first_value: int, first_slot: int) -> None:
        self.main, *called = program.functions
        self._prefix, self._first, self._slot = prefix, first_value, first_slot
        self._context = {o.result for o in self.main.ops() if o.code == "ctx"}
        self.blocks = tuple(self._block(block) for block in self.main.blocks)
        self.called = tuple(self._function(function) for function in called)

    @property
    def start(self) -> str:
        return self.blocks[0].name

    @property
    def end(self) -> int:
        """The first number above those of all values."""
        made = [o.result.id for b in self.blocks for o in b.ops if o.result is not None]
        return 1 + max([*made, *(p.id for b in self.blocks for p in b.params)], default=self._first)

    def _value(self, value: Value) -> Value:
        return _CONTEXT if value in self._context else Value(self._first + value.id, value.kind)

    def _block(self, block: Block) -> Block:
        ops = tuple(self._op(op) for op in block.ops if op.code != "ctx")
        params = tuple(map(self._value, block.params))
        return Block(self._prefix + block.name, params, ops, self._end(block.end))

    def _op(self, op: Op) -> Op:
        args = tuple(map(self._value, op.args))
        result = None if op.result is None else self._value(op.result)
        imm = op.imm + self._slot if op.code == "slot" else op.imm
        return replace(self._named(op), args=args, result=result, imm=imm)

    def _named(self, op: Op) -> Op:
        return replace(op, name=self._prefix + op.name) if op.code == "func" else op

    def _edge(self, edge: Edge) -> Edge:
        return Edge(self._prefix + edge.block, tuple(map(self._value, edge.args)))

    def _end(self, end: Terminator) -> Terminator:
        if isinstance(end, Jump):
            return replace(end, to=self._edge(end.to))
        if isinstance(end, Return):
            return replace(end, value=self._value(end.value))
        left, right = self._value(end.left), self._value(end.right)
        return replace(end, left=left, right=right, then=self._edge(end.then), other=self._edge(end.other))

    def _function(self, function: Function) -> Function:
        """What the kernel calls back has values and slots of its own."""
        blocks = tuple(b._replace(ops=tuple(map(self._named, b.ops))) for b in function.blocks)
        return replace(function, name=self._prefix + function.name, blocks=blocks)
