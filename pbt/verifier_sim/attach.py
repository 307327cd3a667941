"""What TRACING and LSM programs attach to: the values in their context, and what they may return.

Source: btf_ctx_access() of kernel/bpf/btf.c; bpf_check_attach_target() and check_return_code() of
kernel/bpf/verifier.c; kernel/bpf/bpf_lsm.c.
"""

from __future__ import annotations

from pbt.data import NamedTuple
from pbt.typing import Final
from pbt.uapi.btf import ENUM, ENUM64, INT, PTR, STRUCT, UNION
from pbt.verifier_sim import bounds, structops
from pbt.verifier_sim.env import Refuse, Unsupported
from pbt.verifier_sim.kernels import Features
from pbt.verifier_sim.kerneltypes import KernelTypes
from pbt.verifier_sim.progbtf import Row
from pbt.verifier_sim.reg import ANY, Reg, names, number

ADDRESS: Final = Reg("address")
"""A slot with a pointer that is used as a number: it is read as a whole."""
_PREFIX: Final = {
    "TRACE_RAW_TP": "btf_trace_",
    "TRACE_ITER": "bpf_iter_",
    "LSM_MAC": "bpf_lsm_",
    "LSM_CGROUP": "bpf_lsm_",
}
_RESULT_TOO: Final = ("TRACE_FEXIT", "LSM_MAC", "LSM_CGROUP", "MODIFY_RETURN")
_ERRORS: Final = (-4095, 0)  # -MAX_ERRNO
_BOOL_HOOKS: Final = names("audit_rule_known inode_xattr_skipcap xfrm_state_pol_flow_match")
_DISABLED_HOOKS: Final = names(
    "vm_enough_memory inode_need_killpriv inode_getsecurity inode_listsecurity inode_copy_up_xattr "
    "getselfattr getprocattr setprocattr ismaclabel key_getsecurity audit_rule_match"
)
_SLEEPABLE_HOOKS: Final = names(
    "bpf bpf_map bpf_map_create bpf_map_free bpf_prog bpf_prog_load bpf_prog_free bpf_token_create "
    "bpf_token_free bpf_token_cmd bpf_token_capable bprm_check_security bprm_committed_creds "
    "bprm_committing_creds bprm_creds_for_exec bprm_creds_from_file capget capset cred_prepare file_ioctl "
    "file_lock file_open file_post_open file_receive inode_create inode_free_security inode_getattr "
    "inode_getxattr inode_mknod inode_need_killpriv inode_post_setxattr inode_post_removexattr "
    "inode_readlink inode_rename inode_rmdir inode_setattr inode_setxattr inode_symlink inode_unlink "
    "kernel_module_request kernel_read_file kernfs_init_security key_free mmap_file netlink_send "
    "path_notify release_secctx sb_alloc_security sb_eat_lsm_opts sb_kern_mount sb_mount sb_remount "
    "sb_set_mnt_opts sb_show_options sb_statfs sb_umount settime socket_accept socket_bind socket_connect "
    "socket_create socket_getpeername socket_getpeersec_dgram socket_getsockname socket_getsockopt "
    "socket_listen socket_post_create socket_recvmsg socket_sendmsg socket_shutdown socket_socketpair "
    "syslog task_alloc task_prctl task_setscheduler task_to_inode userns_create"
)
_PATH_HOOKS: Final = names(  # those sleep, too, since "path_hooks_sleep"
    "path_chmod path_chown path_link path_mkdir path_rename path_rmdir path_symlink path_truncate path_unlink"
)
_UNTRUSTED_HOOKS: Final = names(
    "bpf_map_free bpf_prog_free file_alloc_security file_free_security sk_alloc_security "
    "sk_free_security task_free"
)
_TEST_TARGETS: Final = ("bpf_fentry_test1", "bpf_modify_return_test", "bpf_modify_return_test2")
_D_PATH: Final = names(
    "security_file_permission security_inode_getattr security_file_open security_path_truncate vfs_truncate "
    "vfs_fallocate dentry_open vfs_getattr filp_close"
)
_ITERATORS: Final = {  # (iterator, argument) → a buffer; all other pointers may be null but these
    ("bpf_map_elem", "key"): "rdonly_", ("bpf_map_elem", "value"): "", ("sockmap", "key"): "rdonly_",
    ("bpf_sk_storage_map", "value"): "",
}  # fmt: skip
_NEVER_NULL: Final = {"meta": None, "map": ("bpf_map_elem", "sockmap", "bpf_sk_storage_map")}
# Raw tracepoints whose arguments may be null (1) or an error (2), a hexadecimal digit each, the first
# one last (raw_tp_null_args of kernel/bpf/btf.c; what is in modules alone is left out)
_RAW_TP_NULLS: Final = {
    "sched_pi_setprio": 0x10, "sched_stick_numa": 0x100, "sched_swap_numa": 0x100,
    "fib_table_lookup": 0x100, "posix_lock_inode": 0x10, "fcntl_setlk": 0x10, "locks_remove_posix": 0x10,
    "flock_lock_inode": 0x10, "break_lease_noblock": 0x10, "break_lease_block": 0x10,
    "break_lease_unblock": 0x10, "generic_delete_lease": 0x10, "time_out_leases": 0x10,
    "mm_khugepaged_scan_pmd": 0x10, "mm_collapse_huge_page_isolate": 0x1, "mm_khugepaged_scan_file": 0x10,
    "mm_khugepaged_collapse_file": 0x10, "mm_page_alloc": 0x1, "mm_page_pcpu_drain": 0x1,
    "mm_page_alloc_zone_locked": 0x1, "device_pm_callback_start": 0x10, "qdisc_dequeue": 0x1000,
    "kfree_skb": 0x1000, "tcp_send_reset": 0x11, "tcp_sendmsg_locked": 0x100, "tmigr_update_events": 0x1,
    "writeback_dirty_folio": 0x10, "folio_wait_writeback": 0x10,
}  # fmt: skip
_SIGNALS: Final = {"signal_generate": 0x20, "signal_deliver": 0x20}  # SEND_SIG_NOINFO and its like


