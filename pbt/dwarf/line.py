"""Line number programs: which source line the code at an address comes from (DWARF 5, 6.2)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from functools import cached_property
from posixpath import join, normpath

from pbt.data import NamedTuple
from pbt.dwarf import consts as c
from pbt.dwarf.cursor import Cursor, Section
from pbt.dwarf.forms import read
from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbt.dwarf.units import Unit


MOST_ROWS = 4_000_000  # of one unit; the largest source files of the world have some 300,000


class Row(NamedTuple):
    """From `address` on, up to that of the next row, code comes from a place in a source file.

    `file` is an index into the table's files; `is_stmt`: a good place for a breakpoint; `end`: the first
    address behind the last row, which belongs to no line.
    """

    address: int
    file: int
    line: int
    column: int
    is_stmt: bool
    end: bool


class LineTable:
    """The line number program of one unit: the files it names, and its rows when they are asked for."""

    def __init__(self, unit: Unit, section: Section, at: int) -> None:
        self._unit, self._section, self.offset = unit, section, at
        cursor = Cursor(section, at)
        self._end, self.word = cursor.length()
        self.version = cursor.u16()
        if not 2 <= self.version <= 5:
            raise section.damaged(f"the line table at byte {at} has version {self.version}")
        self.address_size = unit.address_size
        if self.version >= 5:
            self.address_size = cursor.u8()
            cursor.u8()  # the size of segment selectors
        size = cursor.uint(self.word)
        self._program = cursor.at + size
        self._shortest = cursor.u8()  # all advances are multiples of this many bytes
        if self.version >= 4:
            cursor.u8()  # operations in one instruction, for machines that bundle them
        self._is_stmt, base, self._range, self._first = (
            cursor.u8() != 0,
            cursor.u8(),
            cursor.u8(),
            cursor.u8(),
        )
        self._base = base - 256 if base > 127 else base
        if not self._range or not self._first or self._program > self._end or self.address_size not in (4, 8):
            raise section.damaged(f"the header of the line table at byte {at} contradicts itself")
        self._operands = cursor.take(self._first - 1)
        self.files = self._new_names(cursor) if self.version >= 5 else self._old_names(cursor)
        self._rows: list[Row] | None = None

    # --- names of files ------------------------------------------------------------------------

    def _old_names(self, cursor: Cursor) -> list[str]:
        """Versions 2 to 4: both lists count from 1; folder 0 is the one that was compiled in."""
        folders, files = [self._unit.comp_dir], [""]
        while name := cursor.text():
            folders.append(join(self._unit.comp_dir, name))
        while name := cursor.text():
            files.append(self._old_name(name, folders, cursor))
        self._folders = folders
        return files

    def _old_name(self, name: str, folders: Sequence[str], cursor: Cursor) -> str:
        folder = cursor.uleb()
        cursor.uleb(), cursor.uleb()  # when it was changed, how large it is
        return normpath(join(folders[folder] if folder < len(folders) else "", name))

    def _new_names(self, cursor: Cursor) -> list[str]:
        """Version 5: both lists count from 0; folder 0 is the one that was compiled in."""
        self._folders = list[str]()
        for name, _ in self._entries(cursor):
            self._folders.append(join(self._folders[0], name) if self._folders else name)
        return [
            normpath(join(self._folders[folder] if folder < len(self._folders) else "", name))
            for name, folder in self._entries(cursor)
        ]

    def _entries(self, cursor: Cursor) -> list[tuple[str, int]]:
        """(path, index of its folder) of each entry; the table itself says how they are encoded."""
        formats = [(cursor.uleb(), cursor.uleb()) for _ in range(cursor.u8())]
        found = []
        for _ in range(cursor.uleb()):
            start = cursor.at
            values = {kind: read(form, 0, cursor, self) for kind, form in formats}
            if cursor.at == start:
                raise self._section.damaged(f"entries of no bytes before byte {start}")
            folder = values.get(c.LNCT_DIRECTORY_INDEX, 0)
            found.append((self._unit.text(values.get(c.LNCT_PATH)), folder if isinstance(folder, int) else 0))
        return found

    # --- the program ---------------------------------------------------------------------------

    @property
    def rows(self) -> list[Row]:
        """All rows in the order of the program: sequences, each in the order of addresses."""
        if self._rows is None:
            self._section.spend(self._end - self._program)
            self._rows = self._run()
        return self._rows

    def _run(self) -> list[Row]:
        """The state machine of 6.2.2; nothing that pbt asks needs its other registers."""
        cursor, rows = Cursor(self._section, self._program), list[Row]()
        address, file, line, column, is_stmt = 0, 1, 1, 0, self._is_stmt
        shortest, base, span, first = self._shortest, self._base, self._range, self._first
        while cursor.at < self._end:
            if len(rows) > MOST_ROWS:
                raise self._section.damaged(f"a line table has more than {MOST_ROWS} rows")
            code = cursor.u8()
            if code >= first:
                advance, step = divmod(code - first, span)
                address += advance * shortest
                line += base + step
                rows.append(Row(address, file, line, column, is_stmt, False))
            elif code == c.LNS_COPY:
                rows.append(Row(address, file, line, column, is_stmt, False))
            elif code == c.LNS_ADVANCE_PC:
                address += cursor.uleb() * shortest
            elif code == c.LNS_ADVANCE_LINE:
                line += cursor.sleb()
            elif code == c.LNS_SET_FILE:
                file = cursor.uleb()
            elif code == c.LNS_SET_COLUMN:
                column = cursor.uleb()
            elif code == c.LNS_NEGATE_STMT:
                is_stmt = not is_stmt
            elif code == c.LNS_CONST_ADD_PC:
                address += (255 - first) // span * shortest
            elif code == c.LNS_FIXED_ADVANCE_PC:
                address += cursor.u16()
            elif code == 0:
                size = cursor.uleb()
                start = cursor.at
                kind = cursor.u8() if size else 0
                if kind == c.LNE_END_SEQUENCE:
                    rows.append(Row(address, file, line, column, is_stmt, True))
                    address, file, line, column, is_stmt = 0, 1, 1, 0, self._is_stmt
                elif kind == c.LNE_SET_ADDRESS:
                    address = cursor.uint(min(max(size - 1, 0), 8))
                elif kind == c.LNE_DEFINE_FILE:
                    self.files.append(self._old_name(cursor.text(), self._folders, cursor))
                cursor.at = start + size
            else:
                for _ in range(self._operands[code - 1]):
                    cursor.uleb()
        return rows

    @cached_property
    def _by_address(self) -> tuple[list[int], list[tuple[Row, int]]]:
        """Rows that cover addresses, each with the first address behind it, and where they begin."""
        pairs = zip(self.rows, self.rows[1:], strict=False)
        found = [(row, after.address) for row, after in pairs if not row.end and row.address < after.address]
        found.sort(key=lambda pair: pair[0].address)
        return [row.address for row, _ in found], found

    def row_at(self, address: int) -> Row | None:
        """The row that covers an address."""
        starts, found = self._by_address
        place = bisect_right(starts, address) - 1
        return found[place][0] if place >= 0 and address < found[place][1] else None

    def path(self, file: int) -> str:
        """The absolute path of a file as the compiler saw it, "" if there is no such file."""
        return self.files[file] if 0 <= file < len(self.files) else ""
