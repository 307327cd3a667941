"""A BPF object file, taken apart: sections with code, symbols, relocations, the types it brings along.

Source: <linux/elf.h>, Documentation/bpf/llvm_reloc.rst.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import cached_property

from pbt.data import NamedTuple
from pbt.host.elf import Elf, Section
from pbt.source import UsageError
from pbt.uapi.elf import EM_BPF, ET_REL, SHF_EXECINSTR, SHT_PROGBITS, SHT_REL, SHT_SYMTAB
from pbt.verifier_sim.progbtf import BadTypes, ProgramTypes

SLOT = 8  # bytes of an instruction
STB_LOCAL, STT_SECTION = 0, 3
NOBITS = 8
_RELA = 4
_MOST = 1 << 20  # rows of one table


class Symbol(NamedTuple):
    """A name: what it is (STT_*), who sees it, and `value` bytes into section number `section` (0: elsewhere)."""

    name: str
    type: int
    bind: int
    visibility: int
    section: int
    value: int
    size: int


class Relocation(NamedTuple):
    """What stands at `offset` bytes of a section is about a symbol; type: R_BPF_*."""

    offset: int
    type: int
    symbol: Symbol


class ObjectElf:
    """The parts of an object file. UsageError where the file is no BPF object, or damaged."""

    def __init__(self, name: str, data: bytes) -> None:
        self.name, self.elf = name, Elf(name, data)
        if self.elf.machine != EM_BPF:
            raise UsageError(f"{name} is an ELF file, but not for BPF (machine {self.elf.machine})")
        if self.elf.type != ET_REL or self.elf.word != 8:
            raise UsageError(f"{name} is no relocatable object file of 64 bits")
        if self.elf.order != "<":
            raise UsageError(
                f"{name} is for big-endian machines", "objects for this machine: clang -target bpfel"
            )
        self.sections = self.elf.sections

    def broken(self, what: str) -> UsageError:
        return UsageError(f"{self.name}: {what}", "compile it anew: clang -g -O2 -target bpf -c")

    def section(self, name: str) -> tuple[int, Section] | None:
        """The first section of a name, with its number."""
        return next(((n, s) for n, s in enumerate(self.sections) if s.name == name), None)

    def content(self, name: str) -> bytes:
        """The bytes of a section, b"" if there is none."""
        found = self.section(name)
        return self.elf.read(found[1]) if found else b""

    @cached_property
    def symbols(self) -> list[Symbol]:
        found = next((s for s in self.sections if s.type == SHT_SYMTAB), None)
        if found is None:
            return []
        if found.link >= len(self.sections):
            raise self.broken("its symbol table has no names")
        names, data = self.elf.read(self.sections[found.link]), self.elf.read(found)
        out = []
        for name, info, other, section, value, size in struct.iter_unpack(
            "<IBBHQQ", data[: len(data) // 24 * 24]
        ):
            text = names[name : names.find(b"\0", name)].decode("utf-8", "backslashreplace")
            number = section if section < 0xFF00 else 0
            if not text and info & 15 == STT_SECTION and number < len(self.sections):
                text = self.sections[number].name
            out.append(Symbol(text, info & 15, info >> 4, other & 3, number, value, size))
        return out

    @cached_property
    def relocations(self) -> dict[int, dict[int, Relocation]]:
        """Number of a section → offset → what is to be filled in there."""
        out: dict[int, dict[int, Relocation]] = {}
        for section in self.sections:
            if section.type == _RELA:
                raise self.broken(f"section {section.name} has relocations of a kind that BPF does not use")
            if section.type == SHT_REL:
                rows = out.setdefault(section.info, {})
                rows.update((row.offset, row) for row in self._relocations(section))
        return out

    def _relocations(self, section: Section) -> Iterator[Relocation]:
        data = self.elf.read(section)
        for offset, info in struct.iter_unpack("<QQ", data[: len(data) // 16 * 16]):
            if info >> 32 >= len(self.symbols):
                raise self.broken(f"section {section.name} names symbol {info >> 32}, which does not exist")
            yield Relocation(offset, info & 0xFFFFFFFF, self.symbols[info >> 32])

    def code(self) -> Iterator[tuple[int, Section]]:
        """Sections with instructions."""
        for number, section in enumerate(self.sections):
            if section.type == SHT_PROGBITS and section.flags & SHF_EXECINSTR and section.size:
                if section.size % SLOT or section.offset + section.size > len(self.elf.data):
                    raise self.broken(f"section {section.name} is cut off within an instruction")
                yield number, section

    @cached_property
    def types(self) -> ProgramTypes | None:
        """Section .BTF; None if there is none."""
        data = self.content(".BTF")
        if not data:
            return None
        try:
            return ProgramTypes.parse(data)
        except BadTypes as error:
            raise self.broken(f"section .BTF: {error}") from None