class Attached(NamedTuple):
    """What a program is attached to: the slots of its context, the range of its results (None: any).

    words: how many of the slots are arguments; the slot behind them holds the function's result, if any.
    narrow: 32 bits of the program's result count. struct: whose member a STRUCT_OPS program is. gives: what its
    result points to: null, or a reference of the program's to that; void: it has no result.
    refs: references that the program holds from the start.
    """

    name: str
    slots: tuple[Reg, ...]
    limits: tuple[int, int] | None
    words: int
    narrow: bool = False
    struct: str = ""
    gives: str = ""
    void: bool = False
    refs: tuple[int, ...] = ()


def attached(
    types: KernelTypes | None, prog_type: str, attach: str, name: str, rules: Features, sleepable: bool
) -> Attached:
    """The target `name` of a program; Refuse if no such program can attach there."""
    if types is None:
        raise Unsupported("the program needs the types of what it attaches to")
    if prog_type == "STRUCT_OPS":
        return _structure(types, structops.member(types, attach, name, sleepable), rules)
    if attach == "LSM_CGROUP" and "lsm_cgroup" not in rules:
        raise Refuse("attach_type 43 is unknown to this kernel")
    prefix = _PREFIX.get(attach, "")
    name = name.removeprefix(prefix)
    if attach == "TRACE_RAW_TP":
        proto = types.prototype("typedef", prefix + name)
    else:
        proto = types.prototype("func", prefix + name)
    if proto is None:
        raise Unsupported(f"the types of {name}, which no kernel at hand has")
    _may_attach(prog_type, attach, name, rules, sleepable)
    skip = 1 if attach == "TRACE_RAW_TP" else 0  # the tracepoint's own data
    params = list(zip(proto.words[::2], proto.words[1::2], strict=True))[skip:]
    slots: list[Reg] = []
    for at, (label, id) in enumerate(params):
        if not id and not label:
            break  # more arguments follow, which cannot be had
        slots.extend(_argument(types, attach, name, at, types.source.text(label), id, rules))
    words = len(slots)
    if attach in _RESULT_TOO:
        slots.append(_result(types, attach, name, proto, rules))
    limits = _limits(prog_type, attach, name, proto, rules)
    return Attached(name, tuple(slots), limits, words, prog_type == "LSM" and attach != "LSM_CGROUP")


def _structure(types: KernelTypes, member: structops.Member, rules: Features) -> Attached:
    """A function of a structure: its pointers are trusted; some may be null or are the program's to give back."""
    slots: list[Reg] = []
    refs: list[int] = []
    params = zip(member.proto.words[::2], member.proto.words[1::2], strict=True)
    for at, (label, id) in enumerate(params):
        told = member.labels[at] if at < len(member.labels) else types.source.text(label)
        found = _argument(types, "STRUCT_OPS", member.name, at, told, id, rules)
        if told.endswith("__ref"):
            refs.append(-1 - at)
            found = [reg._replace(ref=-1 - at) for reg in found]
        slots.extend(structops.promoted(member.struct, reg) for reg in found)
    gives = types.pointed(types.plain(member.proto.size)[0])[0] if _points(types, member.proto.size) else ""
    limits = (0, 0) if gives else None
    return Attached(member.name, tuple(slots), limits, len(slots), struct=member.struct, gives=gives,
                    void=not member.proto.size, refs=tuple(refs))  # fmt: skip


def _points(types: KernelTypes, id: int) -> bool:
    return types.plain(id)[1].kind == PTR


def _may_attach(prog_type: str, attach: str, name: str, rules: Features, sleepable: bool) -> None:
    if prog_type == "LSM":
        closed = name in _DISABLED_HOOKS or (name == "file_alloc_security" and "blobs_closed" in rules)
        if "hooks_closed" in rules and closed:
            raise Refuse(f"points to disabled hook bpf_lsm_{name}")
        hooks = _SLEEPABLE_HOOKS if "sleepable_hooks" in rules else ("bprm_committed_creds",)
        late = name in _PATH_HOOKS and "path_hooks_sleep" in rules
        if sleepable and not late and name not in hooks:
            raise Refuse(f"bpf_lsm_{name} is not sleepable")
    elif sleepable and attach in ("TRACE_FENTRY", "TRACE_FEXIT", "MODIFY_RETURN"):
        if not name.startswith("__x64_sys_") and name not in _TEST_TARGETS:
            raise Refuse(f"{name} is not sleepable")
    elif attach == "MODIFY_RETURN" and not name.startswith(("security_", "__x64_sys_", "bpf_modify_return")):
        raise Unsupported(f"whether the result of {name} may be modified")


