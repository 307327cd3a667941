"""The syntax tree: frozen nodes, compared by identity, each with its place in the script.

What later stages find out about a node (its type, what a name means) stands in their tables, keyed
by the node; nothing is ever written on a node.
"""

from __future__ import annotations

from collections.abc import Iterator

from pbt.source import Span
from pbt.typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

if TYPE_CHECKING:
    from typing_extensions import dataclass_transform
else:

    def dataclass_transform(**_: Any) -> Any:
        return lambda cls: cls


def _annotations(cls: type) -> dict[str, Any]:
    """A class's own annotations, as they stand in the source (`inspect` is slow to import)."""
    found: dict[str, Any] = cls.__dict__.get("__annotations__", {})  # noqa: RUF063
    return found


_LEAVES = frozenset({"Span", "str", "int", "bool", "bytes", "str | None", "int | None"})


@dataclass_transform(frozen_default=True, eq_default=False, kw_only_default=False)
class _Fields:
    """Makes fields of a subclass's annotations, in order, as `@dataclass(frozen=True, eq=False)` would.

    Forty dataclasses would cost 20 ms of start-up.
    """

    fields: ClassVar[tuple[str, ...]] = ()
    within: ClassVar[tuple[str, ...]] = ()
    """Those of the fields in which nodes may be."""

    def __init_subclass__(cls) -> None:
        own = {n: str(a) for n, a in _annotations(cls).items() if "ClassVar" not in str(a)}
        cls.fields = (*cls.fields, *own)
        cls.within = (*cls.within, *[name for name, kind in own.items() if kind not in _LEAVES])

    if not TYPE_CHECKING:

        def __init__(self, *values: Any) -> None:
            assert len(values) == len(self.fields), (type(self).__name__, self.fields)
            self.__dict__.update(zip(self.fields, values, strict=True))

        def __setattr__(self, name: str, value: Any) -> None:
            raise AttributeError(f"{type(self).__name__} is frozen")


class Node(_Fields):
    """Base of all nodes."""

    span: Span

    def __repr__(self) -> str:
        inside = ", ".join(f"{name}={self.__dict__[name]!r}" for name in self.fields[1:])
        return f"{type(self).__name__}({inside})"

    def children(self) -> list[Node]:
        """Nodes directly below, in source order."""
        found: list[Node] = []
        for name in self.within:
            value = self.__dict__[name]
            if isinstance(value, Node):
                found.append(value)
            elif isinstance(value, tuple):
                found += [item for item in value if isinstance(item, Node)]
        return found

    def walk(self) -> Iterator[Node]:
        """This node and all below it, parents first."""
        pending: list[Node] = [self]
        while pending:
            node = pending.pop()
            yield node
            if node.within:
                pending += reversed(node.children())


# --- types as written -------------------------------------------------------------------------


class TypeName(Node):
    """`struct x *`, `uint64`, `int8[8]`: `words`, and what is made of them, step by step.

    Steps are "*" (a pointer to it), and how many of it an array has (None: `[]`): `x[2][3]*` is 3, 2, "*".
    """

    words: str
    shape: tuple[str | int | None, ...]


class TypeOf(Node):
    """`typeof(of)`, and what is made of it, as in `TypeName`."""

    of: TypeName | TypeOf | Expr
    shape: tuple[str | int | None, ...]


class FieldDef(Node):
    """A declarator of C with its base type: `words`, or what is defined in its place (`inline`).

    `shape` is what is made of the base, in this order: "*" a pointer, "()" a function, an expression an
    array of so many (None: `[]`). Anonymous structs and unions have no name, nor has room (`int : 3`).
    """

    name: str
    words: str
    shape: tuple[str | Expr | None, ...]
    bits: Expr | None
    inline: StructDef | EnumDef | None
    aligned: Expr | None
    packed: bool


class StructDef(Node):
    kind: str  # "struct" or "union"
    name: str  # "" when anonymous
    members: tuple[FieldDef, ...]
    packed: bool
    aligned: Expr | None


class EnumDef(Node):
    name: str
    values: tuple[tuple[str, Expr | None], ...]
    packed: bool


class Typedef(Node):
    """`typedef base declarator;`: the declarator's name is that of the type."""

    field: FieldDef


Definition: TypeAlias = "StructDef | EnumDef | Typedef"


# --- expressions ------------------------------------------------------------------------------


class Expr(Node):
    """Something with a value."""


class Int(Expr):
    value: int


class Str(Expr):
    value: str


class Bool(Expr):
    value: bool


class Ident(Expr):
    """A bare name: builtin, constant, array."""

    name: str


class Var(Expr):
    """`$name`, with its dollar."""

    name: str


