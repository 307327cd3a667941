"""Numbers as the verifier knows them: known bits and four ranges that `bounds` refines.

A `Scalar` stands for every 64-bit number that fits its tnum (value, mask), its unsigned and signed
ranges, and whose low half fits the 32-bit ranges.
"""

from __future__ import annotations

from pbt.data import NamedTuple
from pbt.verifier_sim import tnum
from pbt.verifier_sim.tnum import M32, M64

S64_MIN, S64_MAX = -(1 << 63), (1 << 63) - 1
S32_MIN, S32_MAX = -(1 << 31), (1 << 31) - 1
TOP64, TOP32 = 1 << 63, 1 << 31
HIGH = M64 ^ M32


Bounds = tuple[int, int, int, int]  # umin, umax, smin, smax of one width


class Scalar(NamedTuple):
    """One set of numbers; signed bounds are Python ints below zero where negative."""

    value: int
    mask: int
    umin: int
    umax: int
    smin: int
    smax: int
    u32min: int
    u32max: int
    s32min: int
    s32max: int

    @property
    def tnum(self) -> tnum.Tnum:
        return self.value, self.mask

    @property
    def const(self) -> int | None:
        """The one number, unsigned, or None."""
        return None if self.mask else self.value

    def contains(self, number: int) -> bool:
        """Whether an unsigned 64-bit number is in the set."""
        low = number & M32
        return (
            number & ~self.mask & M64 == self.value
            and self.umin <= number <= self.umax
            and self.smin <= s64(number) <= self.smax
            and self.u32min <= low <= self.u32max
            and self.s32min <= s32(low) <= self.s32max
        )

    def covers(self, new: Scalar) -> bool:
        """Whether numbers within the bounds are in the set, as far as ranges tell: see circle.Wrapped."""
        return True


UNKNOWN = Scalar(0, M64, 0, M64, S64_MIN, S64_MAX, 0, M32, S32_MIN, S32_MAX)


def s64(number: int) -> int:
    return number - (1 << 64) if number & TOP64 else number


def s32(number: int) -> int:
    return number - (1 << 32) if number & TOP32 else number


_small: dict[int, Scalar] = {}


def const(number: int) -> Scalar:
    """The set of one number, given modulo 2**64."""
    found = _small.get(number)
    if found is None:
        value = number & M64
        signed, low = s64(value), value & M32
        half = s32(low)
        found = Scalar(value, 0, value, value, signed, signed, low, low, half, half)
        if len(_small) < 4096:
            _small[number] = found
    return found


ZERO = const(0)
_ZERO_EXTENDED = {
    1: Scalar(0, 255, 0, 255, 0, 255, 0, 255, 0, 255),
    2: Scalar(0, 65535, 0, 65535, 0, 65535, 0, 65535, 0, 65535),
    4: Scalar(0, M32, 0, M32, 0, M32, 0, M32, S32_MIN, S32_MAX),
    8: UNKNOWN,
}
_SIGN_EXTENDED = {
    1: Scalar(0, M64, 0, M64, -128, 127, 0, M32, -128, 127),
    2: Scalar(0, M64, 0, M64, -32768, 32767, 0, M32, -32768, 32767),
    4: Scalar(0, M64, 0, M64, S32_MIN, S32_MAX, 0, M32, S32_MIN, S32_MAX),
}


def of_size(size: int, *, sign: bool = False) -> Scalar:
    """What a load of that many bytes from unknown memory gives."""
    return (_SIGN_EXTENDED if sign else _ZERO_EXTENDED)[size]


def includes(old: Scalar, new: Scalar) -> bool:
    """Whether every number of `new` is one of `old`, judged part by part."""
    if old is new:
        return True
    return (
        old.umin <= new.umin
        and old.umax >= new.umax
        and old.smin <= new.smin
        and old.smax >= new.smax
        and old.u32min <= new.u32min
        and old.u32max >= new.u32max
        and old.s32min <= new.s32min
        and old.s32max >= new.s32max
        and tnum.subset((old.value, old.mask), (new.value, new.mask))
        and old.covers(new)
    )
