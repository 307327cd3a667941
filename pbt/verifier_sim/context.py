"""The program's context: which bytes may be read and written, and what kind of value they hold."""

from __future__ import annotations

from pbt.typing import Final
from pbt.uapi import expected, progs
from pbt.verifier_sim import bounds, casts, kernels, scalar, unprivileged
from pbt.verifier_sim.env import Env, Refuse
from pbt.verifier_sim.reg import ANY, Reg, names, number
from pbt.verifier_sim.state import State

BY_BTF: Final = names("TRACING LSM EXT STRUCT_OPS")
UNTYPED: Final = Reg("scalar", scalar.UNKNOWN, mods="?")
"""A value read through types that are not given: perhaps a pointer."""

_KINDS = {
    "PTR_TO_PACKET": "pkt",
    "PTR_TO_PACKET_END": "pkt_end",
    "PTR_TO_PACKET_META": "pkt_meta",
    "PTR_TO_SOCKET": "sock",
    "PTR_TO_SOCK_COMMON": "sock_common",
    "PTR_TO_TP_BUFFER": "tp_buffer",
    "PTR_TO_FLOW_KEYS": "flow_keys",
    "PTR_TO_BTF_ID": "ptr_",
}


def _offset(reg: Reg, regno: int, offset: int, size: int, env: Env) -> int:
    """Bytes from the start of the context; the pointer itself may not have been moved."""
    if env.prog.name == "SYSCALL" and "syscall_context" in env.rules:
        return _within(reg, regno, offset, size)
    if reg.num.mask:
        raise Refuse(f"variable ctx access var_off=({reg.num.value:#x}; {reg.num.mask:#x}) disallowed")
    moved = reg.off + reg.num.smin
    if moved and "ctx_offsets" not in env.rules:
        if moved < 0:
            raise Refuse(f"negative offset ctx ptr R{regno} off={moved} disallowed")
        raise Refuse(f"dereference of modified ctx ptr R{regno} off={moved} disallowed")
    return moved + offset


def _within(reg: Reg, regno: int, offset: int, size: int) -> int:
    """An access of the context of a system call program, which may be as long as 65535 bytes."""
    low, high = reg.off + offset + reg.num.smin, reg.off + offset + reg.num.umax
    if low < 0:
        raise Refuse(
            f"R{regno} min value is negative, either use unsigned index or do a if (index >=0) check."
        )
    if high + size > 0xFFFF:
        raise Refuse(f"R{regno} max value is outside of the allowed memory range")
    return low


def _allowed(env: Env, offset: int, size: int, write: bool) -> bool:
    key = (offset, size, write)
    known = env.context_access.get(key)
    if known is None:
        written = env.prog.name == "KPROBE" and "registers_written" in env.rules
        rules = env.prog.writes if write and not written else env.prog.reads
        known = offset >= 0 and progs.may_access(rules, offset, size)
        if env.prog.name == "SYSCALL" and "syscall_context" in env.rules:
            known = True  # see _within
        if offset < 0 and env.prog.name == "TRACEPOINT" and not write:
            known = offset % size == 0  # tp_prog_is_valid_access() compares it with a size_t
        known = known and (env.bpf or unprivileged.sees(env.prog.name, offset))
        known = known and expected.attached_access(env.prog.name, env.attach, offset, size, write)
        since = progs.context_release(env.prog, offset, size)
        known = known and (not since or not env.release or kernels.release(since) <= env.release)
        env.context_access[key] = known
    return known


def _outside(env: Env, at: int, size: int, write: bool) -> Refuse:
    """An access that the context does not allow, and what it does allow there."""
    done, name = "written" if write else "read", f"The context of {env.prog.name} programs"
    sizes = [str(other) for other in (1, 2, 4, 8) if _allowed(env, at, other, write)]
    ends = [end for _, _, end in progs.ranges(env.prog.writes if write else env.prog.reads)]
    if sizes:
        hint = f"There, {' or '.join(sizes)} bytes may be {done} at once."
    elif at >= max(ends, default=0) > 0:
        hint = f"{name} ({env.prog.context or 'its event'}) is {done} up to byte {max(ends)}."
    else:
        hint = f"{name} cannot be {done} there." if ends else f"{name} cannot be {done} at all."
    return Refuse(f"invalid bpf_context access off={at} size={size}", hint)


