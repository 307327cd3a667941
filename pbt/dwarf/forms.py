"""How the values of attributes are encoded: one row for each form (DWARF 5, 7.5.6).

A value is a number, a text, bytes (blocks), or an `Indirect`, which is an address or stands in another section.
"""

from __future__ import annotations

from collections.abc import Callable

from pbt.data import NamedTuple
from pbt.dwarf import consts as c
from pbt.dwarf.cursor import Cursor
from pbt.typing import Protocol


class Shape(Protocol):
    """What encodings depend on: where a unit begins, its version, and the sizes of its offsets and addresses."""

    offset: int
    version: int
    word: int
    address_size: int


class Indirect(NamedTuple):
    """An address ("addr"), or a number into another section, which `kind` names: "str", "line_str", "strx",
    "addrx", "sig8", "info" (a DIE anywhere in .debug_info), "rnglistx", "elsewhere" (another file)."""

    kind: str
    value: int


Value = int | str | bytes | Indirect
_Reader = Callable[[Cursor, Shape], Value]


def _uint(size: int) -> _Reader:
    return lambda cursor, unit: cursor.uint(size)


def _block(size: int) -> _Reader:
    return lambda cursor, unit: cursor.take(cursor.uint(size))


def _indirect(kind: str, size: int) -> _Reader:
    """`size` 0: an unsigned LEB128 number; -1: as wide as offsets are in the unit."""
    if size == 0:
        return lambda cursor, unit: Indirect(kind, cursor.uleb())
    if size < 0:
        return lambda cursor, unit: Indirect(kind, cursor.uint(unit.word))
    return lambda cursor, unit: Indirect(kind, cursor.uint(size))


def _reference(size: int) -> _Reader:
    """A DIE of the same unit, as an offset in the section."""
    if size == 0:
        return lambda cursor, unit: unit.offset + cursor.uleb()
    return lambda cursor, unit: unit.offset + cursor.uint(size)


def _ref_addr(cursor: Cursor, unit: Shape) -> Value:
    """Version 2 made it as wide as an address."""
    return Indirect("info", cursor.uint(unit.address_size if unit.version == 2 else unit.word))


FORMS: dict[int, _Reader] = {
    c.FORM_ADDR: lambda cursor, unit: Indirect("addr", cursor.uint(unit.address_size)),
    c.FORM_BLOCK: lambda cursor, unit: cursor.take(cursor.uleb()),
    c.FORM_BLOCK1: _block(1),
    c.FORM_BLOCK2: _block(2),
    c.FORM_BLOCK4: _block(4),
    c.FORM_EXPRLOC: lambda cursor, unit: cursor.take(cursor.uleb()),
    c.FORM_DATA1: _uint(1),
    c.FORM_DATA2: _uint(2),
    c.FORM_DATA4: _uint(4),
    c.FORM_DATA8: _uint(8),
    c.FORM_DATA16: lambda cursor, unit: cursor.take(16),
    c.FORM_SDATA: lambda cursor, unit: cursor.sleb(),
    c.FORM_UDATA: lambda cursor, unit: cursor.uleb(),
    c.FORM_FLAG: _uint(1),
    c.FORM_FLAG_PRESENT: lambda cursor, unit: 1,
    c.FORM_SEC_OFFSET: lambda cursor, unit: cursor.uint(unit.word),
    c.FORM_LOCLISTX: lambda cursor, unit: cursor.uleb(),
    c.FORM_RNGLISTX: _indirect("rnglistx", 0),
    c.FORM_STRING: lambda cursor, unit: cursor.text(),
    c.FORM_STRP: _indirect("str", -1),
    c.FORM_LINE_STRP: _indirect("line_str", -1),
    c.FORM_STRX: _indirect("strx", 0),
    c.FORM_STRX1: _indirect("strx", 1),
    c.FORM_STRX2: _indirect("strx", 2),
    c.FORM_STRX3: _indirect("strx", 3),
    c.FORM_STRX4: _indirect("strx", 4),
    c.FORM_ADDRX: _indirect("addrx", 0),
    c.FORM_ADDRX1: _indirect("addrx", 1),
    c.FORM_ADDRX2: _indirect("addrx", 2),
    c.FORM_ADDRX3: _indirect("addrx", 3),
    c.FORM_ADDRX4: _indirect("addrx", 4),
    c.FORM_REF1: _reference(1),
    c.FORM_REF2: _reference(2),
    c.FORM_REF4: _reference(4),
    c.FORM_REF8: _reference(8),
    c.FORM_REF_UDATA: _reference(0),
    c.FORM_REF_ADDR: _ref_addr,
    c.FORM_REF_SIG8: _indirect("sig8", 8),
    c.FORM_REF_SUP4: _indirect("elsewhere", 4),
    c.FORM_REF_SUP8: _indirect("elsewhere", 8),
    c.FORM_STRP_SUP: _indirect("elsewhere", -1),
    c.FORM_GNU_REF_ALT: _indirect("elsewhere", -1),
    c.FORM_GNU_STRP_ALT: _indirect("elsewhere", -1),
}


def read(form: int, implicit: int, cursor: Cursor, unit: Shape) -> Value:
    """The next value, of a form; `implicit` is what the abbreviation says it is (FORM_IMPLICIT_CONST)."""
    if form == c.FORM_IMPLICIT_CONST:
        return implicit
    for _ in range(3):  # a form that names a form: one step is sensible
        if form != c.FORM_INDIRECT:
            break
        form = cursor.uleb()
    reader = FORMS.get(form)
    if reader is None:
        raise cursor.section.damaged(f"unknown form {form:#x} before byte {cursor.at}")
    return reader(cursor, unit)
