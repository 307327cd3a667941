"""Locks: bpf_spin_lock, of which one is held at a time, and bpf_res_spin_lock, which nest and may fail.

Source: process_spin_lock() of kernel/bpf/verifier.c.
"""

from __future__ import annotations

from pbt.typing import TYPE_CHECKING, Any, Final
from pbt.verifier_sim import fields, owned
from pbt.verifier_sim.bounds import between
from pbt.verifier_sim.env import Env, Refuse
from pbt.verifier_sim.reg import UNINIT, Field, Reg, number
from pbt.verifier_sim.resources import forget
from pbt.verifier_sim.state import Held, State

if TYPE_CHECKING:
    from pbt.verifier_sim.kfuncargs import Call

_SHOWN: Final = {
    "spin_lock": "bpf_spin",
    "res_spin_lock": "bpf_res_spin",
    "res_spin_lock_irq": "bpf_res_spin",
}


def _where(reg: Reg) -> tuple[Any, int]:
    return (reg.obj if reg.kind == "map_value" else owned.OWN_LOCK), reg.id


def _held(state: State) -> list[Held]:
    """All locks that are held, the last one first."""
    out, lock = [], state.lock
    while lock is not None:
        out.append(lock)
        lock = lock.outer
    return out


def in_order(state: State) -> bool:
    """Whether this is the function that orders the nodes of a tree."""
    callback = state.frames[-1].callback
    return callback is not None and getattr(callback, "core", "") == "bpf_rbtree_add"


def holds(state: State, reg: Reg) -> bool:
    """Whether the lock that lies beside what a register points to is held."""
    return any((lock.what, lock.id) == _where(reg) for lock in _held(state))


def _field(env: Env, regno: int, reg: Reg, kind: str) -> Field:
    if reg.kind == "map_value":
        return fields.place(reg.obj, regno, reg, kind)
    found = owned.layout_of(env, reg).find(kind)
    if found is None:
        raise Refuse(f"local 'kptr' has no valid bpf_{kind}")
    return fields.exactly(found, regno, reg, kind)


def take(env: Env, state: State, regno: int, reg: Reg, kind: str = "spin_lock") -> None:
    _field(env, regno, reg, kind.removesuffix("_irq"))
    what, id = _where(reg)
    held = _held(state)
    if kind == "spin_lock":
        if any(lock.kind == kind for lock in held):
            raise Refuse("Locking two bpf_spin_locks are not allowed")
    elif any((lock.what, lock.id) == (what, id) and lock.kind != "spin_lock" for lock in held):
        raise Refuse("Acquiring the same lock again, AA deadlock detected")
    state.lock = Held(what, id, kind, state.lock)


def give(env: Env, state: State, regno: int, reg: Reg, kind: str = "spin_lock") -> None:
    """Give back the lock that was taken last; nodes of lists and trees are out of reach then."""
    _field(env, regno, reg, kind.removesuffix("_irq"))
    name = _SHOWN[kind]
    held = _held(state)
    if not held:
        raise Refuse(f"{name}_unlock without taking a lock")
    if not any((lock.what, lock.id, lock.kind) == (*_where(reg), kind) for lock in held):
        raise Refuse(f"{name}_unlock of different lock")
    if (held[0].what, held[0].id) != _where(reg):
        raise Refuse(f"{name}_unlock cannot be out of order")
    state.lock = held[0].outer
    forget(state, lambda reg: "non_own_" in reg.mods)


def resilient(call: Call, regno: int, reg: Reg, _: str) -> None:
    """The lock of bpf_res_spin_lock and its kin."""
    call.not_null(regno, reg)
    if reg.kind not in ("map_value", "own") or (reg.kind == "own" and reg.mods):
        raise Refuse(f"arg#{regno - 1} doesn't point to map value or allocated object")
    kind = "res_spin_lock_irq" if "irq" in call.row.name else "res_spin_lock"
    if "unlock" in call.row.name:
        give(call.env, call.state, regno, reg, kind)
        return
    other = call.state.copy()
    failed = number(between(-4095, -1, call.env.rules))
    other.frames[-1].regs[0:6] = [failed, UNINIT, UNINIT, UNINIT, UNINIT, UNINIT]
    call.env.push(call.pc + 1, other)
    take(call.env, call.state, regno, reg, kind)


__all__ = ["give", "holds", "in_order", "resilient", "take"]
