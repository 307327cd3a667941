"""The intermediate representation: frozen values, operations, blocks, functions, programs.

Every value is 64 bits wide. Integers are kept canonical: a value of a narrower type is stored
zero- or sign-extended, so arithmetic is 64-bit and only loads, stores and `zext`/`sext`/`bswap`
name a width. Blocks take parameters; an edge passes their arguments (there are no phi nodes).
"""

from __future__ import annotations

from pbt.data import NamedTuple, dataclass, field
from pbt.source import Span
from pbt.typing import Literal

Kind = Literal["int", "ctx", "stack", "map", "value", "mem", "func", "btf"]
"""What a value is: a number (kernel and user addresses are numbers), or a pointer the verifier
knows: the context, a stack slot, a map, (perhaps null) map value, (perhaps null) memory, code, or a
structure of the kernel by its type in BTF. The latter are loaded through, compared, given to helpers and
made numbers, no more: so one instruction never meets pointers of two types."""

Condition = Literal["eq", "ne", "ult", "ule", "ugt", "uge", "slt", "sle", "sgt", "sge"]
CONDITIONS: tuple[Condition, ...] = ("eq", "ne", "ult", "ule", "ugt", "uge", "slt", "sle", "sgt", "sge")

INVERSE: dict[Condition, Condition] = {
    "eq": "ne", "ne": "eq", "ult": "uge", "uge": "ult", "ule": "ugt", "ugt": "ule",
    "slt": "sge", "sge": "slt", "sle": "sgt", "sgt": "sle",
}  # fmt: skip
SWAPPED: dict[Condition, Condition] = {
    "eq": "eq", "ne": "ne", "ult": "ugt", "ugt": "ult", "ule": "uge", "uge": "ule",
    "slt": "sgt", "sgt": "slt", "sle": "sge", "sge": "sle",
}  # fmt: skip


class OpInfo(NamedTuple):
    """One row of OPS. `uses` lists which attributes of `Op` mean something, in text order."""

    name: str
    arity: int  # -1: any, up to 5
    result: Kind | Literal["", "arg", "any"]  # "arg": the kind of args[0]; "any": as stated; "": none
    effect: bool  # must stay even when nobody reads the result
    memory: Literal["", "read", "write", "both"]  # what it does to memory, for passes that move loads
    uses: tuple[str, ...]
    doc: str


def _row(
    name: str,
    arity: int,
    result: Kind | Literal["", "arg", "any"],
    doc: str,
    *,
    effect: bool = False,
    memory: Literal["", "read", "write", "both"] = "",
    uses: tuple[str, ...] = (),
) -> OpInfo:
    return OpInfo(name, arity, result, effect, memory, uses, doc)


BINARY = ("add", "sub", "mul", "udiv", "sdiv", "umod", "smod", "and", "or", "xor", "shl", "lshr", "ashr")

