"""Ends: of the program, of its functions and of callbacks; what they may return."""

from __future__ import annotations

from pbt.isa.insn import Insn
from pbt.typing import Final
from pbt.verifier_sim import scalar
from pbt.verifier_sim.env import Env, Refuse
from pbt.verifier_sim.reg import Reg
from pbt.verifier_sim.resources import nothing_held, release
from pbt.verifier_sim.state import Later, State

DONE: Final = -1  # the path ends here


def exit_(env: Env, state: State, pc: int, insn: Insn) -> int:
    if len(state.frames) > 1:
        if state.lock and "local_calls_locked" not in env.rules:
            raise Refuse("bpf_spin_unlock is missing")
        return leave(env, state)
    result = state.frames[-1].regs[0]
    handed = _handed_over(env, result)
    if handed:
        release(state, result.ref)
    nothing_held(state, "BPF_EXIT instruction in main prog")
    if handed:
        return DONE
    if env.void:
        return DONE
    if result.kind == "uninit":
        raise Refuse("R0 !read_ok", "A program must set its return value.")
    if result.kind != "scalar" and not env.perfmon:
        raise Refuse("R0 leaks addr as return value")
    if env.subprogram:
        if result.kind != "scalar":
            raise Refuse(f"At subprogram exit the register R0 is not a scalar value ({result.type_name})")
        return DONE
    later = state.frames[-1].callback
    if isinstance(later, Later):
        in_range(env, result, later.limits, "async callback return")
        return DONE
    limits = env.limits
    if limits is not None:
        in_range(env, result, limits, "program exit", wide=not (env.attached and env.attached.narrow))
    return DONE


def _handed_over(env: Env, result: Reg) -> bool:
    """Whether a STRUCT_OPS program returns an object that it holds: its function returns such, or a number."""
    if env.attached is None or not env.attached.struct or not result.ref:
        return False
    if env.attached.gives:
        whole = not (result.off or result.num.mask or result.null)
        return result.kind == "ptr_" and result.obj == env.attached.gives and whole
    return env.release >= (6, 16)


def in_range(env: Env, result: Reg, limits: tuple[int, int], where: str, wide: bool = True) -> None:
    if result.kind != "scalar":
        raise Refuse(f"At {where} the register R0 is not a known value ({result.type_name})")
    if "precise_returns" in env.rules:
        env.precise(result)
    low, high = limits
    num = result.num
    least, most = (num.smin, num.smax) if wide else (num.s32min, num.s32max)
    if least < low or most > high:
        known = _known(num)
        raise Refuse(f"At {where} the register R0 {known} should have been in [{low}, {high}]")


def _known(num: scalar.Scalar) -> str:
    """The bounds of a number, see verbose_invalid_scalar() (before 6.8 kernels name its bits)."""
    least = f" smin={num.smin}" if num.smin > scalar.S64_MIN else ""
    most = f" smax={num.smax}" if num.smax < scalar.S64_MAX else ""
    return f"has{least}{most}" if least or most else "has unknown scalar value"


def leave(env: Env, state: State) -> int:
    frame = state.frames.pop()
    result = frame.regs[0]
    if result.kind == "fp":
        raise Refuse("cannot return stack pointer to the caller")
    if frame.callback is not None:
        if result.kind == "uninit":
            raise Refuse("R0 !read_ok")
        in_range(env, result, (0, 1), "callback return")
        return frame.callsite + ("callback_rounds" not in env.rules)
    state.frames[-1].regs[0] = result
    return frame.callsite + 1
