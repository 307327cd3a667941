"""Random programs with a shape: numbers, memory, maps, helpers, packets, records, locks, loops, calls, mostly sensible."""

from __future__ import annotations

import random

from pbt.isa import insn as make
from pbt.isa import opcodes as op
from pbt.isa.insn import EXIT
from tests.property.structured import control, memory, numbers, objects
from tests.property.structured.maker import NUMBERS, Held, Maker
from tests.property.structured.world import INNER, MAPS, TIMED, TYPES, Program

_PIECES = (
    (numbers.arithmetic, 6), (numbers.unary, 3), (numbers.copy, 4), (numbers.bound, 5), (numbers.context, 3),
    (numbers.helper, 2), (memory.spill, 5), (memory.fill, 4), (memory.variable_stack, 2), (memory.value, 6),
    (memory.compare_null, 1), (memory.through_stack, 2), (memory.update, 1), (memory.probe_read, 2),
    (control.compare, 5), (control.leave, 2), (control.loop, 1), (control.call, 1), (control.call_back, 1),
    (control.tail_call, 0.5), (control.load_packet, 0.5), (objects.ring, 1), (objects.lock, 1), (objects.timer, 0.5), (objects.inner, 1),
    (objects.packet, 2), (objects.more_packet, 2), (objects.move_packet, 0.5), (objects.bytes_of_packet, 1),
)  # fmt: skip
_BY_NOBODY = frozenset((control.call_back, objects.lock, objects.timer, memory.probe_read))


def program(seed: int) -> Program:
    """The random program of a seed."""
    rng = random.Random(seed)
    return _whole(Maker(rng, rng.choice(TYPES)), rng.randrange(3, 24), _PIECES)


def unprivileged(seed: int) -> Program:
    """The random program of a seed, a socket filter: what may be loaded without privileges."""
    rng = random.Random(seed)
    pieces = tuple(row for row in _PIECES if row[0] not in _BY_NOBODY)
    return _whole(Maker(rng, "SOCKET_FILTER"), rng.randrange(3, 24), pieces)._replace(plain=True)


def _whole(m: Maker, length: int, pieces: tuple[tuple[object, float], ...]) -> Program:
    m.end = m.label()
    m.emit(make.mov(6, 1))
    m.held = {1: Held("ctx"), 6: Held("ctx")}
    choices, weights = zip(*pieces, strict=True)
    for piece in m.rng.choices(choices, weights, k=length):
        piece(m)
    masked = (make.alu("AND", 0, None, 1),) if m.prog_type in ("CGROUP_SKB", "PERF_EVENT") else ()
    m.ending(make.mov(0, m.a_number()), *masked, EXIT)
    return m.finished()


def mutated(rng: random.Random, program: Program) -> Program:
    """The program with one or two instructions changed a little: another register, number, size."""
    insns = list(program.insns)
    for _ in range(rng.randrange(1, 3)):
        at = rng.randrange(len(insns))
        insn = insns[at]
        if insn.is_wide or (at and insns[at - 1].is_wide):
            continue
        how = rng.randrange(5)
        if how == 0:
            insn = insn._replace(dst_reg=rng.randrange(10))
        elif how == 1 and insn.opcode & 7 != op.ST:
            insn = insn._replace(src_reg=rng.randrange(10)) if insn.src_reg else insn
        elif how == 2 and insn.opcode & 7 not in (op.JMP, op.JMP32):
            insn = insn._replace(offset=insn.offset + rng.choice((-8, -1, 1, 4, 8))) if insn.offset else insn
        elif how == 3 and insn.imm and insn.opcode != op.JMP | op.CALL:
            insn = insn._replace(imm=rng.choice(NUMBERS))
        elif how == 4:
            insn = make.mov_imm(rng.randrange(10), rng.choice(NUMBERS))
        insns[at] = insn
    return program._replace(insns=insns)


__all__ = ["INNER", "MAPS", "TIMED", "TYPES", "Program", "mutated", "program", "unprivileged"]
