"""Where C puts the members of a struct or union, as GCC and clang do on LP64 Linux.

Source: System V ABI, x86-64 supplement, section 3.1.2; the other machines of pbt agree. A bitfield's
place is counted in bits from the start of memory on both byte orders.
"""

from __future__ import annotations

from collections.abc import Sequence

from pbt.data import NamedTuple


class Part(NamedTuple):
    """A member before it is placed. Sizes in bytes; `bits`: width of a bitfield, None for other members.

    `align` is what its type and its attributes ask for; `size` of a bitfield is that of its type.
    """

    size: int
    align: int
    bits: int | None = None
    named: bool = True
    packed: bool = False


class Layout(NamedTuple):
    """`places`: (byte, bit) of each member; bit counts on from byte, 0 for what is no bitfield."""

    places: tuple[tuple[int, int], ...]
    size: int
    align: int


def lay_out(parts: Sequence[Part], union: bool = False, packed: bool = False, align: int = 1) -> Layout:
    """Place members one after another (in a union: all at 0). `align`: the whole's own attribute."""
    at = end = 0  # bits
    places = []
    for part in parts:
        own = 1 if packed or part.packed else part.align
        start = 0 if union else at
        if part.bits is None:
            start = _up(start, 8 * own)
            places.append((start // 8, 0))
            at = start + 8 * part.size
        else:
            start = _bitfield_start(start, part, packed or part.packed)
            unit = 8 * (1 if packed or part.packed else part.size)
            places.append((start // unit * unit // 8, start % unit))
            at = start + part.bits
        end = max(end, at)
        if part.bits is None or part.named:
            align = max(align, own)
    return Layout(tuple(places), _up(end, 8 * align) // 8, align)


def _bitfield_start(at: int, part: Part, packed: bool) -> int:
    """A bitfield lies within one unit of its type, unless the struct is packed; width 0 ends the unit."""
    unit, width = 8 * part.size, part.bits or 0
    if not width:
        return _up(at, unit)
    if not packed and at // unit != (at + width - 1) // unit:
        return _up(at, unit)
    return at


def _up(value: int, to: int) -> int:
    return -(-value // to) * to
