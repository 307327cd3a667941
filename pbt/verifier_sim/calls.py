"""Calls: helpers judged by the one table of prototypes, functions of the program, callbacks, exits."""

from __future__ import annotations

from collections.abc import Callable

from pbt.isa import opcodes as op
from pbt.isa.insn import Insn
from pbt.typing import Any, Final
from pbt.uapi.helpers import BY_ID, Helper
from pbt.uapi.maps import MAP_TYPES
from pbt.verifier_sim import dynptr, fields, scalar, stack
from pbt.verifier_sim.arguments import Given, argument, named, passed
from pbt.verifier_sim.attach import may_call
from pbt.verifier_sim.env import MOVES_PACKET, Env, Refuse, Unsupported
from pbt.verifier_sim.reg import ANY, UNINIT, MapInfo, Reg, names, number
from pbt.verifier_sim.state import SPILL, ZEROED, Frame, Slot, State

DONE: Final = -1  # the path ends here
_INNER_MAP: Final = 1 << 12  # BPF_F_INNER_MAP
_ACQUIRES = names("sk_lookup_tcp sk_lookup_udp skc_lookup_tcp ringbuf_reserve")
_SIZED_RESULT = names("get_stack probe_read_str probe_read_kernel_str probe_read_user_str")


# a call -------------------------------------------------------------------------------------------


def call(env: Env, state: State, pc: int, insn: Insn) -> int:
    if insn.src_reg == op.CALL_KFUNC:
        raise Unsupported("a kernel function")
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
    frame = Frame(pc, target, len(frames))
    caller = frames[-1].regs
    frame.regs[1:6] = caller[1:6]
    caller[0:6] = [UNINIT] * 6
    frames.append(frame)
    return target


def _call_global(env: Env, state: State, pc: int, target: int) -> int:
    """A function that is judged by itself: its arguments must fit, its result is any number."""
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
    state.frames[-1].regs[0:6] = [ANY, UNINIT, UNINIT, UNINIT, UNINIT, UNINIT]
    if "packet_by_global" in env.rules and env.moves_packet(target):
        forget_packets(state)
    return pc + 1


def forget_packets(state: State) -> None:
    _forget(state, lambda reg: reg.kind in ("pkt", "pkt_meta", "pkt_end"))


def _helper(env: Env, state: State, pc: int, number_: int) -> int:
    helper = BY_ID.get(number_)
    if helper is None or not env.knows(helper):
        raise Refuse(f"invalid func unknown#{number_}")
    if not env.allows(helper):
        raise Refuse(
            f"program of this type cannot use helper bpf_{helper.name}#{number_}",
            f"A {env.prog.name} program has no such helper on this kernel.",
        )
    if not may_call(env.attached, env.attach, helper.name, env.sleepable):
        raise Refuse("helper call is not allowed in probe", "Few functions alone are safe for it.")
    if helper.gpl and not env.gpl:
        raise Refuse(
            "cannot call GPL-restricted function from non-GPL compatible program",
            "Compile with a GPL-compatible license.",
        )
    if helper.name in _SLEEPS and not _may_sleep(env, state) and "sleeping_helpers" in env.rules:
        raise Refuse("helper call might sleep in a non-sleepable prog")
    given = Given()
    for at, kind in enumerate(_ARGUMENTS.get((helper.name, env.prog.name), helper.args)):
        argument(env, state, helper, given, at + 1, kind)
    if given.map is not None and "CONST_MAP_PTR" in helper.args:
        _compatible(env, helper, given.map)
    for _, reg, size in given.fills:
        low = reg.off + reg.num.smin
        stack.use_stack(env, state.frames[reg.obj], low)
        stack.helper_stack(env, state, 0, reg, size, True)
    _local_rules(env, state, helper)
    if given.unlocked:
        _forget(state, lambda reg: reg.kind == "ptr_" and bool(reg.delta))
    if given.ref:
        _release(state, given.ref)
    if given.created is not None:
        _make_dynptr(env, state, pc, helper, given)
    if helper.name == "tail_call":
        if "packet_by_global" in env.rules and "tail_call_exit" not in env.rules:
            forget_packets(state)
        _tail_call(env, state)
    entered = -1
    if given.callback >= 0:
        if helper.name == "timer_set_callback":
            _call_later(env, state, given)
        else:
            entered = _call_back(env, state, pc, helper, given)
    if helper.name == "set_retval" and "retval_range" in env.rules:
        _in_range(env, state.frames[-1].regs[1], (-4095, 0), "bpf_set_retval", wide=False)
    result = _result(env, state, pc, helper, given)
    regs = state.frames[-1 if entered < 0 else -2].regs
    regs[0:6] = [result, UNINIT, UNINIT, UNINIT, UNINIT, UNINIT]
    if entered >= 0:
        return entered
    if helper.name in MOVES_PACKET:
        forget_packets(state)
    return pc + 1


