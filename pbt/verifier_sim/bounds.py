"""Deductions: known bits and ranges of a number refine one another, as far as the kernel does.

`rules` is the set of deductions that the kernel in question has (pbt.verifier_sim.kernels).
"""

from __future__ import annotations

from collections.abc import Callable

from pbt.verifier_sim import tnum
from pbt.verifier_sim.kernels import Features
from pbt.verifier_sim.scalar import (
    HIGH,
    S32_MAX,
    S32_MIN,
    S64_MAX,
    TOP32,
    TOP64,
    UNKNOWN,
    Bounds,
    Scalar,
    const,
    s32,
    s64,
)
from pbt.verifier_sim.tnum import M32, M64


class Empty(Exception):
    """A refinement left no number: the path cannot be taken."""


def sync(scalar: Scalar, rules: Features) -> Scalar:
    """Let every part of the description refine the others, as far as the kernel does.

    Raises Empty where a range ends before it starts.
    """
    deduce = _deduce_mixed if "mixed_bounds" in rules else _deduce_old
    current = _from_bits(scalar)
    for _ in range(3 if "sign_split" in rules else 2):
        refined = deduce(current, rules)
        if refined == current:
            break
        current = refined
    current = _from_bits(_to_bits(current, rules))
    if current.mask and "tnum_steps" in rules:
        current = _single(current)
    if (
        current.umin > current.umax
        or current.smin > current.smax
        or current.u32min > current.u32max
        or current.s32min > current.s32max
    ):
        raise Empty
    return current


def _from_bits(s: Scalar) -> Scalar:
    """Ranges from known bits."""
    value, mask, umin, umax, smin, smax, u32min, u32max, s32min, s32max = s
    most = value | mask
    umin, umax = max(umin, value), min(umax, most)
    smin = max(smin, s64(value | mask & TOP64))
    smax = min(smax, s64(value | mask & S64_MAX))
    value32, mask32 = value & M32, mask & M32
    u32min, u32max = max(u32min, value32), min(u32max, value32 | mask32)
    s32min = max(s32min, s32(value32 | mask32 & TOP32))
    s32max = min(s32max, s32(value32 | mask32 & S32_MAX))
    return Scalar(value, mask, umin, umax, smin, smax, u32min, u32max, s32min, s32max)


def _step(value: int, mask: int, number: int) -> int:
    """The smallest value of a tnum above `number`; its largest if there is none."""
    if number >= value | mask:
        return value | mask
    if number < value:
        return value
    over = number ^ value
    conflict = (over & ~mask).bit_length()
    low = (1 << conflict) - 1 if conflict and number >> conflict - 1 & 1 else 0
    if conflict and not low:
        return value | (number & mask & ~((1 << conflict) - 1))
    filled = (number & mask | ~mask & M64 | low) + 1
    return value | filled & mask


def _single(s: Scalar) -> Scalar:
    """The one number, where range and known bits have just one in common."""
    value, mask, umin, umax = s[:4]
    after = _step(value, mask, umin)
    if umin & ~mask & M64 == value:
        return const(umin) if after > umax else s
    if after == value | mask and after <= umax:
        return const(after)
    if after <= umax < _step(value, mask, after):
        return const(after)
    return s


def _to_bits(s: Scalar, rules: Features) -> Scalar:
    """Known bits from ranges; the low half from the 64-bit range too, where the kernel does so."""
    if s.umin > s.umax or s.u32min > s.u32max:
        raise Empty
    if (s.value ^ tnum.span(s.umin, s.umax)[0]) & ~s.mask & ~tnum.span(s.umin, s.umax)[1] & M64:
        raise Empty
    wide = tnum.intersect((s.value, s.mask), tnum.span(s.umin, s.umax))
    before = wide if "low_bits" in rules else s.tnum
    low = tnum.intersect((before[0] & M32, before[1] & M32), tnum.span(s.u32min, s.u32max))
    return s._replace(value=wide[0] & HIGH | low[0], mask=wide[1] & HIGH | low[1])


