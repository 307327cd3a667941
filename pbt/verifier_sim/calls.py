"""Calls: helpers judged by the one table of prototypes, functions of the program, callbacks, exits."""

from __future__ import annotations

from pbt.isa import opcodes as op
from pbt.isa.insn import Insn
from pbt.typing import Final
from pbt.uapi.helpers import BY_ID, Helper, named
from pbt.uapi.maps import MAP_TYPES
from pbt.verifier_sim import bounds, callbacks, dynptr, fields, iterators, owned, scalar, stack, unprivileged
from pbt.verifier_sim.allowed import allows, knows
from pbt.verifier_sim.arguments import argument
from pbt.verifier_sim.demands import Given
from pbt.verifier_sim.env import MOVES_PACKET, Env, Refuse, Unsupported, sleeps
from pbt.verifier_sim.leave import in_range
from pbt.verifier_sim.memory import RDONLY_PROG
from pbt.verifier_sim.reg import ANY, UNINIT, MapInfo, Reg, names, number
from pbt.verifier_sim.resources import acquire, forget_packets, release
from pbt.verifier_sim.state import SPILL, ZEROED, Frame, State

_INNER_MAP: Final = 1 << 12  # BPF_F_INNER_MAP
_ACQUIRES = names("sk_lookup_tcp sk_lookup_udp skc_lookup_tcp ringbuf_reserve")
_SIZED_RESULT = names("get_stack probe_read_str probe_read_kernel_str probe_read_user_str")


# a call -------------------------------------------------------------------------------------------


def call(env: Env, state: State, pc: int, insn: Insn) -> int:
    if insn.src_reg == op.CALL_KFUNC:
        from pbt.verifier_sim import kfuncs

        return kfuncs.call(env, state, pc)
    own = insn.src_reg == op.CALL_LOCAL and "local_calls_locked" in env.rules
    if state.lock and not own and (insn.src_reg or insn.imm not in (93, 94)):
        raise Refuse("function calls are not allowed while holding a lock")
    if insn.src_reg == op.CALL_LOCAL:
        return _enter(env, state, pc, pc + 1 + insn.imm)
    return _helper(env, state, pc, insn.imm)


def _enter(env: Env, state: State, pc: int, target: int) -> int:
    frames = state.frames
    if target in env.globals:
        return _call_global(env, state, pc, target)
    if len(frames) >= op.MAX_CALL_FRAMES:
        raise Refuse(f"the call stack of {len(frames) + 1} frames is too deep")
    env.entered.add(target)
    frame = Frame(pc, target, len(frames))
    caller = frames[-1].regs
    frame.regs[1:6] = caller[1:6]
    caller[0:6] = [UNINIT] * 6
    frames.append(frame)
    return target


def _call_global(env: Env, state: State, pc: int, target: int) -> int:
    """A function that is judged by itself: its arguments must fit, its result is any number, if it has one."""
    from pbt.verifier_sim.passed import passed

    function = env.globals[target]
    number_ = sorted(env.starts).index(target)
    try:
        for at, param in enumerate(env.wanted(target)):
            passed(env, state, at, param)
    except Refuse as refusal:
        why = f"Caller passes invalid args into func#{number_} ('{function.name}')"
        raise Refuse(why, f"{refusal.reason} {refusal.hint}".strip()) from None
    inside = "loads_outside_callbacks" in env.rules and any(frame.callback for frame in state.frames)
    if inside and env.loads_packet(target):
        raise Refuse("cannot use BPF_LD_[ABS|IND] within callback")
    if state.lock:
        raise Refuse("global function calls are not allowed while holding a lock,")
    env.called.add(target)
    void = not function.result and "void_functions" in env.rules
    state.frames[-1].regs[0:6] = [UNINIT if void else ANY, UNINIT, UNINIT, UNINIT, UNINIT, UNINIT]
    if "packet_by_global" in env.rules and env.moves_packet(target):
        forget_packets(state)
    return pc + 1


