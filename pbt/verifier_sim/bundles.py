"""The programs of a Bundle: maps and relocations as the verifier sees them, verdicts with their places."""

from __future__ import annotations

from pbt import arch
from pbt.isa.insn import Insn, decode
from pbt.typing import TYPE_CHECKING, Any, Protocol
from pbt.verifier_sim.judge import verify
from pbt.verifier_sim.reg import MapInfo
from pbt.verifier_sim.verdict import Fact, Turn, Verdict

if TYPE_CHECKING:
    from typing import TypeVar

    from pbt.bundle import Bundle, Program
    from pbt.verifier_sim.kerneltypes import KernelTypes, Source

    _Placed = TypeVar("_Placed", Turn, Fact)


def map_infos(bundle: Bundle) -> tuple[MapInfo, ...]:
    """The bundle's maps as the verifier knows them, in the bundle's order."""
    return tuple(
        MapInfo(m.name, m.map_type, m.key_size, m.value_size, m.max_entries, m.flags) for m in bundle.maps
    )


def resolve(bundle: Bundle, program: Program) -> tuple[list[Insn], dict[int, tuple[int, str, int]]]:
    """A program's slots with its relocations marked as the kernel's pseudo loads, and its map references."""
    from pbt.isa import opcodes as op

    slots = decode(program.code.insns)
    position = {m.name: at for at, m in enumerate(bundle.maps)}
    functions = dict(program.code.functions)
    references: dict[int, tuple[int, str, int]] = {}
    for reloc in program.code.relocs:
        if reloc.kind == "kfunc":
            continue
        insn = slots[reloc.insn]
        imm = insn.imm
        if reloc.kind in ("map_fd", "map_value"):
            references[reloc.insn] = (position[reloc.name], reloc.kind, reloc.offset)
        elif reloc.kind == "func":
            imm = functions[reloc.name] - reloc.insn - 1
        slots[reloc.insn] = insn._replace(src_reg=op.PSEUDO.index(reloc.kind), imm=imm)
    return slots, references


_TYPED = "get_current_task_btf"  # a helper that gives a pointer into a structure of the kernel


def meets_types(bundle: Bundle) -> bool:
    """Whether programs of a bundle have pointers whose type only the kernel's BTF tells."""
    return _TYPED in bundle.features or any(program.attach_btf for program in bundle.programs)


class Machine(Protocol):
    """The machine that a bundle was made for, such as pbt.host.target.Target."""

    @property
    def release(self) -> str: ...

    @property
    def types(self) -> Source | None: ...


def known_types(bundle: Bundle, machine: Machine | None, release: str) -> KernelTypes | None:
    """The kernel's types, where a bundle's programs meet some: those of a machine, as far as the release is its own."""
    if machine is None or not meets_types(bundle) or machine.types is None:
        return None
    from pbt.verifier_sim.kerneltypes import KernelTypes, same_kernel

    return KernelTypes(machine.types, same_kernel(release, machine.release))


def verify_program(bundle: Bundle, program: Program, machine: Machine | None, **options: Any) -> Verdict:
    """Judge one program of a bundle for the kernel that the bundle was made for.

    `machine`: whose kernel's types the program may meet, None if nobody knows any; options as `verify`.
    """
    options.setdefault("kernel", bundle.release or "6.18")
    options.setdefault("regs_size", arch.get(bundle.arch).regs_size)
    if "types" not in options:
        options["types"] = known_types(bundle, machine, options["kernel"])
    slots, references = resolve(bundle, program)
    if options["types"] and program.attach_btf and ":" not in program.attach_btf[1]:
        options["target"] = program.attach_btf[1]
    verdict = verify(
        slots,
        prog_type=program.prog_type,
        expected_attach_type=program.expected_attach_type,
        maps=map_infos(bundle),
        map_of=references,
        kfuncs={reloc.insn: reloc.name for reloc in program.code.relocs if reloc.kind == "kfunc"},
        gpl="GPL" in bundle.license,
        **options,
    )
    return _placed(verdict, program)


def _placed(verdict: Verdict, program: Program) -> Verdict:
    """The verdict under the program's name, its refusal with its place in the script."""
    error = verdict.error
    if error is not None and error.pc < len(program.code.spans):
        spans = program.code.spans
        place = spans[error.pc]

        def placed(one: _Placed) -> _Placed:
            if not 0 <= one.pc < len(spans):
                return one
            return one._replace(start=spans[one.pc].start, end=spans[one.pc].end)

        way, known = tuple(map(placed, error.way)), tuple(map(placed, error.known))
        error = error._replace(start=place.start, end=place.end, way=way, known=known)
    return verdict._replace(error=error, name=program.name)


def verify_bundle(bundle: Bundle, machine: Machine | None, **options: Any) -> list[Verdict]:
    """A verdict for each program, in order; programs with the same code are judged once. See `verify_program`."""
    kernel = options.setdefault("kernel", bundle.release or "6.18")
    if "types" not in options:
        options["types"] = known_types(bundle, machine, kernel)
    known: dict[Any, Verdict] = {}
    out = []
    for program in bundle.programs:
        code = program.code
        key = (code.insns, code.relocs, program.prog_type, program.expected_attach_type, program.attach_btf)
        if key not in known:
            known[key] = verify_program(bundle, program, machine, **options)
        out.append(_placed(known[key], program))
    return out
