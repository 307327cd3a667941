"""The arguments of a helper call, judged by the kinds that its prototype names."""

from __future__ import annotations

from collections.abc import Callable

from pbt.uapi.helpers import Helper, named
from pbt.verifier_sim import fields, memory, objects
from pbt.verifier_sim.demands import (
    EXPECTED,
    MEM,
    Given,
    check_type,
    constant_text,
    helper_memory,
    same_struct,
    unmoved,
)
from pbt.verifier_sim.env import Env, Refuse
from pbt.verifier_sim.reg import Reg, names
from pbt.verifier_sim.state import State

_MAX_SIZE = 1 << 29  # BPF_MAX_VAR_SIZ
_MEMORY = names(
    "MAP_KEY MAP_VALUE UNINIT_MAP_VALUE MEM MEM_RDONLY UNINIT_MEM PTR_TO_MEM MEM_FIXED UNINIT_MEM_FIXED"
)
_OPTIONAL = {
    "MAP_VALUE_OR_NULL": "MAP_VALUE",
    "PTR_TO_MEM_OR_NULL": "MEM",
    "MEM_OR_NULL_RDONLY": "MEM_RDONLY",
    "PTR_TO_CTX_OR_NULL": "PTR_TO_CTX",
    "PTR_TO_BTF_ID_OR_NULL": "PTR_TO_BTF_ID",
    "BTF_ID_SOCK_COMMON_OR_NULL": "BTF_ID_SOCK_COMMON",
    "SOCKET_OR_NULL": "SOCKET",
    "PTR_TO_STACK_OR_NULL": "PTR_TO_STACK",
}
RELEASES = {"sk_release": 1, "ringbuf_submit": 1, "ringbuf_discard": 1, "kptr_xchg": 2}
"""Helper → the argument that it takes over."""
_KEYS = MEM.index("mem")  # before it, the kinds of memory that may always be keys and values of maps
_READS_PACKET = names(
    "map_lookup_elem map_lookup_percpu_elem map_update_elem map_delete_elem map_push_elem csum_diff "
    "sk_lookup_tcp sk_lookup_udp skc_lookup_tcp tcp_check_syncookie tcp_gen_syncookie "
    "tcp_raw_gen_syncookie_ipv4 tcp_raw_gen_syncookie_ipv6 tcp_raw_check_syncookie_ipv4 "
    "tcp_raw_check_syncookie_ipv6"
)
"""Those that take packet memory (`pkt_access`)."""
_OBJECTS: dict[str, Callable[..., None]] = {
    "SPIN_LOCK": lambda *given: objects.spin_lock(*given),
    "TIMER": lambda *given: objects.timer(*given),
    "KPTR": lambda *given: objects.kptr(*given),
}
_DYNPTRS: dict[str, Callable[..., None]] = {
    "DYNPTR_UNINIT": lambda *given: objects.new_dynptr(*given),
    "DYNPTR": lambda *given: objects.old_dynptr(*given),
}


def as_memory(env: Env, reg: Reg) -> Reg:
    """The context of a system call program, as memory for a helper."""
    if env.prog.name != "SYSCALL":
        return reg
    return Reg("mem", reg.num, reg.off, size=1 << 16)


def _takes_own(env: Env, helper: Helper, name: str, reg: Reg) -> bool:
    """Whether an argument may be an object that the program made itself."""
    if name == "SPIN_LOCK":
        return not reg.mods
    if name == "KPTR":
        return "kptr_in_objects" in env.rules and (not reg.mods or "non_own_" in reg.mods)
    if name == "PTR_TO_PERCPU_BTF_ID":
        return "rcu_" in reg.mods
    return helper.name == "kptr_xchg" and name == "PTR_TO_BTF_ID"


def _takes_packet(env: Env, helper: Helper) -> bool:
    """Whether a helper may be given a pointer to the packet, or the value of a socket option."""
    if env.prog.name == "CGROUP_SOCKOPT":
        return True
    return env.packet_helpers and helper.name in _READS_PACKET


