"""The types of the language and of what travels between the kernel and user space.

Sizes and offsets are in bytes. Types compare by value; a struct's members are read from where it
was found (BTF, tracefs, the script) only when somebody asks for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, cached_property

from pbt.data import dataclass, field, replace
from pbt.typing import TYPE_CHECKING, ClassVar, Literal

Space = Literal["", "kernel", "user", "bpf", "ctx"]
"""Whose memory: unknown, kernel, user process, the program's own (stack, maps), the program's context."""


class Type:
    """What every type knows: its size and alignment in memory, and how the language writes it."""

    __slots__ = ()

    if TYPE_CHECKING:  # at run time, dataclasses would take inherited properties for defaults

        @property
        def size(self) -> int: ...

        @property
        def align(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Void(Type):
    size: ClassVar[int] = 0
    align: ClassVar[int] = 1

    def __str__(self) -> str:
        return "void"


@dataclass(frozen=True, slots=True)
class Int(Type):
    """An integer of 1, 2, 4, 8 (or 16, from BTF) bytes."""

    size: int
    signed: bool = False

    @property
    def align(self) -> int:
        return self.size

    def __str__(self) -> str:
        return f"{'' if self.signed else 'u'}int{self.size * 8}"


class Char(Int):
    """C's `char`: a signed byte whose arrays are text, unlike those of other bytes."""

    __slots__ = ()


class Natural(Int):
    """The type of a non-negative literal, and of what holds only such: signed, unless it meets unsigned integers."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Bool(Type):
    size: ClassVar[int] = 1
    align: ClassVar[int] = 1

    def __str__(self) -> str:
        return "bool"


@dataclass(frozen=True, slots=True)
class Enum(Type):
    """A C enum: prints as the name of its value. Values are (name, number)."""

    name: str
    size: int = 4
    signed: bool = False
    values: tuple[tuple[str, int], ...] = field(default=(), repr=False)

    @property
    def align(self) -> int:
        return self.size

    def __str__(self) -> str:
        return f"enum {self.name}"


@dataclass(frozen=True, slots=True)
class Pointer(Type):
    """8 bytes that hold the address of a `target` in `space`. `tag`: what the kernel's sources mark it with.

    "percpu": the address of no CPU's copy. "rcu": null, or there as long as one stays in an RCU section.
    """

    target: Type
    space: Space = ""
    tag: Literal["", "percpu", "rcu"] = field(default="", compare=False)
    size: ClassVar[int] = 8
    align: ClassVar[int] = 8

    def __str__(self) -> str:
        return f"{self.target} *"


@dataclass(frozen=True, slots=True)
class Array(Type):
    """`count` elements in a row; count 0 is a flexible array member."""

    element: Type
    count: int

    @property
    def size(self) -> int:
        return self.element.size * self.count

    @property
    def align(self) -> int:
        return self.element.align

    def __str__(self) -> str:
        return f"{self.element}[{self.count}]"


@dataclass(frozen=True, slots=True)
class Member:
    """A field of a struct. Bitfields: `bit_size` > 0, `bit_offset` counts from the byte at `offset`,
    in the order of memory: on big-endian machines from its highest bit on.

    `data_loc` marks tracefs's `__data_loc` ("abs") and `__rel_loc` ("rel") fields: a u32 whose low
    half is where the real data begins and whose high half is its length.
    """

    name: str
    type: Type
    offset: int
    bit_offset: int = 0
    bit_size: int = 0
    data_loc: Literal["", "abs", "rel"] = ""
    ctype: str = ""  # as its origin spelled it, for listings


@dataclass(frozen=True)
class Struct(Type):
    """A struct or union; `name` includes the keyword ("struct sock"), "struct (anon)" when it has none."""

    name: str
    size: int
    align: int = 8
    load: Callable[[], tuple[Member, ...]] = field(default=tuple, compare=False, repr=False)

    @cached_property
    def members(self) -> tuple[Member, ...]:
        """Direct members in memory order; anonymous structs and unions have an empty name."""
        return self.load()

    def find(self, name: str) -> Member | None:
        """The member called `name`, also inside anonymous members; its offset is from this struct's start."""
        for member in self.members:
            if member.name == name:
                return member
            if not member.name and isinstance(member.type, Struct):
                inner = member.type.find(name)
                if inner is not None:
                    return replace(inner, offset=inner.offset + member.offset)
        return None

    def flat(self) -> Iterator[Member]:
        """All members that `find` finds: those of anonymous members in their place."""
        for member in self.members:
            if member.name:
                yield member
            elif isinstance(member.type, Struct):
                yield from (replace(m, offset=m.offset + member.offset) for m in member.type.flat())

    def names(self) -> Iterator[str]:
        """All names that `find` accepts."""
        return (member.name for member in self.flat())

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Function(Type):
    """A function's type: opaque behind a pointer, the arguments of a probe at fentry and fexit."""

    params: tuple[tuple[str, Type], ...]
    result: Type
    size: ClassVar[int] = 8
    align: ClassVar[int] = 8

    def __str__(self) -> str:
        return f"{self.result} ({', '.join(str(t) for _, t in self.params)})"


