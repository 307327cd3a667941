"""Places in programs by their source lines, `uprobe:PROGRAM@FILE:LINE[:COLUMN]`, through debugging information."""

from __future__ import annotations

from collections.abc import Sequence

from pbt.feature import Place, PlaceError
from pbt.source import ScriptError, Span, UsageError, nearest
from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbt.dwarf.lines import Lines
    from pbt.host.elf import Elf

FORM = "a source line is written uprobe:PROGRAM@FILE:LINE or uprobe:PROGRAM@FILE:LINE:COLUMN"
_NEAR = 3  # lines to propose


def is_line(parts: Sequence[str]) -> bool:
    """Whether the parts are those of a source line. An `@` may belong to a path: "/lib/x@1:0x1234"."""
    return bool(parts) and "@" in parts[0] and len(parts) in (2, 3) and all(p.isdecimal() for p in parts[1:])


def parse(parts: Sequence[str], span: Span) -> Place:
    """A place with `file`, `line` and `column` (0: any); its `offset` is unknown until it is looked up."""
    path, _, file = parts[0].rpartition("@")
    numbers = [int(part) for part in parts[1:]]
    file = file.strip('"')
    if not path or not file or 0 in numbers:
        raise ScriptError("Lines and columns are counted from 1" if path and file else "Invalid source line",
                          span, FORM)  # fmt: skip
    line, column = (*numbers, 0)[:2]
    return {"path": path, "symbol": "", "offset": 0, "file": file, "line": line, "column": column}


def where(place: Place) -> str:
    column = f":{place['column']}" if place["column"] else ""
    return f"{place['path']}@{place['file']}:{place['line']}{column}"


def expand(place: Place, path: str, elf: Elf) -> Sequence[Place]:
    """The places in one file that the line's code is in: one in each copy of it. PlaceError when several source
    files are meant, or when debugging information is damaged."""
    from pbt.dwarf.lines import addresses
    from pbt.host.debuginfo import debug_info

    try:
        info = debug_info(elf)
        found = _lines(elf, place["file"]).at(place["line"], place["column"])
        known = [addresses(info, rows) for rows in found.values()] if info is not None else []
    except UsageError as error:
        raise PlaceError(error.message, error.hint) from error
    if len(found) > 1:
        raise PlaceError(f"{place['file']} may be {_several(sorted(found))}", "put folders before the name")
    return [{**place, "path": path, "offset": address} for several in known for address in several]


def absent(place: Place, elfs: Sequence[tuple[str, Elf]]) -> tuple[str, str]:
    """Why no code is at a place, and what there is instead."""
    from pbt.dwarf.lines import source_files
    from pbt.host.debuginfo import debug_info

    name = f"{place['file']}:{place['line']}" + (f":{place['column']}" if place["column"] else "")
    for path, elf in elfs:
        info = debug_info(elf)
        if info is None:
            hint = "build it with -g, or install the package with its debugging symbols"
            return f"{path} has no debugging information: {name} cannot be found", hint
        lines = _lines(elf, place["file"])
        if not lines.rows:
            return f"{path} was not built from a file {place['file']}", _like(
                place["file"], source_files(info)
            )
        return f"{path} has no code at {name}", _instead(lines, place)
    return f"there is no program or library {place['path']}", ""


def listed(path: str, elf: Elf, file: str, line: str, column: str) -> list[str]:
    """Lines of a source file that have code, as attach points without the provider; "*" for any line."""
    lines = _lines(elf, file)
    shown = f"{path}@{file}"
    if column:
        columns = lines.columns(int(line)) if line.isdecimal() else []
        return [f"{shown}:{line}:{each}" for each in columns if each and column in ("*", str(each))]
    return [f"{shown}:{each}" for each in lines.numbers() if line in ("*", str(each))]


def _lines(elf: Elf, file: str) -> Lines:
    from pbt.dwarf.lines import Lines, lines_of
    from pbt.host.debuginfo import debug_info

    info = debug_info(elf)
    return lines_of(info, file, elf.is_code) if info is not None else Lines({})


def _several(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")


def _like(file: str, known: Sequence[str]) -> str:
    """A hint for the name of a source file that there is not."""
    lasts = {path.rpartition("/")[2]: path for path in known}
    close = nearest(file.rpartition("/")[2], lasts, 1)
    return f"did you mean {lasts[close[0]]}?" if close else f"its source files: {_several(known)}"


def _instead(lines: Lines, place: Place) -> str:
    line, columns = place["line"], lines.columns(place["line"])
    if columns:
        known = [str(column) for column in columns if column]
        return f"columns of line {line} with code: {', '.join(known)}" if known else "leave the column out"
    near = sorted(sorted(lines.numbers(), key=lambda each: abs(each - line))[:_NEAR])
    return (
        f"the nearest lines with code: {', '.join(map(str, near))}" if near else "it has no code at all here"
    )