def argument(env: Env, state: State, helper: Helper, given: Given, regno: int, kind: str) -> None:
    reg = state.frames[-1].regs[regno]
    if reg.kind == "uninit":
        raise Refuse(f"R{regno} !read_ok", f"bpf_{helper.name} takes {len(helper.args)} arguments.")
    name, parameter = named(kind)
    if name == "ANYTHING":
        if not env.perfmon and reg.kind != "scalar":
            raise Refuse(f"R{regno} leaks addr into helper function")
        return
    if reg.kind == "ctx" and named(kind)[0] not in EXPECTED and "syscall_context" in env.rules:
        reg = as_memory(env, reg)
    if reg.kind in ("pkt", "pkt_meta") and not _takes_packet(env, helper):
        raise Refuse("helper access to the packet is not allowed")
    if name in _OPTIONAL:
        name = _OPTIONAL[name]
        if reg.kind == "scalar" and reg.num.const == 0:
            env.precise(reg)
            given.memory = (regno, reg, name)
            return
        if reg.null and "null_folds" in env.rules:
            if helper.name in RELEASES and regno == RELEASES[helper.name]:
                raise Refuse(f"Possibly NULL pointer passed to helper arg{regno}")
            reg = reg._replace(null=False)
    if name == "MAP_VALUE" and given.map is not None and given.map.map_type in ("SOCKMAP", "SOCKHASH"):
        name = "BTF_ID_SOCK_COMMON"
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
    expected: tuple[str, ...] = MEM if "trusted_known" in env.rules else MEM[:-1]
    if "MAP_" in name and "memory_keys" not in env.rules:
        expected = MEM[:_KEYS]
    check_type(regno, reg, expected)
    if reg.kind == "ptr_" and "RDONLY" not in name:
        raise Refuse(f"bpf_{helper.name}() may write into memory pointed by R{regno} type={reg.type_name}")
    if name in ("MAP_KEY", "MAP_VALUE", "UNINIT_MAP_VALUE"):
        info = given.map
        assert info is not None  # every such helper takes its map first
        if name == "MAP_KEY":
            given.key = reg
        size = info.key_size if name == "MAP_KEY" else info.value_size
        fills = name.startswith("UNINIT") and info.map_type != "BLOOM_FILTER"  # which is asked, not read
        helper_memory(env, state, regno, reg, size, False, fills, given)
    elif name.endswith("_FIXED"):
        fills = name.startswith("UNINIT")
        if fills:
            memory.aligned(env, reg, 0, int(parameter), strict=True)
        fresh = fills and "deep_reads" in env.rules  # before, such memory had to be written already
        helper_memory(env, state, regno, reg, int(parameter), False, fresh, given, fills)
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


def _object_argument(
    env: Env, state: State, helper: Helper, given: Given, regno: int, reg: Reg, name: str, parameter: str
) -> None:
    check_type(regno, reg, EXPECTED[name], _takes_own(env, helper, name, reg))
    if reg.kind in ("dynptr_ptr", "func"):
        unmoved(regno, reg)
    if name == "CONST_MAP_PTR":
        if given.map is not None and (given.map != reg.obj or given.uid != reg.id):
            raise Refuse(
                f"timer pointer in R1 map_uid={given.uid} doesn't match map pointer in R2 map_uid={reg.id}"
            )
        given.map = reg.obj
    elif name == "PTR_TO_CTX":
        unmoved(regno, reg)
    elif name == "PTR_TO_FUNC":
        given.callback = reg.obj
    elif name == "PTR_TO_STACK":
        return  # only what the callback does with it is judged
    elif name == "PTR_TO_BTF_ID":
        same_struct(env, regno, reg, parameter)
    elif name == "BTF_ID_SOCK_COMMON" and reg.kind == "ptr_":
        same_struct(env, regno, reg, "sock_common")
    elif name == "CONST_STR":
        constant_text(env, regno, reg)
    elif name in _OBJECTS:
        _OBJECTS[name](env, state, helper, given, regno, reg)
    elif name in _DYNPTRS:
        _DYNPTRS[name](env, state, helper, given, regno, reg, parameter)
    if regno == RELEASES.get(helper.name):
        if not reg.ref:
            raise Refuse(f"R{regno} must be referenced when passed to release function")
        if reg.off or reg.num.mask:
            raise Refuse(f"R{regno} must have zero offset when passed to release func")
        given.ref = reg.ref
    if given.kptr is not None and regno == 2:
        fields.matches(env, given.kptr, regno, reg)
