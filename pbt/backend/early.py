"""What one way of a branch only sets is set before the branch, so that this way needs no code of its own.

if c goto a; goto b               x = 1
a: x = *p; goto on           →    if not c goto on
b: x = 1; goto on                 x = *p
                                  on:
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import reduce
from operator import or_

from pbt.backend.liveness import live_before, live_out, mask
from pbt.backend.machine import MachineProgram, MBlock, MFunction, MInsn, effects, end_reads
from pbt.isa import opcodes as op

_NUMBER = op.ALU64 | op.K | op.MOV


def set_early(program: MachineProgram) -> MachineProgram:
    """The same program with such settings moved, wherever the other way neither reads nor keeps the registers."""
    return program._replace(functions=tuple(map(_function, program.functions)))


def _function(function: MFunction) -> MFunction:
    ways = Counter(target for block in function.blocks for target in block.end.targets)
    blocks = {block.name: block for block in function.blocks}
    setting = {b.name for b in function.blocks[1:] if ways[b.name] == 1 and _only_sets(b)}
    if not setting:
        return function
    out = live_out(function.blocks)
    for name in list(blocks):
        end = blocks[name].end
        for way, rest in ((end.other, end.then), (end.then, end.other)):
            if way in setting and rest:
                needed = live_before(blocks[rest], out[rest])[0] | mask(end_reads(end))
                insns = _early(blocks[way].insns, needed)
                if insns:
                    blocks[name], blocks[way] = _moved(blocks[name], blocks[way], insns)
                    break
    return function._replace(blocks=tuple(blocks.values()))


def _only_sets(block: MBlock) -> bool:
    """Whether a block only puts numbers and registers into registers and goes on."""
    goes_on = bool(block.end.then) and block.end.insn is None
    return goes_on and bool(block.insns) and all(map(_sets, block.insns))


def _sets(m: MInsn) -> bool:
    return m.otherwise is None and (m.insn.opcode == _NUMBER or m.is_move)


def _early(insns: Sequence[MInsn], needed: int) -> Sequence[MInsn]:
    """Those that may come before the branch, where it and its other way need some registers as they are.

    A copy of one of these stays, for it could not share its register any more: most copies cost nothing.
    """
    written = [mask(effects(m)[0]) for m in insns]
    read = [mask(effects(m)[1]) for m in insns]
    if not any(w & needed or r & needed for w, r in zip(written, read, strict=True)):
        return insns
    kept = reduce(or_, read) | needed
    return [m for m, w in zip(insns, written, strict=True) if m.insn.opcode == _NUMBER and not w & kept]


def _moved(block: MBlock, way: MBlock, insns: Sequence[MInsn]) -> tuple[MBlock, MBlock]:
    rest = tuple(m for m in way.insns if m not in insns)
    return block._replace(insns=(*block.insns, *insns)), way._replace(insns=rest)
