"""Tracked numbers: which bits of a value are known.

A tnum is a pair (value, mask), both unsigned: a bit set in `mask` is unknown, and then clear in
`value`. Every function here returns a tnum that covers each result its operands allow.
Source of the idea: include/linux/tnum.h; of the multiplication: Vishwanathan et al., "Sound, Precise,
and Fast Abstract Interpretation with Tristate Numbers" (CGO 2022).
"""

from __future__ import annotations

M64 = (1 << 64) - 1
M32 = (1 << 32) - 1

Tnum = tuple[int, int]
UNKNOWN: Tnum = (0, M64)


def known(tnum: Tnum) -> bool:
    return not tnum[1]


def span(low: int, high: int) -> Tnum:
    """The closest tnum over all of low..high (unsigned)."""
    differing = (low ^ high).bit_length()
    if differing > 63:
        return UNKNOWN
    mask = (1 << differing) - 1
    return low & ~mask, mask


def add(a: Tnum, b: Tnum) -> Tnum:
    masks, values = a[1] + b[1], a[0] + b[0]
    unknown = ((masks + values) ^ values | a[1] | b[1]) & M64
    return values & ~unknown & M64, unknown


def sub(a: Tnum, b: Tnum) -> Tnum:
    difference = a[0] - b[0]
    unknown = ((difference + a[1]) ^ (difference - b[1]) | a[1] | b[1]) & M64
    return difference & ~unknown & M64, unknown


def both(a: Tnum, b: Tnum) -> Tnum:
    """Bitwise and."""
    value = a[0] & b[0]
    return value, (a[0] | a[1]) & (b[0] | b[1]) & ~value


def either(a: Tnum, b: Tnum) -> Tnum:
    """Bitwise or."""
    value = a[0] | b[0]
    return value, (a[1] | b[1]) & ~value


def xor(a: Tnum, b: Tnum) -> Tnum:
    unknown = a[1] | b[1]
    return (a[0] ^ b[0]) & ~unknown, unknown


def shift_left(a: Tnum, count: int) -> Tnum:
    return a[0] << count & M64, a[1] << count & M64


def shift_right(a: Tnum, count: int) -> Tnum:
    return a[0] >> count, a[1] >> count


def shift_right_signed(a: Tnum, count: int, bits: int = 64) -> Tnum:
    """Arithmetic shift of the low `bits`; an unknown sign stays unknown."""
    top, full = 1 << (bits - 1), (1 << bits) - 1

    def one(word: int) -> int:
        word &= full
        return ((word - (1 << bits) if word & top else word) >> count) & full

    return one(a[0]), one(a[1])


def mul(a: Tnum, b: Tnum) -> Tnum:
    product, (value, mask), (other, unknown) = a[0] * b[0] & M64, a, b
    total: Tnum = (0, 0)
    while value or mask:
        if value & 1:
            total = add(total, (0, unknown))
        elif mask & 1:
            total = add(total, (0, (other | unknown) & M64))
        value, mask = value >> 1, mask >> 1
        other, unknown = other << 1 & M64, unknown << 1 & M64
    return add((product, 0), total)


def union(a: Tnum, b: Tnum) -> Tnum:
    """What holds for the values of both."""
    unknown = (a[0] ^ b[0]) | a[1] | b[1]
    return a[0] & b[0] & ~unknown, unknown


def mul_union(a: Tnum, b: Tnum) -> Tnum:
    """The product by long multiplication: an unknown bit of `a` adds `b` or does not."""
    (value, mask), total = a, (0, 0)
    while value or mask:
        if value & 1:
            total = add(total, b)
        elif mask & 1:
            total = union(total, add(total, b))
        value, mask, b = value >> 1, mask >> 1, shift_left(b, 1)
    return total


def intersect(a: Tnum, b: Tnum) -> Tnum:
    """What is known from either: only for two descriptions of the same value."""
    unknown = a[1] & b[1]
    return (a[0] | b[0]) & ~unknown, unknown


def cast(a: Tnum, size: int) -> Tnum:
    """The low `size` bytes, the rest known zero."""
    full = (1 << 8 * size) - 1
    return a[0] & full, a[1] & full


def subset(a: Tnum, b: Tnum) -> bool:
    """Whether every value of `b` is one of `a`."""
    return not b[1] & ~a[1] and a[0] == b[0] & ~a[1]


def aligned(a: Tnum, size: int) -> bool:
    return not (a[0] | a[1]) & (size - 1)


def step(value: int, mask: int, number: int) -> int:
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


def swap(a: Tnum, size: int) -> Tnum:
    """The low `size` bytes in reverse order, zero above."""

    def one(word: int) -> int:
        return int.from_bytes((word & ((1 << 8 * size) - 1)).to_bytes(size, "little"), "big")

    return one(a[0]), one(a[1])