def read_context(env: Env, state: State, regno: int, reg: Reg, offset: int, size: int, sign: bool) -> Reg:
    at = _offset(reg, regno, offset, size, env)
    if env.prog.name in BY_BTF:
        return _read_arguments(env, state, at, size, sign)
    if not _allowed(env, at, size, False):
        raise _outside(env, at, size, False)
    pointer = env.prog.pointers.get(at)
    if pointer is not None:
        if sign:
            raise Refuse(f"invalid bpf_context access off={at} size={size}")
        return _pointer(env, pointer)
    return ANY if size == 8 else number(scalar.of_size(size, sign=sign))


def _read_arguments(env: Env, state: State, at: int, size: int, sign: bool) -> Reg:
    """Numbers may be read in part, from the start of their eight bytes; pointers only as a whole."""
    if at % size or not 0 <= at < 12 * 8:
        raise Refuse(f"invalid bpf_context access off={at} size={size}")
    target = env.attached.name if env.attached else env.attach
    if at % 8:
        raise Refuse(f"func '{target}' offset {at} is not multiple of 8")
    if env.arguments is not None and at // 8 >= len(env.arguments):
        raise Refuse(f"func '{target}' doesn't have {at // 8 + 1}-th argument")
    known = UNTYPED if env.arguments is None else env.arguments[at // 8]
    if known.kind == "refused":
        raise Refuse(known.obj)
    if known.ref and all(held != known.ref for held, _ in state.refs):
        raise Refuse(f"invalid bpf_context access off={at}. Reference may already be released")
    if size == 8:
        if known.kind == "address":
            return ANY
        return known._replace(id=env.new_id()) if known.null else known
    if known.kind != "scalar":
        if "whole_pointers" in env.rules:
            raise Refuse(f"invalid bpf_context access off={at} size={size}")
        if known.kind == "address":
            return number(scalar.of_size(size, sign=sign))
        return known._replace(id=env.new_id()) if known.null else known
    if known.num is not scalar.UNKNOWN and not sign:
        return number(casts.truncate(known.num, size, env.rules))
    return number(scalar.of_size(size, sign=sign))


def result_kept(env: Env, got: Reg, before: Reg) -> Reg:
    """What a hook returned is known within limits; some kernels add what the register held `before`."""
    if env.prog.name != "LSM" or got.kind != "scalar" or got.num is scalar.UNKNOWN:
        return got
    was, now = scalar.UNKNOWN if before.kind == "uninit" else before.num, got.num
    both = was._replace(
        smin=max(was.smin, now.smin),
        smax=min(was.smax, now.smax),
        s32min=max(was.s32min, now.s32min),
        s32max=min(was.s32max, now.s32max),
    )
    try:
        return number(bounds.sync(both, env.rules))
    except bounds.Empty:
        return number(scalar.UNKNOWN._replace(value=was.value, mask=was.mask))


def _pointer(env: Env, text: str) -> Reg:
    name, _, parameter = text.partition(":")
    null = name.endswith("_OR_NULL")
    kind = _KINDS[name.removesuffix("_OR_NULL")]
    mods = "trusted_" if kind == "ptr_" else ""
    return Reg(kind, id=env.new_id() if null else 0, null=null, obj=parameter or None, mods=mods)


def write_context(env: Env, state: State, regno: int, reg: Reg, offset: int, size: int, value: Reg) -> None:
    at = _offset(reg, regno, offset, size, env)
    if env.prog.name == "LSM":
        _read_arguments(env, state, at, size, False)  # what may be read may be written
    elif not _allowed(env, at, size, True):
        raise _outside(env, at, size, True)