def _deduce_mixed(s: Scalar, rules: Features) -> Scalar:
    value, mask, umin, umax, smin, smax, u32min, u32max, s32min, s32max = s
    # 64 bits → 32 bits, where the upper halves agree
    if umin >> 32 == umax >> 32:
        low, high = umin & M32, umax & M32
        u32min, u32max = max(u32min, low), min(u32max, high)
        if s32(low) <= s32(high):
            s32min, s32max = max(s32min, s32(low)), min(s32max, s32(high))
    if smin >> 32 == smax >> 32:
        low, high = smin & M32, smax & M32
        u32min, u32max = max(u32min, low), min(u32max, high)
        if s32(low) <= s32(high):
            s32min, s32max = max(s32min, s32(low)), min(s32max, s32(high))
    elif ((smin >> 32) + 1) & M32 == (smax >> 32) & M32 and smin & TOP32 and not smax & TOP32:
        s32min, s32max = max(s32min, s32(smin & M32)), min(s32max, s32(smax & M32))
    # signed ↔ unsigned, where both keep their order
    if s32(u32min & M32) <= s32(u32max & M32):
        s32min, s32max = max(s32min, s32(u32min)), min(s32max, s32(u32max))
    if s32min & M32 <= s32max & M32:
        u32min, u32max = max(u32min, s32min & M32), min(u32max, s32max & M32)
    elif "sign_split32" in rules:
        if u32max < s32min & M32:
            s32min, u32max = s32(u32min), min(u32max, s32max & M32)
        elif s32max & M32 < u32min:
            s32max, u32min = s32(u32max), max(u32min, s32min & M32)
    if s64(umin) <= s64(umax):
        smin, smax = max(smin, s64(umin)), min(smax, s64(umax))
    if smin & M64 <= smax & M64:
        umin, umax = max(umin, smin & M64), min(umax, smax & M64)
    elif "sign_split" in rules:
        if umax < smin & M64:
            smin, umax = s64(umin), min(umax, smax & M64)
        elif smax & M64 < umin:
            smax, umin = s64(umax), max(umin, smin & M64)
    # 32 bits → 64 bits
    if "block_bounds" in rules and u32min <= u32max:
        umin, umax = _blocks(umin, umax, u32min, u32max)
    umin = max(umin, umin & HIGH | u32min)
    umax = min(umax, umax & HIGH | u32max)
    smin = max(smin, (smin >> 32 << 32) | u32min)
    smax = min(smax, (smax >> 32 << 32) | u32max)
    if smin >= S32_MIN and smax <= S32_MAX:
        smin, smax = max(smin, s32min), min(smax, s32max)
    return Scalar(value, mask, umin, umax, smin, smax, u32min, u32max, s32min, s32max)


def _blocks(umin: int, umax: int, low: int, high: int) -> tuple[int, int]:
    """Bounds moved to the next value whose low half lies in low..high."""
    if umin & M32 > high and umin >> 32 < M32:
        umin = ((umin >> 32) + 1 << 32) | low
    if umax & M32 < low and umax >> 32:
        umax = ((umax >> 32) - 1 << 32) | high
    return umin, umax


def _signs(umin: int, umax: int, smin: int, smax: int, signed: Callable[[int], int], top: int) -> Bounds:
    """Signed and unsigned bounds of one width, refined as before 6.8."""
    full = 2 * top - 1
    if smin >= 0 or smax < 0:
        smin = signed(max(smin & full, umin))
        smax = signed(min(smax & full, umax))
        return smin & full, smax & full, smin, smax
    if signed(umax) >= 0:
        high = min(smax, umax)
        return umin, high, umin, high
    if signed(umin) < 0:
        low = max(smin, signed(umin))
        return low & full, umax, low, signed(umax)
    return umin, umax, smin, smax


def _deduce_old(s: Scalar, rules: Features) -> Scalar:
    value, mask, umin, umax, smin, smax, u32min, u32max, s32min, s32max = s
    u32min, u32max, s32min, s32max = _signs(u32min, u32max, s32min, s32max, s32, TOP32)
    umin, umax, smin, smax = _signs(umin, umax, smin, smax, s64, TOP64)
    if smin >= S32_MIN and smax <= S32_MAX:
        s32min, s32max = max(s32min, smin), min(s32max, smax)
    if umax <= M32:
        u32min, u32max = max(u32min, umin), min(u32max, umax)
    if not (value | mask) >> 32:
        umin, umax = max(umin, u32min), min(umax, u32max)
    return Scalar(value, mask, umin, umax, smin, smax, u32min, u32max, s32min, s32max)


def between(low: int, high: int, rules: Features) -> Scalar:
    """All of low..high, both within the signed 64-bit range."""
    return sync(UNKNOWN._replace(smin=low, smax=high), rules)
