"""Arithmetic on sets of numbers: what can be said of a result."""

from __future__ import annotations

from collections.abc import Callable

from pbt.typing import Final
from pbt.verifier_sim import tnum
from pbt.verifier_sim.bounds import settle, sync
from pbt.verifier_sim.casts import zero_extend32
from pbt.verifier_sim.kernels import Features
from pbt.verifier_sim.scalar import UNKNOWN, ZERO, Bounds, Scalar, const, of_size
from pbt.verifier_sim.tnum import M32, M64


def _ranges(s: Scalar, bits: int) -> Bounds:
    return s[2:6] if bits == 64 else s[6:10]


def _unbounded(bits: int) -> Bounds:
    return 0, (1 << bits) - 1, -(1 << (bits - 1)), (1 << (bits - 1)) - 1


def _wrap(low: int, high: int, least: int, most: int, pairs: bool) -> tuple[int, int]:
    """Bounds of a sum of ranges in a ring: kept if nothing wraps or (with `pairs`) everything does."""
    if low >= least and high <= most:
        return low, high
    size = most - least + 1
    if pairs and (low > most or high < least):
        low, high = (low - least) % size + least, (high - least) % size + least
        if low <= high:
            return low, high
    return least, most


def _add(a: Bounds, b: Bounds, bits: int, rules: Features) -> Bounds:
    _, full, least, most = _unbounded(bits)
    pairs = "overflow_pairs" in rules
    umin, umax = _wrap(a[0] + b[0], a[1] + b[1], 0, full, pairs)
    smin, smax = _wrap(a[2] + b[2], a[3] + b[3], least, most, pairs)
    return umin, umax, smin, smax


def _sub(a: Bounds, b: Bounds, bits: int, rules: Features) -> Bounds:
    _, full, least, most = _unbounded(bits)
    pairs = "overflow_pairs" in rules
    umin, umax = _wrap(a[0] - b[1], a[1] - b[0], 0, full, pairs)
    smin, smax = _wrap(a[2] - b[3], a[3] - b[2], least, most, pairs)
    return umin, umax, smin, smax


