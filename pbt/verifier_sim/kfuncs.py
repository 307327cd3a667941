"""Calls of kernel functions, judged by the table of their prototypes and flags.

Source: check_kfunc_call() of kernel/bpf/verifier.c. The arguments: pbt.verifier_sim.kfuncargs.
"""

from __future__ import annotations

from pbt.typing import Final
from pbt.uapi.kfuncs import KFUNCS, Kfunc
from pbt.uapi.kfuncs_ops import BY_CPU, CALLERS, NUMBERS
from pbt.verifier_sim import graph, iterators, owned
from pbt.verifier_sim.callbacks import call_later
from pbt.verifier_sim.env import Env, Refuse, Unsupported, sleeps
from pbt.verifier_sim.kfuncargs import Call, judge
from pbt.verifier_sim.reg import ANY, NULL, UNINIT, Reg
from pbt.verifier_sim.resources import acquire, forget, forget_packets, release
from pbt.verifier_sim.state import TASK_WORK, WORK, State
from pbt.verifier_sim.throw import throw


def next_call(env: Env, pc: int) -> bool:
    """Whether the instruction asks an iterator for its next element."""
    return env.kfuncs.get(pc, "").endswith("_next")


def call(env: Env, state: State, pc: int) -> int:
    """One call; the slot that follows."""
    name = env.kfuncs.get(pc)
    row = KFUNCS.get(name or "")
    if row is None or ((row.name in CALLERS or row.name in NUMBERS) and _MEASURED > env.release >= (6, 0)):
        _elsewhere(env, name or "")
        what = f"the kernel function {name}, whose flags are in no table" if name else "a kernel function"
        raise Unsupported(what)
    _allowed(env, state, row)
    made = Call(env, state, pc, row)
    judge(made)
    if row.name in _SECTIONS:
        _SECTIONS[row.name](env, state, row)
    if row.name == "bpf_throw":
        return throw(env, state)
    entered = -1
    if row.core == "bpf_rbtree_add":
        entered = graph.order(made)
    elif made.callback >= 0:
        call_later(env, state, made.callback, made.map, TASK_WORK if "task_work" in row.name else WORK)
    if row.adds:
        graph.add(made)
    if "release" in row.flags:
        release(state, made.held)
    result = _result(made)
    regs = state.frames[-1 if entered < 0 else -2].regs
    if next_call(env, pc):
        return iterators.next_element(env, state, pc, regs[1], result)
    regs[0:6] = [result, UNINIT, UNINIT, UNINIT, UNINIT, UNINIT]
    if "moves_packet" in row.flags:
        forget_packets(state)
    return pc + 1 if entered < 0 else entered


def _elsewhere(env: Env, name: str) -> None:
    """Refuse a function that no program of this type may call, whatever it takes."""
    if env.release and env.release < (7, 0):
        return  # it was measured on 7.3
    callers = CALLERS.get(name)
    if (callers is not None and env.prog.name not in callers) or not _of_structure(env, name):
        raise Refuse(f"calling kernel function {name} is not allowed")


_MEASURED: Final = (7, 0)
"""The release since which functions of the kernel's extensions are known."""
_STRUCTURES: Final = {"scx_bpf_": "sched_ext_ops"}
"""Starts of names, and of the structures for whose functions alone STRUCT_OPS programs may call these."""


def _of_structure(env: Env, name: str) -> bool:
    since_7 = not env.release or env.release >= (7, 0)
    struct = env.attached.struct if env.attached is not None and since_7 else ""
    if struct == "sched_ext_ops_cid" and name in BY_CPU:
        return False
    return not struct or all(
        struct.startswith(ops) or not name.startswith(start) for start, ops in _STRUCTURES.items()
    )