def _helper(env: Env, state: State, pc: int, number_: int) -> int:
    helper = BY_ID.get(number_)
    if helper is None or not knows(env, helper):
        raise Refuse(f"invalid func unknown#{number_}")
    if not allows(env, helper):
        raise Refuse(
            f"program of this type cannot use helper bpf_{helper.name}#{number_}",
            f"Programs of type {env.prog.name} have no such helper on this kernel.",
        )
    if env.attached is not None:
        from pbt.verifier_sim.attach import may_call

        if not may_call(env.attached, env.attach, helper.name, env.release):
            raise Refuse("helper call is not allowed in probe")
    if helper.gpl and not env.gpl:
        raise Refuse(
            "cannot call GPL-restricted function from non-GPL compatible program",
            "Compile with a GPL-compatible license.",
        )
    if helper.name in _SLEEPS and "sleeping_helpers" in env.rules:
        _may_sleep(env, state, helper)
    given = Given()
    for at, kind in enumerate(_kinds(env, helper)):
        argument(env, state, helper, given, at + 1, kind)
    if given.map is not None and "CONST_MAP_PTR" in helper.args:
        _compatible(env, helper, given.map)
        if helper.name in _CHANGES and given.map.flags & RDONLY_PROG:
            raise Refuse("write into map forbidden")
    for regno, reg, size in given.fills:
        low = reg.off + reg.num.smin
        if not env.perfmon:
            unprivileged.filled(env, state, regno, reg, size)
        stack.use_stack(env, state.frames[reg.obj], low)
        stack.helper_stack(env, state, 0, reg, size, True)
    _local_rules(env, state, helper)
    if given.ref:
        release(state, given.ref)
    if given.created is not None:
        _make_dynptr(env, state, pc, helper, given)
    if helper.name == "tail_call":
        from pbt.verifier_sim.tailcall import tail_call

        tail_call(env, state, pc, given.map)
    entered = -1
    if given.callback >= 0:
        if helper.name == "timer_set_callback":
            callbacks.call_later(env, state, given.callback, given.map)
        else:
            entered = callbacks.call_back(env, state, pc, helper, given)
    if helper.name == "set_retval" and "retval_range" in env.rules:
        in_range(env, state.frames[-1].regs[1], (-4095, 0), "bpf_set_retval", wide=False)
    result = _result(env, state, pc, helper, given)
    regs = state.frames[-1 if entered < 0 else -2].regs
    regs[0:6] = [result, UNINIT, UNINIT, UNINIT, UNINIT, UNINIT]
    if entered >= 0:
        return entered
    if helper.name in MOVES_PACKET or _writes_packet(helper, given):
        forget_packets(state)
    return pc + 1


def _writes_packet(helper: Helper, given: Given) -> bool:
    """A write through a dynptr may move the data of the packet."""
    owner = given.dynptr
    return helper.name == "dynptr_write" and owner is not None and owner.obj in ("SKB", "SKB_META")


def _may_sleep(env: Env, state: State, helper: Helper) -> None:
    """Programs that sleep do so but in sections, under locks, and (since 6.18) in timers."""
    if not sleeps(env, state):
        raise Refuse("helper call might sleep in a non-sleepable prog")
    if state.rcu or state.lock:
        raise Refuse(f"sleepable helper bpf_{helper.name}#{helper.id} in rcu_read_lock region")
    if state.preempt:
        raise Refuse(f"sleepable helper bpf_{helper.name}#{helper.id} in non-preemptible region")
    if state.refs and iterators.irqs(state):
        raise Refuse(f"sleepable helper bpf_{helper.name}#{helper.id} in IRQ-disabled region")


def _local_rules(env: Env, state: State, helper: Helper) -> None:
    """What single helpers want beside the kinds of their arguments."""
    regs = state.frames[-1].regs
    if helper.name == "get_local_storage":
        if "flags_precise" in env.rules:
            env.precise(regs[2])
        if regs[2].num.const != 0 or regs[2].kind != "scalar":
            raise Refuse("get_local_storage() doesn't support non-zero flags")
    elif helper.name == "dynptr_from_mem" and regs[1].kind != "map_value":
        raise Refuse(f"Unsupported reg type {regs[1].type_name} for bpf_dynptr_from_mem data")


def _make_dynptr(env: Env, state: State, pc: int, helper: Helper, given: Given) -> None:
    assert given.created is not None
    reg, kind = given.created
    ref = acquire(env, state, pc) if dynptr.counted(kind) else 0
    dynptr.create(env, state, reg, (-(reg.off + reg.num.smin) - 1) >> 3, kind, ref)


