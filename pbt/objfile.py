"""Bundle → a BPF object file, as other loaders and tools read it (`--emit-elf`).

Each program has a section named as libbpf names them ("tracepoint/sched/sched_switch"); functions that the
kernel calls back are in `.text`. Maps are in `.maps`, described by BTF; those that programs reach by the
address of their value are data sections of their own. `license`, `.BTF`, `.BTF.ext` with the script's lines.
What the object cannot say is what user space does with events: only pbt prints.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from pbt.arch import get
from pbt.bundle import Bundle, Code, Map, Place, Program
from pbt.data import NamedTuple
from pbt.source import Source
from pbt.uapi import btf, elf
from pbt.uapi.consts import MAP_TYPE

_SLOT = 8
_WIDE = 0x18  # opcode of the 64-bit immediate load
_PAGE = 4096

# (program type, expected attach type) → how its sections begin; "" the provider's own name
_PREFIX = {
    ("TRACEPOINT", ""): "tracepoint", ("KPROBE", ""): "", ("KPROBE", "TRACE_KPROBE_MULTI"): ".multi",
    ("KPROBE", "TRACE_KPROBE_SESSION"): ".session", ("KPROBE", "TRACE_UPROBE_MULTI"): ".multi",
    ("PERF_EVENT", ""): "perf_event", ("RAW_TRACEPOINT", ""): "raw_tp", ("TRACING", "TRACE_RAW_TP"): "tp_btf",
    ("TRACING", "TRACE_FENTRY"): "fentry", ("TRACING", "TRACE_FEXIT"): "fexit", ("TRACING", "TRACE_ITER"): "iter",
}  # fmt: skip


def section_name(program: Program) -> str:
    """Where a program goes: its type, and what it attaches to where a loader can tell from the name."""
    prefix = _PREFIX.get((program.prog_type, program.expected_attach_type), program.prog_type.lower())
    _, _, where = program.name.partition(":")
    if prefix in ("perf_event", "raw_tp") or program.provider == "usdt":
        return "usdt" if program.provider == "usdt" else prefix
    if not prefix or prefix.startswith("."):
        return f"{program.provider}{prefix}/{where}"
    parts = where.split(":")
    return "/".join((prefix, *(parts if prefix == "tracepoint" else parts[-1:])))


def write(bundle: Bundle, cpus: int) -> bytes:
    """The object file. `cpus`: how many this machine may have, for maps with an element for each."""
    return _Writer(bundle, cpus).data()


class _Function(NamedTuple):
    """A function of a program, where it lies now, and its slots in the program's code."""

    name: str
    section: str
    offset: int  # bytes
    first: int
    end: int
    code: Code
    symbols: Mapping[str, str]  # of all functions of the program, by their names there
    probe: Place
    main: bool


