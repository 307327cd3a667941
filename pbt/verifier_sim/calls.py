"""Calls: helpers judged by the one table of prototypes, functions of the program, callbacks, exits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pbt.isa import opcodes as op
from pbt.isa.insn import Insn
from pbt.uapi.helpers import BY_ID, Helper
from pbt.uapi.maps import MAP_TYPES
from pbt.verifier_sim import memory, scalar
from pbt.verifier_sim.env import Env, Refuse, Unsupported
from pbt.verifier_sim.reg import ANY, UNINIT, UNKNOWN_PLACE, MapInfo, Reg, number
from pbt.verifier_sim.scalar import Scalar
from pbt.verifier_sim.state import SPILL, ZEROED, Frame, Slot, State

DONE: Final = -1  # the path ends here
_MAX_SIZE = 1 << 29  # BPF_MAX_VAR_SIZ

_MEM = ("fp", "pkt", "pkt_meta", "map_key", "map_value", "mem", "ringbuf_mem", "buf", "trusted_ptr_")
_SOCK = ("sock_common", "sock", "tcp_sock", "xdp_sock")
_EXPECTED: dict[str, tuple[str, ...]] = {
    "CONST_MAP_PTR": ("map_ptr",),
    "PTR_TO_CTX": ("ctx",),
    "SPIN_LOCK": ("map_value", "ptr_"),
    "TIMER": ("map_value",),
    "KPTR": ("map_value", "ptr_"),
    "SOCK_COMMON": _SOCK,
    "BTF_ID_SOCK_COMMON": (*_SOCK, "ptr_", "trusted_ptr_"),
    "PTR_TO_BTF_ID": ("ptr_", "trusted_ptr_", "rcu_ptr_"),
    "PTR_TO_PERCPU_BTF_ID": ("percpu_ptr_", "percpu_rcu_ptr_", "percpu_trusted_ptr_"),
    "PTR_TO_ALLOC_MEM": ("ringbuf_mem",),
    "PTR_TO_FUNC": ("func",),
    "PTR_TO_STACK": ("fp",),
    "CONST_STR": ("map_value",),
    "DYNPTR": ("fp", "dynptr_ptr"),
    "DYNPTR_UNINIT": ("fp",),
}
_MEMORY = frozenset(
    "MAP_KEY MAP_VALUE UNINIT_MAP_VALUE MEM MEM_RDONLY UNINIT_MEM PTR_TO_MEM MEM_FIXED UNINIT_MEM_FIXED".split()
)
_OPTIONAL = {
    "MAP_VALUE_OR_NULL": "MAP_VALUE",
    "PTR_TO_MEM_OR_NULL": "MEM",
    "MEM_OR_NULL_RDONLY": "MEM_RDONLY",
    "PTR_TO_CTX_OR_NULL": "PTR_TO_CTX",
    "PTR_TO_BTF_ID_OR_NULL": "PTR_TO_BTF_ID",
    "PTR_TO_STACK_OR_NULL": "PTR_TO_STACK",
}
_ACQUIRES = frozenset(("sk_lookup_tcp", "sk_lookup_udp", "skc_lookup_tcp", "ringbuf_reserve"))
_RELEASES = frozenset(("sk_release", "ringbuf_submit", "ringbuf_discard"))
_MOVES_PACKET = frozenset(
    "skb_store_bytes skb_vlan_push skb_vlan_pop skb_change_proto skb_change_head skb_change_tail "
    "skb_pull_data skb_adjust_room clone_redirect l3_csum_replace l4_csum_replace xdp_adjust_head "
    "xdp_adjust_tail xdp_adjust_meta msg_pull_data msg_push_data msg_pop_data lwt_push_encap "
    "lwt_seg6_store_bytes lwt_seg6_adjust_srh lwt_seg6_action store_hdr_opt".split()
)
_READS_PACKET = frozenset(
    "map_lookup_elem map_update_elem map_delete_elem map_push_elem map_pop_elem map_peek_elem csum_diff "
    "sk_lookup_tcp sk_lookup_udp skc_lookup_tcp tcp_check_syncookie tcp_gen_syncookie fib_lookup "
    "perf_event_output ringbuf_output xdp_store_bytes xdp_load_bytes tcp_raw_gen_syncookie_ipv4 "
    "tcp_raw_gen_syncookie_ipv6 tcp_raw_check_syncookie_ipv4 tcp_raw_check_syncookie_ipv6 "
    "sk_storage_get strncmp check_mtu".split()
)
_SIZED_RESULT = frozenset(
    "get_stack get_task_stack probe_read_str probe_read_kernel_str probe_read_user_str".split()
)
_UNJUDGED = frozenset(("TIMER", "KPTR", "DYNPTR", "DYNPTR_UNINIT", "CONST_STR"))


class Given:
    """What the arguments of one call told: the map, sizes, the reference given back, the callback."""

    __slots__ = ("callback", "fills", "key", "map", "memory", "most", "ref", "size", "stack")

    def __init__(self) -> None:
        self.map: MapInfo | None = None
        self.key: Reg | None = None
        self.size = 0  # of the memory to be allocated
        self.most = 0  # upper bound of the last size argument
        self.ref = 0
        self.callback = -1
        self.stack: Reg = UNINIT
        self.memory: tuple[int, Reg, str] | None = None
        self.fills: list[tuple[int, Reg, int]] = []


# one argument -------------------------------------------------------------------------------------


def _named(kind: str) -> tuple[str, str]:
    name, _, parameter = kind.partition(":")
    return name, parameter


def _check_type(regno: int, reg: Reg, expected: tuple[str, ...]) -> None:
    shown = reg.type_name
    plain = shown.replace("rdonly_", "") if reg.kind in ("mem", "buf") else shown
    if reg.null or plain not in expected:
        raise Refuse(
            f"R{regno} type={shown} expected={', '.join(expected)}",
            "Compare the pointer with 0 first." if reg.null else "",
        )


def _argument(env: Env, state: State, helper: Helper, given: Given, regno: int, kind: str) -> None:
    reg = state.frames[-1].regs[regno]
    if reg.kind == "uninit":
        raise Refuse(f"R{regno} !read_ok", f"bpf_{helper.name} takes {len(helper.args)} arguments.")
    name, parameter = _named(kind)
    if name == "ANYTHING":
        if not env.privileged and reg.kind != "scalar":
            raise Refuse(f"R{regno} leaks addr into helper function")
        return
    if reg.kind in ("pkt", "pkt_meta") and not (env.packet_helpers and helper.name in _READS_PACKET):
        raise Refuse("helper access to the packet is not allowed")
    if name in _OPTIONAL:
        name = _OPTIONAL[name]
        if reg.kind == "scalar" and reg.num.const == 0:
            env.precise(reg)
            given.memory = (regno, reg, name)
            return
    if name == "MAP_VALUE" and given.map is not None and given.map.map_type in ("SOCKMAP", "SOCKHASH"):
        name = "BTF_ID_SOCK_COMMON"
    if name in _UNJUDGED:
        raise Unsupported(f"bpf_{helper.name}: an argument of kind {name}")
    if name in _MEMORY:
        _memory_argument(env, state, helper, given, regno, reg, name, parameter)
    elif name.startswith("CONST_SIZE"):
        _size_argument(env, state, given, regno, reg, name.endswith("_OR_ZERO"))
    elif name.startswith("CONST_ALLOC_SIZE"):
        if reg.kind != "scalar" or reg.num.mask:
            raise Refuse(f"R{regno} is not a known constant'")
        env.precise(reg)
        given.size = reg.num.value
    else:
        _object_argument(env, state, helper, given, regno, reg, name, parameter)


def _memory_argument(
    env: Env, state: State, helper: Helper, given: Given, regno: int, reg: Reg, name: str, parameter: str
) -> None:
    _check_type(regno, reg, _MEM)
    if name in ("MAP_KEY", "MAP_VALUE", "UNINIT_MAP_VALUE"):
        info = given.map
        if info is None:
            raise Refuse(f"invalid map_ptr to access map->{'key' if name == 'MAP_KEY' else 'value'}")
        if name == "MAP_KEY":
            given.key = reg
        size = info.key_size if name == "MAP_KEY" else info.value_size
        helper_memory(env, state, regno, reg, size, False, name.startswith("UNINIT"), given)
    elif name.endswith("_FIXED"):
        if name.startswith("UNINIT"):
            memory.aligned(env, reg, 0, int(parameter), strict=True)
        helper_memory(env, state, regno, reg, int(parameter), False, name.startswith("UNINIT"), given)
    else:
        given.memory = (regno, reg, name)


def _size_argument(env: Env, state: State, given: Given, regno: int, reg: Reg, zero: bool) -> None:
    if reg.kind != "scalar":
        raise Refuse(f"R{regno} type={reg.type_name} expected=scalar")
    num = reg.num
    if num.smin < 0:
        raise Refuse(
            f"R{regno} min value is negative, either use unsigned or 'var &= const'",
            "The size may be below zero as far as is known: mask it or compare it first.",
        )
    assert given.memory is not None
    at, pointer, name = given.memory
    given.memory = None
    if num.umin == 0 and not zero:
        raise Refuse(f"R{regno} invalid zero-sized read: u64=[{num.umin},{num.umax}]")
    if num.umax >= _MAX_SIZE:
        raise Refuse(f"R{regno} unbounded memory access, use 'var &= const' or 'if (var < const)'")
    fills = name.startswith("UNINIT")
    helper_memory(
        env, state, at, pointer, num.umax, zero, fills and not num.mask, given, fills or name == "MEM"
    )
    env.precise(reg)
    given.most = num.umax


def helper_memory(
    env: Env,
    state: State,
    regno: int,
    reg: Reg,
    size: int,
    zero: bool,
    fills: bool,
    given: Given,
    write: bool | None = None,
) -> None:
    """The helper may use `size` bytes at `reg`; memory that it fills changes after all checks."""
    write = fills if write is None else write
    kind = reg.kind
    if kind == "fp":
        if size == 0 and not zero:
            raise Refuse("invalid zero-sized read")
        if fills and size:
            memory.stack_range(regno, reg, 0, size, "write")
            given.fills.append((regno, reg, size))
        else:
            if write:
                memory.stack_range(regno, reg, 0, size, "write")
            memory.helper_stack(env, state, regno, reg, size, False)
    elif kind == "map_value":
        memory.map_value(env, regno, reg, 0, size, write, zero)
    elif kind == "map_key":
        if write:
            raise Refuse(f"R{regno} cannot write into {reg.type_name}")
        memory.region(regno, reg, 0, size, reg.obj.key_size, zero)
    elif kind in ("pkt", "pkt_meta"):
        memory.packet(env, regno, reg, 0, size, zero)
    elif kind == "mem":
        if write and "rdonly" in reg.mods:
            raise Refuse(f"R{regno} cannot write into {reg.type_name}")
        memory.region(regno, reg, 0, size, reg.size, zero)
    elif kind == "ptr_":
        if write:
            raise Refuse("only read is supported")
    elif kind == "scalar" and zero and size == 0 and reg.num.const == 0:
        return
    elif kind != "buf":
        raise Refuse(f"R{regno} type={reg.type_name} expected=fp")


def _object_argument(
    env: Env, state: State, helper: Helper, given: Given, regno: int, reg: Reg, name: str, parameter: str
) -> None:
    _check_type(regno, reg, _EXPECTED[name])
    if name == "CONST_MAP_PTR":
        if reg.obj is None:
            raise Unsupported("a map inside a map")
        given.map = reg.obj
    elif name == "PTR_TO_CTX":
        _unmoved(regno, reg)
    elif name == "PTR_TO_FUNC":
        given.callback = reg.obj
    elif name == "PTR_TO_STACK":
        memory.stack_range(regno, reg, 0, 0, "read")
        given.stack = reg
    elif name == "PTR_TO_BTF_ID":
        if parameter and reg.obj and reg.obj != parameter:
            raise Refuse(f"R{regno} is of type {reg.obj} but {parameter} is expected")
    elif name == "SPIN_LOCK":
        _spin_lock(env, state, helper, regno, reg)
    if helper.name in _RELEASES and regno == 1:
        if not reg.ref:
            raise Refuse(f"R{regno} must be referenced when passed to release function")
        if reg.off or reg.num.mask:
            raise Refuse(f"R{regno} must have zero offset when passed to release func")
        given.ref = reg.ref


def _unmoved(regno: int, reg: Reg) -> None:
    if reg.off < 0:
        raise Refuse(f"negative offset ctx ptr R{regno} off={reg.off} disallowed")
    if reg.off:
        raise Refuse(f"dereference of modified ctx ptr R{regno} off={reg.off} disallowed")
    if reg.num.mask or reg.num.value:
        raise Refuse(f"variable ctx access var_off=({reg.num.value:#x}; {reg.num.mask:#x}) disallowed")


def _spin_lock(env: Env, state: State, helper: Helper, regno: int, reg: Reg) -> None:
    info = reg.obj
    if env.prog.name in ("KPROBE", "TRACEPOINT", "PERF_EVENT", "RAW_TRACEPOINT"):
        raise Refuse("tracing progs cannot use bpf_spin_lock yet")
    if reg.kind == "map_value" and info.lock_at == UNKNOWN_PLACE:
        raise Unsupported("a spin lock whose place is in BTF")
    if reg.kind != "map_value" or info.lock_at < 0:
        raise Refuse(f"map '{getattr(info, 'name', '')}' has no valid bpf_spin_lock")
    if reg.num.mask:
        raise Refuse(f"R{regno} doesn't have constant offset. bpf_spin_lock has to be at the constant offset")
    at = reg.off + reg.num.smin
    if at != info.lock_at:
        raise Refuse(f"off {at} doesn't point to 'struct bpf_spin_lock' that is at {info.lock_at}")
    if helper.name == "spin_lock":
        if state.lock:
            raise Refuse("Locking two bpf_spin_locks are not allowed")
        state.lock = (info.name, reg.id)
    else:
        if not state.lock:
            raise Refuse("bpf_spin_unlock without taking a lock")
        if state.lock != (info.name, reg.id):
            raise Refuse("bpf_spin_unlock of different lock")
        state.lock = None


# a call -------------------------------------------------------------------------------------------


def call(env: Env, state: State, pc: int, insn: Insn) -> int:
    if insn.opcode & op.X:
        raise Unsupported("an indirect call")
    if insn.src_reg == op.CALL_KFUNC:
        raise Unsupported("a kernel function")
    if state.lock and (insn.src_reg or insn.imm not in (93, 94)):
        raise Refuse("function calls are not allowed while holding a lock")
    if insn.src_reg == op.CALL_LOCAL:
        return _enter(state, pc, pc + 1 + insn.imm)
    return _helper(env, state, pc, insn.imm)


def _enter(state: State, pc: int, target: int) -> int:
    frames = state.frames
    if len(frames) >= op.MAX_CALL_FRAMES:
        raise Refuse(f"the call stack of {len(frames)} frames is too deep")
    frame = Frame(pc, target, len(frames))
    caller = frames[-1].regs
    frame.regs[1:6] = caller[1:6]
    caller[0:6] = [UNINIT] * 6
    frames.append(frame)
    return target


def _helper(env: Env, state: State, pc: int, number_: int) -> int:
    helper = BY_ID.get(number_)
    if helper is None or not env.knows(helper):
        raise Refuse(f"invalid func unknown#{number_}")
    if not env.allows(helper):
        raise Refuse(
            f"program of this type cannot use helper bpf_{helper.name}#{number_}",
            f"A {env.prog.name} program has no such helper on this kernel.",
        )
    if helper.gpl and not env.gpl:
        raise Refuse(
            "cannot call GPL-restricted function from non-GPL compatible program",
            "Compile with a GPL-compatible license.",
        )
    given = Given()
    for at, kind in enumerate(helper.args):
        _argument(env, state, helper, given, at + 1, kind)
    if given.map is not None:
        _compatible(env, helper, given.map)
    for _, reg, size in given.fills:
        low = reg.off + reg.num.smin
        memory.use_stack(env, state.frames[reg.obj], low)
        memory.helper_stack(env, state, 0, reg, size, True)
    if given.ref:
        _release(state, given.ref)
    if helper.name == "tail_call":
        _tail_call(env, state)
    if given.callback >= 0:
        _call_back(env, state, pc, helper, given)
    result = _result(env, state, pc, helper, given)
    regs = state.frames[-1].regs
    regs[0:6] = [result, UNINIT, UNINIT, UNINIT, UNINIT, UNINIT]
    if helper.name in _MOVES_PACKET:
        _forget(state, lambda reg: reg.kind in ("pkt", "pkt_meta", "pkt_end"))
    return pc + 1


_CHANGES_SOCKMAPS = frozenset(
    "SCHED_CLS SCHED_ACT XDP SK_REUSEPORT FLOW_DISSECTOR SK_LOOKUP SOCKET_FILTER".split()
)


def _compatible(env: Env, helper: Helper, info: MapInfo) -> None:
    row = MAP_TYPES[info.map_type]
    allowed = helper.name in row.helpers
    if info.map_type in ("SOCKMAP", "SOCKHASH") and env.prog.name not in _CHANGES_SOCKMAPS:
        if helper.name == "map_update_elem":
            allowed = env.prog.name == "TRACING"
        elif helper.name == "map_delete_elem":
            allowed = env.prog.name in ("TRACING", "SOCK_OPS")
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
        _forget(other, lambda reg: reg.kind in ("pkt", "pkt_meta", "pkt_end"))
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
    kind, parameter = _named(helper.ret)
    if kind == "INTEGER":
        return _integer(env, helper, given)
    if kind == "VOID":
        return UNINIT
    null = kind.endswith("_OR_NULL")
    if kind.startswith("PTR_TO_MAP_VALUE"):
        return _map_result(env, state, pc, given, null)
    ref = acquire(env, state, pc) if helper.name in _ACQUIRES else 0
    fresh = ref or (env.new_id() if null else 0)
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
    if helper.name in _SIZED_RESULT:
        return number(scalar.between(-4095, given.most, env.rules))
    if helper.name == "get_smp_processor_id" and "cpu_bounded" in env.rules:
        return number(scalar.between(0, 8191, env.rules))
    return ANY


def _map_result(env: Env, state: State, pc: int, given: Given, null: bool) -> Reg:
    info = given.map
    assert info is not None
    if info.map_type in ("ARRAY_OF_MAPS", "HASH_OF_MAPS"):
        return Reg("map_ptr", id=env.new_id(), null=null)
    if info.map_type in ("SOCKMAP", "SOCKHASH"):
        ref = acquire(env, state, pc)
        return Reg("sock", id=ref, null=null, ref=ref)
    if info.map_type == "XSKMAP":
        return Reg("xdp_sock", id=env.new_id(), null=null)
    if null and "const_key" in env.rules and info.map_type in ("ARRAY", "PERCPU_ARRAY"):
        key = _constant_key(env, state, given.key)
        if key is not None and key < info.max_entries:
            return Reg("map_value", obj=info)
    identity = env.new_id() if null or info.lock_at >= 0 else 0
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
    spilled = slot.types.count(SPILL)
    if slot.reg is None or slot.reg.kind != "scalar" or at & 7 or spilled < 4:
        return None
    if spilled == 4 or slot.types == SPILL * 8:
        number_: Scalar = slot.reg.num
        if not number_.mask & 0xFFFFFFFF:
            env.precise(slot.reg)
            return number_.value & 0xFFFFFFFF
    return None


# callbacks ----------------------------------------------------------------------------------------


def _call_back(env: Env, state: State, pc: int, helper: Helper, given: Given) -> None:
    """Leave the callback's run as a branch; it comes back to the call, which runs again."""
    if len(state.frames) >= op.MAX_CALL_FRAMES:
        raise Refuse(f"the call stack of {len(state.frames)} frames is too deep")
    other = state.copy()
    before = earlier(state.node, pc, len(state.frames))
    if before is not None:
        widen(before, other)
    frame = Frame(pc, given.callback, len(other.frames))
    frame.callback = helper
    frame.regs[1:6] = _callback_arguments(helper, given, state.frames[-1].regs)
    other.frames.append(frame)
    other.loops += 1
    env.callback_calls.add(pc)
    env.push(given.callback, other)


