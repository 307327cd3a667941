"""Section .BTF.ext: which types functions have, which lines instructions come from, what is relocated by types.

Source: Documentation/bpf/btf.rst, "BTF.ext section"; struct bpf_core_relo of <linux/bpf.h>.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping

from pbt.data import NamedTuple
from pbt.objects.elf import SLOT, ObjectElf
from pbt.source import Source, Span
from pbt.uapi.btf import MAGIC
from pbt.verifier_sim.progbtf import ProgramTypes


class Line(NamedTuple):
    """A line of C: the file, its text, its number and column, both from 1."""

    file: str
    text: str
    row: int
    column: int

    def span(self) -> Span:
        """The place, in a source of which nothing but this line is known."""
        row, column = max(self.row, 1), min(max(self.column, 1), len(self.text) + 1)
        source = Source(self.file, "\n" * (row - 1) + self.text)
        return Span(source, row - 1 + column - 1, row - 1 + len(self.text))


class CoreRelocation(NamedTuple):
    """An instruction that depends on the kernel's layout of `type`; access: "0:1:2"; kind: BPF_CORE_*."""

    type: int
    access: str
    kind: int


class Extension(NamedTuple):
    """Section → slot → type id of the function that begins there; line; relocation."""

    functions: Mapping[str, Mapping[int, int]] = {}
    lines: Mapping[str, Mapping[int, Line]] = {}
    relocations: Mapping[str, Mapping[int, CoreRelocation]] = {}


def read(elf: ObjectElf) -> Extension:
    """UsageError if the section is damaged; empty if there is none, or no types."""
    data, types = elf.content(".BTF.ext"), elf.types
    if not data or types is None:
        return Extension()
    try:
        return _read(data, types)
    except (struct.error, ValueError):
        raise elf.broken("section .BTF.ext is damaged") from None


def _read(data: bytes, types: ProgramTypes) -> Extension:
    magic, _, _, header = struct.unpack_from("<HBBI", data)
    if magic != MAGIC:
        raise ValueError
    fields = struct.unpack_from(f"<{min(header - 8, 24) // 4}I", data, 8)
    parts = [(fields[at], fields[at + 1]) for at in range(0, len(fields) - 1, 2)]
    parts += [(0, 0)] * (3 - len(parts))
    functions, lines, moved = (data[header + at : header + at + size] for at, size in parts[:3])
    return Extension(
        {name: {slot: row[0] for slot, row in rows} for name, rows in _rows(functions, types, 2)},
        {name: {slot: _line(row, types) for slot, row in rows} for name, rows in _rows(lines, types, 4)},
        {
            name: {slot: CoreRelocation(row[0], types.text(row[1]), row[2]) for slot, row in rows}
            for name, rows in _rows(moved, types, 4)
        },
    )


def _line(row: tuple[int, ...], types: ProgramTypes) -> Line:
    return Line(types.text(row[0]), types.text(row[1]), row[2] >> 10, row[2] & 0x3FF)


def _rows(
    data: bytes, types: ProgramTypes, words: int
) -> Iterator[tuple[str, list[tuple[int, tuple[int, ...]]]]]:
    """Name of each section, and its records of so many words as (slot, the words behind the offset)."""
    if not data:
        return
    (size,) = struct.unpack_from("<I", data)
    if size < 4 * words or size % 4:
        raise ValueError
    at = 4
    while at < len(data):
        name, count = struct.unpack_from("<2I", data, at)
        at += 8
        if at + count * size > len(data):
            raise ValueError
        rows = (struct.unpack_from(f"<{words}I", data, at + n * size) for n in range(count))
        yield types.text(name), [(row[0] // SLOT, row[1:]) for row in rows]
        at += count * size
