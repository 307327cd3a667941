"""Deductions: known bits and ranges of a number refine one another, as far as the kernel does.

`rules` is the set of deductions that the kernel in question has (pbt.verifier_sim.kernels).
"""

from __future__ import annotations

from pbt.typing import Final
from pbt.verifier_sim import tnum
from pbt.verifier_sim.kernels import Features
from pbt.verifier_sim.scalar import (
    HIGH,
    S32_MAX,
    S32_MIN,
    TOP32,
    TOP64,
    UNKNOWN,
    Bounds,
    Scalar,
    const,
    s32,
)
from pbt.verifier_sim.tnum import M32, M64

Ranges = tuple[int, int, int, int, int, int, int, int]
"""The ranges of a Scalar, in its order: umin, umax, smin, smax, u32min, u32max, s32min, s32max."""

_BELOW64, _BELOW32 = ~TOP64, ~TOP32
_new: Final = tuple.__new__


class Empty(Exception):
    """A refinement left no number: the path cannot be taken."""


def sync(scalar: Scalar, rules: Features) -> Scalar:
    """Let every part of the description refine the others, as far as the kernel does.

    Raises Empty where a range ends before it starts.
    """
    value, mask = scalar.value, scalar.mask
    if not mask and scalar.contains(value):
        return const(value)
    if "circular" in rules:
        from pbt.verifier_sim import circle

        return circle.sync(scalar)
    ranges = from_bits(value, mask, scalar[2:])
    if "mixed_bounds" in rules:
        for _ in range(3 if "sign_split" in rules else 2):
            before, ranges = ranges, _deduce_mixed(ranges, rules)
            if ranges == before:
                break
    else:
        for _ in range(2):
            before, ranges = ranges, _deduce_old(ranges, not (value | mask) >> 32, "low_bits" in rules)
            if ranges == before:
                break
    value, mask = _to_bits(value, mask, ranges, rules)
    ranges = from_bits(value, mask, ranges)
    if mask and "tnum_steps" in rules:
        one = single(value, mask, ranges[0], ranges[1])
        if one is not None:
            return const(one)
    if ranges[0] > ranges[1] or ranges[2] > ranges[3] or ranges[4] > ranges[5] or ranges[6] > ranges[7]:
        raise Empty
    return _new(Scalar, (value, mask, *ranges))


def settle(result: Scalar, rules: Features) -> Scalar:
    """Sync a freshly computed set; its parts contradict one another at most on paths that nothing takes."""
    if "circular" in rules:
        from pbt.verifier_sim import circle

        return circle.computed(*circle.parts(result))
    return sync(result, rules)


def from_bits(value: int, mask: int, ranges: Ranges) -> Ranges:
    """Ranges narrowed by known bits."""
    umin, umax, smin, smax, u32min, u32max, s32min, s32max = ranges
    most = value | mask
    if umin < value:
        umin = value
    if umax > most:
        umax = most
    low, high = (value | TOP64, most & _BELOW64) if mask & TOP64 else (value, most)
    low, high = (low ^ TOP64) - TOP64, (high ^ TOP64) - TOP64  # as signed numbers
    if smin < low:
        smin = low
    if smax > high:
        smax = high
    value, most = value & M32, most & M32
    if u32min < value:
        u32min = value
    if u32max > most:
        u32max = most
    if mask & TOP32:
        value, most = value | TOP32, most & _BELOW32
    low, high = (value ^ TOP32) - TOP32, (most ^ TOP32) - TOP32
    if s32min < low:
        s32min = low
    if s32max > high:
        s32max = high
    return umin, umax, smin, smax, u32min, u32max, s32min, s32max


def single(value: int, mask: int, umin: int, umax: int, last: bool = False) -> int | None:
    """The one number, where range and known bits have just one in common.

    `last`: the largest that fits the bits is it, too, where that is all they allow above umin, even if above umax.
    """
    after = tnum.step(value, mask, umin)
    if umin & ~mask & M64 == value:
        return umin if after > umax else None
    if after == value | mask and (last or after <= umax):
        return after
    if after <= umax < tnum.step(value, mask, after):
        return after
    return None


def _to_bits(value: int, mask: int, ranges: Ranges, rules: Features) -> tnum.Tnum:
    """Known bits, and those that ranges tell; the low half from the 64-bit range too, where the kernel does so."""
    umin, umax, u32min, u32max = ranges[0], ranges[1], ranges[4], ranges[5]
    if umin > umax or u32min > u32max:
        raise Empty
    if umin or umax != M64:
        differing = (umin ^ umax).bit_length()
        unknown = (1 << differing) - 1
        same = umin & ~unknown
        if (value ^ same) & ~mask & ~unknown & M64:
            raise Empty
        value, mask, known = (value | same) & ~(mask & unknown), mask & unknown, (value, mask)
        if "low_bits" not in rules:
            value, mask = value & HIGH | known[0] & M32, mask & HIGH | known[1] & M32
    if u32min or u32max != M32:
        unknown = (1 << (u32min ^ u32max).bit_length()) - 1 | HIGH
        value, mask = (value | u32min & ~unknown) & ~(mask & unknown), mask & unknown
    return value, mask


