"""Calls of kernel functions, judged by the table of their prototypes and flags.

Source: check_kfunc_call() and check_kfunc_args() of kernel/bpf/verifier.c.
"""

from __future__ import annotations

from collections.abc import Callable

from pbt.typing import Final
from pbt.uapi.kfuncs import KFUNCS, Kfunc
from pbt.verifier_sim import dynptr, iterators
from pbt.verifier_sim.arguments import Given, helper_memory, same_struct
from pbt.verifier_sim.env import Env, Refuse, Unsupported
from pbt.verifier_sim.leave import DONE, in_range
from pbt.verifier_sim.reg import ANY, UNINIT, Reg
from pbt.verifier_sim.resources import acquire, forget, nothing_held, release
from pbt.verifier_sim.state import State

_SOCKETS: Final = {"sock": "sock", "sock_common": "sock_common", "tcp_sock": "tcp_sock"}


def next_call(env: Env, pc: int) -> bool:
    """Whether the instruction asks an iterator for its next element."""
    return env.kfuncs.get(pc, "").endswith("_next")


def call(env: Env, state: State, pc: int) -> int:
    """One call; the slot that follows."""
    name = env.kfuncs.get(pc)
    row = KFUNCS.get(name or "")
    if row is None:
        raise Unsupported(f"the kernel function {name}" if name else "a kernel function")
    _allowed(env, state, row)
    held = _arguments(env, state, pc, row)
    if row.name in _SECTIONS:
        _SECTIONS[row.name](env, state, row)
    if row.name == "bpf_throw":
        return _throw(env, state)
    if "release" in row.flags:
        release(state, held)
    regs = state.frames[-1].regs
    if next_call(env, pc):
        return iterators.next_element(env, state, pc, regs[1], _result(env, state, pc, row))
    result = _result(env, state, pc, row)
    regs[0:6] = [result, UNINIT, UNINIT, UNINIT, UNINIT, UNINIT]
    return pc + 1


def _allowed(env: Env, state: State, row: Kfunc) -> None:
    if "kfuncs" not in env.rules:
        raise Refuse("BPF_CALL uses reserved fields")
    if not env.gpl:
        raise Refuse("cannot call kernel function from non-GPL compatible program")
    if env.release and (env.release < row.since or (row.until and env.release >= row.until)):
        raise Refuse(f"kernel function {row.name} is not in this kernel")
    if row.types is not None and env.prog.name not in row.types:
        raise Refuse(f"calling kernel function {row.name} is not allowed")
    if state.lock:
        raise Refuse("function calls are not allowed while holding a lock")
    if "sleepable" in row.flags:
        if not env.sleepable:
            raise Refuse(f"program must be sleepable to call sleepable kfunc {row.name}")
        if state.rcu:
            raise Refuse(f"kernel func {row.name} is sleepable within rcu_read_lock region")
        if state.preempt:
            raise Refuse(f"kernel func {row.name} is sleepable within non-preemptible region")
    if "rcu_protected" in row.flags and env.sleepable and not state.rcu:
        raise Refuse(f"kernel func {row.name} requires RCU critical section protection")


# arguments ------------------------------------------------------------------------------------------


def _arguments(env: Env, state: State, pc: int, row: Kfunc) -> int:
    """Judge r1 to r5; the reference that the function takes over, 0 if none."""
    held, memory = 0, None
    for at, kind in enumerate(row.args):
        regno = at + 1
        reg = state.frames[-1].regs[regno]
        if reg.kind == "uninit":
            raise Refuse(f"R{regno} !read_ok")
        if reg.mods.startswith("?"):
            raise Unsupported("an argument whose type is in BTF")
        name, _, parameter = kind.removesuffix("?").partition(":")
        null = reg.kind == "scalar" and reg.num.const == 0
        if name in ("num", "const", "size"):
            _number(env, state, regno, reg, name, memory)
        elif null and kind.endswith("?"):
            memory = None
        elif name == "mem" and not parameter:
            memory = (regno, reg)
        else:
            _JUDGES[name](env, state, pc, row, regno, reg, parameter)
            held = reg.ref or held if "release" in row.flags else 0
    if "release" in row.flags and not held:
        raise Refuse(f"release kernel function {row.name} expects refcounted PTR_TO_BTF_ID")
    return held


def _number(env: Env, state: State, regno: int, reg: Reg, name: str, memory: tuple[int, Reg] | None) -> None:
    if reg.kind != "scalar":
        raise Refuse(f"R{regno} is not a scalar")
    if name == "num":
        return
    if name == "const" and reg.num.mask:
        raise Refuse(f"R{regno} must be a known constant")
    env.precise(reg)
    if memory is None:
        return
    if reg.num.smin < 0:
        raise Refuse(f"R{regno} min value is negative, either use unsigned or 'var &= const'")
    if reg.num.umax >= 1 << 29:
        raise Refuse(f"R{regno} unbounded memory access, use 'var &= const' or 'if (var < const)'")
    at, pointer = memory
    if pointer.null:
        raise Refuse(f"R{at} type={pointer.type_name} expected=fp")
    helper_memory(env, state, at, pointer, reg.num.umax, True, False, Given(), True)


