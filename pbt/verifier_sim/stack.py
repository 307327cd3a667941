"""The stack: loads, spills and fills, byte by byte; what helpers read and fill of it."""

from __future__ import annotations

from pbt.typing import Final
from pbt.verifier_sim import casts, dynptr, scalar, unprivileged
from pbt.verifier_sim.env import Env, Refuse
from pbt.verifier_sim.reg import ANY, NULL, UNINIT, Reg, number
from pbt.verifier_sim.reg import tnum_text as _tnum
from pbt.verifier_sim.state import (
    DYNPTR,
    INVALID,
    ITER,
    MISC,
    MISC_SLOT,
    SPILL,
    ZERO_SLOT,
    ZEROED,
    Frame,
    Slot,
    State,
)

STACK: Final = 512  # MAX_BPF_STACK
MAX_OFFSET: Final = 1 << 29  # BPF_MAX_VAR_OFF
_NOT_SPILLED: Final = ("tp_buffer", "dynptr_ptr")  # what is_spillable_regtype() leaves out
_SPECIAL: Final = frozenset((DYNPTR, ITER))
_VERBS = {"read": " read from", "write": " write to"}


def note_read(state: State, frame: int, index: int) -> None:
    """The slot matters to every checkpoint back to the one after which it was written."""
    place = (frame, index)
    if place in state.written:
        return
    node = state.node
    while node is not None and place not in node.reads:
        node.reads |= {place}
        if place in node.written:
            return
        node = node.parent


def stack_range(regno: int, reg: Reg, offset: int, size: int, verb: str) -> tuple[int, int]:
    """First and last possible start of an access of `size` bytes, relative to the frame pointer."""
    base, num = reg.off + offset, reg.num
    kind = _VERBS[verb]
    if not num.mask:
        low = high = base + num.smin
    else:
        if num.smax >= MAX_OFFSET or num.smin <= -MAX_OFFSET:
            raise Refuse(f"invalid unbounded variable-offset{kind} stack R{regno}")
        low, high = base + num.smin, base + num.smax
    if low < -STACK or high + size > 0:
        if not num.mask:
            raise Refuse(
                f"invalid{kind} stack R{regno} off={low} size={size}",
                "The stack of a BPF program is 512 bytes below its frame pointer.",
            )
        raise Refuse(
            f"invalid variable-offset{kind} stack R{regno} var_off={_tnum(num)} off={base} size={size}"
        )
    return low, high


def use_stack(env: Env, frame: Frame, low: int) -> None:
    depth = -low
    if depth > env.depths.get(frame.start, 0):
        env.depths[frame.start] = depth


def _bytes(frame: Frame, low: int, high: int) -> str:
    """The types of the bytes low..high (excluded), spilled numbers as "m" and pointers as "r"."""
    out = []
    lowest = max(frame.stack, default=-1)
    for at in range(low, high):
        index = (-at - 1) >> 3
        slot = frame.stack.get(index)
        out.append((HIDDEN if index > lowest else INVALID) if slot is None else slot.types[at & 7])
    return "".join(out)


HIDDEN: Final = "!"  # a byte below everything that was written, which old kernels do not show


def _hidden(env: Env, types: str) -> bool:
    return HIDDEN in types and "deep_reads" not in env.rules


def _readable(env: Env, types: str, where: str, size: int) -> None:
    """Refuse to read bytes that nobody wrote, on kernels that mind, and bytes that are the kernel's."""
    at = next((at for at, mark in enumerate(types) if mark in _SPECIAL), -1)
    if at < 0 and _hidden(env, types):
        at = types.find(HIDDEN)
    if at >= 0:
        raise Refuse(
            f"invalid read from stack {where}+{at} size {size}",
            "A dynptr or an iterator lies there." if types[at] in _SPECIAL else "",
        )


def load_stack(env: Env, state: State, regno: int, reg: Reg, offset: int, size: int, sign: bool) -> Reg:
    low, high = stack_range(regno, reg, offset, size, "read")
    number_ = reg.obj
    frame = state.frames[number_]
    use_stack(env, frame, low)
    for index in range((-high - size) >> 3, ((-low - 1) >> 3) + 1):
        note_read(state, number_, max(index, 0))
    if reg.num.mask:
        return _load_anywhere(env, frame, regno, reg, low, high + size, offset, size)
    slot = frame.stack.get((-low - 1) >> 3)
    if slot is not None and slot.reg is not None:
        got = _fill(env, slot, low & 7, size, sign)
        if got is not None:
            return got
    types = _bytes(frame, low, low + size)
    if types == ZEROED * size:
        return NULL
    _readable(env, types, f"off {low}", size)
    return number(scalar.of_size(size, sign=sign)) if size < 8 else ANY