def _argument(
    types: KernelTypes, attach: str, target: str, at: int, label: str, id: int, rules: Features
) -> list[Reg]:
    """The slots of one argument; structures passed by value take as many as they need."""
    row = types.plain(id)[1]
    if types.is_number(id):
        return [ANY]
    if row.kind in (STRUCT, UNION) and "struct_args" in rules:
        return [ANY] * ((row.size + 7) // 8)
    if row.kind != PTR:
        return [refused(f"func '{target}' arg{at} has type {row.name}. Only pointer access is allowed")]
    if attach == "TRACE_ITER" and (target, label) in _ITERATORS:
        return [Reg("buf", null=True, mods=_ITERATORS[target, label])]
    return [_pointer(types, attach, target, at, label, types.plain(id)[0], rules)]


def _pointer(
    types: KernelTypes, attach: str, target: str, at: int, label: str, id: int, rules: Features
) -> Reg:
    struct, row, tags = types.pointed(id)
    char = row.kind == INT and row.size == 1
    if not row.kind or char or (row.kind == INT and "int_pointers" in rules):
        return ADDRESS  # strings, memory without a type: numbers
    if not struct:
        if row.kind in (PTR, ENUM, ENUM64) and "any_pointers" in rules:
            return ADDRESS
        return refused(f"func '{target}' arg{at} type {row.name} is not a struct")
    mods = "trusted_" if "trusted_args" in rules and _trusted(attach, target) else ""
    null = attach == "TRACE_ITER" and not (
        label in _NEVER_NULL and (_NEVER_NULL[label] is None or target in (_NEVER_NULL[label] or ()))
    )
    if attach == "STRUCT_OPS":
        null = label.endswith("__nullable")
    elif attach == "TRACE_RAW_TP":
        flaw = _flaw(target, at, rules)
        if flaw & 2:
            return ADDRESS
        null = bool(flaw & 1) or ("raw_tp_nulls" in rules and label.endswith("__nullable"))
    if "user" in tags:
        mods = "user_"
    return Reg("ptr_", null=null, obj=struct, mods=mods)


def _flaw(target: str, at: int, rules: Features) -> int:
    table = _RAW_TP_NULLS if "raw_tp_nulls" in rules else {}
    late = _SIGNALS if "signal_errors" in rules else {}
    return (table.get(target, 0) | late.get(target, 0)) >> 4 * at & 3


def _trusted(attach: str, target: str) -> bool:
    if attach.startswith("LSM"):
        return target not in _UNTRUSTED_HOOKS
    return attach in ("TRACE_RAW_TP", "TRACE_ITER", "STRUCT_OPS")


def _result(types: KernelTypes, attach: str, name: str, proto: Row, rules: Features) -> Reg:
    """What the function returned, as the program sees it behind the arguments."""
    row = types.plain(proto.size)[1]
    if types.is_number(proto.size):
        limits = _hook_limits(name) if attach == "LSM_MAC" and "hook_ranges" in rules else None
        return number(bounds.between(*limits, rules)) if limits else ANY
    if row.kind != PTR:
        return refused(f"func '{name}' returns {row.name}. Only pointer access is allowed")
    return _pointer(types, attach, name, -1, "", types.plain(proto.size)[0], rules)


def _hook_limits(name: str) -> tuple[int, int]:
    return (0, 1) if name in _BOOL_HOOKS else _ERRORS


def _limits(prog_type: str, attach: str, name: str, proto: Row, rules: Features) -> tuple[int, int] | None:
    if attach == "LSM_CGROUP":
        return (0, 1) if proto.size else (1, 1)
    if prog_type == "LSM":
        return _hook_limits(name) if "hook_ranges" in rules and proto.size else None
    return {"TRACE_FENTRY": (0, 0), "TRACE_FEXIT": (0, 0), "TRACE_ITER": (0, 1)}.get(attach)


def refused(reason: str) -> Reg:
    """A slot that cannot be read, and why."""
    return Reg("refused", obj=reason)


def may_call(target: Attached, attach: str, helper: str, release: tuple[int, ...]) -> bool:
    """Whether a helper that is for few targets alone may be called there (bpf_d_path_allowed)."""
    if helper != "d_path":
        return True
    if release and release < (5, 12):
        return target.name in _D_PATH and not attach.startswith(("TRACE_ITER", "LSM"))
    if attach == "TRACE_ITER":
        return True
    if attach.startswith("LSM"):
        late = target.name in _PATH_HOOKS and (not release or release >= (6, 12))
        return late or target.name in _SLEEPABLE_HOOKS
    return target.name in _D_PATH


__all__ = ["ADDRESS", "Attached", "attached", "may_call"]
