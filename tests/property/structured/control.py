"""Pieces of control: branches, loops with and without bounds, calls, callbacks, tail calls."""

from __future__ import annotations

from pbt.isa import insn as make
from pbt.isa import opcodes as op
from pbt.isa.insn import Insn
from tests.property.structured.maker import NUM, Held, Maker, Piece
from tests.property.structured.memory import STORAGE, through_stack, value
from tests.property.structured.numbers import NUMERIC, bound, helper
from tests.property.structured.world import ARRAY, HASH, MAPS, ONE, TAILS

_JUMPS = ("JEQ", "JNE", "JGT", "JGE", "JLT", "JLE", "JSGT", "JSGE", "JSLT", "JSLE", "JSET")
_SIMPLE: tuple[Piece, ...] = (*NUMERIC, *STORAGE)
MAY_GOTO = Insn(op.JMP | op.JCOND)


def condition(m: Maker, label: int) -> None:
    """A conditional jump on a number, or seldom on a pointer."""
    name, wide = m.rng.choice(_JUMPS), m.chance(0.6)
    pointer = m.having("value", "stack", "ctx")
    if pointer is not None and m.chance(0.04):
        m.jump(make.branch(name, pointer, None, 0, m.rng.choice((0, 0, 1))), label)
    elif m.chance(0.45):
        m.jump(make.branch(name, m.a_number(), m.a_number(), 0, wide=wide), label)
    else:
        m.jump(make.branch(name, m.a_number(), None, 0, m.number(), wide=wide), label)


def compare(m: Maker) -> None:
    """A branch over some pieces, or a choice of two."""
    after = m.label()
    condition(m, after)
    held, slots = dict(m.held), dict(m.slots)
    m.some((*_SIMPLE, compare, call), 0, 3)
    if m.chance(0.4):
        end = m.label()
        m.jump(Insn(op.JMP32 | op.JA) if m.chance(0.3) else make.jump(0), end)
        m.place(after)
        other, spilled = m.held, m.slots
        m.held, m.slots = held, slots
        m.some(_SIMPLE, 0, 3)
        after = end
        held, slots = other, spilled
    if not m.slip():
        m.joined(held, slots)
    m.place(after)


def leave(m: Maker) -> None:
    """A jump out of it all."""
    condition(m, m.end)


def loop(m: Maker) -> None:
    """A counted loop, one that the kernel counts, or one that ends when a number says so."""
    counter, kind = m.keeper(), m.rng.randrange(8)
    rounds, up = m.rng.choice((2, 3, 5, 8, 20)), m.chance(0.6)
    m.emit(make.mov_imm(counter, 0 if up else rounds))
    m.held[counter] = NUM
    m.held = {r: h for r, h in m.held.items() if h.kind != "small" and (r > 5 or r == 0 or h == NUM)}
    start, out = m.label(), m.label()
    m.place(start)
    if kind == 0:
        m.jump(MAY_GOTO, out)
    held, slots = dict(m.held), {at: h for at, h in m.slots.items() if h.kind not in ("small", "num")}
    with m.keeping(counter, *(r for r, h in held.items() if h.kind not in ("num", "small", "maybe"))):
        m.some((*_SIMPLE, compare, leave, bound, helper), 1, 3)
    m.joined(held, {**slots, **{at: NUM for at in m.slots}})
    if kind == 0:
        m.jump(make.jump(0), start)
    elif kind == 1:
        m.jump(make.branch("JNE", m.a_number(), None, 0, m.number()), start)
    elif up:
        m.emit(make.alu("ADD", counter, None, 1, wide=m.chance(0.8)))
        m.jump(make.branch(m.rng.choice(("JLT", "JNE", "JSLT")), counter, None, 0, rounds), start)
    else:
        m.emit(make.alu("ADD", counter, None, -1))
        m.jump(make.branch(m.rng.choice(("JNE", "JSGT", "JGT")), counter, None, 0, 0), start)
    m.place(out)
    m.held[counter] = NUM


