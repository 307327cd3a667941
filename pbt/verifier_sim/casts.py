"""Numbers in another width: cut off, extended with zeros or the sign, their bytes swapped."""

from __future__ import annotations

from pbt.verifier_sim import tnum
from pbt.verifier_sim.bounds import settle, sync
from pbt.verifier_sim.kernels import Features
from pbt.verifier_sim.scalar import S32_MAX, S32_MIN, S64_MAX, S64_MIN, UNKNOWN, Scalar, const
from pbt.verifier_sim.tnum import M32, M64

_BYTES = {size: (1 << 8 * size) - 1 for size in (1, 2, 4)}


def zero_extend32(s: Scalar, rules: Features) -> Scalar:
    """The low half, as every 32-bit operation leaves it."""
    if not s.mask & M32:
        return const(s.value & M32)
    if "circular" in rules:
        from pbt.verifier_sim import circle

        return circle.zero_extended(s.value, s.mask, circle.parts(s).half)
    low, high = s.u32min, s.u32max
    return sync(
        Scalar(s.value & M32, s.mask & M32, low, high, low, high, low, high, s.s32min, s.s32max), rules
    )


def truncate(s: Scalar, size: int, rules: Features) -> Scalar:
    """The low `size` bytes, zero extended."""
    if size == 8:
        return s
    if "circular" in rules:
        from pbt.verifier_sim import circle

        return circle.truncated(s, size)
    if size == 4:
        return zero_extend32(s, rules)
    value, mask = tnum.cast((s.value, s.mask), size)
    full = _BYTES[size]
    low, high = (s.umin, s.umax) if s.umax <= full else (0, full)
    if s.u32max <= full:
        low, high = max(low, s.u32min), min(high, s.u32max)
    return sync(Scalar(value, mask, low, high, low, high, low, high, low, high), rules)


def sign_extend(s: Scalar, size: int, rules: Features, wide: bool) -> Scalar:
    """The low `size` bytes, sign extended to 64 bits, or to 32 with zeros above.

    Only ranges are looked at, as in coerce_reg_to_size_sx(): known bits are derived from them.
    """
    bits = 8 * size
    half, full = 1 << (bits - 1), (1 << bits) - 1
    if not s.mask:
        number = s.value & full
        number -= (full + 1) if number & half else 0
        return const(number if wide else number & M32)
    smin, smax = (s.smin, s.smax) if wide else (s.s32min, s.s32max)
    low, high = -half, half - 1
    if smin >> bits == smax >> bits:
        ends = sorted(((smin & full) - (smin & half) * 2, (smax & full) - (smax & half) * 2))
        if (ends[0] >= 0) == (ends[1] >= 0):
            low, high = ends
    same_sign = (low >= 0) == (high >= 0)
    value, mask = tnum.span(low & M64, high & M64) if same_sign else (0, M64)
    if wide:
        unsigned = (low & M64, high & M64) if same_sign else (0, M64)
        u32 = (low & M32, high & M32) if same_sign else (0, M32)
        return Scalar(value, mask, *unsigned, low, high, *u32, max(low, S32_MIN), min(high, S32_MAX))
    u32 = (low & M32, high & M32) if same_sign else (0, M32)
    narrow = Scalar(value & M32, mask & M32, 0, M64, S64_MIN, S64_MAX, *u32, low, high)
    return zero_extend32(narrow, rules)


def byte_swap(a: Scalar, size: int, rules: Features) -> Scalar:
    """The low `size` bytes reversed, zero extended."""
    if "swap_known" not in rules:
        return UNKNOWN
    value, mask = tnum.swap((a.value, a.mask), size)
    return sync(UNKNOWN._replace(value=value, mask=mask), rules)


def keep_low(a: Scalar, size: int, rules: Features) -> Scalar:
    """What a byte swap to the machine's own order leaves: the low `size` bytes, zero extended."""
    return settle(truncate(a, size, rules), rules) if "swap_known" in rules else UNKNOWN
