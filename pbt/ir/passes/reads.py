"""Read neighbours at once: fields that lie close together behind one pointer come by one helper call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pbt.data import NamedTuple, replace
from pbt.ir.core import Block, Function, Kind, Op, Slot, Value
from pbt.ir.effects import FILLS, QUIET, TEXTS
from pbt.ir.flow import all_operands, definitions, next_id

_MOST = 32  # bytes of one read, those in between included
_SOON = QUIET | FILLS | TEXTS | {"ringbuf_reserve"}
"""Helpers that may run between two reads which become one: they soon return, and change no memory of others."""


class _Read(NamedTuple):
    """`size` bytes from `start`, counted from where `root` points to, into the slot that `loads` read."""

    call: Op
    root: Value
    start: int
    size: int
    loads: Sequence[Op]


def merge_reads(function: Function) -> Function:
    """Replace reads of neighbouring bytes by one read of all of them, where only loads look at what was read."""
    if sum(op.name in FILLS for op in function.ops()) < 2:
        return function
    return _Merging(function).run()


class _Merging:
    def __init__(self, function: Function) -> None:
        self.function = function
        self.defs = definitions(function)
        self.next = next_id(function)
        self.slots = list(function.slots)
        self.moved: dict[int, Op] = {}  # id of a load → the same from the common slot
        self.users: dict[Value, list[Op]] = {}
        for op in function.ops():
            for arg in op.args:
                self.users.setdefault(arg, []).append(op)
        self.ended = set(all_operands(function)) - set(self.users)  # what only ends of blocks read
        self.addresses: dict[int, list[Value]] = {}  # slot → its addresses
        for value, op in self.defs.items():
            if op.code == "slot":
                self.addresses.setdefault(op.imm, []).append(value)

    def run(self) -> Function:
        blocks = tuple(map(self.block, self.function.blocks))
        if not self.moved:
            return self.function
        blocks = tuple(b._replace(ops=tuple(self.moved.get(id(op), op) for op in b.ops)) for b in blocks)
        return replace(self.function, blocks=blocks, slots=tuple(self.slots))

    def block(self, block: Block) -> Block:
        instead: dict[int, Sequence[Op]] = {}  # id of a call → what stands there
        for group in self.groups(block):
            first, *others = group
            instead |= {id(read.call): () for read in others}
            instead[id(first.call)] = self.together(group)
        if not instead:
            return block
        return block._replace(ops=tuple(new for op in block.ops for new in instead.get(id(op), (op,))))

    # --- which ------------------------------------------------------------------------------------

    def groups(self, block: Block) -> Iterator[list[_Read]]:
        """Reads that can be one, at least two each."""
        open_: list[list[_Read]] = []
        for op in block.ops:
            read = self.read(op) if op.name in FILLS else None
            if read is not None:
                group = next((g for g in open_ if self.fits([*g, read])), None)
                if group is None:
                    open_.append([read])
                else:
                    group.append(read)
            elif op.code == "call" and op.name not in _SOON:
                yield from (g for g in open_ if len(g) > 1)
                open_ = []
        yield from (g for g in open_ if len(g) > 1)

    def read(self, op: Op) -> _Read | None:
        """What a call reads, if its result is of no interest and its bytes are only loaded."""
        slot, size = self.defs.get(op.args[0]), self.number(op.args[1])
        if (
            slot is None
            or slot.code != "slot"
            or size is None
            or (op.result in self.users or op.result in self.ended)
        ):
            return None
        users = [user for value in self.addresses[slot.imm] for user in self.users.get(value, ())]
        loads = [user for user in users if user.code in ("load", "sload")]
        if len(users) != len(loads) + 1 or any(value in self.ended for value in self.addresses[slot.imm]):
            return None
        root, start = op.args[2], 0
        while (made := self.defs.get(root)) is not None and made.code == "add":
            number = self.number(made.args[1])
            if number is None:
                break
            root, start = made.args[0], start + number
        return _Read(op, root, start, size, loads)

    def number(self, value: Value) -> int | None:
        made = self.defs.get(value)
        return made.imm if made is not None and made.code == "const" else None

    def fits(self, group: Sequence[_Read]) -> bool:
        """Whether one read of `_MOST` bytes does for all, and loads stay aligned, as the stack wants them."""
        start, end = _span(group)
        same = len({(read.call.name, read.root) for read in group}) == 1
        aligned = all((read.start - start) % load.size == 0 for read in group for load in read.loads)
        return same and aligned and start >= 0 and end - start <= _MOST

    # --- the one read -----------------------------------------------------------------------------

    def together(self, group: Sequence[_Read]) -> list[Op]:
        """The call for a group, with what it needs; the loads of all are told where to look."""
        start, end = _span(group)
        call, made = group[0].call, list[Op]()
        size = -(-(end - start) // 8) * 8
        self.slots.append(Slot(size, 8, "read"))
        place = self.make(made, Op("slot", (), None, len(self.slots) - 1), "stack")
        length = self.make(made, Op("const", (), None, end - start), "int")
        source = group[0].root
        if start:
            offset = self.make(made, Op("const", (), None, start), "int")
            source = self.make(made, Op("add", (source, offset), None), source.kind)
        for read in group:
            for load in read.loads:
                imm = load.imm + read.start - start
                self.moved[id(load)] = replace(load, args=(place,), imm=imm)
        return [*made, replace(call, args=(place, length, source))]

    def make(self, ops: list[Op], op: Op, kind: Kind) -> Value:
        value = Value(self.next, kind)
        self.next += 1
        ops.append(replace(op, result=value))
        return value


def _span(group: Sequence[_Read]) -> tuple[int, int]:
    """The first byte of all, aligned as the widest load is, and the one behind the last."""
    widest = max((load.size for read in group for load in read.loads), default=1)
    return min(r.start for r in group) // widest * widest, max(r.start + r.size for r in group)
