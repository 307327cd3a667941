"""Types from several uses become one; the types and constant values of operators."""

from __future__ import annotations

import pytest

from pbt.lang.arith import binary_type, fold, fold_unary
from pbt.lang.unify import Mismatch, stored, unify
from pbt.source import NOWHERE, ScriptError
from pbt.types import (
    BOOL,
    CHAR,
    I8,
    I16,
    I32,
    I64,
    U8,
    U32,
    U64,
    VOID,
    Array,
    Buffer,
    Enum,
    Int,
    Natural,
    Opaque,
    Pointer,
    Str,
    Tuple,
    Type,
)

N1, N8 = Natural(1, True), Natural(8, True)
P, Q = Pointer(U64, "kernel"), Pointer(U64, "user")


@pytest.mark.parametrize(
    ("a", "b", "made"),
    [
        (U8, U8, U8), (U8, I32, I32), (U8, U32, U32), (BOOL, U8, U8), (Enum("e", 4, True), U8, I32),
        (I8, BOOL, I8), (U8, I8, I16), (U32, I32, I64), (U64, I64, I64), (U32, I64, I64),
        (N1, N8, N8), (N1, U8, U8), (N8, U8, U64), (N1, I8, I8), (N1, U64, U64), (BOOL, N1, N1),
        (Str(4), Str(9), Str(9)), (Buffer(4), Buffer(2), Buffer(4)), (P, P, P), (P, Q, Pointer(U64)),
        (Tuple((U8, Str(2))), Tuple((I64, Str(7))), Tuple((I64, Str(7)))),
        (Opaque("a", 8), Opaque("a", 8, 8, "x"), Opaque("a", 8)),
    ],
)  # fmt: skip
def test_unify(a: Type, b: Type, made: Type) -> None:
    assert unify(a, b) == made
    assert unify(b, a) in (made, b)


@pytest.mark.parametrize(
    ("a", "b"),
    [(U8, Str(3)), (Str(3), Buffer(3)), (Tuple((U8,)), Tuple((U8, U8))), (Tuple((U8,)), U8), (P, U64), (VOID, U8),
     (Opaque("a", 8), Opaque("b", 8)), (Tuple((U8,)), Tuple((Str(2),)))],
)  # fmt: skip
def test_mismatches(a: Type, b: Type) -> None:
    for x, y in ((a, b), (b, a)):
        with pytest.raises(Mismatch):
            unify(x, y)


def test_zero_is_a_pointer() -> None:
    assert unify(P, I64, zero=True) == unify(I64, P, zero=True) == P


def test_what_is_kept() -> None:
    assert stored(U8) == U8 and stored(N1) == N1 and stored(CHAR) == I8 and stored(Int(16)) == U64
    assert (
        stored(Array(CHAR, 16)) == Str(16)
        and stored(Array(I8, 4)) == Array(I8, 4)
        and stored(Array(U8, 4)) == Array(U8, 4)
        and stored(P) == P
    )


def kind(op: str, a: Type, b: Type) -> Type:
    return binary_type(op, a, b, NOWHERE)


@pytest.mark.parametrize(
    ("op", "a", "b", "made"),
    [
        ("+", U8, U32, U64), ("+", U64, I64, I64), ("+", U64, N8, U64), ("+", U64, N1, U64), ("-", N1, N1, I64),
        ("+", N1, N8, I64),
        ("-", U64, U64, I64), ("*", I8, U8, I64), ("/", U64, N1, U64),
        ("==", U8, I64, BOOL),
        ("<", U8, I64, BOOL), ("==", Str(3), Str(8), BOOL),
        ("==", Array(U8, 4), Array(U8, 4), BOOL),
        ("!=", Tuple((U8, Str(3))), Tuple((U64, Str(5))), BOOL),
        ("+", P, I64, P), ("-", P, I64, P), ("+", I64, P, P),

        ("==", P, I64, BOOL), ("==", Opaque("a", 8), Opaque("b", 8), BOOL),
    ],
)  # fmt: skip
def test_types_of_operators(op: str, a: Type, b: Type, made: Type) -> None:
    assert kind(op, a, b) == made


@pytest.mark.parametrize(
    ("op", "a", "b"),
    [
        ("+", Str(3), U8), ("<", Str(3), Str(3)), ("==", Str(3), U8), ("==", Tuple((U8,)), Tuple((U8, U8))),
        ("*", P, I64),
        ("+", P, P), ("&&", VOID, U8), ("&&", U8, Str(3)), ("-", P, P), ("&", P, I64), ("-", I64, P), ("/", P, I64), ("-", Opaque("a", 8), U8), ("==", Array(U32, 4), Array(U32, 8)),
        ("<", Str(3), U8), ("==", Buffer(2), Str(2)),
    ],
)  # fmt: skip
def test_operators_without_a_meaning(op: str, a: Type, b: Type) -> None:
    with pytest.raises(ScriptError):
        kind(op, a, b)


M64 = (1 << 64) - 1


@pytest.mark.parametrize(
    ("op", "a", "b", "is_signed", "value"),
    [
        ("+", M64, 1, False, 0), ("-", 1, 2, True, -1),
        ("-", 1, 2, False, M64),
        ("*", 1 << 40, 1 << 40, False, 0), ("/", -7, 2, True, -3), ("%", -7, 2, True, -1),
        ("/", 7, -2, True, -3),
        ("/", 1, 0, True, None), ("%", 1, 0, False, None), ("&", 12, 10, True, 8), ("|", 12, 10, True, 14),
        ("^", 12, 10, True, 6), ("<<", 1, 64, True, 1),
        (">>", -8, 1, True, -4),
        (">>", -8, 1, False, (M64 - 7) >> 1), ("&&", 1, 1, True, None), ("==", 1, 1, True, None),
    ],
)  # fmt: skip
def test_constants(op: str, a: int, b: int, is_signed: bool, value: int | None) -> None:
    assert fold(op, a, b, is_signed) == value


@pytest.mark.parametrize(
    ("op", "a", "b"), [("+", (1 << 63) - 1, 1), ("*", 1 << 40, 1 << 40), ("<<", 1, 63), ("-", -(1 << 63), 1)]
)
def test_what_does_not_fit_is_said(op: str, a: int, b: int) -> None:
    with pytest.raises(OverflowError):
        fold(op, a, b, True)


def test_constants_of_one_operand() -> None:
    assert (fold_unary("-", 5), fold_unary("~", 0), fold_unary("-", -(1 << 63))) == (-5, -1, -(1 << 63))
