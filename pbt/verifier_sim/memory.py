"""Loads and stores: what may be read and written through each kind of pointer."""

from __future__ import annotations

from collections.abc import Callable

from pbt.typing import Final
from pbt.uapi import progs
from pbt.verifier_sim import arena, fields, kernelptr, mapstruct, owned, scalar, structops, tnum
from pbt.verifier_sim.context import read_context, write_context
from pbt.verifier_sim.env import Env, Refuse, Unsupported
from pbt.verifier_sim.reg import ANY, MapInfo, Reg, number
from pbt.verifier_sim.reg import tnum_text as _tnum
from pbt.verifier_sim.stack import MAX_OFFSET, load_stack, store_stack
from pbt.verifier_sim.state import State

RDONLY_PROG, WRONLY_PROG = 1 << 7, 1 << 8


# regions ------------------------------------------------------------------------------------------


def merged(env: Env, reg: Reg) -> Reg:
    """A pointer with all of its offset in its number, on kernels that do not keep the known part apart.

    Where something unknown was added it is so already.
    """
    if not reg.off or "offsets_merged" not in env.rules:
        return reg
    return reg._replace(off=0, num=scalar.const(reg.off))


def region(env: Env, regno: int, reg: Reg, offset: int, size: int, limit: int, zero: bool = False) -> None:
    """Every byte of an access lies within `limit` bytes."""
    reg = merged(env, reg)
    low, num = reg.off + offset, reg.num
    start = low + num.smin
    if num.smin < 0 and (start < 0 or (num.mask and num.smin < -(1 << 31))):
        raise Refuse(
            f"R{regno} min value is negative, either use unsigned index or do a if (index >=0) check."
        )
    if not (start >= 0 and start + size <= limit and (num.mask or size > 0 or zero)):
        raise outside("min", regno, reg, start, size, limit)
    if num.umax >= MAX_OFFSET:
        raise Refuse(f"R{regno} unbounded memory access, make sure to bounds check any such access")
    if num.mask and low + num.umax + size > limit:
        raise outside("max", regno, reg, low + num.umax, size, limit)


_REGIONS = {"map_value": ("map value", "value_size"), "map_key": ("map key", "key_size")}


def outside(end: str, regno: int, reg: Reg, start: int, size: int, limit: int) -> Refuse:
    """An access that may start at `start` does not fit; `end`: "min" for the lowest such offset, else "max"."""
    from pbt.verifier_sim.words import octets

    what, bytes_ = _REGIONS.get(reg.kind, ("memory", "mem_size"))
    if reg.kind in ("pkt", "pkt_meta"):
        before = _beyond_packet(regno, reg, start, size)
    else:
        before = f"invalid access to {what}, {bytes_}={limit} off={start} size={size}"
    verb = "does" if size == 1 else "do"
    hint = f"{octets(size)} at offset {start} {verb} not fit into {octets(limit)}"
    most = limit - size - (start - reg.num.umax)
    return Refuse(
        f"R{regno} min value is outside of the allowed memory range"
        if end == "min"
        else f"R{regno} max value is outside of the allowed memory range",
        f"{hint}."
        if end == "min" or most < 0
        else f"{hint}: limit the index to {most}, by a comparison or a mask.",
        before=before,
    )


def map_value(
    env: Env,
    regno: int,
    reg: Reg,
    offset: int,
    size: int,
    write: bool,
    zero: bool = False,
    helper: bool = False,
) -> None:
    info: MapInfo = reg.obj
    flag = RDONLY_PROG if write else WRONLY_PROG
    if info.flags & flag:
        verb = "write into" if write else "read from"
        raise Refuse(f"{verb} map forbidden, value_size={info.value_size} off={reg.off + offset} size={size}")
    region(env, regno, reg, offset, size, info.value_size, zero)
    if info.fields:
        fields.touch(info, reg, offset, size, helper)


