"""Machine code before and after registers are allotted: the products that the backend's stages share.

Registers 0 to 10 are the machine's own; numbers from `VIRTUAL` on are virtual. Memory of the frame is
named by slot number until `frame` has given every slot its offset.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from pbt.data import NamedTuple
from pbt.isa import opcodes as op
from pbt.isa.insn import Insn
from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbt.bundle import RelocKind
    from pbt.ir.core import Slot
    from pbt.source import Span

VIRTUAL = 16
FRAME = 10  # r10, the read-only frame pointer
ALLOCATABLE = range(10)
CLOBBERED = (0, 1, 2, 3, 4, 5)  # by every call (RFC 9669 section 2)


class Symbol(NamedTuple):
    """What a wide load will carry, or a call lead to, once loaded; see `bundle.Reloc`."""

    kind: RelocKind
    name: str
    offset: int = 0


class MInsn(NamedTuple):
    """One machine instruction whose registers may be virtual.

    `insn.imm` of a wide load is the whole 64-bit number. `slot`: the frame offset of this slot is still
    to be added to `insn.offset` (memory) or `insn.imm` (arithmetic). `otherwise`: the instruction is a
    pick: `insn` is a conditional jump over `otherwise`, a move. `touches`: bit set of the slots that the
    instruction may read or write, through whatever pointer. `arity`: how many arguments a call reads.
    """

    insn: Insn
    slot: int = -1
    symbol: Symbol | None = None
    otherwise: Insn | None = None
    touches: int = 0
    arity: int = 0
    span: Span | None = None

    @property
    def is_move(self) -> bool:
        """Whether this copies one register to another; with an offset it would extend a sign."""
        return self.insn.opcode == MOVE and not self.insn.offset

    def __str__(self) -> str:
        return _text(self)


class MEnd(NamedTuple):
    """How a block ends: `exit` when `then` is empty, a jump to `then` without `insn`, else a branch."""

    insn: Insn | None
    then: str
    other: str = ""
    span: Span | None = None

    @property
    def targets(self) -> tuple[str, ...]:
        return tuple(filter(None, (self.then, self.other)))

    def __str__(self) -> str:
        if not self.then:
            return "exit"
        if self.insn is None:
            return f"goto {self.then}"
        condition = _shown(self.insn).partition(" goto")[0]
        return f"{condition} goto {self.then} else {self.other}"


class MBlock(NamedTuple):
    name: str
    insns: tuple[MInsn, ...]
    end: MEnd


class MFunction(NamedTuple):
    """Blocks, entry first. `pinned`: bit set of the slots whose address was itself put into memory."""

    name: str
    blocks: tuple[MBlock, ...]
    slots: tuple[Slot, ...]
    pinned: int = 0

    def __str__(self) -> str:
        return "\n".join(_listing(self))


class MachineProgram(NamedTuple):
    """All functions, the main one first, on virtual registers."""

    name: str
    functions: tuple[MFunction, ...]

    def __str__(self) -> str:
        return "\n\n".join(map(str, self.functions))


MOVE = op.ALU64 | op.X | op.MOV
_CALL = op.JMP | op.CALL
_IN_PLACE = (op.NEG, op.END)


def effects(m: MInsn) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(registers written, registers read), the frame pointer left out."""
    writes, reads = _effects(m.insn, m.arity)
    if m.otherwise is not None:
        writes, more = (m.otherwise.dst_reg,), _effects(m.otherwise, 0)[1]
        reads = (*reads, m.otherwise.dst_reg, *more)
    if FRAME in reads:
        reads = tuple(r for r in reads if r != FRAME)
    return writes, reads


def end_reads(end: MEnd) -> tuple[int, ...]:
    """Registers that the end of a block reads."""
    if not end.then:
        return (0,)
    return () if end.insn is None else _effects(end.insn, 0)[1]


def _effects(insn: Insn, arity: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    if insn.opcode == _CALL:
        return CLOBBERED, tuple(range(1, arity + 1))
    written, read = _registers(insn.opcode)
    numbers: tuple[int, ...] = insn
    return numbers[written], numbers[read]


_NONE, _DST, _SRC, _BOTH = slice(0), slice(1, 2), slice(2, 3), slice(1, 3)  # of an instruction


@cache
def _registers(opcode: int) -> tuple[slice, slice]:
    """Where in instructions the registers stand that they write, and those that they read."""
    cls, register = opcode & 7, opcode & op.X
    if cls in (op.ALU, op.ALU64):
        code = opcode & 0xF0
        if code == op.MOV:
            return _DST, (_SRC if register else _NONE)
        return _DST, (_BOTH if register and code not in _IN_PLACE else _DST)
    if cls == op.LDX:
        return _DST, _SRC
    if cls == op.STX:
        return _NONE, _BOTH
    if cls == op.LD:
        return _DST, _NONE
    return _NONE, (_BOTH if register and cls != op.ST else _DST)


def renamed(m: MInsn, to: dict[int, int]) -> MInsn:
    """The same instruction with registers replaced where `to` names them."""
    otherwise = m.otherwise and rename(m.otherwise, to)
    return m._replace(insn=rename(m.insn, to), otherwise=otherwise)


def rename(insn: Insn, to: dict[int, int]) -> Insn:
    if insn.opcode == _CALL:
        return insn
    return Insn(insn[0], to.get(insn[1], insn[1]), to.get(insn[2], insn[2]), insn[3], insn[4])


def _name(register: int) -> str:
    return f"v{register - VIRTUAL}" if register >= VIRTUAL else f"r{register}"


def _shown(insn: Insn) -> str:
    """Disassembled with registers 8 and 9 in place of its own, which may be virtual."""
    import re

    from pbt.isa.disasm import disasm

    if insn.opcode == _CALL:
        return disasm([insn], 0)
    if insn.is_wide:
        return f"{_name(insn.dst_reg)} = {insn.imm} ll"
    text = disasm([insn._replace(dst_reg=8, src_reg=9 if _reads_src(insn) else 0)], 0)
    low = {8: _name(insn.dst_reg), 9: _name(insn.src_reg)}
    return re.sub(r"\b([rw])([89])\b", lambda m: low[int(m[2])].replace("r", m[1]), text)


def _reads_src(insn: Insn) -> bool:
    cls = insn.opcode & 7
    if cls in (op.LDX, op.STX):
        return True
    return bool(insn.opcode & op.X) and cls != op.ST and insn.opcode & 0xF0 != op.END


def _text(m: MInsn) -> str:
    if m.symbol is not None:
        kind, name, offset = m.symbol
        what = f"{kind}[{name}]" + (f"[{offset}]" if kind == "map_value" else "")
        text = f"call {what}" if kind == "kfunc" else f"{_name(m.insn.dst_reg)} = {what}"
    else:
        text = _shown(m.insn)
    if m.otherwise is not None:
        text = f"{text.partition(' goto')[0]} else {_shown(m.otherwise)}"
    return f"{text}  ; slot {m.slot}" if m.slot >= 0 else text


def _listing(function: MFunction) -> Iterator[str]:
    yield f"function {function.name}"
    for block in function.blocks:
        yield f"{block.name}:"
        yield from (f"  {insn}" for insn in block.insns)
        yield f"  {block.end}"
