"""A script beside everything that was made of it: for each line its IR, registers, stack, bytes and proof."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from pbt.backend.machine import VIRTUAL, MInsn
from pbt.data import NamedTuple
from pbt.ir.text import dump
from pbt.isa import opcodes as op
from pbt.isa.disasm import anatomy
from pbt.isa.insn import Insn
from pbt.teach.code import (
    Row,
    Unit,
    helper_names,
    hexed,
    line_of_span,
    map_line,
    rows,
    underlined,
    units,
    used_maps,
)
from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbt.backend.allocate import AFunction
    from pbt.backend.frame import Frame
    from pbt.ir.core import Program
    from pbt.pipeline import Work
    from pbt.source import Source
    from pbt.verifier_sim import Verdict

LEGEND = """How to read this. Each line of the script is followed by what became of it, in five steps:
  IR            operations on values %0, %1, ... that are written once
  chosen        the instructions for them, on as many registers v0, v1, ... as it takes
  registers     which of the machine's registers r0 to r9 each of those got, or its place on the stack
  stack         bytes below the frame pointer r10, and what they are for
  instructions  the final ones: number, bytes, text; the fields in those bytes; what the verifier knows of
                registers (R0 ...) and stack (fp-8 ...) before it, a line for each way to get there
"""
_STATES = 3  # shown before one instruction


def explain(work: Work) -> str:
    """The whole story of a finished compilation."""
    parts = [LEGEND, *("\n".join(_unit(unit, work)) for unit in units(work))]
    return "\n".join(parts) + "\n"


def _unit(unit: Unit, work: Work) -> Iterator[str]:
    from pbt.verifier_sim import verify_program

    assert work.bundle is not None
    verdict = verify_program(work.bundle, unit.program, work.target, keep_states=True)
    yield from underlined(f"program {unit.title}", "=")
    yield from _summary(unit, work, verdict)
    by_line = _by_line(rows(unit.program.code, work.source))
    facts = _facts(unit, work.source)
    for line in sorted(set(by_line) | set(facts), key=lambda n: (not n, n)):
        yield ""
        yield f"line {line}: {work.source.line(line).strip()}" if line else "not from a line of the script"
        yield from _steps(facts.get(line, _Facts()))
        if line in by_line:
            yield "  instructions"
            for row in by_line[line]:
                yield from _instruction(row, verdict)
    yield ""


def _summary(unit: Unit, work: Work, verdict: Verdict) -> Iterator[str]:
    assert work.bundle is not None
    code, program = unit.program.code, unit.program
    for name in unit.names[1:]:
        yield f"  also runs at {name}"
    kind = program.prog_type + (
        f", attached as {program.expected_attach_type}" if program.expected_attach_type else ""
    )
    yield f"  type          {kind}"
    count, shown = len(code.insns) // 8, len(rows(code))
    yield f"  instructions  {shown} in {count} slots of 8 bytes"
    yield f"  stack         {sum(f.size for f in unit.compiled.frames)} of {op.STACK_SIZE} bytes"
    for map_ in used_maps(work.bundle, code):
        yield f"  map           {map_line(map_)}"
    walked = f"{verdict.insns_processed} instructions walked"
    words = {
        "accept": f"accepts it ({walked})",
        "reject": "refuses it",
        "unsupported": "cannot judge all of it",
    }
    yield f"  verifier      {words[verdict.kind]}"
    for row in verdict.story(work.source).splitlines():
        yield f"                {row}"


# --- by line ------------------------------------------------------------------------------------


class _Facts(NamedTuple):
    """What one line became before it became bytes."""

    ir: tuple[str, ...] = ()
    chosen: tuple[str, ...] = ()
    registers: tuple[str, ...] = ()
    stack: tuple[str, ...] = ()


def _by_line(found: Iterable[Row]) -> dict[int, list[Row]]:
    lines: dict[int, list[Row]] = {}
    for row in found:
        lines.setdefault(row.line, []).append(row)
    return lines


def _steps(facts: _Facts) -> Iterator[str]:
    for title, lines in zip(("IR", "chosen", "registers", "stack"), facts, strict=True):
        if lines:
            yield f"  {title}"
            yield from (f"    {text}" for text in lines)


def _facts(unit: Unit, source: Source) -> Mapping[int, _Facts]:
    lines: dict[int, list[list[str]]] = {}

    def add(line: int, kind: int, texts: Iterable[str]) -> None:
        known = lines.setdefault(line, [[], [], [], []])[kind]
        known.extend(text for text in texts if kind < 2 or text not in known)

    for line, text in _ir(unit.after, source):
        add(line, 0, (text,))
    compiled = unit.compiled
    for machine, allotted, frame in zip(
        compiled.machine.functions, compiled.allocation.functions, compiled.frames, strict=True
    ):
        for block in machine.blocks:
            for insn in block.insns:
                line = line_of_span(insn.span, source)
                add(line, 1, (_call_named(str(insn)),))
                add(line, 2, _registers(insn, allotted, frame))
                add(line, 3, _stack(insn, frame))
            add(line_of_span(block.end.span, source), 1, (str(block.end),))
    return {line: _Facts(*(tuple(kind) for kind in found)) for line, found in lines.items()}


def _ir(program: Program, source: Source) -> Iterator[tuple[int, str]]:
    """(line, operation) of a program; the head of a block stands beside what comes first in it."""
    text = iter(dump(program).splitlines()[1:])
    for function in program.functions:
        for _ in range(1 + len(function.slots)):
            next(text)
        for block in function.blocks:
            head = f"; block {next(text).rstrip(':')}"
            for item in (*block.ops, block.end):
                yield line_of_span(item.span, source), f"{next(text).strip():44} {head}".rstrip()
                head = ""


def _call_named(text: str) -> str:
    """A chosen instruction; calls by the helper's name."""
    number = text.removeprefix("call ")
    return f"call bpf_{helper_names()[int(number)]}#{number}" if number != text and number.isdigit() else text


