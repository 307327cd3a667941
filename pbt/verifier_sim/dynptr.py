"""Dynptrs: 16 bytes of stack that the kernel fills, and slices of the memory they stand for."""

from __future__ import annotations

from pbt.typing import Final
from pbt.verifier_sim.env import Env, Refuse
from pbt.verifier_sim.reg import ANY, Reg
from pbt.verifier_sim.state import DYNPTR, INVALID, SPILL, Frame, Slot, State

_COUNTED: Final = ("RINGBUF", "FILE")  # dynptrs that hold a reference
_WHOLE = DYNPTR * 8


def _first_slot(reg: Reg, what: str = "dynptr") -> int:
    """The slot of a dynptr's first half (the one at the lower address), -1 outside of the stack."""
    if reg.num.mask:
        raise Refuse(f"{what} has to be at a constant offset")
    off = reg.off + reg.num.smin
    if off % 8:
        raise Refuse(f"cannot pass in {what} at an offset={off}")
    slot = (-off - 1) >> 3
    if slot < 1:
        raise Refuse(f"cannot pass in {what} at an offset={off}")
    return slot if slot < 64 else -1


def held(frame: Frame, index: int) -> Reg | None:
    """The dynptr that a slot is part of."""
    slot = frame.stack.get(index)
    return slot.reg if slot is not None and slot.types == _WHOLE else None


def _halves(frame: Frame, index: int) -> tuple[int, int]:
    """Both slots of the dynptr that one of them belongs to."""
    slot = frame.stack[index]
    assert slot.reg is not None
    return (index, index - 1) if slot.reg.size else (index + 1, index)


def overwrite(env: Env, state: State, frame: Frame, index: int) -> None:
    """A write to a slot ends the dynptr there, if one is; those that hold a reference may not be lost."""
    found = held(frame, index)
    if found is None or "dynptr_reinit" not in env.rules:
        return
    if found.obj in _COUNTED and _copies(state, found.ref) < 2:
        raise Refuse(
            "cannot overwrite referenced dynptr",
            "Submit or discard it first: it holds memory of a ring buffer.",
        )
    for half in _halves(frame, index):
        frame.stack[half] = Slot(INVALID * 8)
        state.written.discard((state.frames.index(frame), half))
    _drop_slices(state, found.id)


def kept(frame: Frame, low: int, end: int) -> None:
    """A helper that fills bytes `low` to `end` (not included) of a frame's stack leaves dynptrs alone."""
    for index in range((-low - 1) >> 3, (-end >> 3) - 1, -1):
        if held(frame, index) is not None:
            off = max(low, -8 * (index + 1))
            raise Refuse(f"potential write to dynptr at off={off} disallowed")


def _copies(state: State, ref: int) -> int:
    """How many dynptrs hold a reference."""
    return sum(
        slot.types == _WHOLE and slot.reg is not None and bool(slot.reg.size) and slot.reg.ref == ref
        for frame in state.frames
        for slot in frame.stack.values()
    )


def _drop_slices(state: State, dynptr: int) -> None:
    """What was got of a dynptr ends with it; slices of packets and those that are only read do not."""

    def slice_(reg: Reg | None) -> bool:
        return reg is not None and reg.kind == "mem" and reg.obj == dynptr and not reg.mods

    for frame in state.frames:
        for regno, reg in enumerate(frame.regs):
            if slice_(reg):
                frame.regs[regno] = ANY
        for index, slot in frame.stack.items():
            if slice_(slot.reg):
                frame.stack[index] = Slot(SPILL * 8, ANY)


def _taken(frame: Frame, index: int) -> bool:
    """Whether a byte of a dynptr is left in two slots; such kernels do not look below what was written."""
    slots = [frame.stack.get(half) for half in (index, index - 1)]
    deepest = max(frame.stack, default=-1)
    return index <= deepest and any(slot is not None and DYNPTR in slot.types for slot in slots)


def prepare(env: Env, state: State, regno: int, reg: Reg) -> int:
    """Where a new dynptr would go; Refuse if there is no room for one."""
    if reg.kind == "dynptr_ptr":
        raise Refuse("Dynptr has to be an uninitialized dynptr")
    index = _first_slot(reg)
    if index < 0:
        off = reg.off + reg.num.smin
        raise Refuse(f"invalid write to stack R{regno} off={off} size=8")
    frame = state.frames[reg.obj]
    if "dynptr_reinit" not in env.rules and _taken(frame, index):
        raise Refuse("Dynptr has to be an uninitialized dynptr")
    for half in (index, index - 1):
        overwrite(env, state, frame, half)
    return index


def create(env: Env, state: State, reg: Reg, index: int, kind: str, ref: int) -> None:
    """Mark two slots as a dynptr."""
    frame, fresh = state.frames[reg.obj], env.new_id()
    before = held(frame, index - 1)
    again = before.size if before is not None and "dynptr_reinit" not in env.rules else 0
    for half, first in ((index, 1), (index - 1, again)):
        overwrite(env, state, frame, half)
        frame.stack[half] = Slot(_WHOLE, Reg("dynptr", id=fresh, obj=kind, size=first, ref=ref))
        state.written.add((reg.obj, half))
    depth = 8 * (index + 1)
    env.depths[frame.start] = max(env.depths.get(frame.start, 0), depth)


def counted(kind: str) -> bool:
    """Whether making such a dynptr takes a reference."""
    return kind in _COUNTED


def existing(state: State, position: int, reg: Reg, kind: str) -> Reg:
    """The dynptr that argument `position` points to, of type `kind` ("" for any)."""
    if reg.kind == "dynptr_ptr":
        found: Reg | None = reg
    else:
        index = _first_slot(reg)
        frame = state.frames[reg.obj]
        found = held(frame, index) if index > 0 else None
        if found is not None and (not found.size or held(frame, index - 1) is None):
            found = None
    if found is None:
        raise Refuse(f"Expected an initialized dynptr as arg #{position - 1}")
    if kind and found.obj != kind:
        raise Refuse(f"Expected a dynptr of type {kind.lower()} as arg #{position - 1}")
    return found


def releasable(state: State, regno: int, reg: Reg) -> None:
    """Only a dynptr on the stack that holds a reference can be given back."""
    if reg.kind == "dynptr_ptr":
        raise Refuse("cannot release unowned const bpf_dynptr")
    index = _first_slot(reg)
    found = held(state.frames[reg.obj], index) if index > 0 else None
    if found is None or not found.ref:
        raise Refuse(f"arg {regno} is an unacquired reference")


def release(state: State, ref: int) -> None:
    """Every dynptr on a reference that was given back ends."""
    for frame in state.frames:
        for index, slot in list(frame.stack.items()):
            if slot.types == _WHOLE and slot.reg is not None and slot.reg.ref == ref:
                frame.stack[index] = Slot(INVALID * 8)
