"""The arguments of a helper call, judged by the kinds that its prototype names."""

from __future__ import annotations

from pbt.typing import TYPE_CHECKING
from pbt.uapi.helpers import Helper
from pbt.verifier_sim import dynptr, fields, kernelptr, memory, objects, owned, stack
from pbt.verifier_sim.env import Env, Refuse, Unsupported
from pbt.verifier_sim.reg import Field, MapInfo, Reg, names
from pbt.verifier_sim.state import State

if TYPE_CHECKING:
    from pbt.verifier_sim.functions import Param

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
    "PTR_TO_STACK_OR_NULL": "PTR_TO_STACK",
}
RELEASES = {"sk_release": 1, "ringbuf_submit": 1, "ringbuf_discard": 1, "kptr_xchg": 2}
"""Helper → the argument that it takes over."""
_READS_PACKET = names(
    "map_lookup_elem map_update_elem map_delete_elem map_push_elem map_pop_elem map_peek_elem "
    "csum_diff sk_lookup_tcp sk_lookup_udp skc_lookup_tcp tcp_check_syncookie tcp_gen_syncookie "
    "fib_lookup perf_event_output ringbuf_output xdp_store_bytes xdp_load_bytes "
    "tcp_raw_gen_syncookie_ipv4 tcp_raw_gen_syncookie_ipv6 tcp_raw_check_syncookie_ipv4 "
    "tcp_raw_check_syncookie_ipv6 sk_storage_get strncmp check_mtu"
)
_OBJECTS = {"SPIN_LOCK": objects.spin_lock, "TIMER": objects.timer, "KPTR": objects.kptr}
_DYNPTRS = {"DYNPTR_UNINIT": objects.new_dynptr, "DYNPTR": objects.old_dynptr}


class Given:
    """What the arguments of one call told: the map, sizes, the reference given back, the callback."""

    __slots__ = (
        "callback", "created", "dynptr", "fills", "key", "kptr", "map", "memory", "most", "ref", "size",
        "uid",
    )  # fmt: skip

    def __init__(self) -> None:
        self.map: MapInfo | None = None
        self.key: Reg | None = None
        self.size = 0  # of the memory to be allocated
        self.most = 0  # upper bound of the last size argument
        self.ref = 0
        self.callback = -1
        self.memory: tuple[int, Reg, str] | None = None
        self.fills: list[tuple[int, Reg, int]] = []
        self.uid = 0  # which of several maps inside a map
        self.kptr: Field | None = None
        self.dynptr: Reg | None = None  # the dynptr that is used
        self.created: tuple[Reg, str] | None = None  # where a dynptr is made, and its type


def as_memory(env: Env, reg: Reg) -> Reg:
    """The context of a system call program, as memory for a helper."""
    if env.prog.name != "SYSCALL":
        return reg
    return Reg("mem", reg.num, reg.off, size=1 << 16)


def named(kind: str) -> tuple[str, str]:
    name, _, parameter = kind.partition(":")
    return name, parameter


def _takes_own(env: Env, helper: Helper, name: str, reg: Reg) -> bool:
    """Whether an argument may be an object that the program made itself."""
    if name == "SPIN_LOCK":
        return not reg.mods
    if name == "KPTR":
        return "kptr_in_objects" in env.rules and (not reg.mods or "non_own_" in reg.mods)
    if name == "PTR_TO_PERCPU_BTF_ID":
        return "rcu_" in reg.mods
    return helper.name == "kptr_xchg" and name == "PTR_TO_BTF_ID"


def _check_type(regno: int, reg: Reg, expected: tuple[str, ...], own: bool = False) -> None:
    if reg.mods == "?untrusted_":
        raise Refuse(f"R{regno} type=untrusted_ptr_ expected={', '.join(expected)}")
    if reg.mods == "?":
        raise Unsupported("an argument whose type is in BTF")
    shown = reg.type_name
    plain = shown.replace("rdonly_", "") if reg.kind in ("mem", "buf") else shown
    if reg.kind == "own":
        plain = ("percpu_ptr_" if "percpu_" in reg.mods else "ptr_") if own else ""
    if reg.null or plain not in expected:
        raise Refuse(
            f"R{regno} type={shown} expected={', '.join(expected)}",
            "Compare the pointer with 0 first." if reg.null else "",
        )


def argument(env: Env, state: State, helper: Helper, given: Given, regno: int, kind: str) -> None:
    reg = state.frames[-1].regs[regno]
    if reg.kind == "uninit":
        raise Refuse(f"R{regno} !read_ok", f"bpf_{helper.name} takes {len(helper.args)} arguments.")
    name, parameter = named(kind)
    if name == "ANYTHING":
        if not env.privileged and reg.kind != "scalar":
            raise Refuse(f"R{regno} leaks addr into helper function")
        return
    if reg.kind == "ctx" and named(kind)[0] not in _EXPECTED and "syscall_context" in env.rules:
        reg = as_memory(env, reg)
    if reg.kind in ("pkt", "pkt_meta") and not (env.packet_helpers and helper.name in _READS_PACKET):
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
            stack.stack_range(regno, reg, 0, size, "write")
            given.fills.append((regno, reg, size))
        else:
            if write:
                stack.stack_range(regno, reg, 0, size, "write")
            stack.helper_stack(env, state, regno, reg, size, False, write)
    elif kind == "map_value":
        memory.map_value(env, regno, reg, 0, size, write, zero, True)
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
        kernelptr.read_by_helper(env, regno, reg, size)
    elif kind == "own":
        owned.by_helper(env, regno, reg, size)
    elif kind == "scalar" and zero and size == 0 and reg.num.const == 0:
        return
    elif kind != "buf":
        raise Refuse(f"R{regno} type={reg.type_name} expected=fp")


