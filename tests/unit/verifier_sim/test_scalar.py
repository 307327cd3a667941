"""Ranges and known bits refine one another, as far as a kernel does it."""

from __future__ import annotations

import pytest

from pbt.verifier_sim import arith, bounds, casts, compare, scalar
from pbt.verifier_sim.kernels import FLAWS, LATEST, RULES, STABLE, features, release

NEW, OLD = features("6.18"), features("6.1")


def test_constants_are_shared() -> None:
    assert scalar.const(5) is scalar.const(5)
    assert scalar.const(-1).umax == 2**64 - 1 and scalar.const(-1).smin == -1


def test_masking_bounds_a_number() -> None:
    got = arith.binary("AND", scalar.UNKNOWN, scalar.const(15), True, NEW)
    assert (got.umin, got.umax, got.smin, got.smax) == (0, 15, 0, 15)


def test_signed_and_unsigned_meet() -> None:
    below, _ = compare.refine("JSLE", scalar.UNKNOWN, scalar.const(15), True, NEW)
    assert below is not None and below.umax == 2**64 - 1
    both, _ = compare.refine("JSGE", below, scalar.const(0), True, NEW)
    assert both is not None and (both.umin, both.umax) == (0, 15)


def test_two_registers_refine_each_other() -> None:
    small = scalar.of_size(1)
    left, right = compare.refine("JLT", scalar.UNKNOWN, small, True, NEW)
    assert left is not None and right is not None
    assert left.umax == 254 and right.umin == 1


def test_32_bit_comparison_bounds_64_bits_of_a_short_number() -> None:
    got, _ = compare.refine("JLE", scalar.of_size(4), scalar.const(7), False, NEW)
    assert got is not None and got.umax == 7


@pytest.mark.parametrize(
    ("kernel", "known"), [("6.1", False), ("6.12", False), ("6.18.15", True), ("6.18.44", True)]
)
def test_negation_by_kernel(kernel: str, known: bool) -> None:
    got = compare.taken(
        "JSLE", arith.negate(scalar.of_size(1), True, features(kernel)), scalar.const(0), True, LATEST
    )
    assert got is (True if known else None)


def test_division_is_bounded_from_7() -> None:
    ten = scalar.const(10)
    assert arith.binary("MOD", scalar.of_size(1), ten, True, features("7.3")).umax == 9
    assert arith.binary("MOD", scalar.of_size(1), ten, True, NEW) == scalar.UNKNOWN


def test_contradiction_is_found() -> None:
    with pytest.raises(bounds.Empty):
        compare.refine("JGT", scalar.of_size(1), bounds.between(300, 400, LATEST), True, LATEST)
    with pytest.raises(bounds.Empty):
        compare.refine("JGT", scalar.const(3), scalar.const(5), True, NEW)
    left, _ = compare.refine("JGT", scalar.const(3), scalar.const(5), True, LATEST)
    assert left == scalar.const(3)  # known bits win over ranges


def test_ranges_are_arcs_from_73() -> None:
    holed, _ = compare.refine("JNE", scalar.UNKNOWN, scalar.const(5), True, LATEST)
    assert holed is not None and holed[:10] == scalar.UNKNOWN
    assert holed.contains(4) and not holed.contains(5) and holed.contains(6)
    assert scalar.includes(scalar.UNKNOWN, holed) and not scalar.includes(holed, scalar.UNKNOWN)
    moved = arith.binary("SUB", holed, scalar.const(5), True, LATEST)
    assert (moved.umin, moved.umax) == (1, 2**64 - 1)
    assert arith.binary("ADD", moved, scalar.const(5), True, LATEST) == holed
    half = arith.binary("ADD", holed, scalar.const(0), False, LATEST)
    assert not scalar.includes(half, scalar.of_size(8)) and half.umax == 2**32 - 1


def test_what_no_number_is_left_of_is_any_number() -> None:
    """Results that contradict themselves, on paths that nothing takes, leave known bits alone (since 7.3)."""
    wrong = scalar.Scalar(0, 6, 8, 9, 8, 9, 8, 9, 8, 9)
    got = arith.binary("ADD", wrong, scalar.ZERO, True, LATEST)
    assert got == scalar.UNKNOWN._replace(value=0, mask=6)
    assert arith.binary("RSH", wrong, scalar.const(1), True, LATEST) == scalar.UNKNOWN._replace(
        value=0, mask=3
    )
    assert casts.keep_low(wrong, 8, LATEST) == got


def test_remainders_of_what_is_below_the_divisor() -> None:
    even = scalar.UNKNOWN._replace(mask=6, umax=6)
    assert arith.binary("MOD", bounds.sync(even, LATEST), scalar.const(10), True, LATEST).mask == 6
    wide = bounds.between(-2, 100, LATEST)
    assert arith.binary("SMOD", wide, scalar.const(10), True, LATEST)[4:6] == (-9, 9)


def test_branches_on_constants() -> None:
    assert compare.taken("JSLT", scalar.const(-1), scalar.const(0), True, LATEST) is True
    assert compare.taken("JLT", scalar.const(-1), scalar.const(0), True, LATEST) is False
    assert compare.taken("JSET", scalar.of_size(1), scalar.const(256), True, LATEST) is False
    assert compare.taken("JEQ", scalar.of_size(1), scalar.const(256), True, LATEST) is False


def test_rules_are_named_once_and_releases_parse() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES)
    assert release("6.18.44-1-amd64") == (6, 18, 44) and release("5.10") == (5, 10)
    early = {name for _, _, names in STABLE for name in names.split()}  # what stable series took early
    assert early >= OLD - NEW
    assert NEW - {name for name, *_ in FLAWS} <= LATEST
    assert "swap_known" in features("6.18.44") - features("6.18.15")


def test_what_equals_a_constant_was_that_constant() -> None:
    """Before Linux 6.8, even where what was known of the number says otherwise."""
    odd = bounds.sync(scalar.UNKNOWN._replace(value=0x233, mask=0xFFFFFDCC), OLD)
    assert compare.refine("JEQ", odd, scalar.const(8), False, OLD)[0] == scalar.const(8)
    with pytest.raises(bounds.Empty):
        compare.refine("JEQ", odd, scalar.const(8), False, NEW)