def _allowed(env: Env, state: State, row: Kfunc) -> None:
    if "kfuncs" not in env.rules:
        raise Refuse("BPF_CALL uses reserved fields")
    if not env.gpl:
        raise Refuse("cannot call kernel function from non-GPL compatible program")
    if _absent(env, row):
        raise Refuse(f"kernel function {row.name} is not in this kernel")
    elsewhere = "session" in row.flags and env.attach not in ("TRACE_KPROBE_SESSION", "TRACE_UPROBE_SESSION")
    if elsewhere or not _for_type(env, row) or not _of_structure(env, row.name):
        raise Refuse(f"calling kernel function {row.name} is not allowed")
    loops = "locked_loop" in row.flags and "locked_loops" in env.rules
    if state.lock and not (loops or "locked" in row.flags):
        raise Refuse("function calls are not allowed while holding a lock")
    if "sleepable" in row.flags or ("slept" in row.flags and env.release < (7, 0)):
        if not sleeps(env, state):
            raise Refuse(f"program must be sleepable to call sleepable kfunc {row.name}")
        if state.rcu:
            raise Refuse(f"kernel func {row.name} is sleepable within rcu_read_lock region")
        if state.preempt:
            raise Refuse(f"kernel func {row.name} is sleepable within non-preemptible region")
        if iterators.irqs(state):
            raise Refuse(f"kernel func {row.name} is sleepable within IRQ-disabled region")
    if "rcu_protected" in row.flags and sleeps(env, state) and not state.rcu:
        raise Refuse(f"kernel func {row.name} requires RCU critical section protection")
    if "device" in row.flags:
        raise Refuse("metadata kfuncs require device-bound program")
    if row.name == "bpf_iter_css_task_new" and not (
        sleeps(env, state) or env.attach in ("TRACE_ITER", "LSM_MAC")
    ):
        raise Refuse("css_task_iter is only allowed in bpf_lsm, bpf_iter and sleepable progs")


_JOINED: Final = {
    "TRACEPOINT": (6, 12), "PERF_EVENT": (6, 12), "SOCK_OPS": (6, 15), "RAW_TRACEPOINT": (7, 0),
}  # fmt: skip
"""Types of programs that call more than what all types may, since a release."""
_KEYS: Final = ("bpf_lookup_user_key", "bpf_lookup_system_key", "bpf_key_put")


def _for_type(env: Env, row: Kfunc) -> bool:
    """Whether programs of this type may call the function on this kernel."""
    kind = env.prog.name
    if row.types is None:
        return True
    if row.name in _KEYS and env.release and env.release < (6, 18):
        return kind in ("TRACING", "LSM") or (kind in ("TRACEPOINT", "PERF_EVENT") and env.release >= (6, 12))
    return kind in row.types and (not env.release or env.release >= _JOINED.get(kind, ()))


def _absent(env: Env, row: Kfunc) -> bool:
    """By its types, where those of the very kernel are known, else by its release."""
    gone = bool(row.until and env.release >= row.until)
    if env.types is not None and env.types.exact:
        return gone or env.types.source.find("func", row.name) is None
    return bool(env.release) and (env.release < row.since or gone)


# results and sections -------------------------------------------------------------------------------


def _result(made: Call) -> Reg:
    """r0 after the call."""
    env, state, row = made.env, made.state, made.row
    kind, _, parameter = row.result.removesuffix("?").partition(":")
    if kind == "void":
        return UNINIT
    if kind == "num":
        return ANY
    null = row.result.endswith("?")
    ref = acquire(env, state, made.pc) if "acquire" in row.flags else 0
    if kind in _SPECIAL:
        return _SPECIAL[kind](made, null, ref)
    fresh = ref or (env.new_id() if null else 0)
    if kind in ("mem", "cell"):
        return Reg("mem", id=fresh, null=null, size=int(parameter), mods="rdonly_" if kind == "mem" else "")
    mods = "untrusted_" if kind == "untrusted" else ""
    if next_call(env, made.pc):
        mods = "rcu_" if _guarded(state) else "trusted_"
    return Reg("ptr_", id=fresh, null=null, obj=parameter, ref=ref, mods=mods)


