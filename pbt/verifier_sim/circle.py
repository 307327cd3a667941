"""Numbers as Linux knows them since 7.3: known bits, and for each width one arc (see `arcs`).

Both orders are read off the arc, so a Scalar tells all of it, unless it runs over the ends of both: see `Wrapped`.
"""

from __future__ import annotations

from collections.abc import Callable

from pbt.data import NamedTuple
from pbt.typing import Any, Final
from pbt.verifier_sim import arcs, tnum
from pbt.verifier_sim.arcs import EMPTY, Arc
from pbt.verifier_sim.bounds import Empty, single
from pbt.verifier_sim.scalar import UNKNOWN, Scalar, const
from pbt.verifier_sim.tnum import M32, M64


class Parts(NamedTuple):
    """A set as the kernel has it: known bits, the arc of all 64 bits, that of the lower half."""

    value: int
    mask: int
    wide: Arc
    half: Arc


Reading = Callable[[Arc, int], tuple[int, int]]
_new: Final = tuple.__new__
_WHOLE32: Final[Arc] = (0, M32)


class Wrapped(Scalar):
    """A set whose bounds do not tell an arc that it has: the arcs stand behind them."""

    __slots__ = ()

    def contains(self, number: int) -> bool:
        return super().contains(number) and self.covers(const(number))

    def covers(self, new: Scalar) -> bool:
        _, _, wide, half = parts(self)
        _, _, other, lower = parts(new)
        return arcs.covers(wide, other, M64) and arcs.covers(half, lower, M32)


def parts(s: Scalar) -> Parts:
    """What the kernel has instead of a Scalar. Bounds of both orders that differ are two arcs, which meet."""
    known: tuple[Any, ...] = s
    if len(known) > len(UNKNOWN):
        return Parts(known[0], known[1], *known[len(UNKNOWN) :])
    value, mask, umin, umax, smin, smax, u32min, u32max, s32min, s32max = s
    return Parts(value, mask, _arc(umin, umax, smin, smax, M64), _arc(u32min, u32max, s32min, s32max, M32))


def _arc(umin: int, umax: int, smin: int, smax: int, full: int) -> Arc:
    one, other = arcs.span(umin, umax, full), arcs.span(smin, smax, full)
    return one if one == other else arcs.meet(one, other, full)


def number(value: int, mask: int, wide: Arc, half: Arc) -> Scalar:
    """The set of numbers with these bits on these arcs."""
    bounds = (
        *arcs.unsigned(wide, M64), *arcs.signed(wide, M64), *arcs.unsigned(half, M32), *arcs.signed(half, M32),
    )  # fmt: skip
    found: Scalar = _new(Scalar, (value, mask, *bounds))
    if parts(found) == (value, mask, wide, half):
        return found
    wrapped: Wrapped = _new(Wrapped, (value, mask, *bounds, wide, half))
    return wrapped


def _settled(value: int, mask: int, wide: Arc, half: Arc) -> Parts:
    """All parts, refined by one another (reg_bounds_sync()); arcs that do not meet leave an empty one.

    But bits that contradict an arc win where they leave one number.
    """
    half = arcs.meet(half, arcs.from_bits(value, mask, M32), M32)
    wide = arcs.meet(wide, arcs.from_bits(value, mask, M64), M64)
    one = single(value, mask, *arcs.unsigned(wide, M64), last=True)
    if one is None:
        for _ in range(2):
            half = arcs.meet(half, arcs.lower(wide), M32)
            wide = arcs.narrowed(wide, half)
        value, mask = _to_bits(value, mask, wide, half)
        half = arcs.meet(half, arcs.from_bits(value, mask, M32), M32)
        wide = arcs.meet(wide, arcs.from_bits(value, mask, M64), M64)
        one = single(value, mask, *arcs.unsigned(wide, M64), last=True)
    return Parts(value, mask, wide, half) if one is None else Parts(one, 0, (one, 0), (one & M32, 0))


def _to_bits(value: int, mask: int, wide: Arc, half: Arc) -> tnum.Tnum:
    """Known bits, and those in which the ends of the ranges agree."""
    value, mask = tnum.intersect((value, mask), tnum.span(*arcs.unsigned(wide, M64)))
    low, unknown = tnum.intersect((value & M32, mask & M32), tnum.span(*arcs.unsigned(half, M32)))
    return value & ~M32 | low, mask & ~M32 | unknown


def sync(s: Scalar) -> Scalar:
    """See bounds.sync()."""
    return _synced(parts(s))


def _synced(known: Parts) -> Scalar:
    settled = _settled(*known)
    if EMPTY in settled:
        raise Empty
    return number(*settled)


def computed(value: int, mask: int, wide: Arc, half: Arc) -> Scalar:
    """A result; where nothing is left, the kernel forgets the arcs (reg_bounds_sanity_check())."""
    settled = _settled(value, mask, wide, half)
    return Scalar(*settled[:2], *UNKNOWN[2:]) if EMPTY in settled else number(*settled)