class _Writer:
    def __init__(self, bundle: Bundle, cpus: int) -> None:
        self.bundle, self.cpus = bundle, cpus
        self.order = get(bundle.arch).struct_order
        self.object = elf.Object(self.order)
        self.types = btf.Types(self.order)
        self.source = Source(bundle.name, bundle.source)
        values = {r.name for p in bundle.programs for r in p.code.relocs if r.kind == "map_value"}
        self.by_value = [map_ for map_ in bundle.maps if map_.name in values]
        self.by_name = [map_ for map_ in bundle.maps if map_.name not in values]

    def data(self) -> bytes:
        functions = list(self._functions())
        for section in dict.fromkeys(f.section for f in functions):
            self._code(section, [f for f in functions if f.section == section])
        self._maps()
        for map_ in self.by_value:
            self._value(map_)
        self._variables()
        license = self.bundle.license.encode() + b"\0"
        self._section(
            elf.Section("license", elf.SHT_PROGBITS, elf.SHF_ALLOC | elf.SHF_WRITE, license, align=1)
        )
        self._symbol("_license", "license", 0, len(license), elf.STT_OBJECT)
        extension = btf.extension(self.types, list(self._infos(functions)))
        self._section(elf.Section(".BTF", elf.SHT_PROGBITS, data=self.types.data(), align=4))
        self._section(elf.Section(".BTF.ext", elf.SHT_PROGBITS, data=extension, align=4))
        return self.object.data()

    def _section(self, section: elf.Section) -> None:
        self.object.sections.append(section)

    def _symbol(self, name: str, section: str, at: int, size: int, kind: int, hidden: bool = False) -> None:
        visibility = elf.STV_HIDDEN if hidden else elf.STV_DEFAULT
        self.object.symbols.append(elf.Symbol(name, section, at, size, kind, visibility))

    # --- code

    def _functions(self) -> Iterator[_Function]:
        sizes: dict[str, int] = {}
        names: set[str] = set()
        for program in self.bundle.programs:
            slots = len(program.code.insns) // _SLOT
            starts = program.code.functions or (("main", 0),)
            ends = [*(first for _, first in starts[1:]), slots]
            base = _unique(_identifier(program.name), names)
            symbols = {name: f"{base}_{_identifier(name)}" if first else base for name, first in starts}
            for (name, first), end in zip(starts, ends, strict=True):
                section = ".text" if first else section_name(program)
                at = sizes.get(section, 0)
                yield _Function(
                    symbols[name], section, at, first, end, program.code, symbols, program.span, not first
                )
                sizes[section] = sizes.get(section, 0) + _SLOT * (end - first)

    def _code(self, section: str, functions: Sequence[_Function]) -> None:
        data = b"".join(self._instructions(function) for function in functions)
        self._section(elf.Section(section, elf.SHT_PROGBITS, elf.SHF_ALLOC | elf.SHF_EXECINSTR, data))
        for function in functions:
            size = _SLOT * (function.end - function.first)
            self._symbol(
                function.name, section, function.offset, size, elf.STT_FUNC, hidden=not function.main
            )

    def _instructions(self, function: _Function) -> bytes:
        """The bytes, with nothing but an offset where a relocation says what is to be loaded."""
        code = function.code
        insns = bytearray(code.insns)
        for reloc in code.relocs:
            at = _SLOT * reloc.insn
            insns[at + 1] &= 0x0F if self.order == "<" else 0xF0  # no pseudo source register
            offset = reloc.offset if reloc.kind == "map_value" else 0
            insns[at + 4 : at + 8] = offset.to_bytes(4, "little" if self.order == "<" else "big")
            insns[at + 12 : at + 16] = bytes(4)
            if function.first <= reloc.insn < function.end:
                place = function.offset + at - _SLOT * function.first
                symbol = function.symbols[reloc.name] if reloc.kind == "func" else _identifier(reloc.name)
                self.object.relocations.append(elf.Relocation(function.section, place, symbol))
        return bytes(insns[_SLOT * function.first : _SLOT * function.end])

    # --- maps

    def _maps(self) -> None:
        size, variables = 0, []
        integer = self.types.integer("int", 4)
        for map_ in self.by_name:
            members = [(n, self._number(integer, v)) for n, v in self._attributes(map_)]
            struct = self.types.struct(
                "", 8 * len(members), [(n, t, 8 * i) for i, (n, t) in enumerate(members)]
            )
            name = _identifier(map_.name)
            variables.append((self.types.variable(name, struct, btf.GLOBAL), size, 8 * len(members)))
            self._symbol(name, ".maps", size, 8 * len(members), elf.STT_OBJECT)
            size += 8 * len(members)
        if variables:
            self.types.section(".maps", variables)
            self._section(elf.Section(".maps", elf.SHT_PROGBITS, elf.SHF_ALLOC | elf.SHF_WRITE, bytes(size)))

    def _number(self, integer: int, value: int) -> int:
        """A number as a type, as libbpf reads it: a pointer to an array of so many elements."""
        return self.types.pointer(self.types.array(integer, integer, value))

    def _attributes(self, map_: Map) -> Iterator[tuple[str, int]]:
        yield "type", MAP_TYPE[map_.map_type]
        if map_.key_size:
            yield "key_size", map_.key_size
        if map_.value_size:
            yield "value_size", map_.value_size
        yield "max_entries", self._entries(map_)
        if map_.flags:
            yield "map_flags", map_.flags

    def _entries(self, map_: Map) -> int:
        pages = int(self.bundle.config.get("perf_rb_pages") or 0)
        if map_.map_type == "RINGBUF" and pages:
            return 1 << (pages * _PAGE - 1).bit_length()
        return map_.max_entries or self.cpus

    def _value(self, map_: Map) -> None:
        """An array with one element, as a section of data."""
        name, data = _identifier(map_.name), map_.data.ljust(map_.value_size, b"\0")
        section = elf.Section(f".data.{name}", elf.SHT_PROGBITS, elf.SHF_ALLOC | elf.SHF_WRITE, data)
        self._section(section)
        self._symbol(name, section.name, 0, len(data), elf.STT_OBJECT)

    def _variables(self) -> None:
        """Variables of the kernel, which its own symbols resolve."""
        names = {r.name for p in self.bundle.programs for r in p.code.relocs if r.kind == "btf_id"}
        for name in sorted(names):
            self._symbol(name, "", 0, 0, elf.STT_NOTYPE)
        variables = [(self.types.variable(name, 0, btf.EXTERN), 0, 0) for name in sorted(names)]
        if variables:
            self.types.section(".ksyms", variables)

    # --- functions and lines

    def _infos(self, functions: Sequence[_Function]) -> Iterator[btf.Info]:
        result, context = self.types.integer("long", 8), self.types.pointer(0)
        main = self.types.prototype(result, [("ctx", context)])
        callback = self.types.prototype(result, [(f"a{n}", context) for n in range(4)])
        for section in dict.fromkeys(f.section for f in functions):
            inside = [f for f in functions if f.section == section]
            rows = [
                (
                    f.offset,
                    self.types.function(
                        f.name, main if f.main else callback, btf.GLOBAL if f.main else btf.STATIC
                    ),
                )
                for f in inside
            ]
            yield btf.Info(section, rows, [line for f in inside for line in self._lines(f)])

    def _lines(self, function: _Function) -> Iterator[tuple[int, int, int, int, int]]:
        """Where the script's lines begin; the kernel wants one at the start of every function."""
        file, last = self.types.string(self.source.name), (0, 0)
        code = function.code
        for slot in range(function.first, function.end):
            first = slot == function.first
            where = code.spans[slot] if slot < len(code.spans) else Place(-1, -1)
            if first and where.start < 0:
                where = function.probe
            start = self.source.position(max(where.start, 0))
            second_half = not first and code.insns[_SLOT * (slot - 1)] == _WIDE
            if second_half or (not first and (where.start < 0 or start == last)):
                continue
            last = start
            text = self.types.string(self.source.line(start[0]).strip() or " ")
            yield function.offset + _SLOT * (slot - function.first), file, text, *start


def _identifier(name: str) -> str:
    return re.sub(r"\W", "_", name.replace("@", "AT_"))


def _unique(name: str, taken: set[str]) -> str:
    found, number = name, 1
    while found in taken:
        number += 1
        found = f"{name}_{number}"
    taken.add(found)
    return found
