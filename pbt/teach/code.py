"""What the views share: programs of a bundle, each once; instructions as rows; lines of the script."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache

from pbt.data import NamedTuple
from pbt.isa.disasm import listing
from pbt.isa.insn import Insn, decode
from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbt.backend.pipeline import Compiled
    from pbt.bundle import Bundle, Code, Map, Place, Program
    from pbt.ir.core import Program as IrProgram
    from pbt.lang.typed import Instance
    from pbt.pipeline import Work
    from pbt.source import Source, Span


class Row(NamedTuple):
    """One instruction: the number of its first slot, its slots, their bytes, its text, its line (0: none)."""

    first: int
    slots: tuple[Insn, ...]
    data: bytes
    text: str
    line: int


class Unit(NamedTuple):
    """One program and how it was made. `names`: all places that it runs at."""

    names: tuple[str, ...]
    instance: Instance
    before: IrProgram
    after: IrProgram
    compiled: Compiled
    program: Program

    @property
    def title(self) -> str:
        more = len(self.names) - 1
        return self.names[0] + (f" and {more} more" if more else "")


def units(work: Work) -> Iterator[Unit]:
    """The programs of a finished compilation, in the order of the script."""
    assert work.typed is not None and work.lowered is not None and work.bundle is not None
    first, others = 0, {pair.second for pair in work.pairs}
    stages = zip(work.typed.instances, work.lowered.programs, work.passed, work.compiled, strict=True)
    for number, (instance, before, after, compiled) in enumerate(stages):
        programs = work.bundle.programs[first : first + len(instance.places)]
        first += len(instance.places)
        if programs and number not in others:
            code = programs[0].code
            names = tuple(p.name for p in work.bundle.programs if p in programs or p.code is code)
            yield Unit(names, instance, before, after, compiled, programs[0])


@cache
def helper_names() -> Mapping[int, str]:
    from pbt.uapi.helpers import HELPERS

    return {helper.id: name for name, helper in HELPERS.items()}


def symbols(code: Code) -> dict[int, str]:
    """What relocated instructions mean, by name: "map[@x]", "value[@x + 8]", "function[f]", "kernel[jiffies]"."""
    words = {"map_fd": "map", "map_value": "value", "func": "function", "btf_id": "kernel", "kfunc": "kernel"}
    return {r.insn: f"{words[r.kind]}[{r.name}{f' + {r.offset}' if r.offset else ''}]" for r in code.relocs}


def rows(code: Code, source: Source | None = None) -> list[Row]:
    """All instructions of a program."""
    insns = decode(code.insns)
    found = []
    for index, text in listing(insns, helper_names(), symbols(code)):
        width = 2 if insns[index].is_wide else 1
        data = code.insns[8 * index : 8 * (index + width)]
        place = code.spans[index] if index < len(code.spans) else None
        found.append(Row(index, tuple(insns[index : index + width]), data, text, line_of(place, source)))
    return found


def line_of(place: Place | None, source: Source | None) -> int:
    """The line (from 1) where a place of the script begins; 0 if it is nowhere in it."""
    return (
        source.position(place.start)[0]
        if place is not None and source is not None and place.start >= 0
        else 0
    )


def line_of_span(span: Span | None, source: Source) -> int:
    return source.position(span.start)[0] if span is not None and span.source is source else 0


def at(span: Span) -> str:
    """ "line:column" of the start of a span."""
    line, column, _ = span.locate()
    return f"{line}:{column}"


def hexed(data: bytes) -> str:
    return data.hex(" ")


def used_maps(bundle: Bundle, code: Code) -> Sequence[Map]:
    names = {r.name for r in code.relocs if r.kind in ("map_fd", "map_value")}
    return [m for m in bundle.maps if m.name in names]


def map_line(map_: Map) -> str:
    """A map in one line: "@x: HASH, key 8 bytes, value 8 bytes, 4096 entries"."""
    sizes = f"key {map_.key_size} bytes, value {map_.value_size} bytes, " if map_.key_size else ""
    unit = "bytes" if map_.map_type.endswith("RINGBUF") else "entries"
    count = f"{map_.max_entries} {unit}" if map_.max_entries else "an entry for each CPU"
    return f"{map_.name}: {map_.map_type}, {sizes}{count}" + (
        f", {map_.aggregation}()" if map_.aggregation else ""
    )


def underlined(text: str, mark: str = "-") -> list[str]:
    return [text, mark * len(text)]
