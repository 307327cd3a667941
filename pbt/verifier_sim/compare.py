"""Comparisons of sets of numbers: whether they are decided, and what both sides learn from them."""

from __future__ import annotations

from contextlib import suppress

from pbt.typing import Final
from pbt.verifier_sim import tnum
from pbt.verifier_sim.bounds import Empty, sync
from pbt.verifier_sim.kernels import Features
from pbt.verifier_sim.scalar import S32_MAX, S32_MIN, S64_MAX, S64_MIN, UNKNOWN, Bounds, Scalar, const, s32
from pbt.verifier_sim.tnum import M32, M64

MIRROR = {
    "JEQ": "JEQ", "JNE": "JNE", "JSET": "JSET", "JGT": "JLT", "JGE": "JLE", "JLT": "JGT",
    "JLE": "JGE", "JSGT": "JSLT", "JSGE": "JSLE", "JSLT": "JSGT", "JSLE": "JSGE",
}  # fmt: skip
INVERSE = {
    "JEQ": "JNE", "JNE": "JEQ", "JGT": "JLE", "JGE": "JLT", "JLT": "JGE", "JLE": "JGT",
    "JSGT": "JSLE", "JSGE": "JSLT", "JSLT": "JSGE", "JSLE": "JSGT", "JSET": "JNSET",
}  # fmt: skip


_ORDERS: Final = {  # name → (place in Bounds, whether b < a is asked, whether the answer is turned round)
    "JLT": (0, False, False), "JGE": (0, False, True), "JGT": (0, True, False), "JLE": (0, True, True),
    "JSLT": (2, False, False), "JSGE": (2, False, True), "JSGT": (2, True, False), "JSLE": (2, True, True),
}  # fmt: skip


def taken(name: str, a: Scalar, b: Scalar, wide: bool, rules: Features) -> bool | None:
    """Whether `if a NAME b` jumps: always, never, or (None) it depends."""
    order = _ORDERS.get(name)
    if order is not None:
        signed, swapped, inverse = order
        if swapped:
            a, b = b, a
        at = (2 if wide else 6) + signed
        if a[at + 1] < b[at]:
            return not inverse
        return inverse if a[at] >= b[at + 1] else None
    full = M64 if wide else M32
    if name == "JSET":
        if b.mask & full and "register_branches" in rules:
            a, b = b, a
        if b.mask & full:
            return None
        bits = b.value & full
        if a.value & bits:
            return True
        return False if not (a.value | a.mask) & bits else None
    same = _equal(a, b, wide, full, rules)
    return same if same is None or name == "JEQ" else not same


def _equal(a: Scalar, b: Scalar, wide: bool, full: int, rules: Features) -> bool | None:
    if not (a.mask | b.mask) & full:
        return not (a.value ^ b.value) & full
    if "equal_ranges" not in rules:
        return None
    one, other = (a[2:6], b[2:6]) if wide else (a[6:10], b[6:10])
    if _apart(one, other):
        return False
    if (a.value ^ b.value) & ~(a.mask | b.mask) & full and "bits_compared" in rules:
        return False
    if wide and "halves_compared" in rules and _apart(a[6:10], b[6:10]):
        return False
    return True if one[0] == one[1] == other[0] == other[1] else None


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


Learnt = tuple[Scalar | None, Scalar | None]
"""What both sides are after a comparison; None: that side learns nothing."""


def refine(name: str, a: Scalar, b: Scalar, wide: bool, rules: Features) -> Learnt:
    """Both sides, given that `a NAME b` holds (name as in `taken`, or JNSET: no common bit).

    Raises Empty if it cannot hold.
    """
    if name in ("JGT", "JGE", "JSGT", "JSGE"):
        right, left = refine(MIRROR[name], b, a, wide, rules)
        return left, right
    if "circular" in rules:
        from pbt.verifier_sim import circle

        return circle.refine(name, a, b, wide)
    if name == "JNE":
        return _exclude(a, b, wide, rules), _exclude(b, a, wide, rules)
    if name in ("JEQ", "JSET", "JNSET"):
        return _refine_bits(name, a, b, wide, rules)
    if "mixed_bounds" not in rules:
        return _refine_old(name, a, b, wide, rules)
    strict = name in ("JLT", "JSLT")
    low = (2 if wide else 6) + _ORDERS[name][0]
    return (
        sync(_bounded(a, low + 1, min(a[low + 1], b[low + 1] - strict)), rules),
        sync(_bounded(b, low, max(b[low], a[low] + strict)), rules),
    )


_RECOVERS: Final = {
    ("JLT", True): "tnum_steps", ("JLT", False): "", ("JSLT", True): "mixed_bounds", ("JSLT", False): "tnum_steps",
}  # fmt: skip


