"""Known bits: every operation, on all small operands."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest

from pbt.verifier_sim import tnum

SMALL = [(value, mask) for value, mask in product(range(8), range(8)) if not value & mask]


def members(t: tnum.Tnum) -> list[int]:
    return [n for n in range(8) if n & ~t[1] & 7 == t[0]]


def covers(t: tnum.Tnum, number: int) -> bool:
    return number & ~t[1] & tnum.M64 == t[0]


@pytest.mark.parametrize(
    ("abstract", "concrete"),
    [
        (tnum.add, lambda a, b: a + b),
        (tnum.sub, lambda a, b: a - b),
        (tnum.mul, lambda a, b: a * b),
        (tnum.both, lambda a, b: a & b),
        (tnum.either, lambda a, b: a | b),
        (tnum.xor, lambda a, b: a ^ b),
    ],
)
def test_binary_operations_cover_every_result(
    abstract: Callable[[tnum.Tnum, tnum.Tnum], tnum.Tnum], concrete: Callable[[int, int], int]
) -> None:
    for a, b in product(SMALL, SMALL):
        result = abstract(a, b)
        assert not result[0] & result[1]
        assert all(covers(result, concrete(x, y) & tnum.M64) for x in members(a) for y in members(b))


def test_span_is_the_closest() -> None:
    assert tnum.span(4, 7) == (4, 3)
    assert tnum.span(5, 5) == (5, 0)
    assert tnum.span(0, tnum.M64) == tnum.UNKNOWN


def test_shifts_and_swaps() -> None:
    assert tnum.shift_left((1, 2), 4) == (16, 32)
    assert tnum.shift_right((16, 32), 4) == (1, 2)
    assert tnum.shift_right_signed((1 << 63, 0), 63) == (tnum.M64, 0)
    assert tnum.swap((0x0102, 0xFF0000), 4) == (0x02010000, 0x00FF00)
    assert tnum.cast((0x1FF, 0x600), 1) == (0xFF, 0)


def test_intersection_and_subset() -> None:
    assert tnum.intersect((4, 3), (1, 6)) == (5, 2)
    assert tnum.subset((4, 3), (5, 2)) and not tnum.subset((5, 2), (4, 3))
    assert tnum.aligned((8, 16), 8) and not tnum.aligned((8, 4), 8)
