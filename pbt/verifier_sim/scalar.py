"""Numbers as the verifier knows them: known bits and four ranges, each refining the others.

A `Scalar` stands for every 64-bit number that fits its tnum (value, mask), its unsigned and signed
ranges, and whose low half fits the 32-bit ranges. All functions are pure; `rules` is the set of
deductions that the kernel in question has (pbt.verifier_sim.kernels).
"""

from __future__ import annotations

from collections.abc import Callable

from pbt.data import NamedTuple
from pbt.verifier_sim import tnum
from pbt.verifier_sim.kernels import Features
from pbt.verifier_sim.tnum import M32, M64

S64_MIN, S64_MAX = -(1 << 63), (1 << 63) - 1
S32_MIN, S32_MAX = -(1 << 31), (1 << 31) - 1
_TOP64, _TOP32 = 1 << 63, 1 << 31
_HIGH = M64 ^ M32


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


UNKNOWN = Scalar(0, M64, 0, M64, S64_MIN, S64_MAX, 0, M32, S32_MIN, S32_MAX)


def s64(number: int) -> int:
    return number - (1 << 64) if number & _TOP64 else number


def s32(number: int) -> int:
    return number - (1 << 32) if number & _TOP32 else number


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
_BYTES = {size: (1 << 8 * size) - 1 for size in (1, 2, 4)}
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


def between(low: int, high: int, rules: Features) -> Scalar:
    """All of low..high, both within the signed 64-bit range."""
    return sync(UNKNOWN._replace(smin=low, smax=high), rules)


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
    current = _from_bits(_to_bits(current))
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
    smin = max(smin, s64(value | mask & _TOP64))
    smax = min(smax, s64(value | mask & S64_MAX))
    value32, mask32 = value & M32, mask & M32
    u32min, u32max = max(u32min, value32), min(u32max, value32 | mask32)
    s32min = max(s32min, s32(value32 | mask32 & _TOP32))
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


def _to_bits(s: Scalar) -> Scalar:
    """Known bits from ranges."""
    if s.umin > s.umax or s.u32min > s.u32max:
        raise Empty
    if (s.value ^ tnum.span(s.umin, s.umax)[0]) & ~s.mask & ~tnum.span(s.umin, s.umax)[1] & M64:
        raise Empty
    wide = tnum.intersect((s.value, s.mask), tnum.span(s.umin, s.umax))
    low = tnum.intersect((wide[0] & M32, wide[1] & M32), tnum.span(s.u32min, s.u32max))
    return s._replace(value=wide[0] & _HIGH | low[0], mask=wide[1] & _HIGH | low[1])


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
    elif ((smin >> 32) + 1) & M32 == (smax >> 32) & M32 and smin & _TOP32 and not smax & _TOP32:
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
    umin = max(umin, umin & _HIGH | u32min)
    umax = min(umax, umax & _HIGH | u32max)
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
    u32min, u32max, s32min, s32max = _signs(u32min, u32max, s32min, s32max, s32, _TOP32)
    umin, umax, smin, smax = _signs(umin, umax, smin, smax, s64, _TOP64)
    if smin >= S32_MIN and smax <= S32_MAX:
        s32min, s32max = max(s32min, smin), min(s32max, smax)
    if umax <= M32:
        u32min, u32max = max(u32min, umin), min(u32max, umax)
    if not (value | mask) >> 32:
        umin, umax = max(umin, u32min), min(umax, u32max)
    return Scalar(value, mask, umin, umax, smin, smax, u32min, u32max, s32min, s32max)


def zero_extend32(s: Scalar, rules: Features) -> Scalar:
    """The low half, as every 32-bit operation leaves it."""
    if not s.mask & M32:
        return const(s.value & M32)
    low, high = s.u32min, s.u32max
    return sync(
        Scalar(s.value & M32, s.mask & M32, low, high, low, high, low, high, s.s32min, s.s32max), rules
    )


def truncate(s: Scalar, size: int, rules: Features) -> Scalar:
    """The low `size` bytes, zero extended."""
    if size == 8:
        return s
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


# comparisons --------------------------------------------------------------------------------------

