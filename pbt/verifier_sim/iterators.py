"""Open-coded iterators and saved interrupt flags: slots of the stack that kernel functions fill.

Source: process_iter_next_call() and its neighbours in kernel/bpf/verifier.c.
"""

from __future__ import annotations

from pbt.typing import Final
from pbt.verifier_sim import dynptr, stack
from pbt.verifier_sim.callbacks import earlier, widen
from pbt.verifier_sim.env import Env, Refuse
from pbt.verifier_sim.reg import NULL, UNINIT, Reg
from pbt.verifier_sim.state import INVALID, ITER, Frame, Slot, State

IRQ: Final = "irq_flag"
_WHOLE = ITER * 8
_SLOTS: Final = {
    "num": 1, "task": 3, "task_vma": 1, "bits": 2, "css": 3, "css_task": 1, "kmem_cache": 1, "dmabuf": 1, IRQ: 1,
}  # fmt: skip
ACTIVE, DRAINED = 1, 2


def _slot(reg: Reg) -> int:
    """The slot that a pointer points to, as the kernel divides: the end of the stack is the last slot, too."""
    off: int = reg.off + reg.num.smin
    return 0 if off == 0 else (-off - 1) >> 3


def _place(regno: int, reg: Reg, kind: str) -> int:
    """The slot at the lowest address; Refuse if no such thing can lie there."""
    what = "irq flag" if kind == IRQ else "iter"
    if reg.kind != "fp":
        raise Refuse(f"arg#{regno - 1} expected pointer to an iterator on stack")
    if reg.num.mask:
        raise Refuse(f"{what} has to be at a constant offset")
    off = reg.off + reg.num.smin
    slot = _slot(reg)
    if off % 8 or slot < _SLOTS[kind] - 1:
        raise Refuse(f"cannot pass in {what} at an offset={off}")
    if slot >= 64:
        raise Refuse(f"invalid write to stack R{regno} off={off} size=8")
    return slot


def _named(kind: str) -> str:
    """What is wanted and where, up to the number of the argument; kernels set a blank before one of the two."""
    return "irq flag as arg" if kind == IRQ else f"iter_{kind} as arg "


def held(frame: Frame, index: int) -> Reg | None:
    slot = frame.stack.get(index)
    return slot.reg if slot is not None and slot.types == _WHOLE else None


def held_at(state: State, reg: Reg) -> Reg | None:
    """The iterator that a pointer to the stack points to."""
    if reg.kind != "fp" or reg.num.mask:
        return None
    return held(state.frames[reg.obj], _slot(reg))


def irqs(state: State) -> set[int]:
    """References that stand for saved interrupt flags."""
    return {
        slot.reg.ref
        for frame in state.frames
        for slot in frame.stack.values()
        if slot.types == _WHOLE and slot.reg is not None and slot.reg.obj == IRQ
    }


def create(env: Env, state: State, regno: int, reg: Reg, kind: str, ref: int, guarded: bool) -> None:
    """A new one; the slots may not hold another."""
    first = _place(regno, reg, kind)
    if reg.off + reg.num.smin >= 0:
        raise Refuse(f"invalid write to stack R{regno} off={reg.off + reg.num.smin} size=8")
    frame = state.frames[reg.obj]
    slots = range(first, first - _SLOTS[kind], -1)
    if any(held(frame, index) for index in slots):
        raise Refuse(f"expected uninitialized {_named(kind)}#{regno - 1}")
    for index in slots:
        dynptr.overwrite(env, state, frame, index)
        mods = "rcu_" if guarded else ""
        frame.stack[index] = Slot(
            _WHOLE, Reg(kind, obj=kind, ref=ref, size=int(index == first), off=ACTIVE, mods=mods)
        )
        state.written.add((reg.obj, index))
    stack.use_stack(env, frame, -8 * (first + 1))


def existing(state: State, regno: int, reg: Reg, kind: str) -> Reg:
    """The iterator (or flags) that an argument points to."""
    first = _place(regno, reg, kind)
    found = held(state.frames[reg.obj], first)
    slots = [held(state.frames[reg.obj], index) for index in range(first, first - _SLOTS[kind], -1)]
    whole = found is not None and all(slot is not None and slot.ref == found.ref for slot in slots)
    if found is None or not whole or found.obj != kind or not found.size:
        raise Refuse(f"expected an initialized {_named(kind)}#{regno - 1}")
    for index in range(first, first - _SLOTS[kind], -1):
        stack.note_read(state, reg.obj, index)
    return found


def destroy(env: Env, state: State, reg: Reg, kind: str) -> None:
    first = _slot(reg)
    frame = state.frames[reg.obj]
    for index in range(first, first - _SLOTS[kind], -1):
        frame.stack[index] = Slot(INVALID * 8)


def next_element(env: Env, state: State, pc: int, iterator: Reg, element: Reg) -> int:
    """Two ways on: one with an element, left as a branch, and one without, at the end."""
    first = _slot(iterator)
    found = state.frames[iterator.obj].stack[first].reg
    assert found is not None
    if found.off == ACTIVE:
        other = state.copy()
        before = earlier(state.node, pc, len(state.frames))
        if before is not None:
            widen(before, other)
        other.loops += 1
        other.frames[-1].regs[0:6] = [element._replace(null=False), *[UNINIT] * 5]
        env.push(pc + 1, other)
    frame = state.frames[iterator.obj]
    frame.stack[first] = Slot(_WHOLE, found._replace(off=DRAINED))
    state.frames[-1].regs[0:6] = [NULL, *[UNINIT] * 5]
    return pc + 1