def refine_itself(name: str, a: Scalar, wide: bool, rules: Features) -> Scalar | None:
    """A register of which `a < a` is said to hold: from 6.8 to 6.18 both ends of its range move; None: as it was.

    Where they pass each other the kernel forgets all ranges, but not the bits; `_RECOVERS` tells which ranges do not.
    """
    name = MIRROR[name] if name in ("JGT", "JSGT") else name
    if name not in ("JLT", "JSLT") or "mixed_bounds" not in rules or "same_register" in rules:
        return None
    if _RECOVERS[name, wide] in rules:
        return None
    low = (2 if wide else 6) + _ORDERS[name][0]
    least, most = a[low] + 1, a[low + 1] - 1
    with suppress(Empty):
        if least <= most:
            return sync(_bounded(_bounded(a, low, least), low + 1, most), rules)
    return Scalar(a.value, a.mask, 0, M64, S64_MIN, S64_MAX, 0, M32, S32_MIN, S32_MAX)


def _bounded(s: Scalar, at: int, bound: int) -> Scalar:
    """With one bound (a position in Scalar) replaced."""
    return s if s[at] == bound else Scalar._make((*s[:at], bound, *s[at + 1 :]))


def _refine_old(name: str, a: Scalar, b: Scalar, wide: bool, rules: Features) -> Learnt:
    """Before 6.8: only the side that is compared with a constant learns (see `_after`)."""
    full = M64 if wide else M32
    strict = name in ("JLT", "JSLT")
    low = (2 if wide else 6) + _ORDERS[name][0]
    if not b.mask & full:
        return _after(_bounded(a, low + 1, min(a[low + 1], b[low + 1] - strict)), wide, rules), None
    if not a.mask & full:
        return None, _after(_bounded(b, low, max(b[low], a[low] + strict)), wide, rules)
    return None, None


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


def _exclude(a: Scalar, b: Scalar, wide: bool, rules: Features) -> Scalar | None:
    """a, knowing that it is not the constant b: the ends of ranges move (from 6.8)."""
    full = M64 if wide else M32
    if b.mask & full:
        return None
    if "mixed_bounds" not in rules:
        return _after(a, wide, rules)
    at = 2 if wide else 6
    umin, umax, smin, smax = a[at : at + 4]
    number, signed = (b.value, b.smin) if wide else (b.value & M32, s32(b.value & M32))
    if number not in (umin, umax) and signed not in (smin, smax):
        return None
    new = (umin + (umin == number), umax - (umax == number), smin + (smin == signed), smax - (smax == signed))
    return sync(Scalar._make((*a[:at], *new, *a[at + 4 :])), rules)


def _becomes(s: Scalar, number: int, wide: bool, rules: Features) -> Scalar:
    """Before 6.8: what equals a constant is that constant, whatever was known of it."""
    if wide:
        return const(number)
    low = number & M32
    bounds = {"u32min": low, "u32max": low, "s32min": s32(low), "s32max": s32(low)}
    high = ~M32 & M64
    return _after(s._replace(value=s.value & high | low, mask=s.mask & high, **bounds), wide, rules)


def _refine_bits(name: str, a: Scalar, b: Scalar, wide: bool, rules: Features) -> Learnt:
    full = M64 if wide else M32
    if name == "JEQ":
        return _refine_equal(a, b, wide, rules)
    if b.mask & full:
        if a.mask & full or "register_branches" not in rules:
            return None, None
        right, left = _refine_bits(name, b, a, wide, rules)
        return left, right
    bits = b.value & full
    if name == "JNSET":
        known = UNKNOWN if "bits_forget" in rules else a
        a = known._replace(value=a.value & ~bits & M64, mask=a.mask & ~bits & M64)
    elif bits & (bits - 1) == 0 and bits:
        a = a._replace(value=a.value | bits, mask=a.mask & ~bits & M64)
    elif "mixed_bounds" in rules:
        return None, None
    return (sync(a, rules) if "mixed_bounds" in rules else _after(a, wide, rules)), None


def _refine_equal(a: Scalar, b: Scalar, wide: bool, rules: Features) -> Learnt:
    full = M64 if wide else M32
    mixed = "mixed_bounds" in rules
    if not b.mask & full and not mixed:
        return _becomes(a, b.value, wide, rules), None
    if not a.mask & full and not mixed:
        return None, _becomes(b, a.value, wide, rules)
    if wide and mixed and not b.mask and a.contains(b.value):
        return b, b
    at = 2 if wide else 6
    one, other = a[at : at + 4], b[at : at + 4]
    common = (max(one[0], other[0]), min(one[1], other[1]), max(one[2], other[2]), min(one[3], other[3]))
    if (a.value ^ b.value) & ~a.mask & ~b.mask & full:
        raise Empty
    value, mask = tnum.intersect((a.value & full, a.mask & full), (b.value & full, b.mask & full))
    left, right = (
        Scalar._make(
            (s.value & ~full & M64 | value, s.mask & ~full & M64 | mask, *s[2:at], *common, *s[at + 4 :])
        )
        for s in (a, b)
    )
    if not mixed:
        return _after(left, wide, rules), _after(right, wide, rules)
    return sync(left, rules), sync(right, rules)
