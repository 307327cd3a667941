"""The debugging information of one file, as its sections hold it: units, lines, functions, all read when asked for.

Source: DWARF Debugging Information Format, Version 5 (and 2 to 4).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property

from pbt.data import NamedTuple
from pbt.dwarf import consts as c
from pbt.dwarf.cursor import Section
from pbt.dwarf.line import LineTable
from pbt.dwarf.ranges import Range, begins_at, covers, ranges
from pbt.dwarf.units import Abbrev, Die, Unit, read_abbrevs


class Line(NamedTuple):
    """A place in a source file; column 0: unknown."""

    path: str
    line: int
    column: int = 0


class Frame(NamedTuple):
    """A function that is running at an address, and where in it; `symbol` is its name for the linker, where
    the source has another one."""

    symbol: str
    line: Line | None


class _Spans:
    """Ranges of addresses, each with something that belongs to it; of several the one that begins last."""

    def __init__(self, rows: list[tuple[int, int, int]]) -> None:
        self._rows = sorted(rows)
        self._starts = [row[0] for row in self._rows]

    def at(self, address: int) -> int | None:
        """What belongs to the address."""
        place = bisect_right(self._starts, address) - 1
        for low, high, what in reversed(self._rows[max(0, place - 8) : place + 1]):
            if low <= address < high:
                return what
        return None


class DebugInfo:
    """What a file's sections .debug_* say. Every method may raise DwarfError where they are damaged."""

    def __init__(self, path: str, contents: Callable[[str], bytes], order: str = "<") -> None:
        """`contents`: the bytes of a section by its name, b"" for one that is missing; `order`: of bytes."""
        self.path, self._contents, self._order = path, contents, order
        self._sections: dict[str, Section] = {}
        self._abbrevs: dict[int, Mapping[int, Abbrev]] = {}
        self._tables: dict[int, LineTable] = {}
        self._functions: dict[int, _Spans] = {}

    def section(self, name: str) -> Section:
        found = self._sections.get(name)
        if found is None:
            found = self._sections[name] = Section(self.path, name, self._contents(name), self._order)
        return found

    def abbrevs(self, at: int) -> Mapping[int, Abbrev]:
        """The abbreviations that begin at an offset; units often share them."""
        if at not in self._abbrevs:
            self._abbrevs[at] = read_abbrevs(self.section(".debug_abbrev"), at)
        return self._abbrevs[at]

    # --- units and entries ---------------------------------------------------------------------

    def _units_of(self, name: str) -> Iterator[Unit]:
        section, at = self.section(name), 0
        while at < len(section.data):
            unit = Unit(self, section, at)
            yield unit
            at = unit.end

    @cached_property
    def units(self) -> Sequence[Unit]:
        """All units of .debug_info, in their order."""
        return tuple(self._units_of(".debug_info"))

    @cached_property
    def _starts(self) -> list[int]:
        return [unit.offset for unit in self.units]

    def die(self, at: int) -> Die:
        """The DIE at an offset of .debug_info."""
        place = bisect_right(self._starts, at) - 1
        if place < 0:
            raise self.section(".debug_info").damaged(f"something refers to byte {at}, where no unit is")
        return self.units[place].die(at)

    @cached_property
    def type_units(self) -> Sequence[Unit]:
        """Units that are about one type each, which other units name by its signature."""
        units = [*self.units, *self._units_of(".debug_types")]
        return tuple(unit for unit in units if unit.type == c.UT_TYPE)

    @cached_property
    def _signatures(self) -> Mapping[int, Unit]:
        return {unit.signature: unit for unit in self.type_units}

    def type_of_signature(self, signature: int) -> Die | None:
        """The type that a type unit is about; None where the file lacks that unit."""
        unit = self._signatures.get(signature)
        return unit.die(unit.type_offset) if unit is not None else None

    # --- from addresses ------------------------------------------------------------------------

    @cached_property
    def _spans(self) -> _Spans:
        rows = []
        for number, unit in enumerate(self.units):
            if unit.type in (c.UT_COMPILE, c.UT_SKELETON):
                covered = ranges(unit.root) or self._covered_by_lines(unit)
                rows += [(low, high, number) for low, high in covered]
        return _Spans(rows)

    def _covered_by_lines(self, unit: Unit) -> Sequence[Range]:
        """The addresses of a unit whose DIE does not tell them, as some assemblers leave it."""
        table = self.table(unit)
        found, start = list[Range](), -1
        for row in table.rows if table is not None else ():
            start = row.address if start < 0 else start
            if row.end:
                found.append((start, row.address))
                start = -1
        return found

    def unit_at(self, address: int) -> Unit | None:
        """The unit that the code at a virtual address of the file comes from."""
        found = self._spans.at(address)
        return self.units[found] if found is not None else None

    def table(self, unit: Unit) -> LineTable | None:
        """The line table of a unit; None when it has none."""
        at = unit.root.number(c.AT_STMT_LIST)
        if at is None:
            return None
        if at not in self._tables:
            self._tables[at] = LineTable(unit, self.section(".debug_line"), at)
        return self._tables[at]

    def line_at(self, address: int) -> Line | None:
        """The source line that the code at an address comes from."""
        unit = self.unit_at(address)
        table = self.table(unit) if unit is not None else None
        row = table.row_at(address) if table is not None else None
        return Line(table.path(row.file), row.line, row.column) if table and row and row.line else None

    def function_at(self, address: int) -> Die | None:
        """The function (DW_TAG_subprogram) whose code an address is in."""
        unit = self.unit_at(address)
        if unit is None:
            return None
        if unit.offset not in self._functions:
            rows = [(low, high, die.offset) for die in functions(unit) for low, high in ranges(die)]
            self._functions[unit.offset] = _Spans(rows)
        found = self._functions[unit.offset].at(address)
        return unit.die(found) if found is not None else None

    def scopes(self, address: int) -> list[Die]:
        """The function that an address is in, and the functions inlined there, the innermost last."""
        return [die for die in self.near(address) if covers(ranges(die), address)]

    def near(self, address: int) -> list[Die]:
        """The same, and functions inlined there of which nothing but their beginning is left."""
        function = self.function_at(address)
        if function is None:
            return []
        inlined = (die for _, die in function.below() if die.tag == c.TAG_INLINED_SUBROUTINE)
        return [
            function,
            *(die for die in inlined if covers(ranges(die), address) or begins_at(die, address)),
        ]

    def frames(self, address: int) -> list[Frame]:
        """The functions running at an address, the innermost first; the last one alone is not inlined."""
        line, found = self.line_at(address), list[Frame]()
        for die in reversed(self.scopes(address)):
            found.append(Frame(die.symbol, line))
            line = self._call(die)
        return found or ([Frame("", line)] if line is not None else [])

    def _call(self, die: Die) -> Line | None:
        """Where an inlined function was called."""
        line, file = die.number(c.AT_CALL_LINE), die.number(c.AT_CALL_FILE)
        table = self.table(die.unit)
        if line is None or file is None or table is None:
            return None
        return Line(table.path(file), line)


def functions(unit: Unit) -> Iterator[Die]:
    """The functions of a unit that have code, wherever they are declared."""
    return (die for _, die in unit.root.below() if die.tag == c.TAG_SUBPROGRAM)
