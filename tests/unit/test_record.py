"""Layouts of records, and bytes → Python values."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbt.record import Record, reader
from pbt.types import (
    BOOL,
    CHAR,
    I8,
    I16,
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
    Member,
    Opaque,
    Pointer,
    Str,
    Struct,
    Tuple,
    Type,
)

KINDS = [
    U8,
    CHAR,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    BOOL,
    Str(5),
    Str(16),
    Pointer(VOID),
    Tuple((U8, U32)),
    Buffer(3),
    Array(U16, 3),
]


@pytest.mark.parametrize(
    ("kind", "data", "value"),
    [
        (U8, b"\xff", 255), (I8, b"\xff", -1), (U32, b"\1\2\3\4", 0x04030201),
        (I64, b"\xfe" + b"\xff" * 7, -2), (Enum("e", 4, True), b"\xff" * 4, -1),
        (BOOL, b"\1", True), (BOOL, b"\0", False), (Pointer(VOID), b"\x10" + bytes(7), 16),
        (Str(8), b"ab\0junk!", b"ab"), (Str(2), b"ab", b"ab"),
        (Buffer(4), b"\3\0\0\0a\0cd", b"a\0c"), (Array(U16, 2), b"\1\0\2\0", [1, 2]),
        (Array(CHAR, 4), b"ab\0c", b"ab"), (Array(I8, 2), b"a\0", [97, 0]), (Array(U8, 3), b"ab\0", [97, 98, 0]),
        (Array(Array(U8, 2), 2), b"\1\2\3\4", [[1, 2], [3, 4]]), (Tuple((U8, U16)), b"\1\x99\2\0", (1, 2)),
        (Tuple((U8, U8), ("a", "b")), b"\1\2", {"a": 1, "b": 2}),
        (Opaque("mac", 6), b"abcdef", b"abcdef"), (Array(U8, 0), b"", []),
    ],
)  # fmt: skip
def test_readers(kind: Type, data: bytes, value: Any) -> None:
    assert reader(kind)(data) == value


def test_structs_with_bitfields() -> None:
    kind = Struct("struct x", 8, 4, lambda: (
        Member("a", U32, 0, 0, 3), Member("b", I32, 0, 3, 5),
        Member("c", U32, 0, 30, 2), Member("d", I16, 4)))  # fmt: skip
    data = (
        (5 | (-3 & 31) << 3 | 2 << 30).to_bytes(4, "little") + (-9 & 0xFFFF).to_bytes(2, "little") + b"\0\0"
    )
    assert reader(kind)(data) == {"a": 5, "b": -3, "c": 2, "d": -9}


def test_fields_are_aligned_and_the_size_is_rounded() -> None:
    record = Record.of([("a", U8), ("b", U64), ("c", U16), ("d", Str(3)), ("e", U32)])
    assert [(f.name, f.offset) for f in record.fields] == [
        ("a", 0),
        ("b", 8),
        ("c", 16),
        ("d", 18),
        ("e", 24),
    ]
    assert record.size == 32 and record["d"].offset == 18 and Record.of([], 8).size == 0
    assert Record.of([("a", U8)], 1).size == 1


@given(st.lists(st.sampled_from(KINDS), max_size=8))
def test_fields_do_not_overlap(kinds: list[Type]) -> None:
    record = Record.of([(str(i), kind) for i, kind in enumerate(kinds)])
    end = 0
    for field in record.fields:
        assert (
            field.offset >= end
            and field.offset % field.type.align == 0
            and field.offset - end < field.type.align
        )
        end = field.offset + field.type.size
    assert record.size % 8 == 0 and 0 <= record.size - end < 8


@given(
    st.lists(st.sampled_from([U8, I8, U16, I32, U64, I64, BOOL, Pointer(VOID)]), min_size=1, max_size=8),
    st.data(),
)
def test_both_ways_of_decoding_agree(kinds: list[Type], data: st.DataObject) -> None:
    record = Record.of([(str(i), kind) for i, kind in enumerate(kinds)])
    raw = bytearray(data.draw(st.binary(min_size=record.size, max_size=record.size)))
    for field in record.fields:
        if field.type == BOOL:
            raw[field.offset] &= 1
    batch = record.struct
    assert batch is not None and batch.size == record.size
    assert record.decode(bytes(raw)) == batch.unpack(raw)


def test_records_that_need_more_than_struct_say_so() -> None:
    assert Record.of([("a", Tuple((U8,)))]).struct is None
    batch = Record.of([("a", U8), ("s", Str(4)), ("b", U32)]).struct
    assert batch is not None and batch.unpack(b"\1ab\0\0\0\0\0\2\0\0\0\0\0\0\0") == (1, b"ab\0\0", 2)
    assert struct.calcsize(batch.format) == 16


def test_texts_stand_where_wide_stores_reach_them() -> None:
    fields = [("a", U8), ("long", Str(13)), ("b", U8), ("short", Str(3)), ("c", U32), ("none", Tuple(()))]
    offsets = [field.offset for field in Record.of(fields, wide=True).fields]
    assert offsets == [0, 8, 21, 22, 28, 32]
    assert [field.offset for field in Record.of(fields).fields] == [0, 1, 14, 15, 20, 24]
