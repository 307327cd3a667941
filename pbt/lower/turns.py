"""Loops of builtins: a function that the kernel calls back, so that its verifier walks it only a few times,
or, where there is no bpf_loop (before v5.17), a bounded loop."""

from __future__ import annotations

from collections.abc import Callable

from pbt.feature import Mem
from pbt.ir.build import Builder, Number
from pbt.ir.core import Value
from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbt.lower.body import Body

Turn = Callable[[Mem], Number]


def loop(body: Body, times: int, room: Mem, turn: Turn) -> None:
    """See views.Gen.loop."""
    if body.has("bpf_loop"):
        _called_back(body, times, room, turn)
    else:
        _inline(body, times, room, turn)


def _called_back(body: Body, times: int, room: Mem, turn: Turn) -> None:
    """The callback gets the turn's number and the address of 8 bytes that hold the address of `room`."""
    outer, name = body.b, f"turn{len(body.root.functions) + 1}"
    body.b = inner = Builder(name, ("int", "stack"))
    with inner.at(outer.span):
        stop = turn(Mem(inner.load_pointer(inner.param(1), 0, room.base.kind), room.offset))
        inner.ret(stop)
    body.root.functions.append(inner.finish())
    body.b = outer
    shared = outer.slot(8, "loop")
    outer.store(shared, 0, 8, room.base)
    outer.call("loop", times, outer.func(name), shared, 0)


def _inline(body: Body, times: int, room: Mem, turn: Turn) -> None:
    b = body.b
    counter = f"turn.{b.unique()}"
    b.assign(counter, 0)
    head, more, after = b.block("turns"), b.block("turn"), b.block("turned")
    b.jump(head)
    b.place(head, sealed=False)
    b.branch("ne", turn(room), 0, after, more)
    b.place(more)
    b.assign(counter, b.add(b.read(counter), 1))
    b.branch("ult", b.read(counter), times, head, after)
    b.seal(head)
    b.place(after)


def count(body: Body, name: str) -> Value:
    """How many elements a map has: going through it says so, even if nothing is done with them."""
    function = f"count{len(body.root.functions) + 1}"
    inner = Builder(function, ("map", "value", "value", "int"))
    inner.ret(0)
    body.root.functions.append(inner.finish())
    return body.b.call("for_each_map_elem", body.b.map(name), body.b.func(function), 0, 0)
