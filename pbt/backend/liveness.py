"""Blocks → which registers are live where, as bit sets (bit n: register n)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pbt.backend.machine import MBlock, effects, end_reads
from pbt.ir.flow import members


def mask(registers: Iterable[int]) -> int:
    """A bit set of registers."""
    bits = 0
    for register in registers:
        bits |= 1 << register
    return bits


def live_out(blocks: Sequence[MBlock]) -> dict[str, int]:
    """Block name → registers whose value is read on some path after it."""
    local = {b.name: _local(b) for b in blocks}
    targets = {b.name: b.end.targets for b in blocks}
    before = {b.name: local[b.name][0] for b in blocks}
    after = dict.fromkeys(before, 0)
    names = [b.name for b in reversed(blocks)]
    changed = True
    while changed:
        changed = False
        for name in names:
            out = 0
            for target in targets[name]:
                out |= before[target]
            if out != after[name]:
                read, written = local[name]
                after[name], before[name], changed = out, read | (out & ~written), True
    return after


def _local(block: MBlock) -> tuple[int, int]:
    """(read before written, written) in a block."""
    read, written = mask(end_reads(block.end)), 0
    for insn in reversed(block.insns):
        writes, reads = effects(insn)
        gone = mask(writes)
        written |= gone
        read = (read & ~gone) | mask(reads)
    return read, written


def live_before(block: MBlock, out: int) -> list[int]:
    """Registers live before each instruction of a block, and last, before its end."""
    live = out | mask(end_reads(block.end))
    found = [live]
    for insn in reversed(block.insns):
        writes, reads = effects(insn)
        live = (live & ~mask(writes)) | mask(reads)
        found.append(live)
    found.reverse()
    return found


def ranges(blocks: Sequence[MBlock], out: Mapping[str, int]) -> dict[int, tuple[int, int]]:
    """Register → (first, last) position where it is live, counting instructions and ends in layout order.

    For people to look at: a range may have holes, which allocation does use.
    """
    found: dict[int, tuple[int, int]] = {}
    position = 0
    for block in blocks:
        for live in live_before(block, out[block.name]):
            for register in members(live):
                first, _ = found.get(register, (position, position))
                found[register] = (first, position)
            position += 1
    return found