def _deduce_mixed(ranges: Ranges, rules: Features) -> Ranges:
    """One round of refinements, since 6.8."""
    umin, umax, smin, smax, u32min, u32max, s32min, s32max = ranges
    u32min, u32max, s32min, s32max = _narrow(ranges)
    u32min, u32max, s32min, s32max = _orders(u32min, u32max, s32min, s32max, TOP32, "sign_split32" in rules)
    umin, umax, smin, smax = _orders(umin, umax, smin, smax, TOP64, "sign_split" in rules)
    if "block_bounds" in rules and u32min <= u32max:
        umin, umax = _blocks(umin, umax, u32min, u32max)
    ranges = _widen(umin, umax, smin, smax, u32min, u32max, s32min, s32max)
    low, high = ranges[6], ranges[7]
    if ranges[2] < S32_MIN or ranges[3] > S32_MAX:
        return ranges
    if "signs_met" in rules:
        return (*ranges[:2], max(ranges[2], low), min(ranges[3], high), *ranges[4:])
    if low >= 0 and "signs_extended" in rules:
        # a number that is its low half, sign-extended: that takes the place even of narrower ranges
        return low, high, low, high, ranges[4], ranges[5], low, high
    return ranges


def _orders(umin: int, umax: int, smin: int, smax: int, top: int, split: bool) -> Bounds:
    """Unsigned and signed bounds of one width (whose sign is the bit `top`), refined by each other.

    Where both ends of a range have one sign, both orders are the same; `split`: of a signed range over the sign
    boundary, the unsigned one may touch just one part.
    """
    low, high = (umin ^ top) - top, (umax ^ top) - top
    if low <= high:
        if low > smin:
            smin = low
        if high < smax:
            smax = high
    full = 2 * top - 1
    low, high = smin & full, smax & full
    if low <= high:
        if low > umin:
            umin = low
        if high < umax:
            umax = high
    elif split:
        if umax < low:
            smin, umax = (umin ^ top) - top, min(umax, high)
        elif high < umin:
            smax, umin = (umax ^ top) - top, max(umin, low)
    return umin, umax, smin, smax


def _narrow(ranges: Ranges) -> Bounds:
    """The 32-bit ranges, narrowed by the 64-bit ones where the upper halves agree."""
    umin, umax, smin, smax, u32min, u32max, s32min, s32max = ranges
    for least, most in ((umin, umax), (smin, smax)):
        if least >> 32 == most >> 32:
            low, high = least & M32, most & M32
            if low > u32min:
                u32min = low
            if high < u32max:
                u32max = high
            low, high = (low ^ TOP32) - TOP32, (high ^ TOP32) - TOP32
            if low <= high:
                if low > s32min:
                    s32min = low
                if high < s32max:
                    s32max = high
    least, most = smin >> 32, smax >> 32
    if (least + 1) & M32 == most & M32 and least != most and smin & TOP32 and not smax & TOP32:
        s32min, s32max = max(s32min, s32(smin & M32)), min(s32max, s32(smax & M32))
    return u32min, u32max, s32min, s32max


def _widen(
    umin: int, umax: int, smin: int, smax: int, u32min: int, u32max: int, s32min: int, s32max: int
) -> Ranges:
    """All ranges, the 64-bit ones narrowed by the 32-bit ones."""
    low, high = umin & HIGH | u32min, umax & HIGH | u32max
    if low > umin:
        umin = low
    if high < umax:
        umax = high
    low, high = (smin >> 32 << 32) | u32min, (smax >> 32 << 32) | u32max
    if low > smin:
        smin = low
    if high < smax:
        smax = high
    return umin, umax, smin, smax, u32min, u32max, s32min, s32max


def _blocks(umin: int, umax: int, low: int, high: int) -> tuple[int, int]:
    """Bounds moved to the next value whose low half lies in low..high."""
    if umin & M32 > high and umin >> 32 < M32:
        umin = ((umin >> 32) + 1 << 32) | low
    if umax & M32 < low and umax >> 32:
        umax = ((umax >> 32) - 1 << 32) | high
    return umin, umax


def _signs(umin: int, umax: int, smin: int, smax: int, top: int) -> Bounds:
    """Signed and unsigned bounds of one width (whose sign is the bit `top`), refined as before 6.8."""
    full = 2 * top - 1
    if smin >= 0 or smax < 0:
        umin, umax = max(smin & full, umin), min(smax & full, umax)
        smin, smax = (umin ^ top) - top, (umax ^ top) - top
        return smin & full, smax & full, smin, smax
    if not umax & top:
        high = min(smax, umax)
        return umin, high, umin, high
    if umin & top:
        low = max(smin, umin - 2 * top)
        return low & full, umax, low, umax - 2 * top
    return umin, umax, smin, smax


def _deduce_old(ranges: Ranges, low_only: bool, halves: bool) -> Ranges:
    """One round of refinements, before 6.8.

    `low_only`: the upper half is known to be 0; `halves`: 64-bit ranges tell of the lower half.
    """
    umin, umax, smin, smax, u32min, u32max, s32min, s32max = ranges
    u32min, u32max, s32min, s32max = _signs(u32min, u32max, s32min, s32max, TOP32)
    umin, umax, smin, smax = _signs(umin, umax, smin, smax, TOP64)
    if halves and smin >= S32_MIN and smax <= S32_MAX:
        s32min, s32max = max(s32min, smin), min(s32max, smax)
    if halves and umax <= M32:
        u32min, u32max = max(u32min, umin), min(u32max, umax)
    if low_only:
        umin, umax = max(umin, u32min), min(umax, u32max)
    return umin, umax, smin, smax, u32min, u32max, s32min, s32max


def between(low: int, high: int, rules: Features) -> Scalar:
    """All of low..high, both within the signed 64-bit range."""
    return sync(UNKNOWN._replace(smin=low, smax=high), rules)