MIRROR = {
    "JEQ": "JEQ", "JNE": "JNE", "JSET": "JSET", "JGT": "JLT", "JGE": "JLE", "JLT": "JGT",
    "JLE": "JGE", "JSGT": "JSLT", "JSGE": "JSLE", "JSLT": "JSGT", "JSLE": "JSGE",
}  # fmt: skip
INVERSE = {
    "JEQ": "JNE", "JNE": "JEQ", "JGT": "JLE", "JGE": "JLT", "JLT": "JGE", "JLE": "JGT",
    "JSGT": "JSLE", "JSGE": "JSLT", "JSLT": "JSGE", "JSLE": "JSGT", "JSET": "JNSET",
}  # fmt: skip


def taken(name: str, a: Scalar, b: Scalar, wide: bool, rules: Features) -> bool | None:
    """Whether `if a NAME b` jumps: always, never, or (None) it depends."""
    amin, amax, asmin, asmax = a[2:6] if wide else a[6:10]
    bmin, bmax, bsmin, bsmax = b[2:6] if wide else b[6:10]
    full = M64 if wide else M32
    avalue, amask, bvalue, bmask = a.value & full, a.mask & full, b.value & full, b.mask & full
    if name in ("JEQ", "JNE"):
        if not amask and not bmask:
            same: bool | None = avalue == bvalue
        elif "equal_ranges" not in rules:
            same = None
        elif (
            amax < bmin
            or amin > bmax
            or asmax < bsmin
            or asmin > bsmax
            or (avalue ^ bvalue) & ~amask & ~bmask & full
        ):
            same = False
        elif amin == amax == bmin == bmax:
            same = True
        else:
            same = None
        return same if same is None or name == "JEQ" else not same
    if name == "JSET":
        if bmask:
            return None
        if avalue & bvalue:
            return True
        return False if not (avalue | amask) & bvalue else None
    if name in ("JLT", "JGE"):
        less = True if amax < bmin else False if amin >= bmax else None
        return less if name == "JLT" or less is None else not less
    if name in ("JGT", "JLE"):
        more = True if amin > bmax else False if amax <= bmin else None
        return more if name == "JGT" or more is None else not more
    if name in ("JSLT", "JSGE"):
        less = True if asmax < bsmin else False if asmin >= bsmax else None
        return less if name == "JSLT" or less is None else not less
    more = True if asmin > bsmax else False if asmax <= bsmin else None
    return more if name == "JSGT" or more is None else not more


def refine(name: str, a: Scalar, b: Scalar, wide: bool, rules: Features) -> tuple[Scalar, Scalar]:
    """Both sides, given that `a NAME b` holds (name as in `taken`, or JNSET: no common bit).

    Raises Empty if it cannot hold.
    """
    if name in ("JGT", "JGE", "JSGT", "JSGE"):
        right, left = refine(MIRROR[name], b, a, wide, rules)
        return left, right
    if name in ("JEQ", "JSET", "JNSET"):
        return _refine_bits(name, a, b, wide, rules)
    if name == "JNE":
        return _exclude(a, b, wide, rules), _exclude(b, a, wide, rules)
    at = 2 if wide else 6
    x, y = list(a), list(b)
    if "mixed_bounds" not in rules:
        return _refine_old(name, a, b, wide, rules)
    strict = name in ("JLT", "JSLT")
    low, high = (at, at + 1) if name in ("JLT", "JLE") else (at + 2, at + 3)
    x[high] = min(x[high], y[high] - strict)
    y[low] = max(y[low], x[low] + strict)
    return sync(Scalar(*x), rules), sync(Scalar(*y), rules)


def _refine_old(name: str, a: Scalar, b: Scalar, wide: bool, rules: Features) -> tuple[Scalar, Scalar]:
    """Before 6.8: only the side that is compared with a constant learns (see `_after`)."""
    at = 2 if wide else 6
    full = M64 if wide else M32
    strict = name in ("JLT", "JSLT")
    low, high = (at, at + 1) if name in ("JLT", "JLE") else (at + 2, at + 3)
    x, y = list(a), list(b)
    if not b.mask & full:
        x[high] = min(x[high], y[high] - strict)
        return _after(Scalar(*x), wide, rules), b
    if not a.mask & full:
        y[low] = max(y[low], x[low] + strict)
        return a, _after(Scalar(*y), wide, rules)
    return a, b


