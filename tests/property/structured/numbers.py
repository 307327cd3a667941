"""Pieces that compute: arithmetic of both widths, bounds, copies, the context's numbers."""

from __future__ import annotations

from pbt.isa import insn as make
from pbt.isa import opcodes as op
from pbt.isa.insn import Insn
from tests.property.structured.maker import NUM, SAFE, Held, Maker
from tests.property.structured.world import CONTEXT, TRACING

_ALU = ("ADD", "SUB", "MUL", "DIV", "MOD", "AND", "OR", "XOR", "LSH", "RSH", "ARSH", "SDIV", "SMOD")
_LIKELY = ("ADD", "AND", "SUB", "OR", "LSH", "RSH", "MUL", "ARSH", "XOR")
_HELPERS = ("ktime_get_ns", "get_prandom_u32", "get_smp_processor_id", "ktime_get_boot_ns")


def arithmetic(m: Maker) -> None:
    dst = m.changed()
    name = m.rng.choice(_LIKELY if m.chance(0.8) else _ALU)
    wide = m.chance(0.6)
    if m.chance(0.4):
        m.emit(make.alu(name, dst, m.a_number(), wide=wide))
    else:
        imm = m.rng.randrange(0, 64 if wide else 32) if name in ("LSH", "RSH", "ARSH") else m.number()
        if name in ("DIV", "MOD", "SDIV", "SMOD") and not imm:
            imm = 3
        m.emit(make.alu(name, dst, None, imm, wide=wide))
    m.held[dst] = NUM


def unary(m: Maker) -> None:
    dst = m.changed()
    kind = m.rng.randrange(4)
    if kind == 0:
        m.emit(make.alu("NEG", dst, wide=m.chance(0.6)))
    elif kind == 1:
        m.emit(make.end(dst, m.rng.choice((16, 32, 64)), m.rng.choice(("le", "be", "swap"))))
    elif kind == 2:
        wide = m.chance(0.6)
        bits = m.rng.choice((8, 16, 32) if wide else (8, 16))
        m.emit(Insn((op.ALU64 if wide else op.ALU) | op.X | op.MOV, dst, m.a_number(), bits))
    elif m.chance(0.7):
        m.emit(make.mov_imm(dst, m.number()))
    else:
        m.emit(*make.wide(dst, m.rng.getrandbits(64)))
    m.held[dst] = NUM


def copy(m: Maker) -> None:
    """Of a register with anything in it; half of a pointer is no pointer any more."""
    src = m.rng.choice(sorted(m.held)) if m.held else m.a_number()
    dst, held = m.target(), m.held[src]
    if held.kind in SAFE and m.chance(0.35):
        m.emit(Insn(op.ALU | op.X | op.MOV, dst, src))
        held = NUM if m.chance(0.5) else held
    else:
        m.emit(make.mov(dst, src))
    m.held[dst] = held


def bound(m: Maker) -> None:
    """Make a number small, by a mask, a remainder, or comparisons of one width or another."""
    reg, most = m.changed(), m.rng.choice((1, 3, 7, 15, 31, 32, 47, 63))
    kind = m.rng.randrange(10)
    if kind < 4:
        m.emit(make.alu("AND", reg, None, most, wide=m.chance(0.7)))
    elif kind == 4:
        m.emit(make.alu("RSH", reg, None, 58))
        most = 63
    elif kind == 5:
        m.emit(make.load(1, reg, 10, _byte(m)))
        m.emit(make.alu("AND", reg, None, most, wide=False))
    else:
        name, wide = m.rng.choice(("JGT", "JGE", "JSGT", "JGT")), m.chance(0.7)
        if not wide:
            m.emit(Insn(op.ALU | op.X | op.MOV, reg, reg))
        m.jump(make.branch(name, reg, None, 0, most, wide=wide), m.end)
        if name == "JSGT" and not m.slip():
            m.jump(make.branch("JSLT", reg, None, 0, 0, wide=wide), m.end)
        m.held = {r: Held("small", most) if r == reg else h for r, h in m.held.items()}
    m.held[reg] = Held("small", most)


def _byte(m: Maker) -> int:
    """The offset of a byte of stack that was written."""
    if not m.slots:
        at = -8 * m.rng.randrange(1, 9)
        m.emit(make.store_imm(8, 10, at, m.number()))
        m.slots[at] = NUM
    plain = [at for at, held in m.slots.items() if held.kind in SAFE]
    return m.rng.choice(plain or list(m.slots)) + m.rng.randrange(8)


def context(m: Maker) -> None:
    base = m.having("ctx")
    if base is None:
        return
    off, size = m.rng.choice(CONTEXT[m.prog_type])
    if m.slip():
        off += m.rng.choice((1, 2, 200))
    dst = m.target()
    m.emit(make.load(size, dst, base, off))
    m.held[dst] = NUM


def helper(m: Maker) -> None:
    names = (*_HELPERS, "get_current_pid_tgid") if m.prog_type in TRACING else _HELPERS
    m.helper(m.rng.choice(names))


NUMERIC = (arithmetic, arithmetic, unary, copy, bound)