_OPTIONS: Final = {
    "setsockopt": ("BTF_ID_SOCK_COMMON", "ANYTHING", "ANYTHING", "MEM_RDONLY", "CONST_SIZE"),
    "getsockopt": ("BTF_ID_SOCK_COMMON", "ANYTHING", "ANYTHING", "UNINIT_MEM", "CONST_SIZE"),
}
_LOOKUPS: Final = names("sk_lookup_tcp sk_lookup_udp skc_lookup_tcp")
_OF_CONTEXT: Final = names("SCHED_CLS SCHED_ACT LWT_IN LWT_OUT LWT_XMIT LWT_SEG6LOCAL")


def _kinds(env: Env, helper: Helper) -> tuple[str, ...]:
    """The kinds of the arguments; some helpers take something else in programs of some types."""
    name, prog = helper.name, env.prog.name
    tracing = prog in ("TRACING", "LSM", "SYSCALL")
    if name in _OPTIONS and prog in ("LSM", "CGROUP_SOCKOPT"):
        return _OPTIONS[name]
    if name == "get_socket_cookie" and (tracing or prog == "SK_REUSEPORT"):
        return ("BTF_ID_SOCK_COMMON_OR_NULL",)
    if name in _LOOKUPS and "empty_tuples" not in env.rules:
        return tuple(kind.removesuffix("_OR_ZERO") for kind in helper.args)
    if name == "sk_assign" and prog == "SK_LOOKUP":
        return ("PTR_TO_CTX", "SOCKET_OR_NULL", "ANYTHING")
    if name == "xdp_get_buff_len" and tracing:
        return ("PTR_TO_BTF_ID:xdp_buff",)
    if name == "get_cgroup_classid" and prog not in _OF_CONTEXT:
        return ()
    return helper.args


_SLEEPS = names(
    "copy_from_user copy_from_user_task ima_inode_hash ima_file_hash sys_bpf sys_close btf_find_by_name_kind"
)
_CHANGES = names("map_update_elem map_delete_elem map_push_elem map_pop_elem")
_NO_OWNERS = names("SCHED_CLS SCHED_ACT FLOW_DISSECTOR SOCKET_FILTER XDP")
_CHANGES_SOCKMAPS = names("SCHED_CLS SCHED_ACT XDP SK_REUSEPORT FLOW_DISSECTOR SK_LOOKUP SOCKET_FILTER")


def _compatible(env: Env, helper: Helper, info: MapInfo) -> None:
    row = MAP_TYPES[info.map_type]
    allowed = helper.name in row.helpers
    if info.map_type in ("SOCKMAP", "SOCKHASH") and env.prog.name not in _CHANGES_SOCKMAPS:
        if helper.name == "map_update_elem":
            allowed = env.attach == "TRACE_ITER"
        elif helper.name == "map_delete_elem":
            allowed = env.attach == "TRACE_ITER" or env.prog.name == "SOCK_OPS"
    if allowed and info.map_type in ("SOCKMAP", "SOCKHASH") and "sockmaps_owned" in env.rules:
        changes = helper.name in ("map_update_elem", "map_delete_elem")
        allowed = not (changes and env.prog.name in _NO_OWNERS)
    if not allowed:
        fitting = ", ".join(other.name for other in MAP_TYPES.values() if helper.name in other.helpers)
        raise Refuse(
            f"cannot pass map_type {row.id} into func bpf_{helper.name}#{helper.id}",
            f"This map is of type {row.name}; bpf_{helper.name} works on {fitting or 'none'}.",
        )


_OBJECTS = {
    "PTR_TO_SOCKET_OR_NULL": "sock",
    "PTR_TO_SOCK_COMMON_OR_NULL": "sock_common",
    "PTR_TO_TCP_SOCK_OR_NULL": "tcp_sock",
}


