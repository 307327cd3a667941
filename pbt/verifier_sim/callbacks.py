"""Callbacks: functions of the program that a helper calls, at once and repeatedly, or later."""

from __future__ import annotations

from collections.abc import Sequence

from pbt.isa import opcodes as op
from pbt.typing import TYPE_CHECKING, Any
from pbt.uapi.helpers import Helper
from pbt.verifier_sim import fields
from pbt.verifier_sim.demands import Given
from pbt.verifier_sim.env import Env, Refuse, Unsupported
from pbt.verifier_sim.reg import ANY, UNINIT, MapInfo, Reg
from pbt.verifier_sim.state import SPILL, TIMER, Frame, Later, Slot, State

if TYPE_CHECKING:
    from pbt.uapi.kfuncs import Kfunc


def call_back(env: Env, state: State, pc: int, helper: Helper, given: Given) -> int:
    """Leave the callback's run as a branch; it comes back to the call, which runs again.

    Before "callback_rounds" the callback runs once, always: its first slot is returned, else -1.
    """
    if helper.name == "loop" and "callback_rounds" in env.rules:
        mine = state.frames[-1]
        if not mine.regs[1].is_scalar:
            raise Refuse("backtracking misuse", "bpf_loop takes the number of its rounds in R1.")
        env.precise(mine.regs[1])
        if mine.rounds >= mine.regs[1].num.umax:
            mine.rounds = 0
            return -1
    arguments = _callback_arguments(env, helper, given, state.frames[-1].regs)
    return run(env, state, pc, helper, given.callback, arguments)


def run(env: Env, state: State, pc: int, who: Helper | Kfunc, target: int, arguments: Sequence[Reg]) -> int:
    """The same for any function that calls back, with r1 to r5 of the callback."""
    if len(state.frames) >= op.MAX_CALL_FRAMES:
        raise Refuse(f"the call stack of {len(state.frames) + 1} frames is too deep")
    once = "callback_rounds" not in env.rules
    mine = state.frames[-1]
    other = state if once else state.copy()
    before = None if once else earlier(state.node, pc, len(state.frames))
    if before is not None:
        widen(before, other)
    env.entered.add(target)
    env.called_back.add(target)
    frame = Frame(pc, target, len(other.frames))
    frame.callback = who
    frame.regs[1:6] = arguments
    other.frames.append(frame)
    env.callback_calls.add(pc)
    if once:
        return target
    other.loops += 1
    other.frames[-2].rounds += 1
    mine.rounds = 0
    env.push(target, other)
    return -1


def _callback_arguments(env: Env, helper: Helper, given: Given, regs: list[Reg]) -> list[Reg]:
    """r1 to r5 of the callback (Documentation of each helper in <linux/bpf.h>)."""
    if helper.name == "loop":
        return [ANY, regs[3], UNINIT, UNINIT, UNINIT]
    if helper.name == "for_each_map_elem":
        info = given.map
        return [
            Reg("map_ptr", obj=info),
            Reg("map_key", obj=info),
            Reg("map_value", obj=info),
            regs[3],
            UNINIT,
        ]
    if helper.name == "find_vma":
        task, area = Reg("ptr_", obj="task_struct"), Reg("ptr_", obj="vm_area_struct")
        return [task, area, regs[4], UNINIT, UNINIT]
    if helper.name == "user_ringbuf_drain":
        sample = Reg("dynptr_ptr", obj="LOCAL", id=env.new_id(), size=1)
        return [sample, regs[3], UNINIT, UNINIT, UNINIT]
    raise Unsupported(f"the callback of bpf_{helper.name}")


def call_later(env: Env, state: State, target: int, info: MapInfo | None, how: Later = TIMER) -> None:
    """The callback of a timer (or of other work) runs by itself, with nothing of the program around it.

    `info`: the map with the timer; `how`: what it may do.
    """
    env.entered.add(target)
    env.called_back.add(target)
    env.later.add(target)
    frame = Frame(-1, target, 0)
    frame.callback = how
    frame.regs[1:4] = [Reg("map_ptr", obj=info), Reg("map_key", obj=info), Reg("map_value", obj=info)]
    if info is not None and fields.has_lock(info):
        frame.regs[3] = frame.regs[3]._replace(id=env.new_id())
    later = State([frame])
    later.node, later.written = state.node, state.written.copy()
    env.push(target, later)


def earlier(node: Any, pc: int, depth: int) -> Any:
    """The checkpoint of an earlier round at the same call, if this is not the first."""
    if node is not None and node.pc == pc:
        node = node.parent  # the checkpoint of this very round
    while node is not None:
        if node.pc == pc and len(node.state.frames) == depth:
            return node
        node = node.parent
    return None


def widen(node: Any, state: State) -> None:
    """Forget numbers that changed from round to round and that no check needs exactly."""
    for level, (before, frame) in enumerate(zip(node.state.frames, state.frames, strict=False)):
        for regno, reg in enumerate(frame.regs):
            old = before.regs[regno]
            exact = (level, regno) in node.precise or reg.num == old.num
            if reg.kind == old.kind == "scalar" and not exact:
                frame.regs[regno] = ANY
        for index, slot in frame.stack.items():
            was = before.stack.get(index)
            if slot.reg is None or was is None or was.reg is None or slot.types != was.types:
                continue
            exact = (level, -1 - index) in node.precise or slot.reg.num == was.reg.num
            if slot.reg.kind == was.reg.kind == "scalar" and slot.types == SPILL * 8 and not exact:
                frame.stack[index] = Slot(slot.types, ANY)
