"""How the types of several uses of one map or variable become one."""

from __future__ import annotations

from pbt.types import (
    I8,
    Array,
    Bool,
    Buffer,
    Char,
    Enum,
    Int,
    Natural,
    Opaque,
    Pointer,
    Str,
    Struct,
    Tuple,
    Type,
    Void,
    is_signed,
)


class Mismatch(Exception):
    """Two types have no common one."""


class Unknown(Natural):
    """What is read from a map before its type is known: a number, until it turns out to be something else."""

    __slots__ = ()


UNKNOWN = Unknown(1, True)


def stored(type_: Type) -> Type:
    """The type that a map or variable gets from a value: a character is a number, C text a string."""
    if isinstance(type_, Char):
        return I8
    if isinstance(type_, Int) and type_.size > 8:
        return Int(8, type_.signed)
    if isinstance(type_, Array) and isinstance(type_.element, Char) and type_.count:
        return Str(type_.count)
    return type_


def unify(a: Type, b: Type, zero: bool = False) -> Type:
    """The type that holds both; Mismatch if there is none. `zero`: one of them is the literal 0."""
    if a == b or b is UNKNOWN:
        return a
    if a is UNKNOWN:
        return b
    if isinstance(a, (Int, Bool, Enum)) and isinstance(b, (Int, Bool, Enum)):
        return _integer(a, b)
    if isinstance(a, Str) and isinstance(b, Str):
        return Str(max(a.size, b.size))
    if isinstance(a, Buffer) and isinstance(b, Buffer):
        return Buffer(max(a.capacity, b.capacity))
    if isinstance(a, Tuple) and isinstance(b, Tuple) and a.like(b):
        pairs = zip(a.elements, a.places(b), strict=True)
        return Tuple(tuple(unify(kind, b.elements[place]) for kind, place in pairs), a.names)
    if isinstance(a, Pointer) and isinstance(b, Pointer):
        return _pointer(a, b)
    if zero and isinstance(a, Pointer) and isinstance(b, Int):
        return a
    if zero and isinstance(b, Pointer) and isinstance(a, Int):
        return b
    if isinstance(a, Opaque) and isinstance(b, Opaque) and a.name == b.name and a.size == b.size:
        return a
    if isinstance(a, Struct) and isinstance(b, Struct) and a.name == b.name:
        return a
    raise Mismatch


def _pointer(a: Pointer, b: Pointer) -> Pointer:
    """Pointers to different structs are different; one to void is any."""
    if isinstance(a.target, Struct) and isinstance(b.target, Struct) and a.target.name != b.target.name:
        raise Mismatch
    target = b.target if isinstance(a.target, Void) else a.target
    return Pointer(target, a.space if a.space == b.space else "")


def _integer(a: Type, b: Type) -> Int:
    """The smallest integer that holds both; int64 where none does."""
    size, natural = max(a.size, b.size), [isinstance(kind, (Natural, Bool)) for kind in (a, b)]
    if all(natural):
        return Natural(size, True)
    if any(natural):
        return Int(size, is_signed(b if natural[0] else a))
    if is_signed(a) == is_signed(b):
        return Int(size, is_signed(a))
    signed, unsigned = (a, b) if is_signed(a) else (b, a)
    return Int(max(signed.size, min(2 * unsigned.size, 8)), True)
