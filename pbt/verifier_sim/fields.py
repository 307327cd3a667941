"""Fields of map values that the kernel keeps for itself: locks, timers, kernel pointers, lists.

What of a map's value a program may touch directly, and what a kernel pointer loaded from there is.
"""

from __future__ import annotations

from collections.abc import Sequence

from pbt.typing import Final
from pbt.verifier_sim import layout, owned, scalar
from pbt.verifier_sim.env import Env, Refuse, sleeps
from pbt.verifier_sim.reg import Field, MapInfo, Reg, names, tnum_text
from pbt.verifier_sim.state import State

POINTERS: Final = names("kptr kptr_untrusted kptr_percpu uptr")
_TRACERS = names("KPROBE TRACEPOINT PERF_EVENT RAW_TRACEPOINT RAW_TRACEPOINT_WRITABLE")
_NOT_TRACED = {
    "spin_lock": "bpf_spin_lock",
    "res_spin_lock": "bpf_spin_lock",
    "timer": "bpf_timer",
    "wq": "bpf_wq",
    "list_head": "bpf_{list_head,rb_root}",
    "rb_root": "bpf_{list_head,rb_root}",
}
# structs whose objects the kernel frees only after a grace period (rcu_protected_types of verifier.c)
_RCU_OBJECTS = names("prog_test_ref_kfunc cgroup bpf_cpumask task_struct bpf_crypto_ctx")


_FOR_SLEEPERS: Final = names(
    "HASH LRU_HASH ARRAY PERCPU_HASH PERCPU_ARRAY LRU_PERCPU_HASH ARRAY_OF_MAPS HASH_OF_MAPS RINGBUF "
    "USER_RINGBUF INODE_STORAGE SK_STORAGE TASK_STORAGE CGRP_STORAGE QUEUE STACK ARENA INSN_ARRAY"
)
_RENAMED: Final = (6, 4)  # until then the tag "kptr" made pointers without reference
_SINCE: Final = {
    "timer": (5, 15), "kptr": (5, 19), "kptr_untrusted": _RENAMED, "list_head": (6, 2), "rb_root": (6, 3),
    "kptr_percpu": (6, 7), "wq": (6, 10), "uptr": (6, 13), "res_spin_lock": (6, 15),
}  # fmt: skip


def visible(info: MapInfo, release: tuple[int, ...]) -> MapInfo:
    """The map as a kernel sees it that does not know the newer kinds of fields."""
    known = tuple(field for field in info.fields if not release or _SINCE.get(field.kind, ()) <= release)
    if release and release < _RENAMED:
        known = tuple(f._replace(kind="kptr_untrusted") if f.kind == "kptr" else f for f in known)
    flags = info.flags | (_RDONLY_PROG if info.map_type in _KEPT else 0)
    return info._replace(fields=known, flags=flags)


_KEPT: Final = names("DEVMAP DEVMAP_HASH")
"""Types of maps whose values programs never write, whatever the flags say."""
_PREALLOCATED: Final = names("HASH PERCPU_HASH HASH_OF_MAPS")
_NO_PREALLOC: Final = 1 << 0
_RDONLY_PROG: Final = 1 << 7


def find(info: MapInfo, kind: str) -> Field | None:
    return next((field for field in info.fields if field.kind == kind), None)


def has_lock(info: MapInfo) -> bool:
    """Whether values of a map have to be told apart, since each has a lock of its own."""
    return any(field.kind in ("spin_lock", "res_spin_lock") for field in info.fields)


