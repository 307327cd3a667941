"""Source lines → addresses: where a program has to be attached to run when a line is reached.

A line's code may be in several pieces: it is inlined in several places, or the compiler put its parts far from
each other. One address is taken in each copy of the function that the line belongs to: where the line begins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from pbt.data import NamedTuple
from pbt.dwarf import consts as c
from pbt.dwarf.info import DebugInfo, functions
from pbt.dwarf.line import LineTable, Row
from pbt.dwarf.ranges import ranges
from pbt.dwarf.units import Die, Unit


class Lines(NamedTuple):
    """The rows of a file's line tables that are about one source file: by its path, each with its unit."""

    rows: Mapping[str, Sequence[tuple[Unit, Row]]]

    def numbers(self) -> list[int]:
        """Lines that have code, sorted."""
        return sorted({row.line for found in self.rows.values() for _, row in found if row.line})

    def columns(self, line: int) -> list[int]:
        """The columns of a line that have code, sorted; 0 where the compiler did not tell."""
        return sorted({row.column for found in self.rows.values() for _, row in found if row.line == line})

    def at(self, line: int, column: int = 0) -> dict[str, list[tuple[Unit, Row]]]:
        """The rows of a line, by the path of the file; without those that have none. Column 0: any."""
        found = {
            path: [each for each in rows if each[1].line == line and column in (0, each[1].column)]
            for path, rows in self.rows.items()
        }
        return {path: rows for path, rows in found.items() if rows}


def _tables(info: DebugInfo) -> Iterator[tuple[Unit, LineTable]]:
    """Line tables, each once, with the unit that is made of them."""
    seen = set[int]()
    for unit in info.units:
        table = info.table(unit) if unit.type in (c.UT_COMPILE, c.UT_SKELETON) else None
        if table is not None and id(table) not in seen:
            seen.add(id(table))
            yield unit, table


def is_path(path: str, wanted: str) -> bool:
    """Whether a file is meant by its name, or by its name with some of the folders before it."""
    wanted = wanted.removeprefix("./")
    return path == wanted or (not wanted.startswith("/") and path.endswith("/" + wanted))


def lines_of(info: DebugInfo, wanted: str, is_code: Callable[[int], bool]) -> Lines:
    """What there is of a source file. `is_code`: whether an address of the file is loaded as code: linkers
    leave rows of functions that they dropped."""
    found: dict[str, list[tuple[Unit, Row]]] = {}
    for unit, table in _tables(info):
        chosen = {number: path for number, path in enumerate(table.files) if path and is_path(path, wanted)}
        for path in chosen.values():
            found.setdefault(path, [])
        for row in table.rows if chosen else ():
            if row.file in chosen and not row.end and is_code(row.address):
                found[chosen[row.file]].append((unit, row))
    return Lines(found)


def source_files(info: DebugInfo) -> list[str]:
    """The paths of all source files that line tables name, sorted."""
    return sorted({path for _, table in _tables(info) for path in table.files if path})


def addresses(info: DebugInfo, rows: Sequence[tuple[Unit, Row]]) -> list[int]:
    """Where to attach for the rows of one line of one file: an address in each copy of its code, sorted."""
    starts = [each for each in rows if each[1].is_stmt] or rows
    begins = {unit: _begin(info, unit, row) for unit, row in starts}
    copies: dict[int, tuple[int, int]] = {}
    for unit, row in starts:
        scope = _owner(info, row, begins[unit])
        key = scope.offset if scope is not None else _NONE
        rank = _rank(scope, row.address)
        copies[key] = min(copies.get(key, rank), rank)
    if len(copies) > 1:
        copies.pop(_NONE, None)
    return sorted({address for _, address in copies.values()})


_NONE = -1


def _begin(info: DebugInfo, unit: Unit, row: Row) -> tuple[str, int]:
    """The file and line where the function begins that a row's line belongs to: the last one before it."""
    table = info.table(unit)
    path = table.path(row.file) if table is not None else ""
    known = (_declared(info, die, path) for die in functions(unit) if c.AT_DECLARATION not in die.attributes)
    return path, max((line for line in known if line <= row.line), default=_NONE)


def _owner(info: DebugInfo, row: Row, begin: tuple[str, int]) -> Die | None:
    """The function that begins there, or the inlined copy of it, where it runs at the row's address; None for
    rows that the optimiser left outside of it. Others may run there too: its callers, and what it inlined."""
    path, line = begin
    return next((die for die in info.near(row.address) if _declared(info, die, path) == line != _NONE), None)


def _declared(info: DebugInfo, scope: Die, path: str) -> int:
    """The line that a function begins in, _NONE if that is in another file."""
    file, line = scope.inherited(c.AT_DECL_FILE), scope.inherited(c.AT_DECL_LINE)
    table = info.table(file[0]) if file is not None else None
    return line[1] if file and line and table and table.path(file[1]) == path else _NONE


def _rank(scope: Die | None, address: int) -> tuple[int, int]:
    """Code in the main part of a function comes before that in its cold parts."""
    parts = ranges(scope) if scope is not None else ()
    part = next((n for n, (low, high) in enumerate(parts) if low <= address < high), len(parts))
    return part, address
