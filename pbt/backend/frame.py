"""Stack slots → offsets below the frame pointer; slots that are never in use together share room.

A slot is in use wherever some path has touched it before and some path will touch it again. Addresses
were followed through copies, block parameters and calls when `touches` was computed.
"""

from __future__ import annotations

from collections.abc import Sequence

from pbt.backend.allocate import ABlock, AFunction
from pbt.data import NamedTuple
from pbt.ir.core import Slot
from pbt.ir.flow import members
from pbt.isa.opcodes import STACK_SIZE
from pbt.source import NOWHERE, ScriptError

_ROUND = 32  # kernels before v6.12 round each function's frame up to this when adding frames up


class Frame(NamedTuple):
    """Where the slots of a function lie: `offsets` from r10, one for each slot; `size` in bytes.

    The offset of a slot that nothing touches is 0.
    """

    function: str
    slots: tuple[Slot, ...]
    offsets: tuple[int, ...]
    size: int

    def __str__(self) -> str:
        rows = [f"frame of {self.function}: {self.size} bytes"]
        used = [(at, s) for at, s in zip(self.offsets, self.slots, strict=True) if at]
        rows += [f"  r10{at:<5} {s.size:>4} bytes  {s.label}" for at, s in sorted(used, key=lambda p: -p[0])]
        return "\n".join(rows)


def layout(function: AFunction) -> Frame:
    """Give each slot its offset. Raises ScriptError if the frame is larger than 512 bytes."""
    near = _interference(function)
    offsets = [0] * len(function.slots)
    placed: list[int] = []
    size = 0
    for number in sorted(near, key=lambda n: (-function.slots[n].size, n)):
        slot = function.slots[number]
        taken = sorted(
            (-offsets[n] - function.slots[n].size, -offsets[n]) for n in placed if near[number] >> n & 1
        )
        offsets[number] = -_first_fit(taken, slot)
        placed.append(number)
        size = max(size, -offsets[number])
    frame = Frame(function.name, function.slots, tuple(offsets), -(-size // 8) * 8)
    if frame.size > STACK_SIZE:
        raise _overflow([frame])
    return frame


def check_depth(frames: Sequence[Frame]) -> None:
    """ScriptError if the main function's frame and the largest subprogram's do not fit together."""
    called = max(frames[1:], key=lambda f: f.size, default=None)
    if called is not None:
        pair = [frames[0], called]
        if sum(max(1, -(-f.size // _ROUND)) * _ROUND for f in pair) > STACK_SIZE:
            raise _overflow(pair)


def _first_fit(taken: Sequence[tuple[int, int]], slot: Slot) -> int:
    """Depth of the lowest byte of a slot, as near to the frame pointer as what is taken allows."""
    align = max(slot.align, 8)  # so that spilled pointers and 8-byte stores are always aligned
    depth = 0
    for low, high in taken:
        if low >= _room(depth, slot.size, align):
            break
        depth = max(depth, high)
    return _room(depth, slot.size, align)


def _room(depth: int, size: int, align: int) -> int:
    return -(-(depth + size) // align) * align


def _interference(function: AFunction) -> dict[int, int]:
    """Slot → bit set of the slots in use at the same time; slots that nothing touches are left out."""
    blocks = function.blocks
    before = _reach(blocks, forward=True)
    after = _reach(blocks, forward=False)
    seen: set[int] = set()
    for block in blocks:
        seen.update(_in_use(block, before[block.name], after[block.name]))
    touched = 0
    for live in seen:
        touched |= live
    near = dict.fromkeys(members(touched), 0)
    for live in seen:
        for number in members(live):
            near[number] |= live
    for number in members(function.pinned & touched):
        near[number] = touched
        for other in near:
            near[other] |= 1 << number
    return {number: live & ~(1 << number) for number, live in near.items()}


def _touched(block: ABlock) -> int:
    bits = 0
    for insn, _ in block.insns:
        bits |= insn.touches
    return bits


def _reach(blocks: Sequence[ABlock], forward: bool) -> dict[str, int]:
    """Block → slots touched before its start (forward), or after its end."""
    arcs: dict[str, list[str]] = {b.name: [] for b in blocks}
    for block in blocks:
        for target in block.end.targets:
            if forward:
                arcs[target].append(block.name)
            else:
                arcs[block.name].append(target)
    own = {b.name: _touched(b) for b in blocks}
    found = dict.fromkeys(own, 0)
    names = list(own) if forward else list(reversed(own))
    changed = True
    while changed:
        changed = False
        for name in names:
            bits = 0
            for source in arcs[name]:
                bits |= found[source] | own[source]
            if bits != found[name]:
                found[name], changed = bits, True
    return found


def _in_use(block: ABlock, before: int, after: int) -> set[int]:
    """The sets of slots that are in use together at some point of a block."""
    later = [after]
    for insn, _ in reversed(block.insns):
        later.append(later[-1] | insn.touches)
    later.pop()
    seen = set()
    for (insn, _), rest in zip(block.insns, reversed(later), strict=True):
        before |= insn.touches
        seen.add(before & (rest | insn.touches))
    seen.add(before & after)
    return seen


def _overflow(frames: Sequence[Frame]) -> ScriptError:
    slots = [(s, at) for f in frames for s, at in zip(f.slots, f.offsets, strict=True) if at]
    slots.sort(key=lambda pair: -pair[0].size)
    total = sum(f.size for f in frames)
    span = next((s.span for s, _ in slots if s.span is not None), NOWHERE)
    rooms: dict[str, int] = {}
    for slot in {(s.size, at): s for s, at in slots}.values():  # one of those that share a place
        name = f"{slot.label}{_where(slot)}" if slot.label != "spill" else "values that outlive a call"
        rooms[name] = rooms.get(name, 0) + slot.size
    largest = sorted(rooms.items(), key=lambda pair: -pair[1])
    rows = [f"{size} bytes for {name}" for name, size in largest[:8]]
    more = [f"and {len(largest) - 8} smaller ones"] if len(largest) > 8 else []
    return ScriptError(
        f"the program needs {total} bytes of stack, BPF has {STACK_SIZE}", span, "; ".join(rows + more)
    )


def _where(slot: Slot) -> str:
    return "" if slot.span is None else f" (line {slot.span.locate()[0]})"
