"""Look up once what is looked up twice in a row, and keep a key once.

Two lookups of one map are the same if their keys hold the same bytes and nothing but quick helpers ran between
them: a program that looks up a key twice so soon could as well have met the same element both times. Helpers
that take longer end that, for the element may be deleted meanwhile, and its memory be another key's.
Where a later key holds the bytes of one that is still there, that one is used; the other is written for nobody.
The same goes for the name of the thread, which stays the same during a run: keys and comparisons use the first.
What is equal only then is shared here, for that is rare: loads from one element, comparisons of one name.
"""

from __future__ import annotations

from pbt.data import NamedTuple, replace
from pbt.ir.core import CALLS, Block, Function, Op, Value
from pbt.ir.effects import QUIET, READS, written
from pbt.ir.flow import (
    definitions,
    members,
    points_to,
    predecessors,
    resolved,
    reverse_postorder,
    substitute,
    with_args,
)
from pbt.ir.passes.cse import share
from pbt.typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")

_LOOKUP = "map_lookup_elem"
_COMM = "get_current_comm"
_KEYED = (_LOOKUP, "map_update_elem", "map_delete_elem")  # args: map, key
_MOST = 32  # bytes of a key that is worth staying on the stack
_Piece = tuple[int, int]  # offset, size
_Content = tuple[tuple[_Piece, object], ...]


class _State(NamedTuple):
    """What is known at some point: bytes of slots, elements found, and where keys lie (slot, pointer).

    States share what is known of a slot: it is replaced, never changed. A slot in which a key lies holds just that.
    """

    bytes: dict[int, dict[_Piece, object]]
    found: dict[tuple[str, _Content], Value]
    keys: dict[_Content, tuple[int, Value]]

    def copy(self) -> _State:
        return _State(dict(self.bytes), dict(self.found), dict(self.keys))

    def meet(self, other: _State) -> _State:
        """What is known on both ways."""
        if self == other:
            return self
        pieces = {slot: _same(known, other.bytes.get(slot, {})) for slot, known in self.bytes.items()}
        return _State(pieces, _same(self.found, other.found), _same(self.keys, other.keys))

    def forget(self, slots: int) -> None:
        """The bytes of some slots are no longer known."""
        for slot in members(slots):
            content = _ordered(self.bytes.pop(slot, {}))
            if self.keys.get(content, (None,))[0] == slot:
                del self.keys[content]


def _rest(old: _Piece, known: object, new: _Piece) -> dict[_Piece, object]:
    """What is still known of a piece when another is written: of zeros, those beside it."""
    (at, size), (start, length) = old, new
    if at + size <= start or start + length <= at:
        return {old: known}
    if known != 0:
        return {}
    before, behind = (at, start - at), (start + length, at + size - start - length)
    return {piece: 0 for piece in (before, behind) if piece[1] > 0}


def _ordered(known: dict[_Piece, object]) -> _Content:
    return tuple(sorted(known.items(), key=lambda item: item[0]))


def _same(one: dict[K, V], other: dict[K, V]) -> dict[K, V]:
    if one is other:
        return one
    return {key: value for key, value in one.items() if key in other and other[key] == value}


def merge_lookups(function: Function) -> Function:
    """Replace lookups and keys by equal ones that are known on every path."""
    names = [op.name for op in function.ops()]
    if sum(name in _KEYED for name in names) < 2 and names.count(_COMM) < 2:
        return function
    merging = _Merging(function)
    merged = merging.run()
    return share(merged) if merging.to or merging.moved else merged