def _pointer(env: Env, state: State, pc: int, row: Kfunc, regno: int, reg: Reg, struct: str) -> None:
    counted = "trusted" in row.flags or "release" in row.flags
    if reg.null or (reg.kind == "scalar" and reg.num.const == 0):
        raise Refuse(f"Possibly NULL pointer passed to trusted arg{regno - 1}")
    if reg.kind in _SOCKETS:
        reg = reg._replace(kind="ptr_", obj=_SOCKETS[reg.kind], mods="trusted_")
    if reg.kind != "ptr_":
        raise Refuse(
            f"arg#{regno - 1} pointer type STRUCT {struct} must point to scalar, or struct with scalar"
        )
    _fixed(row, regno, reg)
    trusted = reg.ref or reg.mods.startswith("trusted_")
    if "kfunc_trust" in env.rules and not trusted:
        if counted and "rcu" not in row.flags:
            raise Refuse(f"R{regno} must be referenced or trusted")
        if "rcu" in row.flags and not reg.mods.startswith("rcu_"):
            raise Refuse(f"R{regno} must be a rcu pointer")
    if "release" in row.flags and reg.ref:
        if reg.obj != struct:
            raise Refuse(
                f"kernel function {row.name} args#{regno - 1} expected pointer to STRUCT {struct} "
                f"but R{regno} has a pointer to STRUCT {reg.obj}"
            )
        return
    if struct == "cpumask" and reg.obj == "bpf_cpumask":
        return
    same_struct(env, regno, reg, struct)


def _fixed(row: Kfunc, regno: int, reg: Reg) -> None:
    """check_func_arg_reg_off(): what is given back is not moved, and nothing is moved by unknown amounts."""
    if "release" in row.flags and reg.off and not reg.num.mask and reg.off >= 0:
        raise Refuse(f"R{regno} must have zero offset when passed to release func")
    if reg.off < 0:
        raise Refuse(f"negative offset {reg.type_name} ptr R{regno} off={reg.off} disallowed")
    if reg.num.mask:
        raise Refuse(
            f"variable {reg.type_name} access var_off=({reg.num.value:#x}; {reg.num.mask:#x}) disallowed"
        )


def _sized(env: Env, state: State, pc: int, row: Kfunc, regno: int, reg: Reg, size: str) -> None:
    if reg.null or reg.kind == "scalar":
        raise Refuse(f"R{regno} type={reg.type_name} expected=fp")
    helper_memory(env, state, regno, reg, int(size), True, False, Given(), True)


def _context(env: Env, state: State, pc: int, row: Kfunc, regno: int, reg: Reg, _: str) -> None:
    if reg.kind != "ctx":
        raise Refuse(f"arg#{regno - 1} expected pointer to ctx, but got {reg.type_name}")


def _socket(env: Env, state: State, pc: int, row: Kfunc, regno: int, reg: Reg, _: str) -> None:
    if reg.kind not in (*_SOCKETS, "ptr_") or reg.null:
        raise Refuse(f"R{regno} type={reg.type_name} expected=sock")


def _map(env: Env, state: State, pc: int, row: Kfunc, regno: int, reg: Reg, _: str) -> None:
    if reg.kind != "map_ptr" or reg.null:
        raise Refuse(f"R{regno} type={reg.type_name} expected=map_ptr")


def _old_dynptr(env: Env, state: State, pc: int, row: Kfunc, regno: int, reg: Reg, _: str) -> None:
    if reg.kind not in ("fp", "dynptr_ptr"):
        raise Refuse(f"arg#{regno - 1} expected pointer to stack or const struct bpf_dynptr")
    dynptr.existing(state, regno, reg, "")


def _new_dynptr(env: Env, state: State, pc: int, row: Kfunc, regno: int, reg: Reg, kind: str) -> None:
    if reg.kind != "fp":
        raise Refuse(f"arg#{regno - 1} expected pointer to stack or const struct bpf_dynptr")
    dynptr.create(env, state, reg, dynptr.prepare(env, state, regno, reg), kind, 0)


def _new_iterator(env: Env, state: State, pc: int, row: Kfunc, regno: int, reg: Reg, kind: str) -> None:
    guarded = "rcu_protected" in row.flags
    iterators.create(env, state, regno, reg, kind, acquire(env, state, pc), guarded)