def _may_sleep(env: Env, state: State) -> bool:
    """Programs that sleep do so but in sections of RCU, under locks, and (since 6.18) in timers."""
    if not env.sleepable or state.rcu or state.lock:
        return False
    return not ("async_context" in env.rules and any(frame.callback is LATER for frame in state.frames))


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


_ARGUMENTS: Final = {  # where a helper takes something else in programs of one type
    ("get_socket_cookie", "TRACING"): ("BTF_ID_SOCK_COMMON_OR_NULL",),
    ("get_socket_cookie", "LSM"): ("BTF_ID_SOCK_COMMON_OR_NULL",),
    **{
        (name, "LSM"): ("BTF_ID_SOCK_COMMON", "ANYTHING", "ANYTHING", *memory)
        for name, memory in (
            ("setsockopt", ("MEM_RDONLY", "CONST_SIZE")),
            ("getsockopt", ("UNINIT_MEM", "CONST_SIZE")),
        )
    },
}
_SLEEPS = names(
    "copy_from_user copy_from_user_task ima_inode_hash ima_file_hash sys_bpf sys_close btf_find_by_name_kind"
)
_NO_OWNERS = names("SCHED_CLS SCHED_ACT FLOW_DISSECTOR SOCKET_FILTER")
_CHANGES_SOCKMAPS = names("SCHED_CLS SCHED_ACT XDP SK_REUSEPORT FLOW_DISSECTOR SK_LOOKUP SOCKET_FILTER")


def _compatible(env: Env, helper: Helper, info: MapInfo) -> None:
    row = MAP_TYPES[info.map_type]
    allowed = helper.name in row.helpers
    if info.map_type in ("SOCKMAP", "SOCKHASH") and env.prog.name not in _CHANGES_SOCKMAPS:
        if helper.name == "map_update_elem":
            allowed = env.prog.name == "TRACING"
        elif helper.name == "map_delete_elem":
            allowed = env.prog.name in ("TRACING", "SOCK_OPS")
    if allowed and info.map_type in ("SOCKMAP", "SOCKHASH") and "sockmaps_owned" in env.rules:
        changes = helper.name in ("map_update_elem", "map_delete_elem")
        allowed = not (changes and env.prog.name in _NO_OWNERS)
    if not allowed:
        raise Refuse(
            f"cannot pass map_type {row.id} into func bpf_{helper.name}#{helper.id}",
            f"bpf_{helper.name} does not work on a map of type {row.name}.",
        )


def _tail_call(env: Env, state: State) -> None:
    if state.refs:
        raise Refuse("tail_call would lead to reference leak")
    if state.lock:
        raise Refuse("tail_call cannot be used inside bpf_spin_lock-ed region")
    if len(state.frames) > 1 and "tail_call_exit" in env.rules:
        other = state.copy()
        other.frames[-1].regs[0] = ANY
        forget_packets(other)
        env.push(_leave(env, other), other)


def _forget(state: State, which: Callable[[Reg], bool]) -> None:
    """Turn every copy of some pointers into unknown numbers."""
    for frame in state.frames:
        for regno, reg in enumerate(frame.regs):
            if which(reg):
                frame.regs[regno] = ANY
        for index, slot in frame.stack.items():
            if slot.reg is not None and which(slot.reg):
                frame.stack[index] = Slot(SPILL * 8, ANY)


def _release(state: State, ref: int) -> None:
    if all(held != ref for held, _ in state.refs):
        raise Refuse(f"release reference id={ref} that is not held")
    state.refs = tuple(held for held in state.refs if held[0] != ref)
    dynptr.release(state, ref)
    _forget(state, lambda reg: reg.ref == ref)


def acquire(env: Env, state: State, pc: int) -> int:
    """A new reference taken by the instruction at `pc`."""
    ref = env.new_id()
    state.refs = (*state.refs, (ref, pc))
    return ref


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
    ref = acquire(env, state, pc) if helper.name in _ACQUIRES else 0
    fresh = ref or (env.new_id() if null else 0)
    if kind == "PTR_TO_DYNPTR_MEM_OR_NULL":
        assert given.dynptr is not None
        owner = given.dynptr
        return Reg("mem", id=env.new_id(), null=True, obj=owner.id, size=given.size, ref=owner.ref)
    if given.kptr is not None:
        ref = acquire(env, state, pc)
        return Reg("ptr_", id=ref, null=True, obj=given.kptr.struct, ref=ref)
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
    return Reg("ptr_", id=fresh, null=null, obj="")


