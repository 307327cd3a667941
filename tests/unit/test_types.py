"""Sizes, alignment and names of types; members of structs."""

from __future__ import annotations

import pytest

from pbt.types import (
    BOOL,
    I8,
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
    VOID,
    Array,
    Buffer,
    Enum,
    Function,
    Int,
    Member,
    Opaque,
    Pointer,
    Str,
    Struct,
    Tuple,
    Type,
    is_integral,
    is_signed,
)  # fmt: skip

INNER = Struct("union (anon)", 8, 8, lambda: (Member("b", U64, 0), Member("c", U8, 0)))
OUTER = Struct(
    "struct x", 24, 8, lambda: (Member("a", U32, 0), Member("", INNER, 8), Member("d", Array(I8, 4), 16))
)


@pytest.mark.parametrize(
    ("kind", "size", "align", "text"),
    [
        (VOID, 0, 1, "void"), (I8, 1, 1, "int8"), (U64, 8, 8, "uint64"), (BOOL, 1, 1, "bool"),
        (Enum("e", 8), 8, 8, "enum e"),
        (Pointer(OUTER), 8, 8, "struct x *"), (Array(U16, 3), 6, 2, "uint16[3]"),
        (Array(U16, 0), 0, 2, "uint16[0]"), (Str(16), 16, 1, "string[16]"),
        (Buffer(5), 9, 4, "buffer[5]"), (Opaque("ksym", 8), 8, 8, "ksym_t"), (OUTER, 24, 8, "struct x"),
        (Tuple((U8, U64)), 16, 8, "(uint8,uint64)"), (Tuple((U64, U8)), 16, 8, "(uint64,uint8)"),
        (Tuple(()), 0, 1, "()"),
        (Tuple((U8, Str(3), U16)), 6, 2, "(uint8,string[3],uint16)"),
        (Function((("p", U8),), I32), 8, 8, "int32 (uint8)"),
    ],
)  # fmt: skip
def test_shapes(kind: Type, size: int, align: int, text: str) -> None:
    assert (kind.size, kind.align, str(kind)) == (size, align, text)


def test_offsets_of_tuples() -> None:
    assert Tuple((U8, U64, Str(3), U32)).offsets == (0, 8, 16, 20)
    assert Tuple((U8, Tuple((U8, U32)), U8)).offsets == (0, 4, 12)


def test_members_are_found_inside_anonymous_ones() -> None:
    found = OUTER.find("c")
    assert found is not None and (found.offset, found.type) == (8, U8)
    assert OUTER.find("e") is None and list(OUTER.names()) == ["a", "b", "c", "d"]


def test_members_are_read_once_and_only_if_asked() -> None:
    calls = []

    def load() -> tuple[Member, ...]:
        calls.append(1)
        return (Member("a", U8, 0),)

    made = Struct("struct lazy", 1, 1, load)
    assert (
        made == Struct("struct lazy", 1, 1) and hash(made) == hash(Struct("struct lazy", 1, 1)) and not calls
    )
    assert made.members[0].name == "a" and made.find("a") is not None and calls == [1]


def test_what_fits_a_register() -> None:
    assert all(map(is_integral, (U8, I64, BOOL, Pointer(VOID), Enum("e", 4))))
    assert not any(map(is_integral, (Str(8), Array(U8, 4), Int(16), VOID, Tuple((U8,)), Opaque("a", 8))))
    assert is_signed(I8) and is_signed(Enum("e", 4, True)) and not is_signed(U8) and not is_signed(BOOL)