def _iterator(env: Env, state: State, pc: int, row: Kfunc, regno: int, reg: Reg, kind: str) -> None:
    found = iterators.existing(state, regno, reg, kind)
    if row.name.endswith("_destroy"):
        iterators.destroy(env, state, reg, kind)
        release(state, found.ref)


def _refused(env: Env, state: State, pc: int, row: Kfunc, regno: int, reg: Reg, _: str) -> None:
    raise Refuse(f"arg#{regno - 1} pointer type must point to scalar, or struct with scalar")


def _new_irq(env: Env, state: State, pc: int, row: Kfunc, regno: int, reg: Reg, _: str) -> None:
    if reg.kind != "fp":
        raise Refuse(f"arg#{regno - 1} expected pointer to stack")
    iterators.create(env, state, regno, reg, iterators.IRQ, acquire(env, state, pc), False)


def _irq(env: Env, state: State, pc: int, row: Kfunc, regno: int, reg: Reg, _: str) -> None:
    found = iterators.existing(state, regno, reg, iterators.IRQ)
    saved = [ref for ref, _ in state.refs if ref in iterators.irqs(state)]
    if saved and saved[-1] != found.ref:
        raise Refuse(f"cannot restore irq state out of order, expected id={saved[-1]}")
    iterators.destroy(env, state, reg, iterators.IRQ)
    release(state, found.ref)


Judge = Callable[[Env, State, int, Kfunc, int, Reg, str], None]
_JUDGES: Final[dict[str, Judge]] = {
    "ptr": _pointer, "mem": _sized, "ctx": _context, "sock": _socket, "map": _map, "dynptr": _old_dynptr,
    "new_dynptr": _new_dynptr, "new_iter": _new_iterator, "iter": _iterator, "refused": _refused,
    "new_irq": _new_irq, "irq": _irq,
}  # fmt: skip


# results and sections -------------------------------------------------------------------------------


def _result(env: Env, state: State, pc: int, row: Kfunc) -> Reg:
    """r0 after the call."""
    kind, _, parameter = row.result.removesuffix("?").partition(":")
    if kind == "void":
        return UNINIT
    if kind == "num":
        return ANY
    null = row.result.endswith("?")
    ref = acquire(env, state, pc) if "acquire" in row.flags else 0
    fresh = ref or (env.new_id() if null else 0)
    if kind == "mem":
        return Reg("mem", id=fresh, null=null, size=int(parameter), mods="rdonly_")
    if kind == "slice":
        return _slice(env, state)
    mods = ""
    if next_call(env, pc):
        mods = "rcu_" if _guarded(state) else "trusted_"
    return Reg("ptr_", id=fresh, null=null, obj=parameter, ref=ref, mods=mods)


def _guarded(state: State) -> bool:
    found = iterators.held_at(state, state.frames[-1].regs[1])
    return found is not None and found.mods == "rcu_"


def _slice(env: Env, state: State) -> Reg:
    regs = state.frames[-1].regs
    owner = dynptr.existing(state, 1, regs[1], "")
    return Reg(
        "mem", id=env.new_id(), null=True, obj=owner.id, size=regs[4].num.value, ref=owner.ref, mods="rdonly_"
    )


def _rcu_lock(env: Env, state: State, row: Kfunc) -> None:
    if state.rcu and "rcu_nested" not in env.rules:
        raise Refuse(f"nested rcu read lock (kernel function {row.name})")
    state.rcu += 1


def _rcu_unlock(env: Env, state: State, row: Kfunc) -> None:
    if not state.rcu:
        raise Refuse(f"unmatched rcu read unlock (kernel function {row.name})")
    state.rcu -= 1
    if not state.rcu:
        forget(state, lambda reg: reg.kind == "ptr_" and reg.mods == "rcu_", _untrusted)


def _untrusted(reg: Reg) -> Reg:
    return reg._replace(mods="untrusted_", null=False, id=0)


def _no_preemption(env: Env, state: State, row: Kfunc) -> None:
    state.preempt += 1


def _preemption(env: Env, state: State, row: Kfunc) -> None:
    if not state.preempt:
        raise Refuse(f"unmatched attempt to enable preemption (kernel function {row.name})")
    state.preempt -= 1


_SECTIONS: Final = {
    "bpf_rcu_read_lock": _rcu_lock,
    "bpf_rcu_read_unlock": _rcu_unlock,
    "bpf_preempt_disable": _no_preemption,
    "bpf_preempt_enable": _preemption,
}


def _throw(env: Env, state: State) -> int:
    """The program ends here, with r1 as its result; nothing may be held."""
    if env.declared is not None and env.declared.types.has_tag("exception_callback:"):
        raise Unsupported("an exception callback")
    nothing_held(state, "bpf_throw")
    if env.limits is not None and not env.subprogram:
        in_range(env, state.frames[-1].regs[1], env.limits, "program exit")
    return DONE


__all__ = ["call", "next_call"]