def _after(s: Scalar, wide: bool, rules: Features) -> Scalar:
    """Before 6.8: a comparison of one width recomputes the bounds of the other from scratch."""
    bounds = s[2:10]
    if bounds[0] > bounds[1] or bounds[2] > bounds[3] or bounds[4] > bounds[5] or bounds[6] > bounds[7]:
        raise Empty
    if wide:
        u32, s32_ = (0, M32), (S32_MIN, S32_MAX)
        if s.smin >= S32_MIN and s.smax <= S32_MAX:
            s32_ = s.smin, s.smax
        if s.umax <= M32:
            u32 = s.umin, s.umax
        return sync(s._replace(u32min=u32[0], u32max=u32[1], s32min=s32_[0], s32max=s32_[1]), rules)
    if (s.value | s.mask) >> 32:
        return sync(s._replace(umin=0, umax=M64, smin=S64_MIN, smax=S64_MAX), rules)
    smin, smax = (s.s32min, s.s32max) if s.s32min >= 0 else (0, M32)
    return sync(s._replace(umin=s.u32min, umax=s.u32max, smin=smin, smax=smax), rules)


def _exclude(a: Scalar, b: Scalar, wide: bool, rules: Features) -> Scalar:
    """a, knowing that it is not the constant b: the ends of ranges move (from 6.8)."""
    full = M64 if wide else M32
    if "mixed_bounds" not in rules:
        return a if b.mask & full else _after(a, wide, rules)
    if b.mask & full:
        return a
    at = 2 if wide else 6
    umin, umax, smin, smax = a[at : at + 4]
    number, signed = (b.value, b.smin) if wide else (b.value & M32, s32(b.value & M32))
    new = (umin + (umin == number), umax - (umax == number), smin + (smin == signed), smax - (smax == signed))
    if new == (umin, umax, smin, smax):
        return a
    return sync(Scalar._make((*a[:at], *new, *a[at + 4 :])), rules)


def _becomes(s: Scalar, number: int, wide: bool, rules: Features) -> Scalar:
    """Before 6.8: what equals a constant is that constant, whatever was known of it."""
    if wide:
        return const(number)
    low = number & M32
    bounds = {"u32min": low, "u32max": low, "s32min": s32(low), "s32max": s32(low)}
    high = ~M32 & M64
    return _after(s._replace(value=s.value & high | low, mask=s.mask & high, **bounds), wide, rules)


def _refine_bits(name: str, a: Scalar, b: Scalar, wide: bool, rules: Features) -> tuple[Scalar, Scalar]:
    full = M64 if wide else M32
    if name == "JEQ" and "mixed_bounds" not in rules:
        if not b.mask & full:
            return _becomes(a, b.value, wide, rules), b
        if not a.mask & full:
            return a, _becomes(b, a.value, wide, rules)
    if name == "JEQ":
        at = 2 if wide else 6
        one, other = a[at : at + 4], b[at : at + 4]
        common = (
            max(one[0], other[0]), min(one[1], other[1]), max(one[2], other[2]), min(one[3], other[3]),
        )  # fmt: skip
        if (a.value ^ b.value) & ~a.mask & ~b.mask & full:
            raise Empty
        value, mask = tnum.intersect((a.value & full, a.mask & full), (b.value & full, b.mask & full))
        left, right = (
            Scalar._make(
                (s.value & ~full & M64 | value, s.mask & ~full & M64 | mask, *s[2:at], *common, *s[at + 4 :])
            )
            for s in (a, b)
        )
        if "mixed_bounds" not in rules:
            return _after(left, wide, rules), _after(right, wide, rules)
        return sync(left, rules), sync(right, rules)
    if b.mask & full:
        return a, b
    bits = b.value & full
    if name == "JNSET":
        a = a._replace(value=a.value & ~bits & M64, mask=a.mask & ~bits & M64)
    elif bits & (bits - 1) == 0 and bits:
        a = a._replace(value=a.value | bits, mask=a.mask & ~bits & M64)
    elif "mixed_bounds" in rules:
        return a, b
    return (sync(a, rules) if "mixed_bounds" in rules else _after(a, wide, rules)), b


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
    )