@dataclass(frozen=True, slots=True)
class Str(Type):
    """Text in `size` bytes, its NUL included."""

    size: int
    align: ClassVar[int] = 1

    def __str__(self) -> str:
        return f"string[{self.size}]"


@dataclass(frozen=True, slots=True)
class Buffer(Type):
    """A u32 length, then room for `capacity` bytes."""

    capacity: int
    align: ClassVar[int] = 4

    @property
    def size(self) -> int:
        return 4 + self.capacity

    def __str__(self) -> str:
        return f"buffer[{self.capacity}]"


@cache
def _side_by_side(elements: tuple[Type, ...]) -> tuple[int, int, tuple[int, ...]]:
    """(size, alignment, offsets) of values side by side, each naturally aligned."""
    at, align, offsets = 0, 1, []
    for element in elements:
        own = element.align
        at, align = -(-at // own) * own, max(align, own)
        offsets.append(at)
        at += element.size
    return -(-at // align) * align, align, tuple(offsets)


@dataclass(frozen=True, slots=True)
class Tuple(Type):
    """Values side by side, each naturally aligned; `names` makes it a record."""

    elements: tuple[Type, ...]
    names: tuple[str, ...] = ()

    @property
    def align(self) -> int:
        return _side_by_side(self.elements)[1]

    @property
    def offsets(self) -> tuple[int, ...]:
        return _side_by_side(self.elements)[2]

    @property
    def size(self) -> int:
        return _side_by_side(self.elements)[0]

    def places(self, other: Tuple) -> Iterator[int]:
        """For each element, which of another's it corresponds to: in a record, the one of its name."""
        return (
            (other.names.index(name) for name in self.names)
            if self.names
            else iter(range(len(self.elements)))
        )

    def like(self, other: Tuple) -> bool:
        """Whether another has as many elements, under the same names."""
        return len(self.elements) == len(other.elements) and set(self.names) == set(other.names)

    def __str__(self) -> str:
        if not self.names:
            return f"({','.join(map(str, self.elements))})"
        fields = (f".{name} = {kind}" for name, kind in zip(self.names, self.elements, strict=True))
        return f"record {{ {', '.join(fields)} }}"


@dataclass(frozen=True, slots=True)
class Opaque(Type):
    """A value that only user space can draw: a symbol, a stack, an address, a time.

    `name` is that of the `Presentation` record that draws it; `detail` is what that record wants
    to know (an address family, a format, a stack's mode).
    """

    name: str
    size: int
    align: int = 8
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.name}_t"


VOID, BOOL, CHAR = Void(), Bool(), Char(1, True)
I8, I16, I32, I64 = (Int(n, True) for n in (1, 2, 4, 8))
U8, U16, U32, U64 = (Int(n) for n in (1, 2, 4, 8))


def is_integral(type_: Type) -> bool:
    """Whether values of the type are numbers held in one register."""
    return isinstance(type_, (Int, Bool, Enum, Pointer)) and type_.size <= 8


def is_text(type_: Type) -> bool:
    """Whether values are text: strings, and C arrays of char."""
    return isinstance(type_, Str) or (isinstance(type_, Array) and isinstance(type_.element, Char))


def is_signed(type_: Type) -> bool:
    return isinstance(type_, (Int, Enum)) and type_.signed


def literal(value: int) -> Int:
    """The type of a number as a script writes it: the smallest signed one; uint64 for what only that holds."""
    if value >= 1 << 63:
        return U64
    size = next(size for size in (1, 2, 4, 8) if -(1 << 8 * size - 1) <= value < 1 << 8 * size - 1)
    return Natural(size, True) if value >= 0 else Int(size, True)


def parts(type_: Type) -> Iterator[Type]:
    """The type and all that its values hold, tuples and arrays taken apart."""
    yield type_
    inner = (
        type_.elements if isinstance(type_, Tuple) else (type_.element,) if isinstance(type_, Array) else ()
    )
    for each in inner:
        yield from parts(each)
