"""Linked lists and red-black trees: the lock that guards a root, nodes that go in and come out.

A node that was put into a list or tree belongs to that; the program may use it until it gives back the
lock (a non-owning reference). Source: process_kf_arg_ptr_to_graph_root() and process_kf_arg_ptr_to_graph_node()
of kernel/bpf/verifier.c.
"""

from __future__ import annotations

from pbt.typing import TYPE_CHECKING, Final
from pbt.verifier_sim import callbacks, locks, owned
from pbt.verifier_sim.env import Refuse
from pbt.verifier_sim.layout import shown
from pbt.verifier_sim.reg import UNINIT, Field, MapInfo, Reg
from pbt.verifier_sim.resources import forget

if TYPE_CHECKING:
    from pbt.verifier_sim.kfuncargs import Call

_KINDS: Final = {"list_head": "list_node", "rb_root": "rb_node"}


def _fields(call: Call, reg: Reg) -> tuple[Field, ...]:
    if reg.kind == "map_value":
        info: MapInfo = reg.obj
        return info.fields
    return owned.layout_of(call.env, reg).fields


def _at(call: Call, regno: int, reg: Reg, kind: str) -> Field:
    """The field that an argument points to."""
    what = f"bpf_{kind}"
    if reg.num.mask:
        raise Refuse(f"R{regno} doesn't have constant offset. {what} has to be at the constant offset")
    at = reg.off + reg.num.smin
    found = next((f for f in _fields(call, reg) if f.kind == kind and f.off == at), None)
    if found is None:
        raise Refuse(f"{what} not found at offset={at}")
    return found


def root(call: Call, regno: int, reg: Reg, kind: str) -> None:
    """A list or tree, in a map's value or in an object of the program, whose lock is held."""
    call.not_null(regno, reg)
    if reg.kind not in ("map_value", "own") or (reg.kind == "own" and reg.mods):
        raise Refuse(f"arg#{regno - 1} expected pointer to map value or allocated object")
    if reg.kind == "own" and not reg.ref:
        raise Refuse("allocated object must be referenced")
    found = _at(call, regno, reg, kind)
    lock = next((f for f in _fields(call, reg) if f.kind in ("spin_lock", "res_spin_lock")), None)
    if lock is None or not call.state.lock:
        at = lock.off if lock is not None else -1
        raise Refuse(
            f"bpf_spin_lock at off={at} must be held for bpf_{kind}",
            "The lock that lies beside a list or tree guards it.",
        )
    if not locks.holds(call.state, reg):
        raise Refuse("held lock and object are not in the same allocation")
    if found.node < 0 or not found.struct:
        raise Refuse(
            f"bpf_{kind} not found at offset={found.off}",
            "A declaration tag says what a list or tree contains; kernels make no map without it.",
        )
    call.root = found


def new_node(call: Call, regno: int, reg: Reg, kind: str) -> None:
    """A node to be put in, which the program owns."""
    call.not_null(regno, reg)
    if reg.kind != "own" or reg.mods:
        raise Refuse(f"arg#{regno - 1} expected pointer to allocated object")
    if not reg.ref:
        raise Refuse("allocated object must be referenced")
    _fits(call, regno, reg, kind)
    call.object = reg


def node(call: Call, regno: int, reg: Reg, kind: str) -> None:
    """A node that is in already."""
    call.not_null(regno, reg)
    name = call.row.name
    loose = reg.kind == "own" and ("non_own_" in reg.mods or reg.ref)
    if not loose or (reg.ref and "walk_trees" not in call.env.rules):
        raise Refuse(f"{name} can only take non-owning or refcounted bpf_rb_node pointer")
    if locks.in_order(call.state):
        raise Refuse(f"{name} not allowed in rbtree cb")
    _fits(call, regno, reg, kind)


def _fits(call: Call, regno: int, reg: Reg, kind: str) -> None:
    """Whether the node is of the kind that the list or tree holds."""
    held = call.root
    assert held is not None
    place = _at(call, regno, reg, kind)
    if reg.obj != held.struct:
        raise Refuse(
            f"operation on {shown(held)} expects arg#1 bpf_{kind} at offset={held.node} in struct {held.struct}, "
            f"but arg is at offset={place.off} in struct {reg.obj}"
        )
    if place.off != held.node:
        raise Refuse(
            f"arg#1 offset={place.off}, but expected bpf_{kind} at offset={held.node} in struct {held.struct}"
        )


def _in_it(call: Call, held: Field) -> Reg:
    """A pointer to a node of a list or tree: until the lock is given back."""
    mods = "non_own_" + ("rcu_" if _counts(call, held.struct) else "")
    return Reg("own", obj=held.struct, off=held.node, mods=mods)


def _counts(call: Call, struct: str) -> bool:
    return owned.layout_of(call.env, Reg("own", obj=struct)).find("refcount") is not None


def add(call: Call) -> None:
    """The node that was put in is no longer the program's."""
    state, reg = call.state, call.object
    assert reg is not None
    ref, counts = reg.ref, _counts(call, reg.obj)
    mods = "non_own_" + ("rcu_" if counts else "")
    forget(state, lambda reg: reg.ref == ref, lambda reg: reg._replace(ref=0, mods=mods))
    state.refs = tuple(held for held in state.refs if held[0] != ref)


def taken(call: Call, null: bool, ref: int) -> Reg:
    """r0 of pop_front, pop_back, rbtree_remove (a node that is the program's now) and of those that look only."""
    held = call.root
    assert held is not None
    found = _in_it(call, held)
    if ref:
        return found._replace(id=ref, ref=ref, mods="", null=null)
    return found._replace(id=call.env.new_id(), null=null)


def order(call: Call) -> int:
    """The function that orders a tree runs for two of its nodes, any number of times; see `callbacks.run`."""
    held = call.root
    assert held is not None and call.callback >= 0
    pair = [_in_it(call, held)._replace(id=call.env.new_id()) for _ in range(2)]
    return callbacks.run(
        call.env, call.state, call.pc, call.row, call.callback, [*pair, UNINIT, UNINIT, UNINIT]
    )


__all__ = ["add", "new_node", "node", "order", "root", "taken"]
