"""ELF object files, written: sections, symbols, relocations.

Source: <linux/elf.h>; for EM_BPF, Documentation/bpf/linux-notes.rst and llvm_reloc.rst.
"""

from __future__ import annotations

import struct

from pbt.data import NamedTuple

EM_BPF, ET_REL = 247, 1
SHT_PROGBITS, SHT_SYMTAB, SHT_STRTAB, SHT_REL = 1, 2, 3, 9
SHF_WRITE, SHF_ALLOC, SHF_EXECINSTR = 1, 2, 4
STB_GLOBAL, STT_NOTYPE, STT_OBJECT, STT_FUNC, STV_DEFAULT, STV_HIDDEN = 1, 0, 1, 2, 0, 2
R_BPF_64_64 = 1
_EHDR, _SHDR, _SYM = 64, 64, 24


class Section(NamedTuple):
    name: str
    type: int
    flags: int = 0
    data: bytes = b""
    align: int = 8
    link: int = 0
    info: int = 0
    entry: int = 0


class Symbol(NamedTuple):
    """A global name: `value` bytes into its section; section "" where it is not defined here."""

    name: str
    section: str
    value: int
    size: int
    type: int
    visibility: int = STV_DEFAULT


class Relocation(NamedTuple):
    """What stands at `offset` bytes of a section is about a symbol."""

    section: str
    offset: int
    symbol: str
    type: int = R_BPF_64_64


class Object:
    """A relocatable object file for BPF, being collected."""

    def __init__(self, order: str) -> None:
        """`order`: of bytes, as `struct` writes it: "<" or ">"."""
        self.order = order
        self.sections: list[Section] = []
        self.symbols: list[Symbol] = []
        self.relocations: list[Relocation] = []

    def data(self) -> bytes:
        """The whole file."""
        numbers = {section.name: n for n, section in enumerate(self.sections, 1)}
        places = {symbol.name: n for n, symbol in enumerate(self.symbols, 1)}
        assert len(numbers) == len(self.sections) and len(places) == len(self.symbols), "names are unique"
        strings = _Strings()
        symbols = bytes(_SYM) + b"".join(self._symbol(s, strings, numbers) for s in self.symbols)
        sections = [*self.sections, *self._relocations(numbers, places)]
        tables = len(sections) + 1
        sections += [
            Section(".symtab", SHT_SYMTAB, data=symbols, link=tables + 1, info=1, entry=_SYM),
            Section(".strtab", SHT_STRTAB, align=1),
        ]
        return self._file(sections, strings)

    def _symbol(self, symbol: Symbol, strings: _Strings, numbers: dict[str, int]) -> bytes:
        kind, section = STB_GLOBAL << 4 | symbol.type, numbers.get(symbol.section, 0)
        fields = (strings.add(symbol.name), kind, symbol.visibility, section, symbol.value, symbol.size)
        return struct.pack(self.order + "IBBHQQ", *fields)

    def _relocations(self, numbers: dict[str, int], places: dict[str, int]) -> list[Section]:
        made = []
        symtab = len(numbers) + len({r.section for r in self.relocations}) + 1
        for name, number in numbers.items():
            rows = [r for r in self.relocations if r.section == name]
            data = b"".join(
                struct.pack(self.order + "QQ", r.offset, places[r.symbol] << 32 | r.type) for r in rows
            )
            if rows:
                made.append(Section(f".rel{name}", SHT_REL, data=data, link=symtab, info=number, entry=16))
        return made

    def _file(self, sections: list[Section], strings: _Strings) -> bytes:
        names = [strings.add(section.name) for section in sections]
        sections[-1] = sections[-1]._replace(data=bytes(strings.data))
        body, heads = bytearray(), bytes(_SHDR)
        for section, name in zip(sections, names, strict=True):
            body += bytes(-len(body) % section.align)
            heads += struct.pack(
                self.order + "IIQQQQIIQQ", name, section.type, section.flags, 0, _EHDR + len(body),
                len(section.data), section.link, section.info, section.align, section.entry,
            )  # fmt: skip
            body += section.data
        body += bytes(-len(body) % 8)
        identity = b"\x7fELF" + bytes((2, 1 if self.order == "<" else 2, 1)) + bytes(9)
        fields = (
            ET_REL,
            EM_BPF,
            1,
            0,
            0,
            _EHDR + len(body),
            0,
            _EHDR,
            0,
            0,
            _SHDR,
            len(sections) + 1,
            len(sections),
        )
        return identity + struct.pack(self.order + "HHIQQQIHHHHHH", *fields) + bytes(body) + heads


class _Strings:
    def __init__(self) -> None:
        self.data = bytearray(b"\0")

    def add(self, text: str) -> int:
        self.data += text.encode(errors="replace") + b"\0"
        return len(self.data) - len(text.encode(errors="replace")) - 1
