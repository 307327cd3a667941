"""`Builder`: the only way IR is made, and all that a feature record ever sees.

A builder holds one function under construction. Operations go to the current block; `block`,
`place`, `jump` and `branch` shape control flow; `variable`, `assign` and `read` give mutable
variables that become block parameters where paths meet (Braun et al., "Simple and Efficient
Construction of Static Single Assignment Form", 2013).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pbt.data import dataclass, field
from pbt.ir.core import (
    Block,
    Branch,
    Condition,
    Edge,
    Function,
    Jump,
    Kind,
    Op,
    Return,
    Slot,
    Terminator,
    Value,
)
from pbt.ir.flow import with_args
from pbt.source import Span
from pbt.typing import TypeAlias

Number: TypeAlias = "Value | int"  # an int stands for the constant


class NoContext(Exception):
    """A subprogram asked for the program's context, which it does not get."""


@dataclass(eq=False)
class _Draft:
    """A block while it is being made."""

    name: str
    ops: list[Op] = field(default_factory=list)
    end: Terminator | None = None
    sealed: bool = False
    preds: list[_Draft] = field(default_factory=list)
    params: list[tuple[str, Value]] = field(default_factory=list)
    current: dict[str, Value] = field(default_factory=dict)


Label: TypeAlias = _Draft