def packet(env: Env, regno: int, reg: Reg, offset: int, size: int, zero: bool = False) -> None:
    if "offsets_merged" in env.rules:  # so is what was compared with the end
        region(env, regno, reg, offset, size, reg.size, zero)
        return
    start = reg.off + offset
    if reg.num.smin < 0:
        raise Refuse(
            f"R{regno} min value is negative, either use unsigned index or do a if (index >=0) check."
        )
    if start < 0 or start + size > reg.size or (not size and not zero):
        raise Refuse(
            f"R{regno} offset is outside of the packet",
            "Compare the end of the access with data_end before.",
            before=_beyond_packet(regno, reg, start, size),
        )


def _beyond_packet(regno: int, reg: Reg, start: int, size: int) -> str:
    return (
        f"invalid access to packet, off={start} size={size}, R{regno}(id={reg.id},off={start},r={reg.size})"
    )


_CALLED: Final = {
    "fp": "stack ", "map_value": "value ", "ctx": "context ", "map_key": "key ", "sock": "sock ",
    "sock_common": "sock_common ", "tcp_sock": "tcp_sock ", "xdp_sock": "xdp_sock ", "flow_keys": "flow keys ",
}  # fmt: skip


def aligned(env: Env, reg: Reg, offset: int, size: int, strict: bool = False) -> None:
    """Refuse a misaligned access where alignment is enforced: on the stack and for atomics, never in an arena."""
    kind = reg.kind
    if size == 1 or kind == "arena" or not (strict or env.strict or kind == "fp"):
        return
    gap = 2 if kind in ("pkt", "pkt_meta") else 0  # NET_IP_ALIGN
    place = tnum.add((reg.num.value, reg.num.mask), ((reg.off + offset + gap) & tnum.M64, 0))
    if not tnum.aligned(place, size):
        what = _CALLED.get(kind, "")
        if kind in ("pkt", "pkt_meta"):
            raise Refuse(
                f"misaligned packet access off {gap}+{_tnum(reg.num)}+{reg.off}+{offset} size {size}"
            )
        raise Refuse(f"misaligned {what}access off {_tnum(reg.num)}+{reg.off}+{offset} size {size}")


# loads and stores by kind of pointer ----------------------------------------------------------------


def _plain(size: int, sign: bool) -> Reg:
    return ANY if size == 8 else number(scalar.of_size(size, sign=sign))


Loader = Callable[[Env, State, int, Reg, int, int, bool], Reg]


def _load_value(env: Env, state: State, regno: int, reg: Reg, offset: int, size: int, sign: bool) -> Reg:
    map_value(env, regno, reg, offset, size, False)
    info: MapInfo = reg.obj
    pointer = fields.pointer_at(info, reg, offset)
    if pointer is not None:
        return fields.load_pointer(env, state, pointer)
    known = fields.constant(info, reg, offset, size, sign)
    return _plain(size, sign) if known is None else number(known)


def _load_key(env: Env, state: State, regno: int, reg: Reg, offset: int, size: int, sign: bool) -> Reg:
    region(env, regno, reg, offset, size, reg.obj.key_size)
    return _plain(size, sign)


def _load_mem(env: Env, state: State, regno: int, reg: Reg, offset: int, size: int, sign: bool) -> Reg:
    if "untrusted_" not in reg.mods:
        region(env, regno, reg, offset, size, reg.size)
    return _plain(size, sign)


def _load_packet(env: Env, state: State, regno: int, reg: Reg, offset: int, size: int, sign: bool) -> Reg:
    packet(env, regno, reg, offset, size)
    return _plain(size, sign)


def _buffer(regno: int, reg: Reg, offset: int, size: int, what: str) -> None:
    if reg.off + offset < 0:
        raise Refuse(f"R{regno} invalid {what} buffer access: off={reg.off + offset}, size={size}")
    if reg.num.mask or reg.num.value:
        raise Refuse(f"R{regno} invalid variable buffer offset: off={reg.off}, var_off={_tnum(reg.num)}")


def _load_buffer(env: Env, state: State, regno: int, reg: Reg, offset: int, size: int, sign: bool) -> Reg:
    _buffer(regno, reg, offset, size, "tracepoint" if reg.kind == "tp_buffer" else "rdonly")
    return _plain(size, sign)