def usable(env: Env, info: MapInfo) -> str:
    """Why programs of a type may not refer to a map with such fields; "" if they may."""
    prog_type = env.prog.name
    unmade = info.flags & _NO_PREALLOC and info.map_type in _PREALLOCATED
    unmade = unmade and bool(env.release) and env.release < (6, 1)
    if unmade and (prog_type == "PERF_EVENT" or env.sleepable):
        return (
            f"{'Sleepable' if env.sleepable else 'perf_event'} programs can only use preallocated hash maps"
        )
    if env.sleepable and not _for_sleepers(env, info.map_type):
        return "Sleepable programs can only use array, hash, ringbuf and local storage maps"
    for field in info.fields:
        what = _NOT_TRACED.get(field.kind)
        if what is None or (field.kind == "timer" and "tracing_timers" in env.rules):
            continue
        if env.sleepable and what == "bpf_spin_lock" and "sleepable_locks" not in env.rules:
            return "sleepable progs cannot use bpf_spin_lock yet"
        if what == "bpf_spin_lock" and prog_type == "SOCKET_FILTER":
            return "socket filter progs cannot use bpf_spin_lock yet"
        if prog_type in _TRACERS:
            return f"tracing progs cannot use {what} yet"
    return ""


def _for_sleepers(env: Env, map_type: str) -> bool:
    """Whether programs that sleep may use such maps."""
    if "sleepable_maps" not in env.rules:
        return map_type in ("HASH", "LRU_HASH", "ARRAY")
    if map_type in _FOR_SLEEPERS:
        return map_type not in ("QUEUE", "STACK") or not env.release or env.release >= (6, 2)
    if "more_sleepable_maps" not in env.rules:
        return False
    return map_type == "LPM_TRIE" or (map_type == "PROG_ARRAY" and env.prog.name == "SYSCALL")


def touch(info: MapInfo, reg: Reg, offset: int, size: int, helper: bool) -> None:
    """Refuse an access that meets a field it may not meet; kernel pointers are loaded and stored whole."""
    low, high = reg.off + offset + reg.num.smin, reg.off + offset + reg.num.umax + size
    for field in info.fields:
        if not (low < field.off + field.size and field.off < high):
            continue
        if field.kind not in POINTERS:
            raise Refuse(f"{layout.shown(field)} cannot be accessed directly by load/store")
        if helper:
            raise Refuse(f"{layout.shown(field)} cannot be accessed indirectly by helper")
        if reg.num.mask:
            raise Refuse(f"{layout.shown(field)} access cannot have variable offset")
        if field.off != low:
            raise Refuse(f"{layout.shown(field)} access misaligned expected={field.off} off={low}")
        if size != 8:
            raise Refuse(f"{layout.shown(field)} access size must be BPF_DW")


def pointer_at(info: MapInfo, reg: Reg, offset: int) -> Field | None:
    """The kernel pointer kept at a place of a map's value."""
    if not info.fields or reg.num.mask:
        return None
    at = reg.off + offset + reg.num.smin
    return next((f for f in info.fields if f.off == at and f.kind in POINTERS), None)


def load_pointer(env: Env, state: State, field: Field) -> Reg:
    """What a kernel pointer read from a map is: perhaps null, and trusted only while nothing frees it."""
    fresh = env.new_id()
    if field.kind == "uptr":
        return Reg("mem", id=fresh, null=True, size=env.struct_size(field.struct))
    guarded = not sleeps(env, state) or bool(state.lock) or state.rcu > 0
    own = owned.is_own(env, field.struct)
    percpu = field.kind == "kptr_percpu"
    safe = percpu or (field.kind == "kptr" and (own or field.struct in _RCU_OBJECTS))
    if not (safe and guarded and "rcu_kptrs" in env.rules):
        return Reg("ptr_", id=fresh, null=True, obj=field.struct, mods="untrusted_")
    if not own:
        return Reg("ptr_", id=fresh, null=True, obj=field.struct, mods="rcu_")
    known = layout.find(field.struct, env.own_types)
    mods = "percpu_" if percpu else "non_own_" if known is not None and known.is_node else ""
    return Reg("own", id=fresh, null=True, obj=field.struct, mods=f"{mods}rcu_")


