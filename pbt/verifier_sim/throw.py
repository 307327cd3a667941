"""Exceptions: bpf_throw ends the program, and the function that a tag names makes its result of them.

Source: bpf_find_exception_callback_insn_off() and check_max_stack_depth_subprog() of kernel/bpf/verifier.c.
"""

from __future__ import annotations

from collections.abc import Sequence

from pbt.typing import TYPE_CHECKING, Final
from pbt.verifier_sim.env import Env, Refuse
from pbt.verifier_sim.leave import DONE, in_range
from pbt.verifier_sim.resources import nothing_held
from pbt.verifier_sim.state import State

if TYPE_CHECKING:
    from pbt.verifier_sim.functions import Declared

_TAG: Final = "exception_callback:"


def handler(known: Declared) -> int:
    """The first slot of the function that the main program's tag names; 0 if there is no tag."""
    if 0 not in known.functions:
        return 0
    main = known.functions[0].name
    tags = [
        tag.name.removeprefix(_TAG)
        for id, row in enumerate(known.types.rows)
        if row.kind == 12 and row.name == main  # BTF_KIND_FUNC
        for tag in known.types.tagged(id)
        if tag.name.startswith(_TAG)
    ]
    if not tags:
        return 0
    if len(tags) > 1:
        raise Refuse("multiple exception callback tags for main subprog")
    found = next((at for at, function in known.functions.items() if at and function.name == tags[0]), 0)
    if not found:
        raise Refuse(f"exception callback '{tags[0]}' could not be found in BTF")
    if not known.functions[found].is_global:
        raise Refuse(f"exception callback '{tags[0]}' must have global linkage")
    return found


def check_handler(env: Env, start: int) -> None:
    """It takes one number and gives one."""
    if env.returns_void(start):
        raise Refuse("exception cb cannot return void", pc=start)
    params = env.wanted(start)
    if len(params) != 1 or params[0].kind != "number":
        raise Refuse("exception cb only supports single integer argument", pc=start)


def throw(env: Env, state: State) -> int:
    """The program ends here; nothing may be held. Without a function of its own for that, r1 is its result."""
    nothing_held(state, "bpf_throw")
    env.threw |= not env.handler
    if env.limits is not None and not env.subprogram and not env.handler:
        in_range(env, state.frames[-1].regs[1], env.limits, "program exit")
    return DONE


def allowed(env: Env, starts: Sequence[int]) -> None:
    """Functions that something calls back may not throw, nor may those that they call; nobody calls the handler."""
    if env.handler:
        for pc, insn in enumerate(env.insns):
            if insn.opcode == 0x85 and insn.src_reg == 1 and pc + 1 + insn.imm == env.handler:
                raise Refuse(f"insn {pc} cannot call exception cb directly", pc=pc)
    if "bpf_throw" not in env.kfuncs.values():
        return
    begun = [start for start in starts if start in env.called_back]
    seen: set[int] = set()
    while begun:
        start = begun.pop()
        if start in seen:
            continue
        seen.add(start)
        for pc in range(start, min((at for at in starts if at > start), default=len(env.insns))):
            insn = env.insns[pc]
            if env.kfuncs.get(pc) == "bpf_throw":
                number = starts.index(start)
                raise Refuse(
                    f"bpf_throw kfunc (insn {pc}) cannot be called from callback subprog {number}", pc=pc
                )
            if insn.opcode == 0x85 and insn.src_reg == 1:
                begun.append(pc + 1 + insn.imm)


__all__ = ["allowed", "check_handler", "handler", "throw"]
