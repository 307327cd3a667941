"""Verdict → words: what was refused, where in the script, and what would mend it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pbt.data import NamedTuple
from pbt.isa.insn import Insn, decode
from pbt.typing import TYPE_CHECKING, Any
from pbt.verifier_sim import kernels
from pbt.verifier_sim.env import Unsupported
from pbt.verifier_sim.explore import Walk, walk
from pbt.verifier_sim.reg import MapInfo, Reg, draw
from pbt.verifier_sim.require import uses
from pbt.verifier_sim.state import State, draw_frame, turns

if TYPE_CHECKING:
    from collections.abc import Callable

    from pbt.bundle import Bundle, Program
    from pbt.source import Source, Span
    from pbt.verifier_sim.functions import Declared
    from pbt.verifier_sim.kerneltypes import KernelTypes
    from pbt.verifier_sim.log import Log
    from pbt.verifier_sim.progbtf import ProgramTypes

    Place = Callable[[int], Span | None]  # slot → where it comes from

MapOf = Mapping[int, tuple[int, str, int]]


class Turn(NamedTuple):
    """A branch on the way to a refusal: its slot, its text, whether it jumped, its place in the script."""

    pc: int
    text: str
    jumped: bool
    start: int = -1
    end: int = -1

    def span(self, source: Source) -> Span | None:
        return _span(source, self.start, self.end)


class Refusal(NamedTuple):
    """Why a program is refused.

    pc: the slot; reason: the kernel's own words as far as they are known; words: a plain sentence;
    hint: what would mend it, perhaps empty; start, end: characters of the script, -1 if unknown;
    id: the reason's number in docs/verifier.md; way: the last branches before it, in their order;
    known: what was known of each register that the instruction uses.
    """

    pc: int
    reason: str
    words: str
    hint: str = ""
    start: int = -1
    end: int = -1
    id: str = ""
    way: tuple[Turn, ...] = ()
    known: tuple[str, ...] = ()

    def span(self, source: Source) -> Span | None:
        """Where the refused instruction comes from, if that is known."""
        return _span(source, self.start, self.end)


def _span(source: Source, start: int, end: int) -> Span | None:
    from pbt.source import Span

    return Span(source, start, end) if start >= 0 else None


class Verdict(NamedTuple):
    """The answer to "would the kernel load this?".

    ok: no refusal is foreseen; error: the refusal, None if ok; insns_processed: instructions walked
    over all paths; states: slot → states seen before it, if they were kept; stack_depth: bytes of
    the deepest chain of calls; unsupported: what could not be judged ("" if all was): the walk then
    ended early, and ok stays True.
    """

    ok: bool
    error: Refusal | None = None
    insns_processed: int = 0
    states: Mapping[int, Sequence[State]] = {}
    stack_depth: int = 0
    unsupported: str = ""
    name: str = ""
    log: str = ""

    @property
    def kind(self) -> str:
        """ "accept", "reject" or "unsupported"."""
        return "unsupported" if self.unsupported else "accept" if self.ok else "reject"

    def before(self, pc: int) -> str:
        """What is known before slot `pc`, a line for each distinct state: "R1=ctx() R10=fp0"."""
        return "\n".join(dict.fromkeys(draw_frame(state.frame) for state in self.states.get(pc, ())))

    def covers(self, pc: int, registers: Sequence[int]) -> bool:
        """Whether the numbers in r0 to r9 fit a state seen before `pc`; pointers are not compared."""
        return any(_fits(state, registers) for state in self.states.get(pc, ()))

    def story(self, source: Source | None = None, place: Place | None = None) -> str:
        """The refusal in words, with its place in the script if `source` is given; "" if accepted.

        `place`: where instructions come from, for programs that were not made from a script.
        """
        if self.error is None:
            return f"not judged: {self.unsupported}" if self.unsupported else ""
        where = f"{self.name + ': ' if self.name else ''}instruction {self.error.pc}"
        span = place(self.error.pc) if place else self.error.span(source) if source is not None else None
        text = f"{where}: {self.error.words} (verifier: {self.error.reason})"
        if self.error.id:
            text += f" [{self.error.id}]"
        if span is None:
            told = text + (f"\nHINT: {self.error.hint}" if self.error.hint else "")
        else:
            from pbt.source import show

            told = show("ERROR", text, span, self.error.hint)
        return "\n".join((told, *self.tale(source, place)))

    def tale(self, source: Source | None = None, place: Place | None = None) -> list[str]:
        """How the program gets to the refused instruction, and what is known there, a line each."""
        if self.error is None:
            return []
        out = []
        shown = self.error.way[-_TOLD:]
        if len(self.error.way) > len(shown):
            out.append(f"  way here: after {len(self.error.way) - len(shown)} or more earlier branches")
        for turn in shown:
            line, span = "", place(turn.pc) if place else turn.span(source) if source is not None else None
            if span is not None:
                row, _, text = span.locate()
                line = f"  (line {row}: {text.strip()})"
            out.append(f"  way here: {turn.pc}: {turn.text}: {'taken' if turn.jumped else 'not taken'}{line}")
        out.extend(f"  known here: {fact}" for fact in self.error.known)
        return out


def _fits(state: State, registers: Sequence[int]) -> bool:
    return all(
        reg.kind != "scalar" or reg.num.contains(registers[regno])
        for regno, reg in enumerate(state.frame.regs[:10])
    )


def verify(
    insns: bytes | Sequence[Insn],
    *,
    prog_type: str,
    expected_attach_type: str = "",
    maps: Sequence[MapInfo] = (),
    map_of: MapOf | None = None,
    features: frozenset[str] | None = None,
    kernel: str = "6.18",
    privileged: bool = True,
    keep_states: bool = False,
    thorough: bool = False,
    strict: bool = False,
    sleepable: bool = False,
    gpl: bool = True,
    arguments: Sequence[Reg] | None = None,
    missing: frozenset[str] = frozenset(),
    state_freq: bool = False,
    declared: Declared | None = None,
    cpus: int = 0,
    log: int = 0,
    structs: Mapping[str, int] | None = None,
    own_types: Sequence[ProgramTypes] = (),
    types: KernelTypes | None = None,
    target: str = "",
    patience: int = 1_000_000,
    kfuncs: Mapping[int, str] | None = None,
) -> Verdict:
    """Judge a program as the kernel's verifier would.

    `insns`: slots, or their bytes (little endian); `map_of`: slot of a wide load → (position in
    `maps`, "map_fd" or "map_value", offset into the value); `features`: the kernel's rules by name
    (pbt.verifier_sim.kernels), else those of the release `kernel`; `missing`: helpers this machine
    lacks; `arguments`: what a TRACING program's context holds, if known; `strict`: alignment is
    enforced everywhere; `keep_states`: remember every state, for teaching; `thorough`: follow paths
    that differ only in what is never needed, so that the kept states tell of every run (the kernel
    prunes such paths); `cpus`: how many the machine may have, 0 if unknown;
    `log`: level (1: the path that is refused, 2: all) of the log to be made;
    `structs`: sizes in bytes of structures that the types of maps name; `own_types`: the
    BTF of maps, beside that of `declared`; `types`: the kernel's own, `target`: the function, tracepoint
    or hook that a TRACING or LSM program attaches to; `patience`: how many instructions to walk at most before the
    program is "unsupported": a kernel walks faster; `kfuncs`: slot of a call → name of the kernel function.
    """
    slots = decode(insns) if isinstance(insns, bytes) else list(insns)
    rules = kernels.features(kernel) if features is None else features
    options: dict[str, Any] = {
        "privileged": privileged,
        "strict": strict,
        "sleepable": sleepable,
        "gpl": gpl,
        "arguments": arguments,
        "missing": missing,
        "release": kernels.release(kernel),
        "state_freq": state_freq,
        "declared": declared,
        "cpus": cpus,
        "structs": structs,
        "own_types": own_types,
        "types": types,
        "patience": patience,
        "kfuncs": kfuncs,
    }
    lines = None
    if log:
        from pbt.verifier_sim.log import Log

        lines = Log(slots, log)
    try:
        found = walk(
            slots,
            prog_type,
            expected_attach_type,
            maps,
            map_of or {},
            rules,
            keep=keep_states,
            thorough=thorough,
            log=lines,
            target=target,
            **options,
        )
    except Unsupported as reason:
        return Verdict(True, unsupported=str(reason))
    told = _told(lines, found)
    if found.refusal is None:
        return Verdict(True, None, found.processed, found.states, found.stack_depth, log=told)
    from pbt.verifier_sim.reasons import find, plain

    reason_text = found.refusal.reason
    row = find(reason_text)
    hint = found.refusal.hint or (row.mend if row else "")
    refusal = Refusal(
        found.pc,
        reason_text,
        plain(reason_text),
        hint,
        id=row.id if row else "",
        way=_way(slots, found.last),
        known=_known(slots, found.pc, found.last),
    )
    return Verdict(False, refusal, found.processed, found.states, log=told)


def _told(lines: Log | None, found: Walk) -> str:
    """The log of a walk, with its last lines as the kernel has them."""
    if lines is None:
        return ""
    last = [found.refusal.reason] if found.refusal is not None else []
    count = (
        f"processed {found.processed} insns (limit 1000000) max_states_per_insn 0 total_states 0 "
        "peak_states 0 mark_read 0"
    )
    return "\n".join((*lines.lines, *last, count))


_TOLD = 6  # branches that a story names


def _way(slots: Sequence[Insn], last: State | None) -> tuple[Turn, ...]:
    """The last branches of the path that was refused, in their order."""
    if last is None:
        return ()
    from pbt.isa.disasm import disasm

    return tuple(Turn(pc, disasm(slots, pc), jumped) for pc, jumped in reversed(turns(last.path)))


def _known(slots: Sequence[Insn], pc: int, last: State | None) -> tuple[str, ...]:
    """The registers that the refused instruction reads, as the walk knew them."""
    if last is None or not 0 <= pc < len(slots):
        return ()
    read = uses(slots[pc])[0]
    regs = last.frame.regs
    return tuple(f"r{n} = {draw(regs[n])}" for n in range(10) if read >> n & 1 and regs[n].kind != "uninit")


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


def verify_program(bundle: Bundle, program: Program, **options: Any) -> Verdict:
    """Judge one program of a bundle for the kernel that the bundle was made for; options as `verify`."""
    slots, references = resolve(bundle, program)
    options.setdefault("kernel", bundle.release or "6.18")
    if options.get("types") and program.attach_btf and ":" not in program.attach_btf[1]:
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
        place = program.code.spans[error.pc]
        spans = program.code.spans
        way = tuple(
            turn._replace(start=spans[turn.pc].start, end=spans[turn.pc].end)
            if turn.pc < len(spans)
            else turn
            for turn in error.way
        )
        error = error._replace(start=place.start, end=place.end, way=way)
    return verdict._replace(error=error, name=program.name)


def verify_bundle(bundle: Bundle, **options: Any) -> list[Verdict]:
    """A verdict for each program, in order; programs with the same code are judged once."""
    known: dict[Any, Verdict] = {}
    out = []
    for program in bundle.programs:
        code = program.code
        key = (code.insns, code.relocs, program.prog_type, program.expected_attach_type, program.attach_btf)
        if key not in known:
            known[key] = verify_program(bundle, program, **options)
        out.append(_placed(known[key], program))
    return out
