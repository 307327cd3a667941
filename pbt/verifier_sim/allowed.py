"""Which helpers a program may call: by its type, what it attaches to, the kernel's release, its user's privileges.

Source: the func_proto functions of the kernel's program types; measured by loading a call of each helper in
programs of each type and attach type, on Linux 5.10 to 7.3.
"""

from __future__ import annotations

from pbt.typing import Final
from pbt.uapi import progs
from pbt.uapi.helpers import Helper
from pbt.verifier_sim import kernels, structops
from pbt.verifier_sim.env import Env
from pbt.verifier_sim.reg import names

_TRACERS: Final = names(
    "SYSCALL KPROBE TRACEPOINT PERF_EVENT RAW_TRACEPOINT RAW_TRACEPOINT_WRITABLE TRACING LSM"
)
_CURRENT: Final = names("CGROUP_SOCK CGROUP_SOCK_ADDR CGROUP_DEVICE CGROUP_SYSCTL CGROUP_SOCKOPT")
_CLASSES: Final = names("SCHED_CLS SCHED_ACT LWT_IN LWT_OUT LWT_XMIT LWT_SEG6LOCAL SK_MSG")
_EARLY: Final = (
    (
        names(
            "perf_event_read perf_event_read_value send_signal send_signal_thread get_task_stack copy_from_user "
            "copy_from_user_task task_storage_get task_storage_delete get_branch_snapshot find_vma"
        ),
        _TRACERS,
    ),
    (names("get_current_comm current_task_under_cgroup"), _TRACERS | _CURRENT),
    (names("get_current_uid_gid"), _TRACERS | _CURRENT | {"SK_MSG"}),
    (names("get_cgroup_classid"), _CURRENT | _CLASSES),
)
"""Helpers of all types of programs since 6.18 ("comm_everywhere"), and the types that had them before."""
_OTHERS: Final = frozenset(progs.PROG_TYPES) - _TRACERS - _CURRENT
_ALLOWED_SINCE: Final = {
    "get_netns_cookie": (names("SOCKET_FILTER SCHED_CLS SCHED_ACT CGROUP_SKB"), (6, 15)),
    "get_current_pid_tgid": (_OTHERS - {"SK_MSG"}, (6, 10)),
    "get_current_cgroup_id": (_OTHERS - {"SK_MSG"}, (6, 10)),
    "get_current_ancestor_cgroup_id": (_OTHERS - {"SK_MSG"}, (6, 10)),
    "get_ns_current_pid_tgid": (_OTHERS | _CURRENT, (6, 10)),
    "current_task_under_cgroup": (_CURRENT, (6, 10)),
    "strtol": (frozenset(progs.PROG_TYPES) - {"CGROUP_SYSCTL"}, (5, 13)),
    "strtoul": (frozenset(progs.PROG_TYPES) - {"CGROUP_SYSCTL"}, (5, 13)),
    "get_attach_cookie": (names("RAW_TRACEPOINT RAW_TRACEPOINT_WRITABLE"), (6, 10)),
}
"""Helpers that some types of programs were given later than others: the types, the release."""
_UNNAMED: Final = names("CGROUP_UNIX_GETPEERNAME CGROUP_UNIX_GETSOCKNAME")
"""Attach types whose programs look at no options since 7.0."""
_PROBES: Final = names("KPROBE TRACEPOINT PERF_EVENT RAW_TRACEPOINT RAW_TRACEPOINT_WRITABLE")
_NOT_IN_5_10: Final = {
    "spin_lock": _PROBES | {"TRACING", "LSM"},
    "spin_unlock": _PROBES | {"TRACING", "LSM"},
    "get_current_ancestor_cgroup_id": _TRACERS | names("CGROUP_DEVICE CGROUP_SYSCTL CGROUP_SOCKOPT"),
    "copy_from_user": _TRACERS - {"TRACING"},
    "get_netns_cookie": names("SOCK_OPS SK_MSG CGROUP_SOCKOPT"),
    **dict.fromkeys(
        ("get_current_pid_tgid", "get_current_comm", "get_cgroup_classid"),
        names("CGROUP_DEVICE CGROUP_SYSCTL CGROUP_SOCKOPT"),
    ),
    "get_socket_cookie": names("SK_REUSEPORT TRACING LSM"),
    **dict.fromkeys(("getsockopt", "setsockopt"), names("CGROUP_SOCKOPT")),
    "sk_storage_get": names("TRACING"),
    "sk_storage_delete": names("TRACING"),
}
"""Helpers that these types of programs were given after Linux 5.10."""
_CAPABLE: Final = names(
    "spin_lock spin_unlock jiffies64 per_cpu_ptr this_cpu_ptr timer_init timer_set_callback timer_start "
    "timer_cancel kptr_xchg for_each_map_elem loop user_ringbuf_drain ringbuf_reserve_dynptr "
    "ringbuf_submit_dynptr ringbuf_discard_dynptr dynptr_from_mem dynptr_read dynptr_write dynptr_data "
    "cgrp_storage_get cgrp_storage_delete get_current_cgroup_id get_current_ancestor_cgroup_id "
    "get_current_uid_gid current_task_under_cgroup get_cgroup_classid"
)
"""Helpers of bpf_base_func_proto() behind its test of CAP_BPF."""
_SEEING: Final = names(
    "trace_printk trace_vprintk get_current_task get_current_task_btf probe_read_user "
    "probe_read_kernel probe_read_user_str probe_read_kernel_str snprintf_btf snprintf task_pt_regs "
    "get_current_comm perf_event_read perf_event_read_value send_signal send_signal_thread get_task_stack find_vma "
    "copy_from_user copy_from_user_task get_branch_snapshot skc_to_tcp6_sock skc_to_tcp_sock skc_to_tcp_timewait_sock "
    "skc_to_tcp_request_sock skc_to_udp6_sock skc_to_unix_sock skc_to_mptcp_sock"
)
"""Those behind its test of CAP_PERFMON, and that of bpf_sk_base_func_proto()."""