def _result(env: Env, state: State, pc: int, helper: Helper, given: Given) -> Reg:
    """r0 after the call."""
    kind, parameter = named(helper.ret)
    if kind == "INTEGER":
        return _integer(env, helper, given)
    if kind == "VOID":
        return UNINIT
    null = kind.endswith("_OR_NULL")
    if kind.startswith("PTR_TO_MAP_VALUE"):
        return _map_result(env, state, pc, given, null)
    fresh = env.new_id() if null else 0
    ref = acquire(env, state, pc) if helper.name in _ACQUIRES else 0
    fresh = ref or fresh
    if kind == "PTR_TO_DYNPTR_MEM_OR_NULL":
        assert given.dynptr is not None
        owner = given.dynptr
        return Reg("mem", id=fresh, null=True, obj=owner.id, size=given.size, ref=owner.ref)
    if given.kptr is not None:
        ref = acquire(env, state, pc)
        own = owned.is_own(env, given.kptr.struct)
        mods = "percpu_" if own and given.kptr.kind == "kptr_percpu" else ""
        return Reg("own" if own else "ptr_", id=ref, null=True, obj=given.kptr.struct, ref=ref, mods=mods)
    if kind == "PTR_TO_ALLOC_MEM_OR_NULL":
        return Reg("mem", id=fresh, null=True, size=given.size, ref=ref, mods="ringbuf_")
    if kind in _OBJECTS:
        if helper.name in ("sk_fullsock", "tcp_sock"):
            ref = state.frames[-1].regs[1].ref
        return Reg(_OBJECTS[kind], id=fresh, null=True, ref=ref)
    if kind.startswith("PTR_TO_BTF_ID"):
        mods = "trusted_" if kind.endswith("TRUSTED") else ""
        if null:
            ref = state.frames[-1].regs[1].ref
        return Reg("ptr_", id=fresh, null=null, obj=parameter, ref=ref, mods=mods)
    first = state.frames[-1].regs[1]
    if first.kind == "own":  # this CPU's copy of an object of the program
        return Reg("own", obj=first.obj, mods="rcu_")
    return Reg("ptr_", id=fresh, null=null, obj="")


def _integer(env: Env, helper: Helper, given: Given) -> Reg:
    sized = helper.name == "get_task_stack" and "task_stack_sized" in env.rules
    if sized or helper.name in _SIZED_RESULT:
        return number(bounds.between(-4095, given.most, env.rules))
    if helper.name == "get_smp_processor_id" and "cpu_bounded" in env.rules:
        return number(bounds.between(0, env.cpus - 1, env.rules))
    return ANY


def _map_result(env: Env, state: State, pc: int, given: Given, null: bool) -> Reg:
    info = given.map
    assert info is not None
    if info.map_type in ("ARRAY_OF_MAPS", "HASH_OF_MAPS"):
        if info.inner is None:
            raise Unsupported("a map inside a map that is not described")
        inside = info.inner._replace(inner_of=info.name)
        if "inner_map_pointer" in env.rules:
            return Reg("map_ptr", id=env.new_id(), null=null, obj=inside)
        return Reg("map_value", id=env.new_id(), null=null, obj=info)
    if info.map_type in ("SOCKMAP", "SOCKHASH"):
        ref = acquire(env, state, pc)
        return Reg("sock", id=ref, null=null, ref=ref)
    if info.map_type == "XSKMAP":
        return Reg("xdp_sock", id=env.new_id(), null=null)
    fixed = not (info.flags & _INNER_MAP and info.inner_of and "inner_map_flag" in env.rules)
    if null and env.bpf and "const_key" in env.rules and info.map_type in ("ARRAY", "PERCPU_ARRAY") and fixed:
        key = _constant_key(env, state, given.key)
        if key is not None and key < info.max_entries:
            null = False
    identity = env.new_id() if null or fields.has_lock(info) else 0
    return Reg("map_value", id=identity, null=null, obj=info)


def _constant_key(env: Env, state: State, key: Reg | None) -> int | None:
    """The number that a 4-byte key on the stack surely holds."""
    if key is None or key.kind != "fp" or key.num.mask:
        return None
    at = key.off + key.num.smin
    slot = state.frames[key.obj].stack.get((-at - 1) >> 3)
    if slot is None or at & 3:
        return None
    if slot.types[at & 7 : (at & 7) + 4] == ZEROED * 4:
        return 0
    wrong_size = slot.types.count(SPILL) != 4 or at & 7
    if wrong_size or slot.reg is None or slot.reg.kind != "scalar" or slot.reg.num.mask & 0xFFFFFFFF:
        return None
    env.precise(slot.reg)
    number_: scalar.Scalar = slot.reg.num
    return number_.value & 0xFFFFFFFF