OPS: dict[str, OpInfo] = {
    row.name: row
    for row in (
        _row("const", 0, "int", "the number `imm`, any 64-bit value, signed or not", uses=("imm",)),
        _row("hole", 0, "int", "a number that only the filled in code has: pbt/ir/shape.py", uses=("imm", "name")),
        *(_row(name, 2, "arg", "64-bit arithmetic as RFC 9669 (x / 0 = 0, x % 0 = x)") for name in BINARY),
        _row("neg", 1, "int", "two's complement negation"),
        _row("number", 1, "int", "the address that a pointer of kind btf is, as a number to compute with"),
        _row("zext", 1, "int", "the low `size` bytes, zero-extended", uses=("size",)),
        _row("sext", 1, "int", "the low `size` bytes, sign-extended", uses=("size",)),
        _row("bswap", 1, "int", "the low `size` bytes in reverse order, zero-extended", uses=("size",)),
        _row("cmp", 2, "int", "1 if args[0] `name` args[1] else 0", uses=("name",)),
        _row("select", 3, "arg", "args[1] if args[0] is not 0 else args[2]; args[0] is 0 or 1"),
        _row("load", 1, "int", "`size` bytes at args[0] + `imm`, zero-extended",
             memory="read", uses=("size", "imm")),
        _row("sload", 1, "int", "`size` bytes at args[0] + `imm`, sign-extended",
             memory="read", uses=("size", "imm")),
        _row("store", 2, "", "the low `size` bytes of args[1] to args[0] + `imm`",
             effect=True, memory="write", uses=("size", "imm")),
        _row("atomic_add", 2, "", "add args[1] to `size` (4 or 8) bytes at args[0] + `imm`",
             effect=True, memory="both", uses=("size", "imm")),
        _row("slot", 0, "stack", "the address of stack slot number `imm`", uses=("imm",)),
        _row("ctx", 0, "ctx", "the context: r1 at the start of the program"),
        _row("param", 0, "any", "argument number `imm` (0 to 4) of this subprogram", uses=("imm",)),
        _row("map", 0, "map", "map `name`", uses=("name",)),
        _row("map_value", 0, "value", "the address of byte `imm` of the value of array map `name`",
             uses=("name", "imm")),
        _row("func", 0, "func", "the address of subprogram `name`, for a helper that calls back",
             uses=("name",)),
        _row("variable", 0, "int", "the kernel's own per-CPU variable `name`, for the helpers that find a CPU's copy",
             uses=("name",)),
        _row("call", -1, "any", "helper `name`", effect=True, memory="both", uses=("name",)),
        _row("kfunc", -1, "any", "the kernel's own function `name`", effect=True, memory="both", uses=("name",)),
    )
}  # fmt: skip

CALLS = ("call", "kfunc")


class Value(NamedTuple):
    """The result of one operation, or one parameter of one block."""

    id: int
    kind: Kind

    def __str__(self) -> str:
        return f"%{self.id}"


@dataclass(frozen=True, slots=True)
class Op:
    """One operation; see OPS for what `imm`, `size` and `name` mean to each."""

    code: str
    args: tuple[Value, ...]
    result: Value | None
    imm: int = 0
    size: int = 0
    name: str = ""
    span: Span | None = field(default=None, compare=False)

    @property
    def info(self) -> OpInfo:
        return OPS[self.code]

    @property
    def cond(self) -> Condition:
        """How a `cmp` compares."""
        return self.name  # type: ignore[return-value]


class Edge(NamedTuple):
    """Where control goes, and the arguments for the parameters of that block."""

    block: str
    args: tuple[Value, ...] = ()


@dataclass(frozen=True, slots=True)
class Jump:
    to: Edge
    span: Span | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Branch:
    """To `then` if left `cond` right, else to `other`."""

    cond: Condition
    left: Value
    right: Value
    then: Edge
    other: Edge
    span: Span | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Return:
    """End of the (sub)program with r0 = value."""

    value: Value
    span: Span | None = field(default=None, compare=False)


Terminator = Jump | Branch | Return


def edges(end: Terminator) -> tuple[Edge, ...]:
    if isinstance(end, Jump):
        return (end.to,)
    return (end.then, end.other) if isinstance(end, Branch) else ()


def operands(end: Terminator) -> tuple[Value, ...]:
    """Values that a terminator reads itself, edge arguments included."""
    own = (
        (end.left, end.right) if isinstance(end, Branch) else (end.value,) if isinstance(end, Return) else ()
    )
    return own + tuple(a for e in edges(end) for a in e.args)


class Block(NamedTuple):
    name: str
    params: tuple[Value, ...]
    ops: tuple[Op, ...]
    end: Terminator


@dataclass(frozen=True, slots=True)
class Slot:
    """A piece of the stack frame: `size` bytes for `label`, a name that a person recognises."""

    size: int
    align: int = 8
    label: str = ""
    span: Span | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Function:
    """Blocks in layout order, the first is the entry and has no parameters.

    The first function of a program takes the context; a subprogram takes `params` in r1 to r5.
    """

    name: str
    blocks: tuple[Block, ...]
    slots: tuple[Slot, ...] = ()
    params: tuple[Kind, ...] = ()

    def block(self, name: str) -> Block:
        return next(b for b in self.blocks if b.name == name)

    def ops(self) -> list[Op]:
        return [op for block in self.blocks for op in block.ops]


@dataclass(frozen=True, slots=True)
class Program:
    """One BPF program: its main function first, then its subprograms."""

    name: str
    functions: tuple[Function, ...]