# struct bpf_sock and struct bpf_tcp_sock, in the notation of uapi.progs (net/core/filter.c)
_SOCK_READS = {
    "sock": "4:0-80 2:4-6,8-10,12-14,24-46,48-50,52-74,76-78 1:4-5,8-9,12-13,24-45,48-50,52-73,76-77",
    "sock_common": "4:0-8,24-80 2:4-6,24-46,48-50,52-74,76-78 1:4-5,24-45,48-50,52-73,76-77",
    "tcp_sock": "4:0-80,96-112 8:80-96",
    "xdp_sock": "4:0-4",
}


def _load_sock(env: Env, state: State, regno: int, reg: Reg, offset: int, size: int, sign: bool) -> Reg:
    if reg.num.smin < 0:
        raise Refuse(
            f"R{regno} min value is negative, either use unsigned index or do a if (index >=0) check."
        )
    at = reg.off + offset
    if at < 0 or reg.num.mask or not progs.may_access(_SOCK_READS[reg.kind], at, size):
        raise Refuse(f"R{regno} invalid {reg.kind} access off={at} size={size}")
    return _plain(size, sign)


_MAP_STRUCTS = {
    "HASH": "bpf_htab", "PERCPU_HASH": "bpf_htab", "LRU_HASH": "bpf_htab", "LRU_PERCPU_HASH": "bpf_htab",
    "HASH_OF_MAPS": "bpf_htab", "STACK_TRACE": "bpf_stack_map", "LPM_TRIE": "lpm_trie",
    "DEVMAP": "bpf_dtab", "DEVMAP_HASH": "bpf_dtab", "SOCKMAP": "bpf_stab", "SOCKHASH": "bpf_shtab",
    "CPUMAP": "bpf_cpu_map", "XSKMAP": "xsk_map", "QUEUE": "bpf_queue_stack", "STACK": "bpf_queue_stack",
    "REUSEPORT_SOCKARRAY": "reuseport_array", "RINGBUF": "bpf_ringbuf_map",
    "USER_RINGBUF": "bpf_ringbuf_map", "BLOOM_FILTER": "bpf_bloom_filter",
    "CGROUP_STORAGE": "bpf_cgroup_storage_map", "PERCPU_CGROUP_STORAGE": "bpf_cgroup_storage_map",
    "SK_STORAGE": "bpf_local_storage_map", "INODE_STORAGE": "bpf_local_storage_map",
    "TASK_STORAGE": "bpf_local_storage_map", "CGRP_STORAGE": "bpf_local_storage_map", "ARENA": "bpf_arena",
}  # fmt: skip


def _load_map(env: Env, state: State, regno: int, reg: Reg, offset: int, size: int, sign: bool) -> Reg:
    """From the kernel's structure of the map, as through any other pointer to such a thing."""
    struct = _MAP_STRUCTS.get(reg.obj.map_type, "bpf_array")
    if not env.perfmon:
        raise Refuse(f"'struct {struct}' access is allowed only to CAP_PERFMON and CAP_SYS_ADMIN")
    if reg.off + offset < 0:
        raise Refuse(f"R{regno} is {struct} invalid negative access: off={reg.off + offset}")
    if env.types is not None and env.types.exact and env.types.struct(struct) is not None:
        return kernelptr.load(env, state, regno, Reg("ptr_", obj=struct), reg.off + offset, size, sign)
    at = reg.off + offset
    found = mapstruct.member(env.release, at, size)
    if found is not None and found.pointer:
        return kernelptr.found(env, state, Reg("ptr_", obj=struct), found)
    if found is None and at % size:  # no member lies there
        raise Refuse(f"access beyond the end of member in struct bpf_map with off {at} size {size}")
    return _plain(size, sign)


def _load_flow(env: Env, state: State, regno: int, reg: Reg, offset: int, size: int, sign: bool) -> Reg:
    at = reg.off + offset
    if at < 0 or at + size > 56:
        raise Refuse(f"invalid access to flow keys off={at} size={size}")
    return _plain(size, sign)