def _integer(env: Env, helper: Helper, given: Given) -> Reg:
    sized = helper.name == "get_task_stack" and "task_stack_sized" in env.rules
    if sized or helper.name in _SIZED_RESULT:
        return number(scalar.between(-4095, given.most, env.rules))
    if helper.name == "get_smp_processor_id" and "cpu_bounded" in env.rules:
        return number(scalar.between(0, env.cpus - 1, env.rules))
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
    if null and "const_key" in env.rules and info.map_type in ("ARRAY", "PERCPU_ARRAY") and fixed:
        key = _constant_key(env, state, given.key)
        if key is not None and key < info.max_entries:
            null = False
    identity = env.new_id() if null or fields.find(info, "spin_lock") else 0
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


# callbacks ----------------------------------------------------------------------------------------


def _call_back(env: Env, state: State, pc: int, helper: Helper, given: Given) -> int:
    """Leave the callback's run as a branch; it comes back to the call, which runs again.

    Before "callback_rounds" the callback runs once, always: its first slot is returned, else -1.
    """
    if len(state.frames) >= op.MAX_CALL_FRAMES:
        raise Refuse(f"the call stack of {len(state.frames) + 1} frames is too deep")
    once = "callback_rounds" not in env.rules
    other = state if once else state.copy()
    before = None if once else earlier(state.node, pc, len(state.frames))
    if before is not None:
        widen(before, other)
    frame = Frame(pc, given.callback, len(other.frames))
    frame.callback = helper
    frame.regs[1:6] = _callback_arguments(env, helper, given, state.frames[-1].regs)
    other.frames.append(frame)
    env.callback_calls.add(pc)
    if once:
        return given.callback
    other.loops += 1
    env.push(given.callback, other)
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


def _call_later(env: Env, state: State, given: Given) -> None:
    """The callback of a timer runs by itself, with nothing of the program around it."""
    info = given.map
    frame = Frame(-1, given.callback, 0)
    frame.callback = LATER
    frame.regs[1:4] = [Reg("map_ptr", obj=info), Reg("map_key", obj=info), Reg("map_value", obj=info)]
    if info is not None and fields.find(info, "spin_lock"):
        frame.regs[3] = frame.regs[3]._replace(id=env.new_id())
    later = State([frame])
    later.node, later.written = state.node, state.written.copy()
    env.push(given.callback, later)


LATER: Final = "a callback that runs later"


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


# exit ---------------------------------------------------------------------------------------------


def exit_(env: Env, state: State, pc: int, insn: Insn) -> int:
    if len(state.frames) > 1:
        if state.lock and "local_calls_locked" not in env.rules:
            raise Refuse("bpf_spin_unlock is missing")
        return _leave(env, state)
    if state.refs:
        raise Refuse(
            "BPF_EXIT instruction in main prog would lead to reference leak",
            f"What instruction {state.refs[0][1]} took must be given back on every path.",
        )
    if state.lock:
        raise Refuse("BPF_EXIT instruction in main prog cannot be used inside bpf_spin_lock-ed region")
    result = state.frames[-1].regs[0]
    if env.void:
        return DONE
    if result.kind == "uninit":
        raise Refuse("R0 !read_ok", "A program must set its return value.")
    if result.kind != "scalar" and not env.privileged:
        raise Refuse("R0 leaks addr as return value")
    if env.subprogram:
        if result.kind != "scalar":
            raise Refuse(f"At subprogram exit the register R0 is not a scalar value ({result.type_name})")
        return DONE
    if state.frames[-1].callback is LATER:
        _in_range(env, result, (0, 0), "async callback return")
        return DONE
    limits = env.limits
    if limits is not None:
        _in_range(env, result, limits, "program exit", wide=not (env.attached and env.attached.narrow))
    return DONE


def _in_range(env: Env, result: Reg, limits: tuple[int, int], where: str, wide: bool = True) -> None:
    if result.kind != "scalar":
        raise Refuse(f"At {where} the register R0 is not a known value ({result.type_name})")
    env.precise(result)
    low, high = limits
    num = result.num
    least, most = (num.smin, num.smax) if wide else (num.s32min, num.s32max)
    if least < low or most > high:
        raise Refuse(
            f"At {where} the register R0 has smin={least} smax={most} should have been in [{low}, {high}]"
        )


def _leave(env: Env, state: State) -> int:
    frame = state.frames.pop()
    result = frame.regs[0]
    if result.kind == "fp":
        raise Refuse("cannot return stack pointer to the caller")
    if frame.callback is not None:
        if result.kind == "uninit":
            raise Refuse("R0 !read_ok")
        _in_range(env, result, (0, 1), "callback return")
        return frame.callsite + ("callback_rounds" not in env.rules)
    state.frames[-1].regs[0] = result
    return frame.callsite + 1
