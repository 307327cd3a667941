"""What calls ask of an argument: a kind of pointer, one not moved, a structure, constant text, bytes of memory."""

from __future__ import annotations

from pbt.verifier_sim import dynptr, kernelptr, memory, owned, stack
from pbt.verifier_sim.env import Env, Refuse, Unsupported
from pbt.verifier_sim.reg import Field, MapInfo, Reg
from pbt.verifier_sim.state import State

# The last only for helpers that read.
MEM = ("fp", "pkt", "pkt_meta", "map_key", "map_value", "mem", "ringbuf_mem", "buf", "trusted_ptr_")
_SOCK = ("sock_common", "sock", "tcp_sock", "xdp_sock")
EXPECTED: dict[str, tuple[str, ...]] = {
    "CONST_MAP_PTR": ("map_ptr",),
    "PTR_TO_CTX": ("ctx",),
    "SPIN_LOCK": ("map_value", "ptr_"),
    "TIMER": ("map_value",),
    "KPTR": ("map_value", "ptr_"),
    "SOCK_COMMON": _SOCK,
    "SOCKET": ("sock",),
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


def check_type(regno: int, reg: Reg, expected: tuple[str, ...], own: bool = False) -> None:
    if reg.mods == "?untrusted_":
        raise Refuse(f"R{regno} type=untrusted_ptr_ expected={', '.join(expected)}")
    if reg.mods == "?":
        raise Unsupported("an argument whose type is in BTF")
    shown = reg.type_name
    plain = shown.replace("rdonly_", "") if reg.kind in ("mem", "buf") else shown
    if reg.kind == "own":
        percpu = "percpu_" in reg.mods and "percpu_ptr_" in expected
        plain = ("percpu_ptr_" if percpu else "ptr_") if own else ""
    if reg.null or plain not in expected:
        raise Refuse(
            f"R{regno} type={shown} expected={', '.join(expected)}",
            "Compare the pointer with 0 first." if reg.null else "",
        )


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
            low, high = stack.stack_range(regno, reg, 0, size, "write")
            if "dynptr_reinit" in env.rules:
                dynptr.kept(state.frames[reg.obj], low, high + size)
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
        memory.region(env, regno, reg, 0, size, reg.obj.key_size, zero)
    elif kind in ("pkt", "pkt_meta"):
        memory.packet(env, regno, reg, 0, size, zero)
    elif kind == "mem":
        if write and "rdonly" in reg.mods:
            raise Refuse(f"R{regno} cannot write into {reg.type_name}")
        memory.region(env, regno, reg, 0, size, reg.size, zero)
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


def constant_text(env: Env, regno: int, reg: Reg) -> None:
    """Text in the value of a map that is frozen and that programs only read."""
    info: MapInfo = reg.obj
    if not info.data:
        raise Refuse(f"R{regno} does not point to a readonly map'", "Freeze the map before loading.")
    if reg.num.mask:
        raise Refuse(f"R{regno} is not a constant address'")
    at = reg.off + reg.num.smin
    memory.region(env, regno, reg, 0, info.value_size - at, info.value_size)
    if b"\0" not in info.data[at:]:
        raise Refuse("string is not zero-terminated")


def unmoved(regno: int, reg: Reg) -> None:
    kind = reg.kind
    if reg.off < 0:
        raise Refuse(f"negative offset {kind} ptr R{regno} off={reg.off} disallowed")
    if reg.off:
        raise Refuse(f"dereference of modified {kind} ptr R{regno} off={reg.off} disallowed")
    if reg.num.mask or reg.num.value:
        raise Refuse(f"variable {kind} access var_off=({reg.num.value:#x}; {reg.num.mask:#x}) disallowed")