_LOAD: dict[str, Loader] = {
    "fp": load_stack,
    "map_value": _load_value,
    "map_key": _load_key,
    "mem": _load_mem,
    "pkt": _load_packet,
    "pkt_meta": _load_packet,
    "ctx": read_context,
    "tp_buffer": _load_buffer,
    "buf": _load_buffer,
    "sock": _load_sock,
    "sock_common": _load_sock,
    "tcp_sock": _load_sock,
    "xdp_sock": _load_sock,
    "ptr_": lambda *given: kernelptr.load(*given),
    "own": lambda *given: owned.load(*given),
    "arena": lambda *given: arena.load(*given),
    "map_ptr": _load_map,
    "flow_keys": _load_flow,
}


def load(env: Env, state: State, regno: int, reg: Reg, offset: int, size: int, sign: bool = False) -> Reg:
    """The value of `size` bytes at reg + offset; Refuse if they may not be read."""
    loader = None if reg.null else _LOAD.get(reg.kind)
    if loader is None:
        _untyped(reg)
        raise Refuse(f"R{regno} invalid mem access '{reg.type_name}'", _access_hint(reg))
    aligned(env, reg, offset, size)
    return loader(env, state, regno, reg, offset, size, sign)


def _untyped(reg: Reg) -> None:
    if reg.mods.startswith("?"):
        raise Unsupported("an access through a pointer whose type is in BTF")


def _access_hint(reg: Reg) -> str:
    if reg.null:
        return "Compare the pointer with 0 first."
    if reg.kind == "scalar":
        return "This is a number: memory of the kernel or a process is read by a probe_read helper."
    return ""


def store(
    env: Env,
    state: State,
    regno: int,
    reg: Reg,
    offset: int,
    size: int,
    value: Reg,
    immediate: bool = False,
    valueno: int = -1,
) -> None:
    """Write `size` bytes of `value` at reg + offset; Refuse if that may not be done."""
    kind = reg.kind
    if reg.null or kind not in _LOAD:
        raise Refuse(f"R{regno} invalid mem access '{reg.type_name}'", _access_hint(reg))
    aligned(env, reg, offset, size)
    if kind == "fp":
        store_stack(env, state, regno, reg, offset, size, value)
    elif kind == "map_value":
        map_value(env, regno, reg, offset, size, True)
        pointer = fields.pointer_at(reg.obj, reg, offset)
        if pointer is not None:
            fields.store_pointer(env, pointer, valueno, value, immediate)
    elif kind == "ctx":
        if immediate and "context_constants" not in env.rules:
            raise Refuse(f"BPF_ST stores into R{regno} ctx is not allowed", "Store a register.")
        write_context(env, state, regno, reg, offset, size, value)
    elif kind in ("pkt", "pkt_meta"):
        if not env.packet_write:
            raise Refuse("cannot write into packet")
        packet(env, regno, reg, offset, size)
    elif kind == "mem":
        if "rdonly" in reg.mods:
            raise Refuse(f"R{regno} cannot write into {reg.type_name}")
        region(env, regno, reg, offset, size, reg.size)
    elif kind in ("tp_buffer", "buf", "flow_keys") and "rdonly" not in reg.mods:
        _LOAD[kind](env, state, regno, reg, offset, size, False)
    elif kind == "map_key":
        raise Refuse(f"write to change key R{regno} not allowed")
    elif kind == "arena":
        return
    elif kind == "own":
        owned.store(env, regno, reg, offset, size)
    elif kind == "ptr_":
        if env.attached is None or not env.attached.struct or "untrusted_" in reg.mods or reg.null:
            raise Refuse("only read is supported")
        at = kernelptr.fixed_offset(regno, reg, offset)
        structops.store(env.types, env.attached.struct, reg.obj, at, size)
    elif kind == "map_ptr":
        raise Refuse("only read from bpf_array is supported")
    else:
        raise Refuse(f"R{regno} cannot write into {reg.type_name}")