class Param(Expr):
    """`$1`; number 0 stands for `$#`."""

    number: int


class Map(Expr):
    """`@name`, with its at sign, without a key."""

    name: str


class Index(Expr):
    """`base[key, ...]`."""

    base: Expr
    keys: tuple[Expr, ...]


class Member(Expr):
    """`base.name` or `base->name`; a decimal name picks from a tuple."""

    base: Expr
    name: str
    name_span: Span


class Call(Expr):
    name: str
    args: tuple[Expr, ...]


class Unary(Expr):
    """`-` `!` `~` `*` `&`."""

    op: str
    operand: Expr


class Step(Expr):
    """`++` and `--`."""

    op: str
    prefix: bool
    operand: Expr


class Binary(Expr):
    op: str
    left: Expr
    right: Expr


class Ternary(Expr):
    condition: Expr
    then: Expr
    other: Expr


class Cast(Expr):
    type: TypeName | TypeOf
    operand: Expr


class Tuple(Expr):
    items: tuple[Expr, ...]


class Record(Expr):
    """`(name=value, ...)`."""

    names: tuple[str, ...]
    items: tuple[Expr, ...]


class BlockExpr(Expr):
    """`{ statements; value }`, or what a macro stands for; None: it has no value."""

    body: tuple[Stmt, ...]
    value: Expr | None


class Comptime(Expr):
    """`comptime value`: known while compiling."""

    value: Expr


class Sizeof(Expr):
    of: TypeName | TypeOf | Expr


class Typeinfo(Expr):
    """`typeinfo(of)`: a record of what is known of a type."""

    of: TypeName | TypeOf | Expr


class Inlined(Expr):
    """A call of a function of the script: parameters as `let`s, body, and the type it returns (None: void)."""

    name: str
    params: tuple[Let, ...]
    body: Block
    type: TypeName | TypeOf | None


class Offsetof(Expr):
    of: TypeName | TypeOf
    path: tuple[str, ...]


class ContainerOf(Expr):
    """`container_of(member, of, a.b)`: the address of the struct that a member at an address is in."""

    member: Expr
    of: TypeName | TypeOf
    path: tuple[str, ...]


# --- statements -------------------------------------------------------------------------------


class Stmt(Node):
    """Something that runs."""


class ExprStmt(Stmt):
    """An expression for what it does; `dropped`: `_ = value` says that its value is not wanted."""

    value: Expr
    dropped: bool


class Assign(Stmt):
    """`target op value`: op is "=" or a compound one such as "+="."""

    target: Expr
    op: str
    value: Expr


class Let(Stmt):
    var: Var
    type: TypeName | TypeOf | None
    value: Expr | None


class ArrayDecl(Stmt):
    """`int a[] = {1, 2, 3}`."""

    type: TypeName
    name: str
    size: int | None
    items: tuple[Expr, ...]


class Block(Stmt):
    body: tuple[Stmt, ...]


class If(Stmt):
    condition: Expr
    then: Block
    other: Block | If | None


class While(Stmt):
    condition: Expr
    body: Block


class Unroll(Stmt):
    count: Expr
    body: Block


class ForRange(Stmt):
    """`for ($i : start..end) { }`, the end excluded."""

    var: Var
    start: Expr
    end: Expr
    body: Block


class ForMap(Stmt):
    """`for ($kv : @map) { }`."""

    var: Var
    map: Map
    body: Block


class Jump(Stmt):
    """`return`, `break`, `continue`; only a function returns a value."""

    kind: str
    value: Expr | None


# --- the whole --------------------------------------------------------------------------------


class AttachPoint(Node):
    """An attach point as written, split at colons, quotes removed; `name`: the one before `=`, "" without."""

    text: str
    parts: tuple[str, ...]
    name: str


class Probe(Node):
    points: tuple[AttachPoint, ...]
    predicate: Expr | None
    body: Block


class Setting(Node):
    name: str
    value: str | int


class MapDecl(Node):
    """`let @name = kind(entries);`."""

    name: str
    kind: str
    entries: int


class Macro(Node):
    """`macro name(params) { body }`: params as written, `x`, `$x` or `@x`."""

    name: str
    params: tuple[str, ...]
    body: BlockExpr


class Function(Node):
    """`fn name(params) : type { body }`: params are `let`s without a value."""

    name: str
    params: tuple[Let, ...]
    type: TypeName | TypeOf | None
    body: Block


class Import(Node):
    path: str


class Script(Node):
    settings: tuple[Setting, ...]
    maps: tuple[MapDecl, ...]
    macros: tuple[Macro, ...]
    functions: tuple[Function, ...]
    imports: tuple[Import, ...]
    types: tuple[Definition, ...]
    probes: tuple[Probe, ...]
