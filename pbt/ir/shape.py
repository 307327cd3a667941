"""Programs that differ only in the numbers they write into keys and records have one shape, and one translation.

A script of many probes, or a wildcard whose body names its probe, makes programs that are the same but for such
numbers. In the shape these are holes, of whose content no pass knows anything, so that what is made of the shape
is right for every content; the backend says where in the machine code they went (`Reloc`, kind "hole").
So it is with what array maps keep for a program, such as counts of its failures: only distances within a map mean
something to passes and backend.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pbt.data import NamedTuple
from pbt.ir.core import Block, Function, Op, Program, Value, operands

_RECORD = "ringbuf_reserve"  # a helper: its result is room for a record
WIDE = "wide"  # the name of a hole whose number is more than a signed 32-bit one


class Shape(NamedTuple):
    """`functions` with holes, the numbers that belong there in this program, and its places in the script.

    `starts`: array map → the offset of the first byte that the program uses; those of `functions` count from there.
    `pattern`: for every operation and end of a block, which of the `places` is its own; two programs with the same
    functions and the same pattern have one machine code, up to their numbers and places.
    """

    functions: tuple[Function, ...]
    numbers: tuple[int, ...]
    places: tuple[tuple[int, int], ...]
    pattern: tuple[int, ...]
    starts: Mapping[str, int]

    @property
    def common(self) -> tuple[object, object]:
        """What programs of one shape have in common."""
        return self.functions, self.pattern


def shape(program: Program) -> Shape:
    """What of a program others may have in common with it, and what is its own."""
    numbers: dict[int, int] = {}
    starts = _starts(program)
    functions = tuple(_common(f, numbers, starts) for f in program.functions)
    places: dict[tuple[int, int], int] = {}
    pattern = tuple([places.setdefault(place, len(places)) for place in _places(program)])
    return Shape(functions, tuple(numbers), tuple(places), pattern, starts)


def _starts(program: Program) -> dict[str, int]:
    starts: dict[str, int] = {}
    for function in program.functions:
        for block in function.blocks:
            for op in block.ops:
                if op.code == "map_value":
                    starts[op.name] = min(op.imm, starts.get(op.name, op.imm))
    return starts


def _places(program: Program) -> Iterator[tuple[int, int]]:
    """Start and end of what each operation and each end of a block comes from; -1 for none, as in `Code.spans`."""
    for function in program.functions:
        for block in function.blocks:
            for part in (*block.ops, block.end):
                span = part.span
                yield (-1, -1) if span is None else (span.start, span.end)


def _common(function: Function, numbers: dict[int, int], starts: Mapping[str, int]) -> Function:
    """`numbers`: number → its hole, over all functions of the program; more are added."""
    written = _only_written(function)

    def common(op: Op) -> Op:
        if op.code == "const" and op.result in written:
            number = numbers.setdefault(op.imm, len(numbers))
            fits = (op.imm + (1 << 31)) % (1 << 64) < 1 << 32
            return Op("hole", (), op.result, number, 0, "" if fits else WIDE, op.span)
        if op.code == "map_value":
            return Op("map_value", (), op.result, op.imm - starts[op.name], 0, op.name, op.span)
        return op

    blocks = tuple(
        [Block(b.name, b.params, tuple([common(op) for op in b.ops]), b.end) for b in function.blocks]
    )
    return Function(function.name, blocks, function.slots, function.params)


def _only_written(function: Function) -> set[Value]:
    """Constants with no use but to be put into stack slots and records that the program itself reads nothing from.

    For a constant that is read again a hole would be right, too, but passes could not compute with it.
    """
    constants: set[Value] = set()
    slots: dict[Value, int] = {}  # address → slot, below 0: a record of the ring buffer
    stores: list[tuple[Value, Value]] = []
    read: set[int] = set()
    used: set[Value] = set()
    for block in function.blocks:
        for op in block.ops:
            code, args = op.code, op.args
            if code == "const":
                constants.add(op.result)  # type: ignore[arg-type]
            elif code == "slot":
                slots[op.result] = op.imm  # type: ignore[index]
            elif op.name == _RECORD:
                slots[op.result] = ~op.result.id  # type: ignore[index, union-attr]
                used.update(args)
            elif code == "store":
                stores.append(args)  # type: ignore[arg-type]
                used.add(args[0])
            else:
                used.update(args)
                if args and args[0] in slots and code not in ("call", "kfunc"):
                    if code == "add":
                        slots[op.result] = slots[args[0]]  # type: ignore[index]
                    else:
                        read.add(slots[args[0]])
        used.update(operands(block.end))
    used.update(value for to, value in stores if slots.get(to) is None or slots[to] in read)
    return (constants & {value for _, value in stores}) - used
