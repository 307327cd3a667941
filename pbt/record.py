"""Byte layouts: one `Record` for the program that writes an event and for the reader that decodes it."""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Sequence
from functools import cached_property

from pbt.data import dataclass
from pbt.types import Array, Bool, Buffer, Char, Enum, Int, Opaque, Pointer, Str, Struct, Tuple, Type
from pbt.typing import Any

_CODES = {(1, False): "B", (1, True): "b", (2, False): "H", (2, True): "h",
          (4, False): "I", (4, True): "i", (8, False): "Q", (8, True): "q"}  # fmt: skip
_NUMBERS = frozenset(_CODES.values())


@dataclass(frozen=True, slots=True)
class Field:
    """A named, typed place in a record; `offset` in bytes from its start."""

    name: str
    type: Type
    offset: int


@dataclass(frozen=True)
class Record:
    """Fields in memory order and the size of the whole, padding included."""

    fields: tuple[Field, ...]
    size: int

    @staticmethod
    def of(fields: Sequence[tuple[str, Type]], align: int = 8, wide: bool = False) -> Record:
        """Lay fields out one after another, each naturally aligned; the size is a multiple of `align`.

        `wide`: texts and the like stand where they can be written by stores as wide as they are, up to 8 bytes.
        """
        at, placed = 0, []
        for name, type_ in fields:
            step = max(type_.align, min(8, 1 << type_.size.bit_length() >> 1) if wide else 0)
            at = -(-at // step) * step
            placed.append(Field(name, type_, at))
            at += type_.size
        return Record(tuple(placed), -(-at // align) * align)

    def __getitem__(self, name: str) -> Field:
        return next(f for f in self.fields if f.name == name)

    @cached_property
    def _readers(self) -> tuple[tuple[int, int, Reader], ...]:
        return tuple((f.offset, f.offset + f.type.size, reader(f.type)) for f in self.fields)

    def decode(self, data: bytes, byteorder: str = "<") -> tuple[Any, ...]:
        """Bytes of one record → one Python value per field (see `reader`)."""
        return tuple(read(data[start:end]) for start, end, read in self._readers)

    def columns(self, block: bytes) -> list[Sequence[Any]]:
        """`decode` for many records that lie one after another: for each field its values."""
        return [_column(block, self.size, field.offset, field.type) for field in self.fields]

    @cached_property
    def struct(self) -> struct.Struct | None:
        """A `struct.Struct` over the whole record, one item a field, when all fields are numbers or
        fixed bytes; None when some field needs more than that. For reading in batches."""
        code, at = "<", 0
        for field in self.fields:
            item = _code(field.type)
            if item is None:
                return None
            code += f"{field.offset - at}x{item}" if field.offset > at else item
            at = field.offset + field.type.size
        return struct.Struct(code + (f"{self.size - at}x" if self.size > at else ""))


Reader = Callable[[bytes], Any]


def _column(block: bytes, stride: int, offset: int, type_: Type) -> Sequence[Any]:
    """The values of a type at `offset` of every `stride` bytes."""
    code = _code(type_)
    if code in _NUMBERS and not stride % type_.size and not offset % type_.size:
        items = memoryview(block).cast(code)  # type: ignore[call-overload]
        return items[offset // type_.size :: stride // type_.size].tolist()  # type: ignore[no-any-return]
    pieces = [block[at : at + type_.size] for at in range(offset, len(block), stride)]
    if isinstance(type_, Str):
        return [piece.partition(b"\0")[0] for piece in pieces]
    return list(map(reader(type_), pieces))


def _code(type_: Type) -> str | None:
    if isinstance(type_, (Int, Enum)) and type_.size <= 8:
        return _CODES[type_.size, type_.signed]
    if isinstance(type_, Pointer):
        return "Q"
    if isinstance(type_, Bool):
        return "?"
    if isinstance(type_, Str):
        return f"{type_.size}s"
    return None


def reader(type_: Type) -> Reader:
    """How bytes of a type become a Python value.

    int for integers, enums and pointers, bool, bytes up to the NUL for strings, bytes for buffers
    and opaque values, list for arrays, tuple for tuples, dict for structs and named tuples.
    """
    if isinstance(type_, (Int, Enum)):
        signed = type_.signed
        return lambda data: int.from_bytes(data, "little", signed=signed)
    if isinstance(type_, Pointer):
        return lambda data: int.from_bytes(data, "little")
    if isinstance(type_, Bool):
        return lambda data: data != b"\0"
    if isinstance(type_, Str):
        return lambda data: data.partition(b"\0")[0]
    if isinstance(type_, Buffer):
        return lambda data: data[4 : 4 + int.from_bytes(data[:4], "little")]
    if isinstance(type_, Array):
        return _array_reader(type_)
    if isinstance(type_, Tuple):
        return _tuple_reader(type_)
    if isinstance(type_, Struct):
        return _struct_reader(type_)
    assert isinstance(type_, Opaque), type_
    return bytes


def _array_reader(type_: Array) -> Reader:
    size, read = type_.element.size, reader(type_.element)
    if isinstance(type_.element, Char):  # C text
        return lambda data: data.partition(b"\0")[0]
    return lambda data: [read(data[i : i + size]) for i in range(0, size * type_.count, size)]


def _tuple_reader(type_: Tuple) -> Reader:
    parts = [(at, at + e.size, reader(e)) for at, e in zip(type_.offsets, type_.elements, strict=True)]
    if type_.names:
        names = type_.names
        return lambda data: {n: read(data[a:b]) for n, (a, b, read) in zip(names, parts, strict=True)}
    return lambda data: tuple(read(data[a:b]) for a, b, read in parts)


def _struct_reader(type_: Struct) -> Reader:
    parts: list[tuple[str, Reader]] = []
    for member in type_.flat():
        start, end = member.offset, member.offset + member.type.size
        if member.bit_size:
            parts.append(
                (member.name, _bitfield_reader(start, member.bit_offset, member.bit_size, member.type))
            )
        else:
            parts.append((member.name, _slice_reader(start, end, reader(member.type))))
    return lambda data: {name: read(data) for name, read in parts}


def _slice_reader(start: int, end: int, read: Reader) -> Reader:
    return lambda data: read(data[start:end])


def _bitfield_reader(start: int, shift: int, width: int, type_: Type) -> Reader:
    end, mask = start + (shift + width + 7) // 8, (1 << width) - 1
    down = shift if sys.byteorder == "little" else 8 * (end - start) - shift - width
    sign = 1 << (width - 1) if isinstance(type_, Int) and type_.signed else 0

    def read(data: bytes) -> int:
        value = int.from_bytes(data[start:end], sys.byteorder) >> down & mask
        return (value ^ sign) - sign

    return read
