"""What a program passes to its own global functions, judged by the types of their parameters."""

from __future__ import annotations

from pbt.typing import TYPE_CHECKING
from pbt.verifier_sim import dynptr
from pbt.verifier_sim.demands import EXPECTED, MEM, Given, check_type, helper_memory, same_struct, unmoved
from pbt.verifier_sim.env import Env, Refuse
from pbt.verifier_sim.state import State

if TYPE_CHECKING:
    from pbt.verifier_sim.params import Param


def passed(env: Env, state: State, at: int, param: Param) -> None:
    """Judge argument number `at` (from 0) of a call of a global function."""
    regno = at + 1
    reg = state.frames[-1].regs[regno]
    if "untrusted_" in param.mods:
        return  # whatever it is: reads through it cannot go wrong
    if reg.kind == "uninit":
        raise Refuse(f"R{regno} !read_ok")
    null = reg.kind == "scalar" and reg.num.const == 0
    if param.kind == "number":
        if reg.kind != "scalar":
            raise Refuse(f"R{regno} is not a scalar")
    elif param.kind == "arena":
        if reg.kind not in ("arena", "scalar"):
            raise Refuse(f"R{regno} is not a pointer to arena or scalar.")
    elif param.kind == "ctx":
        if reg.kind != "ctx":
            raise Refuse(f"arg#{at} expects pointer to ctx")
        unmoved(regno, reg)
    elif param.kind == "dynptr":
        check_type(regno, reg, EXPECTED["DYNPTR"])
        if reg.kind == "dynptr_ptr":
            unmoved(regno, reg)
        dynptr.existing(state, regno, reg, "")
    elif param.kind == "btf":
        if not (null and param.null):
            check_type(regno, reg, EXPECTED["PTR_TO_BTF_ID"])
            same_struct(env, regno, reg, param.struct)
    elif null:
        if not param.null and "null_param" in env.rules:
            raise Refuse(f"arg#{at} is expected to be non-NULL")
    else:
        solid = reg._replace(null=False)
        if "rdonly" in reg.mods or reg.kind not in MEM:
            raise Refuse(f"R{regno} type={reg.type_name} expected=fp")
        helper_memory(env, state, regno, solid, param.size, True, False, Given(), True)
        if reg.null and not param.null:
            raise Refuse(f"arg#{at} is expected to be non-NULL")