def _guarded(state: State) -> bool:
    found = iterators.held_at(state, state.frames[-1].regs[1])
    return found is not None and found.mods == "rcu_"


_PACKETS: Final = ("SKB", "XDP", "SKB_META")  # dynptrs of memory that moves


def _slice(made: Call, null: bool, _: int) -> Reg:
    """Memory behind a dynptr, as long as that lives (and, of a packet, until it moves)."""
    owner = made.dynptr
    assert owner is not None
    mods = "packet_" if owner.obj in _PACKETS else ""
    if made.row.name == "bpf_dynptr_slice":
        mods += "rdonly_"
    elif not made.env.packet_write:
        raise Refuse("the prog does not allow writes to packet data")
    return Reg("mem", id=made.env.new_id(), null=null, obj=owner.id, size=made.constant, mods=mods)


_CONTEXTS: Final = {
    "__sk_buff": "sk_buff", "xdp_md": "xdp_buff", "bpf_sock_addr": "bpf_sock_addr_kern",
    "bpf_sock_ops": "bpf_sock_ops_kern", "bpf_perf_event_data": "bpf_perf_event_data_kern",
    "sk_msg_md": "sk_msg", "bpf_sysctl": "bpf_sysctl_kern", "bpf_sockopt": "bpf_sockopt_kern",
    "bpf_sk_lookup": "bpf_sk_lookup_kern", "sk_reuseport_md": "sk_reuseport_kern", "bpf_sock": "sock",
    "pt_regs": "pt_regs", "bpf_flow_keys": "bpf_flow_dissector", "bpf_nf_ctx": "bpf_nf_ctx",
    "bpf_cgroup_dev_ctx": "bpf_cgroup_dev_ctx",
}  # fmt: skip
"""The context as programs see it → the kernel's structure behind it (<linux/bpf_types.h>)."""


def _kernel_context(made: Call, null: bool, _: int) -> Reg:
    name = _CONTEXTS.get(made.env.prog.context)
    if name is None:
        raise Refuse(f"kern ctx type of a {made.env.prog.name} program is not a struct")
    return Reg("ptr_", obj=name, mods="trusted_")


def _cast(made: Call, null: bool, _: int) -> Reg:
    """Any address, read as a structure of the kernel: nobody vouches for it."""
    env, id = made.env, made.constant
    if not id and "untrusted_memory" in env.rules:
        return Reg("mem", mods="rdonly_untrusted_")
    if env.types is None or not env.types.exact:
        raise Unsupported("a cast to a type that only the BTF of that kernel tells")
    name = env.types.named(id)
    if not name:
        raise Refuse("kfunc bpf_rdonly_cast type ID argument must be of a struct or void")
    return Reg("ptr_", obj=name, mods="untrusted_")


def _zero(made: Call, null: bool, _: int) -> Reg:
    return NULL


_SPECIAL: Final = {
    "slice": _slice, "context": _kernel_context, "cast": _cast, "new": owned.made, "shared": owned.shared,
    "node": graph.taken, "zero": _zero,
}  # fmt: skip


def _rcu_lock(env: Env, state: State, row: Kfunc) -> None:
    if state.rcu and "rcu_nested" not in env.rules:
        raise Refuse(f"nested rcu read lock (kernel function {row.name})")
    state.rcu += 1


def _rcu_unlock(env: Env, state: State, row: Kfunc) -> None:
    if not state.rcu:
        raise Refuse(f"unmatched rcu read unlock (kernel function {row.name})")
    state.rcu -= 1
    if not state.rcu:
        forget(state, lambda reg: "rcu_" in reg.mods and reg.kind in ("ptr_", "own"), _untrusted)


def _untrusted(reg: Reg) -> Reg:
    if reg.kind == "own":
        return ANY
    return reg._replace(mods=reg.mods.replace("rcu_", "untrusted_"), null=False, id=0)


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


__all__ = ["call", "next_call"]