def zero_extended(value: int, mask: int, half: Arc) -> Scalar:
    """The lower half, as every 32-bit operation leaves it."""
    return computed(value & M32, mask & M32, arcs.span(*arcs.unsigned(half, M32), M64), half)


def truncated(s: Scalar, size: int) -> Scalar:
    """The low `size` bytes, zero extended: as coerce_reg_to_size() does it."""
    _, _, wide, half = parts(s)
    full = (1 << 8 * size) - 1
    umin, umax = arcs.unsigned(wide, M64)
    kept = arcs.span(umin & full, umax & full, M64) if umin & ~full == umax & ~full else (0, full)
    return computed(*tnum.cast(s.tnum, size), kept, half if size == 4 else _WHOLE32)


def summed(bits: tnum.Tnum, a: Scalar, b: Scalar, minus: bool, wide: bool) -> Scalar:
    """a + b, or a - b; `bits`: known ones of the result."""
    _, _, wide_a, half_a = parts(a)
    _, _, wide_b, half_b = parts(b)
    half = arcs.add(half_a, arcs.negate(half_b, M32) if minus else half_b, M32)
    if not wide:
        return zero_extended(*bits, half)
    return computed(*bits, arcs.add(wide_a, arcs.negate(wide_b, M64) if minus else wide_b, M64), half)


def shifted(bits: tnum.Tnum, offset: Scalar, amount: Scalar, minus: bool) -> Scalar:
    """The same for a pointer's offset, whose lower half is followed by its known bits alone.

    After a move by a known amount, bits and range do not refine one another.
    """
    moved, by = parts(offset).wide, parts(amount).wide
    wide = arcs.add(moved, arcs.negate(by, M64) if minus else by, M64)
    if amount.mask:
        return computed(*bits, wide, _WHOLE32)
    return number(*bits, wide, arcs.from_bits(*bits, M32))


# comparisons --------------------------------------------------------------------------------------

Learnt = tuple[Scalar | None, Scalar | None]


def refine(name: str, a: Scalar, b: Scalar, wide: bool) -> Learnt:
    """See compare.refine(); JGT, JGE, JSGT and JSGE are mirrored by then."""
    left, right, full = parts(a), parts(b), M64 if wide else M32
    if name == "JEQ":
        left, right = _equal(left, right, wide, full)
    elif name in _BELOW:
        left, right = _below(*_BELOW[name], left, right, wide, full)
    elif not b.mask & full:
        return _learnt(a, _beside(name, left, b.value & full, wide, full)), _learnt(b, right)
    elif not a.mask & full:
        return _learnt(a, left), _learnt(b, _beside(name, right, a.value & full, wide, full))
    else:
        return _learnt(a, left), _learnt(b, right)
    return _synced(left), _synced(right)


_BELOW: Final = {  # name → (how the arcs are read, whether both may be equal)
    "JLT": (arcs.unsigned, False),
    "JLE": (arcs.unsigned, True),
    "JSLT": (arcs.signed, False),
    "JSLE": (arcs.signed, True),
}


def _learnt(before: Scalar, known: Parts) -> Scalar | None:
    after = _synced(known)
    return None if after == before else after


def _on(known: Parts, arc: Arc, wide: bool) -> Parts:
    """With another arc of this width."""
    return known._replace(wide=arc) if wide else known._replace(half=arc)


def _equal(left: Parts, right: Parts, wide: bool, full: int) -> tuple[Parts, Parts]:
    """Both have the arc and the bits that both know; bits that contradict one another are all set."""
    arc = arcs.meet(left.wide, right.wide, M64) if wide else arcs.meet(left.half, right.half, M32)
    value, mask = tnum.intersect(
        (left.value & full, left.mask & full), (right.value & full, right.mask & full)
    )
    one, other = (
        _on(s, arc, wide)._replace(value=s.value & ~full | value, mask=s.mask & ~full | mask)
        for s in (left, right)
    )
    return one, other


def _below(
    read: Reading, equal: bool, left: Parts, right: Parts, wide: bool, full: int
) -> tuple[Parts, Parts]:
    """The left one is less than the right one, or equal."""
    one, other = (left.wide, right.wide) if wide else (left.half, right.half)
    least, most = read((0, full), full)
    one = arcs.meet(one, arcs.span(least, read(other, full)[1] - (not equal), full), full)
    other = arcs.meet(other, arcs.span(read(one, full)[0] + (not equal), most, full), full)
    return _on(left, one, wide), _on(right, other, wide)


def _beside(name: str, known: Parts, constant: int, wide: bool, full: int) -> Parts:
    """What is not the constant (JNE), has one of its bits (JSET) or none of them (JNSET: ranges are forgotten)."""
    value, mask = known.value, known.mask
    if name == "JNE":
        one = known.wide if wide else known.half
        return _on(known, arcs.meet(one, arcs.around(constant, full), full), wide)
    if name == "JNSET":
        return Parts(value & ~constant, mask & ~constant, (0, M64), (0, M32))
    if constant & constant - 1 or not constant:
        return known
    return known._replace(value=value | constant, mask=mask & ~constant)