def _virtual(insn: Insn) -> set[int]:
    return {register for register in (insn.dst_reg, insn.src_reg) if register >= VIRTUAL}


def _registers(insn: MInsn, function: AFunction, frame: Frame) -> Iterator[str]:
    """Where the virtual registers of an instruction live."""
    used = _virtual(insn.insn) | (_virtual(insn.otherwise) if insn.otherwise is not None else set())
    for register in sorted(used):
        name = f"v{register - VIRTUAL}"
        if register in function.spills:
            yield f"{name} is kept on the stack at r10{frame.offsets[function.spills[register]]}"
        elif register in function.registers:
            yield f"{name} is r{function.registers[register]}"
        else:
            yield f"{name} is made anew wherever it is needed"


def _stack(insn: MInsn, frame: Frame) -> Iterator[str]:
    """The slots that an instruction may touch, with their bytes below r10."""
    for number, (slot, offset) in enumerate(zip(frame.slots, frame.offsets, strict=True)):
        if offset and (number == insn.slot or insn.touches >> number & 1):
            label = slot.label or "a value"
            yield f"r10{offset} to r10{offset + slot.size - 1}: {label}, {slot.size} bytes"


# --- one instruction ----------------------------------------------------------------------------


def _instruction(row: Row, verdict: Verdict) -> Iterator[str]:
    yield f"    {row.first:4}: {hexed(row.data[:8])}  {row.text}"
    for number, slot in enumerate(row.slots):
        if number:
            yield f"    {row.first + 1:4}: {hexed(row.data[8:])}  second half: the high 32 bits in imm"
        else:
            yield from (f"          {line}" for line in taken_apart(slot))
    states = verdict.before(row.first).splitlines()
    for state in states[:_STATES] or ["no path was walked to here"]:
        yield f"          before: {state}"
    if len(states) > _STATES:
        yield f"          before: ... and {len(states) - _STATES} more"


def taken_apart(insn: Insn) -> Sequence[str]:
    """The fields of the eight bytes, in the order of the bytes: two lines."""
    parts = {part.name: part for part in anatomy(insn)}
    opcode = [parts[name] for name in ("code", "source", "mode", "size", "class") if name in parts]
    fields = [f"{part.name} {part.value} {part.meaning}" for part in opcode]
    registers = f"dst_reg {parts['dst_reg'].meaning}, src_reg {_source(insn)}"
    return (
        f"byte 0 = {insn.opcode:#04x}: {', '.join(fields)}",
        f"byte 1: {registers}; bytes 2-3: offset {insn.offset}; bytes 4-7: imm {_imm(insn)}",
    )


def _source(insn: Insn) -> str:
    """What the second register field says: in some instructions it is no register."""
    if insn.is_wide and 0 < insn.src_reg < len(op.PSEUDO):
        return f"{insn.src_reg} ({op.PSEUDO[insn.src_reg]})"
    if insn.opcode == op.JMP | op.CALL:
        return str(insn.src_reg)
    return f"r{insn.src_reg}" if _reads_source(insn) else "0 (unused)"


def _reads_source(insn: Insn) -> bool:
    if insn.cls in (op.LDX, op.STX):
        return True
    return bool(insn.opcode & op.X) and insn.cls in (op.ALU, op.ALU64, op.JMP, op.JMP32)


def _imm(insn: Insn) -> str:
    if insn.opcode == op.JMP | op.CALL and not insn.src_reg:
        return f"{insn.imm} ({helper_names().get(insn.imm, 'unknown helper')})"
    if insn.cls == op.STX and insn.opcode & 0xE0 == op.ATOMIC and insn.imm in op.ATOMIC_BY_IMM:
        return f"{insn.imm:#x} ({op.ATOMIC_BY_IMM[insn.imm].name})"
    return str(insn.imm)
