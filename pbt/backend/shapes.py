"""Programs of one shape are compiled once; the code of each is that code, its holes filled in (see pbt/ir/shape.py)."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from pbt.bundle import Code, Place, Reloc
from pbt.data import NamedTuple
from pbt.ir.core import Program
from pbt.ir.shape import Shape, shape
from pbt.isa.insn import signed
from pbt.isa.opcodes import LD_IMM64, SIZE_OF

_BITS = {code: min(8 * size, 32) for size, code in SIZE_OF.items()}  # of an immediate that is stored
_SIZE = 0x18  # of an opcode


class Form(NamedTuple):
    """What a program has of its own: numbers for the holes, where its bytes of array maps start, and its places in
    the script, by those of the code.
    """

    numbers: Sequence[int]
    starts: Mapping[str, int]
    places: Mapping[Place, Place]  # empty: they are the same


def shared(programs: Sequence[Program], alone: Collection[int]) -> tuple[list[Program], list[Form | None]]:
    """Programs of one shape replaced by one with holes, and the form of each; `alone` and single ones stay."""
    shapes = [shape(program) for program in programs]
    firsts: dict[object, int] = {}
    first = [n if n in alone else firsts.setdefault(s.common, n) for n, s in enumerate(shapes)]
    often = {n for n, times in Counter(first).items() if times > 1}
    holes = {n: Program(programs[n].name, shapes[n].functions) for n in often}
    kept = [holes.get(n, program) for n, program in zip(first, programs, strict=True)]
    return kept, [_form(shapes[n], s) if n in often else None for n, s in zip(first, shapes, strict=True)]


def _form(first: Shape, own: Shape) -> Form:
    pairs = () if first.places == own.places else zip(first.places, own.places, strict=True)
    return Form(own.numbers, own.starts, {Place(*there): Place(*here) for there, here in pairs})


def filled(code: Code, form: Form) -> Code:
    """Code of a shape → the code of the program with that form."""
    insns, relocs = bytearray(code.insns), []
    for reloc in code.relocs:
        at = 8 * reloc.insn
        if reloc.kind == "hole":
            number = form.numbers[int(reloc.name)] >> reloc.offset
            if insns[at] == LD_IMM64:
                struct.pack_into("<i", insns, at + 12, signed(number >> 32, 32))
                struct.pack_into("<i", insns, at + 4, signed(number, 32))
            else:
                struct.pack_into("<i", insns, at + 4, signed(number, _BITS[insns[at] & _SIZE]))
        elif reloc.kind == "map_value":
            offset = form.starts[reloc.name] + reloc.offset
            struct.pack_into("<i", insns, at + 12, offset)
            relocs.append(Reloc(reloc.insn, "map_value", reloc.name, offset))
        else:
            relocs.append(reloc)
    spans = tuple([form.places[span] for span in code.spans]) if form.places else code.spans
    return Code(bytes(insns), tuple(relocs), spans, code.functions)
