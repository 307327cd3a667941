"""Arguments of helpers that are objects of the kernel: locks, timers, kernel pointers, dynptrs."""

from __future__ import annotations

from pbt.typing import TYPE_CHECKING
from pbt.uapi.helpers import Helper
from pbt.verifier_sim import dynptr, fields
from pbt.verifier_sim.env import Env, Refuse, Unsupported
from pbt.verifier_sim.reg import Reg
from pbt.verifier_sim.state import State

if TYPE_CHECKING:
    from pbt.verifier_sim.arguments import Given

_RELEASE_DYNPTR = ("ringbuf_submit_dynptr", "ringbuf_discard_dynptr")


def spin_lock(env: Env, state: State, helper: Helper, given: Given, regno: int, reg: Reg) -> None:
    if reg.kind != "map_value":
        raise Unsupported("a lock in an object of the kernel")
    info = reg.obj
    fields.place(info, regno, reg, "spin_lock")
    if helper.name == "spin_lock":
        if state.lock:
            raise Refuse("Locking two bpf_spin_locks are not allowed")
        state.lock = (info, reg.id)
        return
    if not state.lock:
        raise Refuse("bpf_spin_unlock without taking a lock")
    if state.lock != (info, reg.id):
        raise Refuse("bpf_spin_unlock of different lock")
    state.lock = None
    given.unlocked = True


def timer(env: Env, state: State, helper: Helper, given: Given, regno: int, reg: Reg) -> None:
    fields.place(reg.obj, regno, reg, "timer")
    if given.map is not None:
        raise Refuse("Two map pointers in a timer helper")
    given.map, given.uid = reg.obj, reg.id if reg.obj.inner_of else 0


def kptr(env: Env, state: State, helper: Helper, given: Given, regno: int, reg: Reg) -> None:
    if reg.kind != "map_value":
        raise Unsupported("a kernel pointer in an object of the kernel")
    given.kptr = fields.exchanged(reg.obj, regno, reg)


def new_dynptr(env: Env, state: State, helper: Helper, given: Given, regno: int, reg: Reg, kind: str) -> None:
    dynptr.prepare(env, state, regno, reg)
    given.created = (reg, kind)


def old_dynptr(env: Env, state: State, helper: Helper, given: Given, regno: int, reg: Reg, kind: str) -> None:
    releases = helper.name in _RELEASE_DYNPTR
    if releases:
        dynptr.releasable(state, regno, reg)
    given.dynptr = dynptr.existing(state, regno, reg, kind)
    if releases:
        given.ref = given.dynptr.ref