def call(m: Maker) -> None:
    """A function of the program: a number, and perhaps pointers to the caller's stack and to a value."""
    takes = {1: NUM}
    pointer = m.having("value", "packet", "ctx", "maybe")
    passes = pointer is not None and pointer > 2 and m.chance(0.5)
    if passes and pointer is not None:
        m.emit(make.mov(3, pointer))
        takes[3] = m.held[pointer]
    m.emit(make.mov(1, m.a_number() if not passes or m.held.get(3, NUM) == NUM else _kept(m)))
    if m.chance(0.6):
        at = -8 * m.rng.randrange(1, 9)
        m.emit(make.store_imm(8, 10, at, m.number()))
        m.slots[at] = NUM
        m.stack_pointer(2, at)
        takes[2] = Held("stack", 8)
    else:
        m.emit(make.mov_imm(2, m.number()))
        takes[2] = NUM
    early: tuple[Piece, ...] = (tail_call, load_packet) if m.chance(0.3) else ()
    function = m.function((*_SIMPLE, through_stack, through_stack, compare, loop, helper, *early), takes)
    if len(m.functions) < 6:
        m.functions.append(function)
        m.jump(make.call_local(0), function.label)
    m.clobber()


def _kept(m: Maker) -> int:
    """A register with a number that is not about to be overwritten by an argument."""
    found = [r for r, h in m.held.items() if h.kind in ("num", "small") and r not in (2, 3)]
    if found:
        return m.rng.choice(found)
    m.emit(make.mov_imm(0, m.number()))
    m.held[0] = NUM
    return 0


def call_back(m: Maker) -> None:
    """bpf_loop or for_each_map_elem, with something on the stack for the callback."""
    if len(m.functions) > 4:
        return
    at = -8 * m.rng.randrange(1, 5)
    m.emit(make.store_imm(8, 10, at, m.number()))
    m.slots[at] = NUM
    shared = Held("stack", 8)
    inside: tuple[Piece, ...] = (*_SIMPLE, through_stack, through_stack, value, compare, helper)
    if m.chance(0.5):
        takes = {1: NUM, 2: shared}
        count = m.having("small")
        m.emit(
            make.mov(1, count)
            if count is not None and m.chance(0.5)
            else make.mov_imm(1, m.rng.choice((1, 4, 100)))
        )
        m.load_function(2, m.function(inside, takes, 1))
        m.stack_pointer(3, at)
        m.emit(make.mov_imm(4, 0))
        m.helper("loop")
    else:
        index = m.rng.choice((HASH, ARRAY, ONE))
        takes = {3: Held("value", MAPS[index].value_size), 4: shared}
        m.load_map(1, index)
        m.load_function(2, m.function(inside, takes, 1))
        m.stack_pointer(3, at)
        m.emit(make.mov_imm(4, 0))
        m.helper("for_each_map_elem")
    m.slots = {at: NUM if held.kind == "small" else held for at, held in m.slots.items()}


def tail_call(m: Maker) -> None:
    context = m.having("ctx")
    if context is None:
        return
    if m.chance(0.4):
        m.emit(make.mov_imm(3, m.rng.choice((0, 1, 5))))
    else:
        index = _kept(m)
        if index != 3:
            m.emit(make.mov(3, index))
    if context != 1:
        m.emit(make.mov(1, context))
    m.load_map(2, TAILS)
    m.helper("tail_call")


def load_packet(m: Maker) -> None:
    """The old packet loads: the context in r6, the result in r0."""
    context = m.having("ctx")
    if context is None or m.prog_type not in ("SOCKET_FILTER", "SCHED_CLS") or (context != 6 and 6 in m.busy):
        return
    if context != 6:
        m.emit(make.mov(6, context))
        m.held[6] = m.held[context]
    mode, index = m.rng.choice((op.ABS, op.IND)), _kept(m)
    size = op.SIZE_OF[m.rng.choice((1, 2, 4))]
    m.emit(Insn(op.LD | mode | size, 0, index if mode == op.IND else 0, 0, m.rng.choice((0, 12, 14))))
    m.clobber()
