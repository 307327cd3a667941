"""Arguments of helpers that are objects of the kernel: locks, timers, kernel pointers, dynptrs."""

from __future__ import annotations

from pbt.typing import TYPE_CHECKING
from pbt.uapi.helpers import Helper
from pbt.verifier_sim import dynptr, fields, locks, owned
from pbt.verifier_sim.env import Env, Refuse
from pbt.verifier_sim.reg import Reg
from pbt.verifier_sim.state import State

if TYPE_CHECKING:
    from pbt.verifier_sim.demands import Given

_RELEASE_DYNPTR = ("ringbuf_submit_dynptr", "ringbuf_discard_dynptr")


def spin_lock(env: Env, state: State, helper: Helper, given: Given, regno: int, reg: Reg) -> None:
    if locks.in_order(state):
        raise Refuse("can't spin_{lock,unlock} in rbtree cb")
    if helper.name == "spin_lock":
        locks.take(env, state, regno, reg)
    else:
        locks.give(env, state, regno, reg)


def timer(env: Env, state: State, helper: Helper, given: Given, regno: int, reg: Reg) -> None:
    fields.place(reg.obj, regno, reg, "timer")
    if given.map is not None:
        raise Refuse("Two map pointers in a timer helper")
    given.map, given.uid = reg.obj, reg.id if reg.obj.inner_of else 0


def kptr(env: Env, state: State, helper: Helper, given: Given, regno: int, reg: Reg) -> None:
    known = reg.obj.fields if reg.kind == "map_value" else owned.layout_of(env, reg).fields
    given.kptr = fields.exchanged(known, regno, reg)


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