def _load_anywhere(
    env: Env, frame: Frame, regno: int, reg: Reg, low: int, high: int, offset: int, size: int
) -> Reg:
    types = _bytes(frame, low, high)
    zeros = "zeros_anywhere" in env.rules and SPILL in types and set(types) <= {ZEROED, SPILL}
    if zeros and _only_zeros(env, frame, low, high):
        return NULL
    if not _SPECIAL.isdisjoint(types) or _hidden(env, types):
        raise Refuse(
            f"invalid variable-offset read from stack R{regno} var_off={_tnum(reg.num)} "
            f"off={reg.off + offset} size={size}"
        )
    return NULL if set(types) == {ZEROED} else number(scalar.of_size(size))


def _only_zeros(env: Env, frame: Frame, low: int, high: int) -> bool:
    """Whether everything spilled in low..high is the number 0; if so that it is so now matters."""
    held = [frame.stack[index].reg for index in range((-high) >> 3, ((-low - 1) >> 3) + 1)]
    regs = [reg for reg in held if reg is not None]
    if not all(reg.kind == "scalar" and reg.num.const == 0 for reg in regs):
        return False
    for reg in regs:
        env.precise(reg)
    return True


def _fill(env: Env, slot: Slot, at: int, size: int, sign: bool) -> Reg | None:
    """The spilled register, or the part of it that is read; None if it is not a simple read."""
    reg, spilled = slot.reg, slot.types.count(SPILL)
    assert reg is not None
    if not spilled:
        return None  # a dynptr
    if reg.kind != "scalar":
        if reg.kind == "uninit" and slot.types[0] != SPILL:
            return None
        if size != 8 or slot.types != SPILL * 8:
            raise Refuse("invalid size of register fill")
        return reg
    if at + size > 8 or slot.types[at : at + size] != SPILL * size:
        return None
    if reg.num.const == 0:
        return reg if size == 8 else number(reg.num, reg.deps)
    exactly = at == 0 and size == spilled
    if not exactly and (at or "narrow_fill" not in env.rules):
        return None
    if sign and size < 8:
        return number(casts.sign_extend(reg.num, size, env.rules, True), reg.deps)
    if size == 8:
        return reg
    if exactly or "narrow_fill" in env.rules:
        kept = casts.truncate(reg.num, size, env.rules)
        return reg._replace(num=kept) if kept == reg.num else number(kept, reg.deps)
    return None


def store_stack(env: Env, state: State, regno: int, reg: Reg, offset: int, size: int, value: Reg) -> None:
    low, high = stack_range(regno, reg, offset, size, "write")
    frame = state.frames[reg.obj]
    use_stack(env, frame, low)
    if reg.num.mask:
        _store_anywhere(env, state, frame, reg, low, high + size, value)
        return
    index, at = (-low - 1) >> 3, low & 7
    dynptr.overwrite(env, state, frame, index)
    if value.kind in _NOT_SPILLED and not ("dynptr_spill" in env.rules and value.kind == "dynptr_ptr"):
        types = _scrub(env, state, frame, reg.obj, index)
        frame.stack[index] = Slot(types[:at] + MISC * size + types[at + size :])
        return
    if value.kind not in ("scalar", "uninit"):
        if size != 8:
            raise Refuse("invalid size of register spill", "A pointer is stored as 8 bytes.")
        if value.kind == "fp" and reg.obj != len(state.frames) - 1:
            raise Refuse("cannot spill pointers to stack into stack frame of the caller")
    zeroes = "spill_zero" not in env.rules and value.kind == "scalar" and value.num.const == 0
    if size == 8:
        state.written.add((reg.obj, index))
        if zeroes:
            env.precise(value)
            frame.stack[index] = ZERO_SLOT
        elif value.kind == "scalar" and not _bounded(env, value):
            frame.stack[index] = MISC_SLOT
        else:
            frame.stack[index] = Slot(SPILL * 8, value)
        return
    narrow = "narrow_spill" in env.rules and not zeroes and _bounded(env, value)
    if at == 0 and narrow and value.kind == "scalar":
        spilled = value if value.num.umax < 1 << 8 * size else number(value.num, value.deps)
        frame.stack[index] = Slot(SPILL * size + _scrub(env, state, frame, reg.obj, index)[size:], spilled)
        return
    mark = MISC
    if value.num is scalar.ZERO or value.num.const == 0:
        mark = ZEROED
        env.precise(value)
    types = _scrub(env, state, frame, reg.obj, index)
    frame.stack[index] = Slot(types[:at] + mark * size + types[at + size :])


