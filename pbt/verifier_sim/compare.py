"""Comparisons of sets of numbers: whether they are decided, and what both sides learn from them."""

from __future__ import annotations

from pbt.verifier_sim import tnum
from pbt.verifier_sim.bounds import Empty, sync
from pbt.verifier_sim.kernels import Features
from pbt.verifier_sim.scalar import S32_MAX, S32_MIN, S64_MAX, S64_MIN, Bounds, Scalar, const, s32
from pbt.verifier_sim.tnum import M32, M64

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
            or ((avalue ^ bvalue) & ~amask & ~bmask & full and "bits_compared" in rules)
            or (wide and "halves_compared" in rules and _apart(a[6:10], b[6:10]))
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


def with_itself(name: str, a: Scalar, wide: bool) -> bool | None:
    """The same for a register and itself."""
    if name != "JSET":
        return name in ("JEQ", "JGE", "JLE", "JSGE", "JSLE")
    low, high = (a.smin, a.smax) if wide else (a.s32min, a.s32max)
    full = M64 if wide else M32
    if not a.mask & full:
        return bool(a.value & full)
    return None if low <= 0 <= high else True


def _apart(a: Bounds, b: Bounds) -> bool:
    """Whether no number lies within the bounds of both."""
    return a[1] < b[0] or a[0] > b[1] or a[3] < b[2] or a[2] > b[3]


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