def _object_argument(
    env: Env, state: State, helper: Helper, given: Given, regno: int, reg: Reg, name: str, parameter: str
) -> None:
    _check_type(regno, reg, _EXPECTED[name], _takes_own(env, helper, name, reg))
    if reg.kind in ("dynptr_ptr", "func"):
        _unmoved(regno, reg)
    if name == "CONST_MAP_PTR":
        if given.map is not None and (given.map != reg.obj or given.uid != reg.id):
            raise Refuse(
                f"timer pointer in R1 map_uid={given.uid} doesn't match map pointer in R2 map_uid={reg.id}"
            )
        given.map = reg.obj
    elif name == "PTR_TO_CTX":
        _unmoved(regno, reg)
    elif name == "PTR_TO_FUNC":
        given.callback = reg.obj
    elif name == "PTR_TO_STACK":
        return  # only what the callback does with it is judged
    elif name == "PTR_TO_BTF_ID":
        same_struct(env, regno, reg, parameter)
    elif name == "BTF_ID_SOCK_COMMON" and reg.kind == "ptr_":
        same_struct(env, regno, reg, "sock_common")
    elif name == "CONST_STR":
        constant_text(regno, reg)
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


def same_struct(env: Env, regno: int, reg: Reg, wanted: str) -> None:
    """The pointer is to the structure asked for, or to one that begins with it."""
    if not wanted or not reg.obj or (reg.obj == wanted and not reg.off):
        return
    moved = reg.off + reg.num.smin
    if env.types is None or (moved and not env.types.exact):
        if reg.obj != wanted and not (wanted == "sock_common" and reg.obj.endswith("sock")):
            raise Refuse(f"R{regno} is of type {reg.obj} but {wanted} is expected")
    elif not env.types.holds(reg.obj, moved, wanted):
        raise Refuse(f"R{regno} is of type {reg.obj} but {wanted} is expected")


def constant_text(regno: int, reg: Reg) -> None:
    """Text in the value of a map that is frozen and that programs only read."""
    info: MapInfo = reg.obj
    if not info.data:
        raise Refuse(f"R{regno} does not point to a readonly map'", "Freeze the map before loading.")
    if reg.num.mask:
        raise Refuse(f"R{regno} is not a constant address'")
    at = reg.off + reg.num.smin
    memory.region(regno, reg, 0, info.value_size - at, info.value_size)
    if b"\0" not in info.data[at:]:
        raise Refuse("string is not zero-terminated")


def _unmoved(regno: int, reg: Reg) -> None:
    kind = reg.kind
    if reg.off < 0:
        raise Refuse(f"negative offset {kind} ptr R{regno} off={reg.off} disallowed")
    if reg.off:
        raise Refuse(f"dereference of modified {kind} ptr R{regno} off={reg.off} disallowed")
    if reg.num.mask or reg.num.value:
        raise Refuse(f"variable {kind} access var_off=({reg.num.value:#x}; {reg.num.mask:#x}) disallowed")


# arguments of global functions ----------------------------------------------------------------------


def passed(env: Env, state: State, at: int, param: Param) -> None:
    """Judge argument number `at` (from 0) of a call of a global function."""
    regno = at + 1
    reg = state.frames[-1].regs[regno]
    if reg.kind == "uninit":
        raise Refuse(f"R{regno} !read_ok")
    null = reg.kind == "scalar" and reg.num.const == 0
    if param.kind == "number":
        if reg.kind != "scalar":
            raise Refuse(f"R{regno} is not a scalar")
    elif "untrusted_" in param.mods:
        return
    elif param.kind == "arena":
        if reg.kind not in ("arena", "scalar"):
            raise Refuse(f"R{regno} is not a pointer to arena or scalar.")
    elif param.kind == "ctx":
        if reg.kind != "ctx":
            raise Refuse(f"arg#{at} expects pointer to ctx")
        _unmoved(regno, reg)
    elif param.kind == "dynptr":
        _check_type(regno, reg, _EXPECTED["DYNPTR"])
        if reg.kind == "dynptr_ptr":
            _unmoved(regno, reg)
        dynptr.existing(state, regno, reg, "")
    elif param.kind == "btf":
        if not (null and param.null):
            _check_type(regno, reg, _EXPECTED["PTR_TO_BTF_ID"])
            same_struct(env, regno, reg, param.struct)
    elif null:
        if not param.null and "null_param" in env.rules:
            raise Refuse(f"arg#{at} is expected to be non-NULL")
    else:
        solid = reg._replace(null=False)
        if "rdonly" in reg.mods or reg.kind not in _MEM:
            raise Refuse(f"R{regno} type={reg.type_name} expected=fp")
        helper_memory(env, state, regno, solid, param.size, True, False, Given(), True)
        if reg.null and not param.null:
            raise Refuse(f"arg#{at} is expected to be non-NULL")