def _mul(a: Bounds, b: Bounds, bits: int, rules: Features) -> Bounds:
    _, full, least, most = _unbounded(bits)
    high = a[1] * b[1]
    if "mixed_bounds" not in rules:
        if a[2] < 0 or b[2] < 0 or a[1] > (1 << bits // 2) - 1 or b[1] > (1 << bits // 2) - 1:
            return _unbounded(bits)
        return a[0] * b[0], high, *((a[0] * b[0], high) if high <= most else (least, most))
    umin, umax = (a[0] * b[0], high) if high <= full else (0, full)
    corners = (a[2] * b[2], a[2] * b[3], a[3] * b[2], a[3] * b[3])
    if min(corners) < least or max(corners) > most:
        return umin, umax, least, most
    return umin, umax, min(corners), max(corners)


def _signed_from(umin: int, umax: int, a: Bounds, b: Bounds, bits: int, rules: Features) -> Bounds:
    """The signed bounds after a bitwise operation."""
    _, _, least, most = _unbounded(bits)
    top = 1 << (bits - 1)
    if "mixed_bounds" in rules:
        fits = umax < top or umin >= top
    else:
        fits = a[2] >= 0 and b[2] >= 0
    if not fits:
        return umin, umax, least, most
    below = 2 * top if umin >= top else 0
    return umin, umax, umin - below, umax - below


def _lsh(a: Bounds, low: int, high: int, bits: int) -> Bounds:
    _, full, least, most = _unbounded(bits)
    if a[1] > 1 << (bits - 1 - high):
        umin, umax = 0, full
    else:
        umin, umax = a[0] << low, min(a[1] << high, full)
    smin, smax = least, most
    if bits == 64 and low == high == 32:
        half = 1 << 31
        if -half <= a[2] and a[3] < half:
            smin, smax = a[2] << 32, a[3] << 32
    return umin, umax, smin, smax


def _division(name: str, a: Scalar, divisor: int, bits: int, rules: Features) -> Scalar:
    """Division or remainder (DIV, MOD, SDIV, SMOD) by a constant; x / 0 is 0 and x % 0 is x."""
    wide = bits == 64
    if not divisor:
        if name in ("DIV", "SDIV"):
            return ZERO
        return a if wide else zero_extend32(a, rules)
    umin, umax, smin, smax = _ranges(a, bits)
    if name in ("SDIV", "SMOD"):
        signed = divisor - (1 << bits) if divisor >> (bits - 1) else divisor
        before, bounds = (smin, smax), _signed_division(name == "SMOD", smin, smax, signed, bits)
        fields = ("smin", "smax") if wide else ("s32min", "s32max")
    else:
        before, bounds = (umin, umax), _unsigned_division(name == "MOD", umin, umax, divisor)
        fields = ("umin", "umax") if wide else ("u32min", "u32max")
    if name in ("MOD", "SMOD") and bounds == before:
        return a if wide else zero_extend32(a, rules)
    result = sync(UNKNOWN._replace(**dict(zip(fields, bounds, strict=True))), rules)
    return result if wide else zero_extend32(result, rules)


def _unsigned_division(modulo: bool, low: int, high: int, divisor: int) -> tuple[int, int]:
    if not modulo:
        return low // divisor, high // divisor
    return (low, high) if high < divisor else (0, min(high, divisor - 1))


def _signed_division(modulo: bool, low: int, high: int, divisor: int, bits: int) -> tuple[int, int]:
    if modulo:
        most = abs(divisor) - 1
        if -most <= low and high <= most:
            return low, high
        if low >= 0:
            return 0, min(high, most)
        return (max(low, -most), 0) if high <= 0 else (-most, most)
    if divisor == -1 and low == -(1 << (bits - 1)):
        return (low, low) if low == high else _unbounded(bits)[2:]
    ends = sorted(abs(n) // abs(divisor) * (1 if (n < 0) == (divisor < 0) else -1) for n in (low, high))
    return ends[0], ends[1]


Operation = Callable[[int, int, int], int]

_EXACT: Final[dict[str, Operation]] = {  # (a, b, the largest number of this width) → result
    "ADD": lambda a, b, full: a + b & full,
    "SUB": lambda a, b, full: a - b & full,
    "MUL": lambda a, b, full: a * b & full,
    "AND": lambda a, b, full: a & b,
    "OR": lambda a, b, full: a | b,
    "XOR": lambda a, b, full: a ^ b,
    "LSH": lambda a, b, full: a << b & full,
    "RSH": lambda a, b, full: a >> b,
    "ARSH": lambda a, b, full: (a - full - 1 if a > full >> 1 else a) >> b & full,
}
"""What the kernel computes for two numbers."""

_BITS: dict[str, Callable[[tnum.Tnum, tnum.Tnum], tnum.Tnum]] = {
    "ADD": tnum.add,
    "SUB": tnum.sub,
    "MUL": tnum.mul,
    "AND": tnum.both,
    "OR": tnum.either,
    "XOR": tnum.xor,
}


def _unknown(bits: int, rules: Features) -> Scalar:
    """A result that the kernel does not compute; from 6.10 it forgets the zeros above 32 bits too."""
    return UNKNOWN if bits == 64 or "const_shifts" in rules else of_size(4)


_SHIFTS = ("LSH", "RSH", "ARSH")


def binary(name: str, a: Scalar, b: Scalar, wide: bool, rules: Features) -> Scalar:
    """a NAME b (name from ALU_OPS, not MOV, NEG or END) on 64 or 32 bits, zeros above."""
    bits = 64 if wide else 32
    full = (1 << bits) - 1
    if not (a.mask | b.mask) & full and (name not in _SHIFTS or b.umax < bits):
        exact = _EXACT.get(name)
        if exact is not None:
            return const(exact(a.value & full, b.value & full, full))
    if name in ("DIV", "MOD", "SDIV", "SMOD") and "division_bounds" in rules and not b.mask & full:
        return _division(name, a, b.value & full, bits, rules)
    if name in ("LSH", "RSH", "ARSH"):
        return _shift(name, a, b, bits, rules)
    combine = _BITS.get(name)
    if combine is None:
        return _unknown(bits, rules)
    if name == "MUL" and "mul_union" in rules:
        combine = tnum.mul_union
    value, mask = combine((a.value & full, a.mask & full), (b.value & full, b.mask & full))
    value, mask = value & full, mask & full
    if name in ("ADD", "SUB") and "circular" in rules:
        from pbt.verifier_sim import circle

        return circle.summed((value, mask), a, b, name == "SUB", wide)
    wide64 = _combine(name, value, mask, a, b, 64, rules) if wide else _unbounded(64)
    half = _combine(name, value & M32, mask & M32, a, b, 32, rules)
    result = Scalar(value, mask, *wide64, *half)
    if wide:
        return settle(result, rules)
    return zero_extend32(result, rules)


def shifted(offset: Scalar, amount: Scalar, name: str, rules: Features) -> Scalar:
    """A pointer's offset after ADD or SUB of an amount."""
    if "circular" in rules:
        from pbt.verifier_sim import circle

        return circle.shifted(_BITS[name](offset.tnum, amount.tnum), offset, amount, name == "SUB")
    return binary(name, offset, amount, True, rules)


def _combine(name: str, value: int, mask: int, a: Scalar, b: Scalar, bits: int, rules: Features) -> Bounds:
    left, right = _ranges(a, bits), _ranges(b, bits)
    if name == "ADD":
        return _add(left, right, bits, rules)
    if name == "SUB":
        return _sub(left, right, bits, rules)
    if name == "MUL":
        return _mul(left, right, bits, rules)
    if not mask:
        top = 1 << (bits - 1)
        signed = value - 2 * top if value & top else value
        return value, value, signed, signed
    if name == "AND":
        return _signed_from(value, min(left[1], right[1]), left, right, bits, rules)
    if name == "OR":
        return _signed_from(max(left[0], right[0]), value | mask, left, right, bits, rules)
    return _signed_from(value, value | mask, left, right, bits, rules)


def _shift(name: str, a: Scalar, b: Scalar, bits: int, rules: Features) -> Scalar:
    low, high = (b.umin, b.umax) if bits == 64 else (b.u32min, b.u32max)
    full = (1 << bits) - 1
    if b.umax >= bits or (low != high and "const_shifts" in rules):  # all 64 bits of the amount count
        return _unknown(bits, rules)
    start = (a.value & full, a.mask & full)
    _, _, least, most = _unbounded(bits)
    if name == "LSH":
        value, mask = tnum.shift_left(start, low) if low == high else (0, M64)
        bounds = _lsh(_ranges(a, bits), low, high, bits)
        if bits == 64 and low == 32 and "circular" in rules:
            bounds = *bounds[:2], a.s32min << 32, a.s32max << 32
        half = _lsh(_ranges(a, 32), low, high, 32) if high < 32 else _unbounded(32)
    elif name == "RSH":
        value, mask = tnum.shift_right(start, low) if low == high else (0, M64)
        left = _ranges(a, bits)
        bounds = (left[0] >> high, left[1] >> low, least, most)
        half = bounds if bits == 32 else _unbounded(32)
    else:
        if low != high:
            return _unknown(bits, rules)
        value, mask = tnum.shift_right_signed(start, low, bits)
        left = _ranges(a, bits)
        bounds = (0, full, left[2] >> low, left[3] >> low)
        half = bounds if bits == 32 else _unbounded(32)
    value, mask = value & full, mask & full
    if bits == 64:
        return settle(Scalar(value, mask, *bounds, *half), rules)
    return zero_extend32(Scalar(value, mask, *_unbounded(64), *half), rules)


def negate(a: Scalar, wide: bool, rules: Features) -> Scalar:
    """-a; before 6.17 nothing is known of it."""
    return binary("SUB", ZERO, a, wide, rules) if "negation" in rules else UNKNOWN