_TRAMPOLINE: Final = names("TRACE_FENTRY TRACE_FEXIT MODIFY_RETURN LSM_MAC")
_ATTACHED: Final = (
    ("CGROUP_SOCK_ADDR", names("bind"), names("CGROUP_INET4_CONNECT CGROUP_INET6_CONNECT")),
    ("CGROUP_SOCKOPT", names("getsockopt setsockopt"), names("CGROUP_SETSOCKOPT")),
    ("TRACING", names("seq_printf seq_write seq_printf_btf"), names("TRACE_ITER")),
    ("TRACING", names("get_func_ip get_func_arg get_func_ret get_func_arg_cnt"), _TRAMPOLINE),
    ("TRACING", names("get_attach_cookie"), _TRAMPOLINE | names("TRACE_RAW_TP")),
    (
        "TRACING",
        names("sk_storage_get sk_storage_delete"),
        names("TRACE_RAW_TP TRACE_ITER TRACE_FENTRY TRACE_FEXIT"),
    ),
    ("LSM", names("get_local_storage get_retval set_retval getsockopt setsockopt"), names("LSM_CGROUP")),
    ("LSM", names("get_attach_cookie get_func_arg get_func_ret get_func_arg_cnt"), names("LSM_MAC")),
)
"""Helpers that a type of program has with some attach types alone: type, helpers, attach types."""
_LATER: Final = (
    ("CGROUP_SOCK", names("getsockopt setsockopt"), frozenset(("", "CGROUP_INET_SOCK_CREATE")), (7, 0)),
    ("TRACING", names("get_func_arg get_func_arg_cnt"), names("TRACE_RAW_TP"), (7, 0)),
)
"""Helpers that a type of program has with some attach types since a release."""
_SOCKET_HOOKS: Final = names(
    "sock_graft inet_csk_clone inet_conn_established socket_post_create socket_socketpair"
)
"""Hooks whose programs have getsockopt and setsockopt."""
_WITH_RESULT: Final = names("CGROUP_DEVICE CGROUP_SYSCTL CGROUP_SOCK CGROUP_SOCK_ADDR CGROUP_SOCKOPT")
_WITHOUT_RESULT: Final = frozenset(
    name for name in progs.RETURNS if name.endswith(("RECVMSG", "GETPEERNAME", "GETSOCKNAME"))
)


def knows(env: Env, helper: Helper) -> bool:
    """Whether the kernel has the helper at all (none came after 6.2)."""
    if not env.release or env.release >= (6, 2):
        return True
    from pbt.uapi.features import helper_release

    return kernels.release(helper_release(helper.id)) <= env.release


def allows(env: Env, helper: Helper) -> bool:
    """Whether programs of this type may call the helper on this kernel."""
    name, prog = helper.name, env.prog.name
    if name in ("get_retval", "set_retval") and prog in _WITH_RESULT:
        return _has_result(env)
    if any(
        prog == kind and name in few and env.attach in places and env.release >= since
        for kind, few, places, since in _LATER
    ):
        return True
    if name not in env.prog.helpers or name in env.missing:
        return False
    if env.attached is not None and env.attached.struct:
        return structops.helps(env.attached.struct, env.attached.name, name)
    if (not env.bpf and name in _CAPABLE) or (not env.perfmon and name in _SEEING):
        return False
    if any(prog == kind and name in few and env.attach not in places for kind, few, places in _ATTACHED):
        return False
    if name == "get_attach_cookie" and env.attach == "TRACE_RAW_TP":
        return not env.release or env.release >= (6, 10)
    if prog == "LSM" and name in ("getsockopt", "setsockopt"):
        return env.attached is not None and env.attached.name in _SOCKET_HOOKS
    if env.release and env.release < (5, 11) and not _in_5_10(env, name):
        return False
    taken = env.attach in _UNNAMED and name in ("getsockopt", "setsockopt") and env.release >= (7, 0)
    if prog == "LWT_SEG6LOCAL" and name == "skb_pull_data":
        taken = env.release >= (7, 0) or (6, 1) <= env.release < (6, 2)
    return _long_enough(env, name) and not taken


def _long_enough(env: Env, name: str) -> bool:
    """Whether these programs have the helper already."""
    prog = env.prog.name
    since = _ALLOWED_SINCE.get(name)
    if since and env.release and env.release < since[1] and prog in since[0]:
        return False
    if "comm_everywhere" not in env.rules:
        return all(name not in few or prog in types for few, types in _EARLY)
    return True


def _in_5_10(env: Env, name: str) -> bool:
    prog = env.prog.name
    if prog == "CGROUP_SOCK_ADDR" and name in ("getsockopt", "setsockopt"):
        return env.attach in ("CGROUP_INET4_CONNECT", "CGROUP_INET6_CONNECT")
    return prog not in _NOT_IN_5_10.get(name, ())


def _has_result(env: Env) -> bool:
    """Whether there is a result of the operation to get or set: no attach type means that of ingress."""
    return env.attach not in _WITHOUT_RESULT and bool(env.attach or env.prog.name == "CGROUP_SOCK")


__all__ = ["allows", "knows"]
