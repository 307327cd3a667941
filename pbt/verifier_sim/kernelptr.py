"""Loads through pointers to the kernel's structures, and how far the pointers found there are trusted.

Source: check_ptr_to_btf_access() of kernel/bpf/verifier.c.
"""

from __future__ import annotations

from pbt.typing import Final
from pbt.uapi import trust
from pbt.verifier_sim import scalar
from pbt.verifier_sim.context import UNTYPED
from pbt.verifier_sim.env import Env, Refuse, sleeps
from pbt.verifier_sim.mapstruct import Member
from pbt.verifier_sim.reg import ANY, Reg, number, tnum_text
from pbt.verifier_sim.state import State

LOOSE: Final = UNTYPED._replace(mods="?untrusted_")
"""What is read through an untrusted pointer: a number, or a pointer that is untrusted as well."""


def _places(*rows: str) -> dict[tuple[str, int], Member]:
    out = {}
    for row in rows:
        struct, *members = row.split()
        for member in members:
            at, name, target = member.split(":")
            loose = target.endswith("?")
            out[struct, int(at)] = Member(True, target.rstrip("?"), name, struct, loose=loose)
    return out


STEADY: Final = _places(
    "bpf_iter_meta 0:seq:seq_file",
    "sk_buff 0:next:sk_buff? 8:prev:sk_buff? 16:dev:net_device? 24:sk:sock",
    "sock_common 40:skc_prot:proto 48:net:net",
    "sock 40:skc_prot:proto 48:net:net",
    "socket 16:file:file 24:sk:sock 32:ops:proto_ops",
    "dentry 24:d_parent:dentry 48:d_inode:inode 96:d_op:dentry_operations 104:d_sb:super_block",
    "path 0:mnt:vfsmount 8:dentry:dentry",
    "inode 32:i_op:inode_operations 40:i_sb:super_block 48:i_mapping:address_space",
    "nf_hook_state 8:in:net_device 16:out:net_device 24:sk:sock 32:net:net",
    "vfsmount 0:mnt_root:dentry 8:mnt_sb:super_block",
    "nsproxy 8:uts_ns:uts_namespace 16:ipc_ns:ipc_namespace 40:net_ns:net",
)
"""Pointers that lie at the same place from Linux 5.10 to 7.3 (x86-64, Debian's kernels); "?": in a union."""


def fixed_offset(regno: int, reg: Reg, offset: int) -> int:
    """Where in its object a pointer reaches: a known place, not before the start."""
    at, name = reg.off + offset, reg.obj or ""
    if at < 0:
        raise Refuse(f"R{regno} is ptr_{name} invalid negative access: off={at}")
    if reg.num.mask or reg.num.value:
        raise Refuse(
            f"R{regno} is ptr_{name} invalid variable offset: off={offset}, var_off={tnum_text(reg.num)}"
        )
    return at


def load(env: Env, state: State, regno: int, reg: Reg, offset: int, size: int, sign: bool) -> Reg:
    """Through a kernel pointer; without the kernel's own types any read inside the object is believed."""
    at = fixed_offset(regno, reg, offset)
    for space in ("user", "percpu"):
        if f"{space}_" in reg.mods:
            raise Refuse(
                f"R{regno} is ptr_{reg.obj} access {space} memory: off={at}",
                f"A helper reads {space} memory.",
            )
    types = env.types
    if types is not None and types.exact and reg.obj and types.struct(reg.obj) is not None:
        member = types.walk(reg.obj, at, size)
        if member.pointer:
            return found(env, state, reg, member)
        return _number(size, sign)
    steady = STEADY.get((reg.obj, at)) if size == 8 else None
    if steady is not None:
        return found(env, state, reg, steady)
    known = env.structs.get(reg.obj)
    if known and at + size > known:
        raise Refuse(f"access beyond struct {reg.obj} at off {at} size {size}")
    if size == 8:
        return LOOSE if "untrusted_" in reg.mods else UNTYPED
    return _number(size, sign)


def read_by_helper(env: Env, regno: int, reg: Reg, size: int) -> None:
    """A helper may read `size` bytes at the pointer if they lie within one member."""
    at = reg.off + reg.num.smin
    if at < 0:
        raise Refuse(f"R{regno} is ptr_{reg.obj or ''} invalid negative access: off={at}")
    types = env.types
    if types is not None and types.exact and reg.obj and types.struct(reg.obj) is not None:
        types.walk(reg.obj, at, size)


def _number(size: int, sign: bool) -> Reg:
    return ANY if size == 8 else number(scalar.of_size(size, sign=sign))


def found(env: Env, state: State, reg: Reg, member: Member) -> Reg:
    """The pointer that a member holds."""
    if not member.struct:
        if "untrusted_memory" in env.rules:
            return Reg("mem", mods="rdonly_untrusted_")
        return ANY
    mods, null = _trust(env, state, reg, member)
    for space in member.tags & {"user", "percpu"}:
        mods += f"{space}_"
    return Reg("ptr_", id=env.new_id() if null else 0, null=null, obj=member.struct, mods=mods)


def _trust(env: Env, state: State, reg: Reg, member: Member) -> tuple[str, bool]:
    """Modifiers of the pointer, and whether it may be null."""
    if "untrusted_" in reg.mods:
        return "untrusted_", False
    if "nested_trust" not in env.rules:
        return "", False
    plain = "untrusted_" if member.loose else ""
    if not ("trusted_" in reg.mods or "rcu_" in reg.mods or reg.ref):
        return plain, False
    field = (reg.obj, member.name)
    if field in trust.TRUSTED and "rcu_" not in reg.mods:
        return "trusted_", False
    if field in trust.TRUSTED_OR_NULL and "rcu_" not in reg.mods:
        return "trusted_", True
    if sleeps(env, state) and not state.rcu:
        return "untrusted_", False
    if field in trust.RCU:
        return "rcu_", False
    if "rcu" in member.tags or field in trust.RCU_OR_NULL:
        return "rcu_", True
    return plain, False