class Builder:
    """Makes one `Function`. Values it returns belong to that function only."""

    def __init__(self, name: str, params: tuple[Kind, ...] = ()) -> None:
        self._name, self._params = name, params
        self._next = self._names = 0
        self._slots: list[Slot] = []
        self._blocks: list[_Draft] = []
        self._drafts: dict[str, _Draft] = {}
        self._hints: dict[str, int] = {}  # the last number given to a block of that name
        self._kinds: dict[str, Kind] = {}
        self._replaced: dict[Value, Value] = {}
        self._constants: dict[Value, int] = {}
        self.span: Span | None = None
        self._entry = self._at = self.block("entry")
        self._entry.sealed = True
        self._blocks.append(self._entry)
        self._ctx = None if params else self._emit("ctx", (), "ctx")
        self._args = tuple(self._emit("param", (), kind, imm=i) for i, kind in enumerate(params))

    # --- operations -------------------------------------------------------------------------

    def const(self, number: int) -> Value:
        """A 64-bit number; the same bits whether written signed or unsigned."""
        number = (number + (1 << 63)) % (1 << 64) - (1 << 63)
        value = self._emit("const", (), "int", imm=number)
        self._constants[value] = number
        return value

    def known(self, value: Value) -> int | None:
        """The number that a value is known to be while building, or None."""
        return self._constants.get(value)

    def op(self, code: str, left: Number, right: Number) -> Value:
        """A binary operation by its name in `ir.core.BINARY`."""
        a, b = self._value(left), self._value(right)
        return self._emit(code, (a, b), a.kind)

    def add(self, left: Number, right: Number) -> Value:
        return self.op("add", left, right)

    def sub(self, left: Number, right: Number) -> Value:
        return self.op("sub", left, right)

    def neg(self, value: Number) -> Value:
        return self._emit("neg", (self._value(value),), "int")

    def number(self, pointer: Value) -> Value:
        """The address that a pointer of kind "btf" is."""
        return self._emit("number", (pointer,), "int")

    def zext(self, value: Number, size: int) -> Value:
        return self._emit("zext", (self._value(value),), "int", size=size)

    def sext(self, value: Number, size: int) -> Value:
        return self._emit("sext", (self._value(value),), "int", size=size)

    def extend(self, value: Number, size: int, signed: bool) -> Value:
        """Cut to `size` bytes and make canonical; nothing to do for 8."""
        if size >= 8:
            return self._value(value)
        return self.sext(value, size) if signed else self.zext(value, size)

    def bswap(self, value: Number, size: int) -> Value:
        return self._emit("bswap", (self._value(value),), "int", size=size)

    def compare(self, cond: Condition, left: Number, right: Number) -> Value:
        """1 or 0. For control flow use `branch`."""
        return self._emit("cmp", (self._value(left), self._value(right)), "int", name=cond)

    def select(self, flag: Value, then: Number, other: Number) -> Value:
        """`then` if flag (0 or 1) else `other`, both already computed."""
        a, b = self._value(then), self._value(other)
        return self._emit("select", (flag, a, b), a.kind)

    # --- memory -----------------------------------------------------------------------------

    def load(self, base: Value, offset: int, size: int, signed: bool = False) -> Value:
        """`size` (1, 2, 4, 8) bytes at base + offset. Base: a pointer the verifier knows."""
        return self._emit("sload" if signed else "load", (base,), "int", imm=offset, size=size)

    def load_pointer(self, base: Value, offset: int, kind: Kind) -> Value:
        """8 bytes at base + offset that hold a pointer the verifier tracks."""
        return self._emit("load", (base,), kind, imm=offset, size=8)

    def store(self, base: Value, offset: int, size: int, value: Number) -> None:
        self._emit("store", (base, self._value(value)), None, imm=offset, size=size)

    def atomic_add(self, base: Value, offset: int, size: int, value: Number) -> None:
        self._emit("atomic_add", (base, self._value(value)), None, imm=offset, size=size)

    def slot(self, size: int, label: str, align: int = 8) -> Value:
        """Room on the stack, uninitialised: its address. `label` names it to a person."""
        return self.slot_address(self.reserve(size, label, align))

    def reserve(self, size: int, label: str, align: int = 8) -> int:
        """Room on the stack whose address is wanted in several places: the number of its slot."""
        self._slots.append(Slot(size, align, label, self.span))
        return len(self._slots) - 1

    def slot_address(self, number: int) -> Value:
        """The address of a slot, here."""
        return self._emit("slot", (), "stack", imm=number)

    def zero(self, base: Value, offset: int, size: int) -> None:
        """Clear bytes, widest stores first where `offset` is aligned."""
        for at, width in pieces(size, offset):
            self.store(base, offset + at, width, 0)

    def copy(self, to: Value, to_offset: int, base: Value, offset: int, size: int) -> None:
        """Copy bytes between two places the verifier knows."""
        for at, width in pieces(size, offset, to_offset):
            self.store(to, to_offset + at, width, self.load(base, offset + at, width))

    def pieces(self, size: int, *offsets: int) -> Iterator[tuple[int, int]]:
        """(offset, width) of the loads that read `size` bytes at all of these offsets."""
        return pieces(size, *offsets)

    # --- the world --------------------------------------------------------------------------

    def give_context(self, value: Value) -> None:
        """Let this function, which is a subprogram, have the program's context."""
        self._ctx = value

    def ctx(self) -> Value:
        if self._ctx is None:
            raise NoContext
        return self._ctx

    def param(self, index: int) -> Value:
        return self._args[index]

    def map(self, name: str) -> Value:
        return self._emit("map", (), "map", name=name)

    def map_value(self, name: str, offset: int = 0) -> Value:
        """The address of a byte in the value of a one-element array map: no lookup, never null."""
        return self._emit("map_value", (), "value", name=name, imm=offset)

    def func(self, name: str) -> Value:
        return self._emit("func", (), "func", name=name)

    def variable(self, name: str) -> Value:
        """A per-CPU variable of the kernel, by its name in BTF: only for per_cpu_ptr and this_cpu_ptr."""
        return self._emit("variable", (), "int", name=name)

    def call(self, helper: str, *args: Number, kind: Kind = "int") -> Value:
        """Call a helper by its name in `uapi.helpers`. `kind`: "value" or "mem" where it returns a
        pointer, which is null until a branch has compared it with 0."""
        return self._emit("call", tuple(self._value(a) for a in args), kind, name=helper)

    def kfunc(self, name: str, *args: Number) -> Value:
        """Call a function of the kernel by its name in BTF, one that lets programs call it."""
        return self._emit("kfunc", tuple(self._value(a) for a in args), "int", name=name)

    # --- control flow -----------------------------------------------------------------------

    def block(self, hint: str) -> Label:
        """A new block, not placed yet. All jumps to it must be made before `seal`."""
        name, n = hint, self._hints.get(hint, 1)
        while name in self._drafts:
            n += 1
            name = f"{hint}{n}"
        self._hints[hint] = n
        self._drafts[name] = draft = _Draft(name)
        return draft

    def place(self, label: Label, sealed: bool = True) -> None:
        """Go on in `label`. `sealed=False` for loop heads: call `seal` once the back edge exists."""
        assert self._at.end is not None, f"block {self._at.name} has no end"
        self._blocks.append(label)
        self._at = label
        if sealed:
            self.seal(label)

    def seal(self, label: Label) -> None:
        """No more jumps to `label` will come."""
        label.sealed = True
        for name, param in list(label.params):
            self._fill(label, name, param)

    @property
    def ended(self) -> bool:
        """Whether the current block has its terminator: nothing may follow."""
        return self._at.end is not None

    def jump(self, to: Label) -> None:
        self._end(Jump(Edge(to.name), self.span), to)

    def branch(self, cond: Condition, left: Number, right: Number, then: Label, other: Label) -> None:
        a, b = self._value(left), self._value(right)
        self._end(Branch(cond, a, b, Edge(then.name), Edge(other.name), self.span), then, other)

    def ret(self, value: Number = 0) -> None:
        self._end(Return(self._value(value), self.span))

    @contextmanager
    def when(self, cond: Condition, left: Number, right: Number = 0) -> Iterator[None]:
        """What is built inside runs only if left `cond` right."""
        inside, after = self.block("then"), self.block("after")
        self.branch(cond, left, right, inside, after)
        self.place(inside)
        yield
        if not self.ended:
            self.jump(after)
        self.place(after)

    def choose(
        self,
        cond: Condition,
        left: Number,
        right: Number,
        then: Callable[[], Number],
        other: Callable[[], Number],
    ) -> Value:
        """The value of `then()` or `other()`, only one of which runs."""
        name = f"choose.{self.unique()}"
        yes, no, after = self.block("then"), self.block("else"), self.block("after")
        self.branch(cond, left, right, yes, no)
        for label, make in ((yes, then), (no, other)):
            self.place(label)
            self.assign(name, self._value(make()))
            self.jump(after)
        self.place(after)
        return self.read(name)

    # --- variables --------------------------------------------------------------------------

    def assign(self, variable: str, value: Number) -> None:
        """Give a mutable variable a new value on this path."""
        value = self._value(value)
        self._kinds.setdefault(variable, value.kind)
        self._at.current[variable] = value

    def read(self, variable: str) -> Value:
        """The variable's value here; 0 on paths where it has none."""
        return self._resolve(self._read(self._at, variable))

    def _read(self, block: _Draft, variable: str) -> Value:
        if variable in block.current:
            return block.current[variable]
        kind = self._kinds.get(variable, "int")
        if not block.sealed:
            value = self._fresh(kind)
            block.params.append((variable, value))
        elif not block.preds:
            assert kind == "int", f"{variable} is read where it has no value"
            value = self._fresh("int")
            self._constants[value] = 0
            block.ops.insert(0, Op("const", (), value, imm=0))
        elif len(block.preds) == 1:
            value = self._read(block.preds[0], variable)
        else:
            value = self._fresh(kind)
            block.params.append((variable, value))
            block.current[variable] = value
            value = self._fill(block, variable, value)
        block.current[variable] = value
        return value

    def _fill(self, block: _Draft, variable: str, param: Value) -> Value:
        """Drop a parameter again if all incoming values are the same."""
        incoming = {self._resolve(self._read(pred, variable)) for pred in block.preds} - {param}
        if len(incoming) != 1:
            return param
        (only,) = incoming
        self._replaced[param] = only
        block.params.remove((variable, param))
        block.current[variable] = only if block.current.get(variable) == param else block.current[variable]
        return only

    def _resolve(self, value: Value) -> Value:
        while value in self._replaced:
            value = self._replaced[value]
        return value

    def unique(self) -> int:
        """A number not used in another variable's name."""
        self._names += 1
        return self._names

    # --- making -----------------------------------------------------------------------------

    @contextmanager
    def at(self, span: Span | None) -> Iterator[None]:
        """What is built inside belongs to this part of the script."""
        before, self.span = self.span, span or self.span
        yield
        self.span = before

    def _value(self, number: Number) -> Value:
        return self.const(number) if isinstance(number, int) else number

    def _fresh(self, kind: Kind) -> Value:
        self._next += 1
        return Value(self._next - 1, kind)

    def _emit(
        self,
        code: str,
        args: tuple[Value, ...],
        kind: Kind | None,
        *,
        imm: int = 0,
        size: int = 0,
        name: str = "",
    ) -> Value:
        assert self._at.end is None, f"{code} after the end of block {self._at.name}"
        result = None if kind is None else self._fresh(kind)
        self._at.ops.append(Op(code, args, result, imm, size, name, self.span))
        return result if result is not None else args[0]

    def _end(self, end: Terminator, *targets: Label) -> None:
        assert self._at.end is None, f"block {self._at.name} ends twice"
        self._at.end = end
        for target in targets:
            assert not target.sealed, f"jump to sealed block {target.name}"
            target.preds.append(self._at)

    def finish(self) -> Function:
        """The function, when every placed block has its end and every loop head is sealed."""
        blocks = tuple(self._finished(draft) for draft in self._blocks)
        return Function(self._name, blocks, tuple(self._slots), self._params)

    def _finished(self, draft: _Draft) -> Block:
        assert draft.end is not None and draft.sealed, f"block {draft.name} is not finished"
        ops = tuple([with_args(op, self._replaced) for op in draft.ops])
        return Block(draft.name, tuple(p for _, p in draft.params), ops, self._finished_end(draft))

    def _finished_end(self, draft: _Draft) -> Terminator:
        end = draft.end
        if isinstance(end, Jump):
            return Jump(self._edge(draft, end.to.block), end.span)
        if isinstance(end, Branch):
            then, other = self._edge(draft, end.then.block), self._edge(draft, end.other.block)
            left, right = self._resolve(end.left), self._resolve(end.right)
            return Branch(end.cond, left, right, then, other, end.span)
        assert isinstance(end, Return)
        return Return(self._resolve(end.value), end.span)

    def _edge(self, source: _Draft, target: str) -> Edge:
        params = self._drafts[target].params
        return Edge(target, tuple(self._resolve(self._read(source, name)) for name, _ in params))


def pieces(size: int, *offsets: int) -> Iterator[tuple[int, int]]:
    """Cut `size` bytes into pieces of 8, 4, 2 and 1 that are aligned at every one of `offsets`."""
    at = 0
    while at < size:
        width = next(w for w in (8, 4, 2, 1) if at + w <= size and not any((o + at) % w for o in offsets))
        yield at, width
        at += width
