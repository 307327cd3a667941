"""The maps of an object file: described by types (.maps), by numbers (maps), or sections of variables.

Source: libbpf's conventions for map definitions and for global variables.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping

from pbt.data import NamedTuple
from pbt.objects.elf import NOBITS, STT_SECTION, ObjectElf
from pbt.source import UsageError
from pbt.uapi.btf import ARRAY, DATASEC, PTR, STRUCT
from pbt.uapi.maps import MAP_BY_ID
from pbt.verifier_sim import layout
from pbt.verifier_sim.progbtf import BadTypes, ProgramTypes, Row
from pbt.verifier_sim.reg import Field, MapInfo

_RDONLY_PROG, _MMAPABLE = 1 << 7, 1 << 10
_CPUS = 64  # elements of a map with one for each CPU, where no number is given


class Maps(NamedTuple):
    """All maps, and how code refers to them: (number of a section, byte there) → position, (0 for data) offset."""

    infos: list[MapInfo]
    at: Mapping[tuple[int, int], int]  # definitions
    data: Mapping[int, int]  # sections of variables


def read(elf: ObjectElf) -> Maps:
    """UsageError where a definition cannot be understood."""
    infos: list[MapInfo] = []
    at: dict[tuple[int, int], int] = {}
    try:
        for section, offset, info in (*_legacy(elf), *_typed(elf)):
            at[section, offset] = len(infos)
            infos.append(info)
    except (BadTypes, RecursionError) as error:
        raise elf.broken(f"section .maps: {error}") from None
    data = {}
    for number, info in _variables(elf):
        data[number] = len(infos)
        infos.append(info)
    return Maps(infos, at, data)


def _kind(elf: ObjectElf, name: str, number: int) -> str:
    row = MAP_BY_ID.get(number)
    if row is None:
        raise UsageError(f"{elf.name}: map {name} has type {number}, which does not exist")
    return row.name


# --- by numbers -------------------------------------------------------------------------------


def _legacy(elf: ObjectElf) -> Iterator[tuple[int, int, MapInfo]]:
    """Section "maps": struct bpf_map_def, one after another."""
    found = elf.section("maps")
    if found is None:
        return
    number, section = found
    data = elf.elf.read(section)
    for symbol in elf.symbols:
        if symbol.section == number and symbol.type != STT_SECTION:
            if symbol.value + 16 > len(data):
                raise elf.broken(f"map {symbol.name} is cut off")
            row = data[symbol.value : symbol.value + 20].ljust(20, b"\0")
            kind, key, value, entries, flags = struct.unpack("<5I", row)
            name = _kind(elf, symbol.name, kind)
            yield number, symbol.value, MapInfo(symbol.name, name, key, value, entries, flags)


# --- by types ---------------------------------------------------------------------------------


def _typed(elf: ObjectElf) -> Iterator[tuple[int, int, MapInfo]]:
    found, types = elf.section(".maps"), elf.types
    if found is None:
        return
    if types is None:
        raise UsageError(
            f"{elf.name}: its maps are described by types, and it has no section .BTF", "compile it with -g"
        )
    for offset, _, variable in _of_section(elf, types, ".maps"):
        _, row = types.plain(variable.size)
        if row.kind == STRUCT:
            yield found[0], offset, _defined(elf, types, variable.name, row)


def _of_section(elf: ObjectElf, types: ProgramTypes, name: str) -> Iterator[tuple[int, int, Row]]:
    """The variables of a section: place (by symbols: compilers leave 0 in the types), type id, type."""
    found = elf.section(name)
    places = {s.name: s.value for s in elf.symbols if found is not None and s.section == found[0]}
    for row in types.rows:
        if row.kind == DATASEC and row.name == name:
            for at in range(0, 3 * row.vlen, 3):
                variable = types.row(row.words[at])
                yield places.get(variable.name, row.words[at + 1]), row.words[at], variable


def _defined(elf: ObjectElf, types: ProgramTypes, name: str, row: Row, inner: bool = False) -> MapInfo:
    """A map from the members of its definition: numbers are sizes of arrays, types are what pointers point to."""
    numbers = dict.fromkeys(("type", "key_size", "value_size", "max_entries", "map_flags"), 0)
    fields: tuple[Field, ...] = ()
    inside = None
    for member, id, _, _ in types.members(row):
        if member in numbers:
            numbers[member] = _number(types, id)
        elif member in ("key", "value"):
            target = types.plain(id)[1].size
            numbers[f"{member}_size"] = types.size_of(target) or 0
            if member == "value":
                fields = tuple(layout.fields(types, target))
        elif member == "values" and not inner:
            inside = _inner(elf, types, f"{name}.inner", id)
    kind = _kind(elf, name, numbers["type"])
    small = 4 if kind in ("PERF_EVENT_ARRAY", "PROG_ARRAY", "ARRAY_OF_MAPS", "HASH_OF_MAPS") else 0
    return MapInfo(
        name, kind, numbers["key_size"] or (small and 4), numbers["value_size"] or small,
        numbers["max_entries"] or (_CPUS if kind == "PERF_EVENT_ARRAY" else 0), numbers["map_flags"], fields, inside,
    )  # fmt: skip


def _number(types: ProgramTypes, id: int) -> int:
    _, row = types.plain(id)
    _, array = types.plain(row.size) if row.kind == PTR else (0, row)
    return array.words[2] if array.kind == ARRAY else 0


def _inner(elf: ObjectElf, types: ProgramTypes, name: str, id: int) -> MapInfo | None:
    """What the maps inside a map look like: `values` is an array of pointers to a definition."""
    _, array = types.plain(id)
    if array.kind != ARRAY:
        return None
    _, row = types.target(array.words[0])
    return _defined(elf, types, name, row, True) if row.kind == STRUCT else None


# --- sections of variables --------------------------------------------------------------------


def _variables(elf: ObjectElf) -> Iterator[tuple[int, MapInfo]]:
    """.data, .bss: arrays of one element; .rodata: such arrays that nobody may write to."""
    for number, section in enumerate(elf.sections):
        stem = ".".join(section.name.split(".")[:2])
        if stem not in (".data", ".bss", ".rodata") or not section.size:
            continue
        fixed = stem == ".rodata"
        data = elf.elf.read(section) if fixed and section.type != NOBITS else b""
        flags = _MMAPABLE | (_RDONLY_PROG if fixed else 0)
        types = elf.types
        fields = (
            [
                field
                for offset, id, variable in _of_section(elf, types, section.name)
                for field in layout.fields(types, variable.size, offset, 0, layout.contents(types, id))
            ]
            if types
            else []
        )
        yield number, MapInfo(section.name, "ARRAY", 4, section.size, 1, flags, tuple(fields), None, data)
