"""Arcs on the circle of all numbers of one width: 0 follows the largest, and no order comes first.

An arc is (start, length): the numbers start, start + 1 … start + length. Signed and unsigned bounds are two readings
of it. `full`, the largest number, says the width. A whole circle is (0, full), no number at all is EMPTY.
Source of the idea: include/linux/cnum.h.
"""

from __future__ import annotations

from pbt.typing import Final
from pbt.verifier_sim.tnum import M32, M64

Arc = tuple[int, int]
EMPTY: Final = (0, -1)


def span(low: int, high: int, full: int) -> Arc:
    """From low up to high, signed or unsigned."""
    length = high - low & full
    return (low & full, length) if length != full else (0, full)


def around(number: int, full: int) -> Arc:
    """All but one number."""
    return number + 1 & full, full - 1


def from_bits(value: int, mask: int, full: int) -> Arc:
    """The numbers between the least and the largest that known bits allow, signed if the sign is unknown."""
    start, length = value | mask & full + 1 >> 1, mask
    return (start & full, length & full) if length & full != full else (0, full)


def unsigned(arc: Arc, full: int) -> tuple[int, int]:
    """The least and the largest number; those of the width where the arc runs from the largest to 0, or is empty."""
    start, length = arc
    return (start, start + length) if 0 <= length <= full - start else (0, full)


def signed(arc: Arc, full: int) -> tuple[int, int]:
    """The same for signed numbers."""
    top = full + 1 >> 1
    low, high = unsigned((arc[0] ^ top, arc[1]), full)
    return low - top, high - top


def meet(a: Arc, b: Arc, full: int) -> Arc:
    """What is on both arcs; where that is two pieces, the shorter of the arcs."""
    if a[1] < 0 or b[1] < 0:
        return EMPTY
    if a[0] > b[0]:
        a, b = b, a
    ahead = b[0] - a[0]
    beyond = ahead + b[1] - full - 1  # how far b runs into a's start
    if beyond < 0:
        return (b[0], min(a[1] - ahead, b[1])) if ahead <= a[1] else EMPTY
    if ahead <= a[1]:
        return a if a[1] <= b[1] else b
    return a[0], min(a[1], beyond)


def add(a: Arc, b: Arc, full: int) -> Arc:
    """All sums."""
    if a[1] < 0 or b[1] < 0:
        return EMPTY
    length = a[1] + b[1]
    return (a[0] + b[0] & full, length) if length < full else (0, full)


def negate(arc: Arc, full: int) -> Arc:
    """All numbers with the other sign."""
    return (-(arc[0] + arc[1]) & full, arc[1]) if 0 <= arc[1] < full else arc


def covers(outer: Arc, inner: Arc, full: int) -> bool:
    """Whether all of `inner` is on `outer`."""
    return outer[1] == full or (inner[0] - outer[0] & full) + inner[1] <= outer[1]


def lower(arc: Arc) -> Arc:
    """The lower halves of 64-bit numbers."""
    return (arc[0] & M32, arc[1]) if arc[1] < M32 else (0, M32)


def narrowed(wide: Arc, half: Arc) -> Arc:
    """A 64-bit arc without the numbers at its ends whose lower halves are not on `half`."""
    start, length = wide
    if length < 0 or half[1] < 0:
        return EMPTY
    first = half[0] - start & M32  # seen from the arc's start
    last, rest = first + half[1], length & M32
    if last > M32:  # the arc starts on `half`
        last &= M32
        return (start, length - (rest - last)) if last < rest < first else wide
    if rest < first:
        behind = rest + M32 + 1 - last
    else:
        behind = max(0, rest - last)
    length -= first + behind
    return (start + first & M64, length) if length >= 0 else EMPTY