def _callback_arguments(helper: Helper, given: Given, regs: list[Reg]) -> list[Reg]:
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
    raise Unsupported(f"the callback of bpf_{helper.name}")


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
            if reg.kind == old.kind == "scalar" and (level, regno) not in node.precise:
                if reg.num != old.num:
                    frame.regs[regno] = ANY
        for index, slot in frame.stack.items():
            was = before.stack.get(index)
            if slot.reg is None or was is None or was.reg is None or slot.types != was.types:
                continue
            if slot.reg.kind == was.reg.kind == "scalar" and (level, -1 - index) not in node.precise:
                if slot.reg.num != was.reg.num and slot.types == SPILL * 8:
                    frame.stack[index] = Slot(slot.types, ANY)


# exit ---------------------------------------------------------------------------------------------


def exit_(env: Env, state: State, pc: int, insn: Insn) -> int:
    if len(state.frames) > 1:
        return _leave(env, state)
    if state.refs:
        raise Refuse(
            "BPF_EXIT instruction in main prog would lead to reference leak",
            f"What instruction {state.refs[0][1]} took must be given back on every path.",
        )
    if state.lock:
        raise Refuse("BPF_EXIT instruction in main prog cannot be used inside bpf_spin_lock-ed region")
    result = state.frames[-1].regs[0]
    if result.kind == "uninit":
        raise Refuse("R0 !read_ok", "A program must set its return value.")
    if result.kind != "scalar" and not env.privileged:
        raise Refuse("R0 leaks addr as return value")
    limits = env.limits
    if limits is not None:
        _in_range(env, result, limits, "program exit")
    return DONE


def _in_range(env: Env, result: Reg, limits: tuple[int, int], where: str) -> None:
    if result.kind != "scalar":
        raise Refuse(f"At {where} the register R0 is not a known value ({result.type_name})")
    env.precise(result)
    low, high = limits
    if result.num.smin < low or result.num.smax > high:
        raise Refuse(
            f"At {where} the register R0 has smin={result.num.smin} smax={result.num.smax} "
            f"should have been in [{low}, {high}]"
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
        return frame.callsite
    state.frames[-1].regs[0] = result
    return frame.callsite + 1
