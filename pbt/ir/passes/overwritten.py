"""Remove what is written to the stack, by stores or helpers, and overwritten or forgotten before anybody reads it."""

from __future__ import annotations

from collections.abc import Callable

from pbt.data import replace
from pbt.ir.core import Block, Function, Op, Value, edges
from pbt.ir.effects import FILLS, TEXTS
from pbt.ir.flow import all_operands, definitions, members, points_to, reverse_postorder

_WRITERS = FILLS | TEXTS


def drop_overwritten(function: Function) -> Function:
    """Walk backwards with the bytes of all slots that somebody may still read."""
    if not function.slots or not any(op.code == "store" or op.name in _WRITERS for op in function.ops()):
        return function
    reading = _Reading(function)
    order = reverse_postorder(function)[::-1]
    blocks = {b.name: b for b in function.blocks}
    starts = dict.fromkeys(blocks, 0)
    changed = True
    while changed:
        changed = False
        for name in order:
            live = reading.before(blocks[name], starts, lambda op, dead: None)
            if live != starts[name]:
                starts[name], changed = live, True
    gone: set[int] = set()
    for name in order:
        reading.before(blocks[name], starts, lambda op, dead: gone.add(id(op)) if dead else None)
    if not gone:
        return function
    return replace(
        function,
        blocks=tuple(b._replace(ops=tuple(o for o in b.ops if id(o) not in gone)) for b in function.blocks),
    )


class _Reading:
    """Sets of bytes as bits: slot after slot, each byte of the stack has one."""

    def __init__(self, function: Function) -> None:
        self.defs = definitions(function)
        self.points = points_to(function)
        self.starts, at = [], 0
        for slot in function.slots:
            self.starts.append(at)
            at += slot.size
        self.sizes = [slot.size for slot in function.slots]
        self.operands = set(all_operands(function))
        self.always = 0  # bytes that others may read at any time: their address is in memory
        for op in function.ops():
            if op.code == "store":
                self.always |= self.slots(op.args[1])

    def slots(self, pointer: Value) -> int:
        """All bytes of the slots that a pointer may point into."""
        mask = 0
        for number in members(self.points.get(pointer, 0)):
            mask |= self.range(number, 0, self.sizes[number])
        return mask

    def range(self, slot: int, offset: int, size: int) -> int:
        return ((1 << size) - 1) << (self.starts[slot] + offset)

    def exact(self, pointer: Value, offset: int, size: int) -> int:
        """Just these bytes; 0 where it is not known which they are."""
        while (made := self.defs.get(pointer)) is not None:
            if made.code == "slot":
                inside = offset >= 0 and offset + size <= self.sizes[made.imm]
                return self.range(made.imm, offset, size) if inside else 0
            number = self.defs.get(made.args[1]) if made.code == "add" else None
            if number is None or number.code != "const":
                break
            pointer, offset = made.args[0], offset + number.imm
        return 0

    def before(self, block: Block, starts: dict[str, int], tell: Callable[[Op, bool], None]) -> int:
        """Bytes that are read after the start of a block; `tell` is told of writes whether they are in vain."""
        live = self.always
        for edge in edges(block.end):
            live |= starts[edge.block]
        for op in reversed(block.ops):
            if op.code == "store":
                own = self.exact(op.args[0], op.imm, op.size)
                tell(op, own != 0 and not own & live)
                live &= ~own | self.always
            elif op.name in _WRITERS and self.in_vain(op, live):
                tell(op, True)
            elif op.info.memory:
                live = live & ~self.filled(op) | self.read(op) | self.always
        return live

    def in_vain(self, op: Op, live: int) -> bool:
        """Whether nobody reads what a helper wrote, nor how it went."""
        own = self.written(op)
        return own != 0 and not own & live and op.result not in self.operands

    def filled(self, op: Op) -> int:
        return self.written(op) if op.name in FILLS else 0

    def written(self, op: Op) -> int:
        """The most that a helper writes; 0 where it is not known which bytes."""
        size = self.defs.get(op.args[1])
        return self.exact(op.args[0], 0, size.imm) if size is not None and size.code == "const" else 0

    def read(self, op: Op) -> int:
        if op.code in ("load", "sload"):
            return self.exact(op.args[0], op.imm, op.size) or self.slots(op.args[0])
        mask = 0
        for arg in op.args[1:] if op.name in FILLS else op.args:
            mask |= self.slots(arg)
        return mask