def store_pointer(env: Env, field: Field, regno: int, value: Reg, immediate: bool) -> None:
    """Only a pointer of the right kind, or null, may be put into an unreferenced kernel pointer."""
    if field.kind in ("kptr", "kptr_percpu"):
        raise Refuse("store to referenced kptr disallowed")
    if field.kind == "uptr":
        raise Refuse("store to uptr disallowed")
    if value.kind == "scalar" and value.num.const == 0:
        return
    if immediate:
        raise Refuse(f"BPF_ST imm must be 0 when storing to kptr at off={field.off}")
    matches(env, field, regno, value)


def matches(env: Env, field: Field, regno: int, value: Reg) -> None:
    """Whether a register holds what a kernel pointer's type asks for."""
    if owned.is_own(env, field.struct) or (value.kind == "own" and env.types is None):
        kind, allowed = "own", {""} | ({"percpu_"} if field.kind == "kptr_percpu" else set())
    else:
        kind, allowed = "ptr_", {"", "trusted_", "rcu_"}
        allowed |= {"untrusted_"} if field.kind == "kptr_untrusted" else set()
    wanted = f"ptr_{field.struct}"
    name = value.type_name + (str(value.obj or "") if value.kind in ("ptr_", "own") else "")
    if value.kind != kind or value.mods not in allowed:
        other = f" or untrusted_{wanted}" if field.kind == "kptr_untrusted" else ""
        raise Refuse(f"invalid kptr access, R{regno} type={name} expected={wanted}{other}")
    if value.num.mask:
        raise Refuse(f"variable {value.type_name} access var_off={tnum_text(value.num)} disallowed")
    if value.off + value.num.smin < 0:
        raise Refuse(f"negative offset {value.type_name} ptr R{regno} off={value.off} disallowed")
    moved = value.off + value.num.smin
    if value.obj and (value.obj != field.struct or (moved and field.kind != "kptr_untrusted")):
        raise Refuse(f"invalid kptr access, R{regno} type={name} expected={wanted}")


def place(info: MapInfo | None, regno: int, reg: Reg, kind: str) -> Field:
    """The field of one kind that an argument of a helper points to."""
    what = f"bpf_{kind}"
    field = find(info, kind) if info is not None else None
    if info is None or field is None:
        raise Refuse(f"map '{info.name if info else ''}' has no valid {what}")
    return exactly(field, regno, reg, kind)


def exactly(field: Field, regno: int, reg: Reg, kind: str) -> Field:
    """The field, if that is what a register points to."""
    what = f"bpf_{kind}"
    if reg.num.mask:
        raise Refuse(f"R{regno} doesn't have constant offset. {what} has to be at the constant offset")
    at = reg.off + reg.num.smin
    if at != field.off:
        raise Refuse(f"off {at} doesn't point to 'struct {what}' that is at {field.off}")
    return field


def exchanged(fields: Sequence[Field], regno: int, reg: Reg) -> Field:
    """The referenced kernel pointer that bpf_kptr_xchg swaps."""
    if reg.num.mask:
        raise Refuse(f"R{regno} doesn't have constant offset. kptr has to be at the constant offset")
    if not any(field.kind in POINTERS for field in fields):
        raise Refuse(f"R{regno} has no valid kptr")
    at = reg.off + reg.num.smin
    field = next((f for f in fields if f.off == at and f.kind in POINTERS), None)
    if field is None:
        raise Refuse(f"off={at} doesn't point to kptr")
    if field.kind not in ("kptr", "kptr_percpu"):
        raise Refuse(f"off={at} kptr isn't referenced kptr")
    return field


def constant(info: MapInfo, reg: Reg, offset: int, size: int, sign: bool) -> scalar.Scalar | None:
    """The number in the frozen data of a map that programs only read."""
    if not info.data or reg.num.mask:
        return None
    at = reg.off + offset + reg.num.smin
    return scalar.const(int.from_bytes(info.data[at : at + size], "little", signed=sign))