class _Merging:
    def __init__(self, function: Function) -> None:
        self.function = function
        self.defs = definitions(function)
        self.points = points_to(function)
        self.to: dict[Value, Value] = {}
        self.moved = False  # whether loads are from other places now
        self.exposed = 0  # slots whose address is in memory
        for op in function.ops():
            if op.code == "store":
                self.exposed |= self.points.get(op.args[1], 0)

    def run(self) -> Function:
        before = predecessors(self.function)
        blocks = {b.name: b for b in self.function.blocks}
        ends: dict[str, _State] = {}
        for name in reverse_postorder(self.function):
            states = [ends.get(p) for p in before[name]]
            self.state = _State({}, {}, {})
            if states and None not in states:  # a block that is not known yet is the end of a loop
                first, *rest = (state for state in states if state is not None)
                self.state = first.copy()
                for state in rest:
                    self.state = self.state.meet(state)
            blocks[name] = self.block(blocks[name])
            ends[name] = self.state
        return substitute(replace(self.function, blocks=tuple(blocks.values())), self.to)

    def block(self, block: Block) -> Block:
        ops = tuple([kept for op in block.ops if (kept := self.op(with_args(op, self.to))) is not None])
        return block._replace(ops=ops)

    def op(self, op: Op) -> Op | None:
        if op.code == "load":
            return self.load(op)
        if op.code == "store":
            self.store(op)
        elif op.code == "atomic_add":
            self.state.forget(self.points.get(op.args[0], 0))
        elif op.code in CALLS:
            return self.call(op)
        return op

    # --- memory -----------------------------------------------------------------------------------

    def place(self, pointer: Value) -> tuple[int, int] | None:
        """(slot, offset) of a pointer, where both are known."""
        offset = 0
        while (made := self.defs.get(pointer)) is not None:
            if made.code == "slot":
                return None if self.exposed >> made.imm & 1 else (made.imm, offset)
            number = self.defs.get(made.args[1]) if made.code == "add" else None
            if number is None or number.code != "const":
                break
            pointer, offset = made.args[0], offset + number.imm
        return None

    def load(self, op: Op) -> Op:
        """The same from an earlier slot with the name of the thread, if this one has no more than that."""
        key = self.content(op.args[0])
        if key is None or not _is_comm(key[1]):
            return op
        _, pointer = self.state.keys.get(key[1], (0, op.args[0]))
        if pointer == op.args[0]:
            return op
        self.moved = True
        return replace(op, args=(pointer,))

    def store(self, op: Op) -> None:
        at = self.place(op.args[0])
        if at is None:
            self.state.forget(self.points.get(op.args[0], 0))
            return
        slot, offset = at
        made = self.defs.get(op.args[1])
        number = made.imm % (1 << 8 * op.size) if made is not None and made.code == "const" else None
        self.write(slot, (offset + op.imm, op.size), op.args[1] if number is None else number)

    def write(self, slot: int, piece: _Piece, what: object) -> None:
        kept: dict[_Piece, object] = {}
        for old, known in self.state.bytes.get(slot, {}).items():
            kept |= _rest(old, known, piece)
        self.state.forget(1 << slot)
        self.state.bytes[slot] = {**kept, piece: what}

    def content(self, pointer: Value) -> tuple[int, _Content] | None:
        """The slot of a key and its bytes, where the key is a whole slot and all of it is known."""
        at = self.place(pointer)
        if at is None or at[1]:
            return None
        found, end = _ordered(self.state.bytes.get(at[0], {})), 0
        for (start, size), _ in found:
            if start != end:
                return None
            end += size
        return (at[0], found) if end == self.function.slots[at[0]].size else None

    # --- calls ------------------------------------------------------------------------------------

    def call(self, op: Op) -> Op | None:
        if op.name in _KEYED and (key := self.content(op.args[1])) is not None:
            op = self.keyed(op, *key)
            if op.name == _LOOKUP and self.again(op):
                return None
        if op.name not in QUIET and op.name != _COMM:
            self.state.found.clear()
        self.overwrite(op)
        return op

    def keyed(self, op: Op, slot: int, content: _Content) -> Op:
        """The same with an earlier key of the same bytes."""
        if self.function.slots[slot].size > _MOST:
            return op
        _, pointer = self.state.keys.setdefault(content, (slot, op.args[1]))
        return replace(op, args=(op.args[0], pointer, *op.args[2:]))

    def again(self, op: Op) -> bool:
        """Whether a lookup's answer is known; else it is from now on."""
        key, map_ = self.content(op.args[1]), self.defs.get(op.args[0])
        assert op.result is not None and key is not None
        if map_ is None or map_.code != "map":
            return False
        earlier = self.state.found.setdefault((map_.name, key[1]), op.result)
        if earlier == op.result:
            return False
        self.to[op.result] = resolved(earlier, self.to)
        return True

    def overwrite(self, op: Op) -> None:
        """What is known of slots after a call."""
        if op.name in READS:
            return
        pointers = written(op)
        for pointer in op.args if pointers is None else pointers:
            at = self.place(pointer)
            size = self.defs.get(op.args[1]) if op.name == _COMM else None
            if at is not None and size is not None and size.code == "const":
                self.write_comm(op.args[0], at[0], (at[1], size.imm))
            else:
                self.state.forget(self.points.get(pointer, 0))

    def write_comm(self, pointer: Value, slot: int, piece: _Piece) -> None:
        """What is behind the NUL may stay, so the same name over zeros is not the same as over anything."""
        over = 0 if self.state.bytes.get(slot, {}).get(piece) == 0 else None
        self.write(slot, piece, (_COMM, piece[1], over))
        if (key := self.content(pointer)) is not None and _is_comm(key[1]):
            self.state.keys.setdefault(key[1], (slot, pointer))


def _is_comm(content: _Content) -> bool:
    """Whether the name of the thread is all there is."""
    return len(content) == 1 and isinstance(content[0][1], tuple) and content[0][1][0] == _COMM