def _bounded(env: Env, value: Reg) -> bool:
    return "spill_any" in env.rules or value.num != scalar.UNKNOWN


def _scrub(env: Env, state: State, frame: Frame, number_: int, index: int, zero: bool = False) -> str:
    """The types of a slot once part of it is overwritten: what was spilled there is lost.

    `zero`: a zero that is written over a spilled one leaves it.
    """
    slot = frame.stack.get(index)
    if slot is None:
        return INVALID * 8
    note_read(state, number_, index)
    if zero and slot.reg is not None and slot.reg.kind == "scalar" and slot.reg.num.const == 0:
        env.precise(slot.reg)
        return slot.types.replace(SPILL, ZEROED)
    return slot.types.replace(SPILL, MISC)


def _store_anywhere(env: Env, state: State, frame: Frame, reg: Reg, low: int, high: int, value: Reg) -> None:
    """A write at a variable offset: every byte it may reach becomes unknown."""
    if "var_stack_write" not in env.rules:
        raise Refuse(f"variable stack write prohibited, var_off={_tnum(reg.num)} off={reg.off}")
    zero = value.kind == "scalar" and value.num.const == 0
    if zero:
        env.precise(value)
    for index in range((-high) >> 3, ((-low - 1) >> 3) + 1):
        dynptr.overwrite(env, state, frame, max(index, 0))
    first: set[int] = set()
    for at in range(low, high):
        index = (-at - 1) >> 3
        slot = frame.stack.get(index)
        if index not in first:
            first.add(index)
            note_read(state, reg.obj, index)
            types = _forget_number(env, state, frame, reg.obj, index, slot, zero)
        else:
            types = slot.types if slot else INVALID * 8
        mark = ZEROED if zero and types[at & 7] == ZEROED else MISC
        broken = UNINIT if SPILL in types else None
        frame.stack[index] = Slot(types[: at & 7] + mark + types[(at & 7) + 1 :], broken)


def _forget_number(
    env: Env, state: State, frame: Frame, number_: int, index: int, slot: Slot | None, zero: bool
) -> str:
    """What a slot's bytes are once part of it is written at a variable offset.

    Old kernels leave the rest marked as spilled, though the number is gone.
    """
    if slot is None:
        return INVALID * 8
    if "scrub_variable" in env.rules:
        return _scrub(env, state, frame, number_, index, zero)
    return slot.types


def helper_stack(
    env: Env, state: State, regno: int, reg: Reg, size: int, fills: bool, write: bool = False
) -> None:
    """A helper reads `size` bytes of stack at most (or writes some), or `fills` exactly that many."""
    if not env.perfmon and (not fills or reg.num.mask):
        unprivileged.readable(state, regno, reg, 0, size, True)
    low, high = stack_range(regno, reg, 0, size, "write" if fills else "read")
    if not size and low >= 0:
        raise Refuse(f"invalid read from stack R{regno} off={low} size=0")
    frame = state.frames[reg.obj]
    use_stack(env, frame, low)
    if fills and not reg.num.mask:
        _overwrite(state, frame, reg.obj, low, size)
        return
    _readable(env, _bytes(frame, low, high + size), f"R{regno} off {low}", size)
    clobbers = write or "helper_reads" not in env.rules
    for index in range(max((-high - size) >> 3, 0), ((-low - 1) >> 3) + 1):
        note_read(state, reg.obj, index)
        slot = frame.stack.get(index)
        if slot is None:
            continue
        if not clobbers:
            continue
        start = -8 * (index + 1)
        first, last = max(low - start, 0), min(high + size - start, 8)
        read, types = slot.types[first:last], slot.types
        if ZEROED in read:
            types = types[:first] + read.replace(ZEROED, MISC) + types[last:]
        if SPILL in read and slot.reg is not None and slot.reg.kind == "scalar":
            frame.stack[index] = Slot(types.replace(SPILL, MISC))
        elif types is not slot.types:
            frame.stack[index] = Slot(types, slot.reg)


def _overwrite(state: State, frame: Frame, number_: int, low: int, size: int) -> None:
    end = low + size
    for index in range((-end) >> 3, ((-low - 1) >> 3) + 1):
        start = -8 * (index + 1)
        if low <= start and start + 8 <= end:
            frame.stack[index] = MISC_SLOT
            state.written.add((number_, index))
            continue
        slot = frame.stack.get(index)
        types = slot.types.replace(SPILL, MISC) if slot else INVALID * 8
        note_read(state, number_, index)
        first, last = max(low, start) - start, min(end, start + 8) - start
        frame.stack[index] = Slot(types[:first] + MISC * (last - first) + types[last:])
