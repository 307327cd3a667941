"""Programs of an object file, each with the functions that it calls behind it, as a kernel takes them.

Calls and addresses of functions become distances, references to maps and variables become map
references, what depends on the kernel's types is filled in (pbt.objects.core).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pbt.data import NamedTuple
from pbt.isa import opcodes as op
from pbt.isa.insn import Insn, decode
from pbt.objects import core, extension, maps
from pbt.objects.elf import SLOT, STB_LOCAL, ObjectElf, Relocation
from pbt.objects.extension import Line
from pbt.source import UsageError
from pbt.typing import TYPE_CHECKING, Any, TypeVar
from pbt.uapi import sections
from pbt.uapi.elf import STT_FUNC, STV_DEFAULT
from pbt.verifier_sim import Verdict, verify
from pbt.verifier_sim.functions import BadTypes, Declared
from pbt.verifier_sim.progbtf import ProgramTypes
from pbt.verifier_sim.reg import MapInfo

if TYPE_CHECKING:
    from pbt.host.btf import Btf
    from pbt.source import Span

T = TypeVar("T")
_MAP_FD, _MAP_VALUE, _BTF_ID, _FUNC = (op.PSEUDO.index(k) for k in ("map_fd", "map_value", "btf_id", "func"))
_TEXT = ".text"
UNTYPED = "it depends on the kernel's types, which are not given: --target DIR, a folder that pbt target made"
_GPL = ("GPL", "GPL v2", "GPL and additional rights", "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL")


class Program(NamedTuple):
    """A program ready to be judged.

    map_of: slot → (position among the object's maps, "map_fd" or "map_value", offset); lines: slot → line
    of C; missing: slot → what its kernel lacks there; kfuncs: slot of a call → name of the kernel function.
    """

    name: str
    section: str
    sort: sections.Sort
    insns: list[Insn]
    map_of: Mapping[int, tuple[int, str, int]]
    lines: Mapping[int, Line]
    declared: Declared | None
    missing: Mapping[int, str]
    kfuncs: Mapping[int, str]

    @property
    def attach_name(self) -> str:
        """What the section says of where it attaches: "vfs_read" for fentry/vfs_read."""
        return self.section.partition("/")[2]

    def place(self, slot: int) -> Span | None:
        """The line of C that an instruction was made of; None if that is not known."""
        known = next((at for at in range(slot, -1, -1) if at in self.lines), None)
        return self.lines[known].span() if known is not None else None

    def told(self, verdict: Verdict) -> Verdict:
        """A verdict in which a refusal says what the kernel lacks, if that is what it is about."""
        if UNTYPED in self.missing.values():
            return Verdict(True, unsupported=UNTYPED)
        error = verdict.error
        lacking = self.missing.get(error.pc) if error is not None else None
        if error is None or lacking is None:
            return verdict
        hint = "ask by bpf_core_field_exists() or the like before, or compile for this kernel"
        return verdict._replace(error=error._replace(words=lacking, hint=hint, id=""))


class ObjectFile(NamedTuple):
    """What an object file holds."""

    programs: list[Program]
    maps: list[MapInfo]
    license: str
    sizes: Mapping[str, int]  # bytes of the structs that its types name
    types: tuple[ProgramTypes, ...]

    @property
    def gpl(self) -> bool:
        """Whether the license goes with the GPL (license_is_gpl_compatible() of <linux/license.h>)."""
        return self.license in _GPL

    def judge(self, program: Program, **options: Any) -> Verdict:
        """What the verifier says of one of the programs; `options`: those of `verify` that say for which kernel."""
        verdict = verify(
            program.insns,
            prog_type=program.sort.prog_type,
            expected_attach_type=program.sort.attach,
            sleepable=program.sort.sleepable,
            maps=self.maps,
            map_of=program.map_of,
            kfuncs=program.kfuncs,
            declared=program.declared,
            structs=self.sizes,
            own_types=self.types,
            gpl=self.gpl,
            target=program.attach_name if program.sort.prog_type in ("TRACING", "LSM") else "",
            **options,
        )
        return program.told(verdict)


class _Function(NamedTuple):
    name: str
    section: int
    first: int  # slots in its section
    end: int
    static: bool


def read(
    name: str, data: bytes, types: Btf | None = None, release: str = "", prog_type: str = "", attach: str = ""
) -> ObjectFile:
    """The programs of an object file; `types`: those of the kernel it is for.

    `prog_type`, `attach`: of programs whose section does not tell. UsageError if the file is no object,
    is damaged, or asks for what cannot be given.
    """
    elf = ObjectElf(name, data)
    try:
        return _Linker(elf, types, release).whole(sections.Sort(prog_type, attach) if prog_type else None)
    except BadTypes as error:
        raise elf.broken(f"its types contradict themselves: {error}") from None


class _Linker:
    def __init__(self, elf: ObjectElf, types: Btf | None, release: str) -> None:
        self.elf, self.types, self.release = elf, types, release
        self.code: dict[int, list[Insn]] = {
            number: decode(elf.elf.read(section)) for number, section in elf.code()
        }
        self.extension = extension.read(elf)
        self.maps = maps.read(elf)
        self.functions = [f for number in self.code for f in self._functions(number)]
        self.starts = {(f.section, f.first): f for f in self.functions}
        self.externs = core.externs(elf.types) if elf.types else {}
        self.config = -1  # position of the map of the kernel's configuration
        self.missing: dict[int, dict[int, str]] = {}
        self._relocate_types()

    def whole(self, default: sections.Sort | None) -> ObjectFile:
        if not self.code:
            raise UsageError(f"{self.elf.name} holds no code", "it has no section with BPF instructions")
        license = self.elf.content("license").partition(b"\0")[0].decode("utf-8", "replace")
        mains = [f for f in self.functions if self._name(f.section) != _TEXT]
        programs = [self._program(f, default) for f in mains or self.functions]
        types = self.elf.types
        return ObjectFile(
            programs, self.maps.infos, license, types.struct_sizes() if types else {},
            (types,) if types else (),
        )  # fmt: skip

    def _name(self, section: int) -> str:
        return self.elf.sections[section].name

    def _functions(self, number: int) -> Iterator[_Function]:
        """By symbols; a section without any is one function."""
        length = len(self.code[number])
        found = {}
        for symbol in self.elf.symbols:
            if symbol.section == number and symbol.type == STT_FUNC:
                if symbol.value % SLOT or symbol.value // SLOT >= length:
                    raise self.elf.broken(f"function {symbol.name} lies outside of its section")
                static = symbol.bind == STB_LOCAL or symbol.visibility != STV_DEFAULT
                found[symbol.value // SLOT] = (symbol.name, static)
        found = found or {0: (self._name(number), False)}
        starts = sorted(found)
        for first, end in zip(starts, [*starts[1:], length], strict=True):
            yield _Function(found[first][0], number, first, end, found[first][1])

    # --- what depends on the kernel's types

    def _relocate_types(self) -> None:
        types = self.elf.types
        for number in self.code:
            rows = self.extension.relocations.get(self._name(number), {})
            if rows and types is not None:
                gone = self.missing[number] = {}
                for slot, row in rows.items():
                    if slot < len(self.code[number]):
                        try:
                            lacking = core.relocate(self.code[number], slot, row, types, self.types)
                        except core.Untyped:
                            lacking = UNTYPED
                        if lacking:
                            gone[slot] = lacking

    # --- one program

    def _program(self, main: _Function, default: sections.Sort | None) -> Program:
        name = self._name(main.section)
        kind = sections.sort(name) or default
        if kind is None:
            known = ", ".join(("xdp", "tc", "socket", "kprobe/FUNCTION", "tracepoint/CATEGORY/EVENT"))
            raise UsageError(
                f"{self.elf.name}: section {name} does not tell of which type the program {main.name} is",
                f"name it as libbpf does ({known} …), or say --type TYPE",
            )
        order = list(self._called(main))
        places: dict[_Function, int] = {}
        at = 0
        for function in order:
            places[function] = at
            at += function.end - function.first
        insns: list[Insn] = []
        references: dict[int, tuple[int, str, int]] = {}
        lines: dict[int, Line] = {}
        missing: dict[int, str] = {}
        self.kfuncs: dict[int, str] = {}
        for function in order:
            base = places[function] - function.first
            insns += self._body(function, places, references)
            self._copy(self.extension.lines.get(self._name(function.section), {}), function, base, lines)
            self._copy(self.missing.get(function.section, {}), function, base, missing)
        return Program(
            main.name,
            name,
            kind,
            insns,
            references,
            lines,
            self._declared(order, places),
            missing,
            self.kfuncs,
        )

    def _copy(self, rows: Mapping[int, T], function: _Function, base: int, out: dict[int, T]) -> None:
        """What is said of a function's slots, at the slots where they are now."""
        out.update((slot + base, row) for slot, row in rows.items() if function.first <= slot < function.end)

    def _called(self, main: _Function) -> Iterator[_Function]:
        """A function, then all that it refers to, each once."""
        seen, todo = {main}, [main]
        while todo:
            function = todo.pop(0)
            yield function
            for slot in range(function.first, function.end):
                target = self._target(function.section, slot)
                if target is not None and target not in seen:
                    seen.add(target)
                    todo.append(target)

    def _target(self, section: int, slot: int) -> _Function | None:
        """The function that an instruction calls or takes the address of."""
        insn = self.code[section][slot]
        row = self.elf.relocations.get(section, {}).get(SLOT * slot)
        call = insn.opcode == op.JMP | op.CALL and insn.src_reg == op.CALL_LOCAL
        if row is None:
            return self._function(section, slot + 1 + insn.imm, slot, section) if call else None
        symbol = row.symbol
        if symbol.section not in self.code:
            return None
        if call:
            return self._function(symbol.section, symbol.value // SLOT + insn.imm + 1, slot, section)
        if insn.is_wide:
            return self._function(symbol.section, (symbol.value + insn.imm) // SLOT, slot, section)
        return None

    def _function(self, section: int, first: int, slot: int, caller: int) -> _Function:
        found = self.starts.get((section, first))
        if found is None:
            where = f"instruction {slot} of section {self._name(caller)}"
            raise self.elf.broken(f"{where} calls what is no function")
        return found

    def _body(
        self,
        function: _Function,
        places: Mapping[_Function, int],
        references: dict[int, tuple[int, str, int]],
    ) -> Iterator[Insn]:
        rows = self.elf.relocations.get(function.section, {})
        for slot in range(function.first, function.end):
            insn = self.code[function.section][slot]
            at = places[function] + slot - function.first
            target = self._target(function.section, slot)
            if target is not None:
                kind = _FUNC if insn.is_wide else op.CALL_LOCAL
                yield insn._replace(src_reg=kind, imm=places[target] - at - 1)
            elif SLOT * slot in rows:
                yield self._filled(insn, rows[SLOT * slot], at, references)
            else:
                yield insn

    def _filled(
        self, insn: Insn, row: Relocation, at: int, references: dict[int, tuple[int, str, int]]
    ) -> Insn:
        """An instruction that refers to a map, a variable, or something of the kernel."""
        symbol = row.symbol
        if insn.opcode == op.JMP | op.CALL and not symbol.section:
            self.kfuncs[at] = symbol.name
            return insn._replace(src_reg=op.CALL_KFUNC, imm=core.kernel_id(self.types, "func", symbol.name))
        if not insn.is_wide:
            raise self.elf.broken(f"instruction {at} cannot refer to {symbol.name}")
        if not symbol.section:
            return self._extern(insn, symbol.name, at, references)
        defined = self.maps.at.get((symbol.section, symbol.value + insn.imm))
        if defined is not None:
            references[at] = (defined, "map_fd", 0)
            return insn._replace(src_reg=_MAP_FD, imm=0)
        variables = self.maps.data.get(symbol.section)
        if variables is None:
            where = self._name(symbol.section) if symbol.section < len(self.elf.sections) else "nowhere"
            raise self.elf.broken(f"{symbol.name} in section {where} is neither a map nor a variable")
        references[at] = (variables, "map_value", symbol.value + insn.imm)
        return insn._replace(src_reg=_MAP_VALUE, imm=0)

    def _extern(self, insn: Insn, name: str, at: int, references: dict[int, tuple[int, str, int]]) -> Insn:
        found = self.externs.get(name)
        if found is None:
            raise UsageError(f"{self.elf.name}: nothing defines {name}", "an extern is __kconfig or __ksym")
        if found.section == ".kconfig":
            if self.config < 0:
                self.config = len(self.maps.infos)
                self.maps.infos.append(core.configuration(self.externs, self.release))
            references[at] = (self.config, "map_value", found.offset)
            return insn._replace(src_reg=_MAP_VALUE, imm=0)
        return insn._replace(src_reg=_BTF_ID, imm=core.kernel_id(self.types, "var", name))

    def _declared(self, order: Sequence[_Function], places: Mapping[_Function, int]) -> Declared | None:
        """What the types say of the functions; None unless they tell of each."""
        types, found = self.elf.types, {}
        for function in order:
            id = self.extension.functions.get(self._name(function.section), {}).get(function.first)
            if id is None or types is None:
                return None
            known = types.function(id)
            found[places[function]] = known._replace(is_global=known.is_global and not function.static)
        assert types is not None
        return Declared(found, types, types.struct_sizes())
