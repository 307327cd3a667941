"""The addresses that a DIE covers: one range, or a list in .debug_ranges (versions 3 and 4) or .debug_rnglists."""

from __future__ import annotations

from collections.abc import Sequence

from pbt.dwarf import consts as c
from pbt.dwarf.cursor import Cursor
from pbt.dwarf.forms import Indirect
from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbt.dwarf.units import Die, Unit

Range = tuple[int, int]  # the first address, and the first that does not belong to it


def ranges(die: Die) -> Sequence[Range]:
    """In the order of the compiler: what is run most stands first. () for a DIE without code.

    Empty ranges count: there a function begins of which nothing is left but steps for a debugger.
    """
    value = die.attributes.get(c.AT_RANGES)
    if value is not None:
        return _list(die.unit, value)
    low, high, end = die.number(c.AT_LOW_PC), die.attributes.get(c.AT_HIGH_PC), die.number(c.AT_HIGH_PC)
    if low is None or end is None:
        return ()
    return ((low, end if isinstance(high, Indirect) else low + end),)  # from version 4 on also a distance


def _list(unit: Unit, value: object) -> Sequence[Range]:
    if isinstance(value, Indirect) and value.kind == "rnglistx":
        section = unit.info.section(".debug_rnglists")
        at = unit.rnglists_base + section.uint(unit.rnglists_base + value.value * unit.word, unit.word)
        return _rnglist(unit, at)
    if not isinstance(value, int):
        return ()
    return _rnglist(unit, value) if unit.version >= 5 else _old_list(unit, value)


def _base(unit: Unit) -> int:
    return unit.root.number(c.AT_LOW_PC) or 0


def _old_list(unit: Unit, at: int) -> Sequence[Range]:
    """Pairs of addresses, relative to a base that the largest address announces anew (version 4, 2.17.3)."""
    cursor, found, base = Cursor(unit.info.section(".debug_ranges"), at), list[Range](), _base(unit)
    size = unit.address_size
    largest = (1 << 8 * size) - 1
    while True:
        low, high = cursor.uint(size), cursor.uint(size)
        if not low and not high:
            break
        if low == largest:
            base = high
        elif low <= high:
            found.append((base + low, base + high))
    cursor.section.spend(cursor.at - at)
    return found


def _rnglist(unit: Unit, at: int) -> Sequence[Range]:
    """A range list of version 5 (2.17.3, 7.25)."""
    cursor, found, base = Cursor(unit.info.section(".debug_rnglists"), at), list[Range](), _base(unit)
    size = unit.address_size
    while kind := cursor.u8():
        low, high = 1, 0
        if kind == c.RLE_BASE_ADDRESSX:
            base = unit.address(cursor.uleb())
        elif kind == c.RLE_BASE_ADDRESS:
            base = cursor.uint(size)
        elif kind == c.RLE_STARTX_ENDX:
            low, high = unit.address(cursor.uleb()), unit.address(cursor.uleb())
        elif kind == c.RLE_STARTX_LENGTH:
            low = unit.address(cursor.uleb())
            high = low + cursor.uleb()
        elif kind == c.RLE_OFFSET_PAIR:
            low, high = base + cursor.uleb(), base + cursor.uleb()
        elif kind == c.RLE_START_END:
            low, high = cursor.uint(size), cursor.uint(size)
        elif kind == c.RLE_START_LENGTH:
            low = cursor.uint(size)
            high = low + cursor.uleb()
        else:
            raise cursor.section.damaged(f"unknown entry {kind:#x} of a range list before byte {cursor.at}")
        if low <= high:
            found.append((low, high))
    cursor.section.spend(cursor.at - at)
    return found


def begins_at(die: Die, address: int) -> bool:
    """Whether a function is entered at an address, even if no code of its own is there."""
    return die.number(c.AT_ENTRY_PC) == address or (address, address) in ranges(die)


def covers(found: Sequence[Range], address: int) -> bool:
    return any(low <= address < high for low, high in found)
