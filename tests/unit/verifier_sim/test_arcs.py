"""Arcs on a small circle, against the sets of numbers that they stand for."""

from __future__ import annotations

from itertools import product

import pytest

from pbt.verifier_sim import arcs
from pbt.verifier_sim.arcs import EMPTY, Arc
from pbt.verifier_sim.tnum import M32, M64

FULL = 7
ARCS = [EMPTY, (0, FULL), *product(range(FULL + 1), range(FULL))]


def inside(arc: Arc) -> set[int]:
    return {arc[0] + more & FULL for more in range(arc[1] + 1)}


def negative(number: int) -> int:
    return number - FULL - 1 if number > FULL >> 1 else number


@pytest.mark.parametrize("arc", ARCS)
def test_bounds_are_read_off_in_both_orders(arc: Arc) -> None:
    low, high = arcs.unsigned(arc, FULL)
    least, most = arcs.signed(arc, FULL)
    numbers = inside(arc)
    over, around = {0, FULL} <= numbers, {FULL >> 1, (FULL >> 1) + 1} <= numbers
    assert (low, high) == ((0, FULL) if over or not numbers else (min(numbers), max(numbers)))
    signed = {negative(number) for number in numbers}
    assert (least, most) == ((-4, 3) if around or not signed else (min(signed), max(signed)))
    if numbers and not over:
        assert arcs.span(low, high, FULL) == arc
    if numbers and not around:
        assert arcs.span(least, most, FULL) == arc


@pytest.mark.parametrize("a", ARCS)
def test_two_arcs(a: Arc) -> None:
    for b in ARCS:
        both = inside(a) & inside(b)
        met = inside(arcs.meet(a, b, FULL))
        pieces = sum(number - 1 & FULL not in both for number in both)
        assert met == both if pieces < 2 else (met in (inside(a), inside(b)) and met >= both)
        assert inside(arcs.add(a, b, FULL)) == {x + y & FULL for x in inside(a) for y in inside(b)}
        assert arcs.covers(a, b, FULL) == (inside(b) <= inside(a)) or not inside(b)


@pytest.mark.parametrize("arc", ARCS)
def test_other_signs(arc: Arc) -> None:
    assert inside(arcs.negate(arc, FULL)) == {-number & FULL for number in inside(arc)}


def test_known_bits_and_one_number_less() -> None:
    for value, mask in product(range(FULL + 1), repeat=2):
        if not value & mask:
            fitting = {number for number in range(FULL + 1) if number & ~mask == value}
            signed = {negative(number) for number in fitting}
            expected = (min(signed), max(signed)) if mask & 4 else (min(fitting), max(fitting))
            assert arcs.from_bits(value, mask, FULL) == arcs.span(*expected, FULL)
        assert inside(arcs.around(value, FULL)) == set(range(FULL + 1)) - {value}


@pytest.mark.parametrize(
    ("wide", "half", "left"),
    [
        ((10, 20), (15, 5), (15, 5)),
        ((10, 2), (20, 5), EMPTY),
        ((10, 20), (M32 - 2, 15), (10, 2)),  # 10 to 12 is all that both have
        ((M64 - 5, 10), (2, 100), (2, 2)),
        ((1 << 32, 3 << 32), (7, 1), ((1 << 32) + 7, (2 << 32) + 1)),
        ((5, 1 << 32), (0, M32), (5, 1 << 32)),
        ((0, M64), (3, 0), (3, M64 - M32)),
        (EMPTY, (0, M32), EMPTY),
    ],
)
def test_ends_whose_lower_halves_do_not_fit_are_cut_off(wide: Arc, half: Arc, left: Arc) -> None:
    assert arcs.narrowed(wide, half) == left


def test_lower_halves() -> None:
    assert arcs.lower((M64, 3)) == (M32, 3)
    assert arcs.lower((7, M32)) == (0, M32)
    assert arcs.lower(EMPTY) == EMPTY
