"""Kernel functions and the tracepoints that are passed with them: what stands in where there are no kprobes.

Which arguments an event has is the same on all kernels that have it, as far back as the row says. A row with
`retval` is about the function's return, one without about its entry. Source: include/trace/events/*.h and the
places that call trace_*().
"""

from __future__ import annotations

from pbt.data import NamedTuple

Argument = int | str | None


class Spot(NamedTuple):
    """An event that stands for a function's entry or return.

    `event`: "rawtracepoint:EVENT" or "tracepoint:CATEGORY:EVENT". `args`: for each of the function's
    arguments the event's (position in a raw one, name of a field else), None if it is not among them.
    `only`: the event counts where its arguments have these values. `differs`: what is not the same.
    """

    function: str
    event: str
    args: tuple[Argument, ...] = ()
    retval: Argument = None
    only: tuple[tuple[int | str, int], ...] = ()
    differs: str = ""


def _raw(function: str, event: str, *args: Argument, differs: str = "") -> Spot:
    return Spot(function, f"rawtracepoint:{event}", args, differs=differs)


def _call(function: str, calls: str, *args: Argument, differs: str = "") -> tuple[Spot, ...]:
    """A function that system calls lead to: their entries and returns."""
    said = differs or "system calls alone, not the kernel's own use"
    spots: list[Spot] = []
    for call in calls.split():
        spots.append(Spot(function, f"tracepoint:syscalls:sys_enter_{call}", args, differs=said))
        spots.append(Spot(function, f"tracepoint:syscalls:sys_exit_{call}", retval="ret", differs=said))
    return tuple(spots)


_ESTABLISHED, _SYN_SENT, _SYN_RECV, _LISTEN = 1, 2, 3, 10  # include/net/tcp_states.h
_ACCEPTED = "the process is whichever the packet interrupted"

SPOTS: tuple[Spot, ...] = (
    # block
    _raw("blk_account_io_start", "block_io_start", 0),
    _raw("__blk_account_io_start", "block_io_start", 0),
    _raw("blk_account_io_done", "block_io_done", 0),
    _raw("__blk_account_io_done", "block_io_done", 0),
    _raw("blk_mq_start_request", "block_rq_issue", 0),
    _raw("blk_update_request", "block_rq_complete", 0, 1, 2),
    _raw("submit_bio", "block_bio_queue", 0, differs="a moment later, once for each part of a split"),
    _raw("submit_bio_noacct", "block_bio_queue", 0, differs="once for each part of a split"),
    # TCP
    _raw("tcp_set_state", "inet_sock_set_state", 0, 2, differs="also states set without this function"),
    _raw("tcp_retransmit_skb", "tcp_retransmit_skb", 0, 1),
    _raw("tcp_reset", "tcp_receive_reset", 0),
    _raw("tcp_rcv_established", "tcp_probe", 0, 1),
    _raw("tcp_rcv_space_adjust", "tcp_rcv_space_adjust", 0),
    _raw("tcp_v4_destroy_sock", "tcp_destroy_sock", 0),
    Spot("tcp_connect", "rawtracepoint:inet_sock_set_state", (0,), only=((2, _SYN_SENT),)),
    Spot(
        "inet_csk_accept", "rawtracepoint:inet_sock_set_state", retval=0, differs=_ACCEPTED,
        only=((1, _SYN_RECV), (2, _ESTABLISHED)),
    ),
    Spot("inet_csk_listen_start", "rawtracepoint:inet_sock_set_state", (0,), only=((2, _LISTEN),)),
    # packets
    _raw("kfree_skb", "kfree_skb", 0),
    _raw("kfree_skb_reason", "kfree_skb", 0, 2),
    _raw("tcp_drop", "kfree_skb", 3, 0, differs="all dropped packets; the socket is often 0"),
    _raw("consume_skb", "consume_skb", 0),
    _raw("netif_rx", "netif_rx", 0),
    _raw("netif_receive_skb", "netif_receive_skb", 0),
    _raw("__netif_receive_skb_core", "netif_receive_skb", 0),
    _raw("dev_queue_xmit", "net_dev_queue", 0),
    _raw("__dev_queue_xmit", "net_dev_queue", 0),
    _raw("dev_hard_start_xmit", "net_dev_start_xmit", 0, 1),
    _raw("ip_output", "net_dev_queue", None, None, 0, differs="packets of all protocols"),
    # tasks
    _raw("finish_task_switch", "sched_switch", 1, differs="on the old task's side of the switch"),
    _raw("try_to_wake_up", "sched_waking", 0),
    _raw("ttwu_do_wakeup", "sched_wakeup", None, 0),
    _raw("wake_up_new_task", "sched_wakeup_new", 0),
    _raw("do_exit", "sched_process_exit", None, differs="without the exit code"),
    _raw("kernel_clone", "sched_process_fork", None, differs="once the child exists"),
    _raw("_do_fork", "sched_process_fork", None, differs="once the child exists"),
    _raw("begin_new_exec", "sched_process_exec", 2, differs="where it has succeeded"),
    _raw("__set_task_comm", "task_rename", 0, 1),
    _raw("__send_signal_locked", "signal_generate", 0, 1, 2),
    # the rest
    _raw("cap_capable", "cap_capable", 0, 1, 3, None),
    _raw("oom_kill_process", "mark_victim", None, differs="without struct oom_control"),
    _raw("process_one_work", "workqueue_execute_start", None, 0),
    _raw("__handle_irq_event_percpu", "irq_handler_entry", None),
    _raw("__alloc_pages", "mm_page_alloc", 2, 1),
    _raw("exc_page_fault", "page_fault_user", 1, 2, differs="faults of processes alone"),
    # what system calls lead to
    *_call("vfs_read", "read pread64", None, "buf", "count"),
    *_call("vfs_write", "write pwrite64", None, "buf", "count"),
    *_call("vfs_open", "open openat openat2 creat"),
    *_call("vfs_create", "creat", differs="creat() alone, not open() with O_CREAT"),
    *_call("vfs_fsync", "fsync fdatasync"),
    *_call("vfs_fsync_range", "fsync fdatasync"),
    *_call("vfs_statx", "newstat newlstat newfstatat statx"),
    *_call("vfs_unlink", "unlink unlinkat"),
    *_call("vfs_rename", "rename renameat renameat2"),
    *_call("vfs_mkdir", "mkdir mkdirat"),
    *_call("vfs_rmdir", "rmdir"),
    *_call("do_sys_open", "openat", "dfd", "filename", "flags", "mode"),
    *_call("do_sys_openat2", "openat", "dfd", "filename"),
    *_call("do_nanosleep", "nanosleep clock_nanosleep"),
    *_call("ksys_sync", "sync"),
    *_call("do_mount", "mount", "dev_name", "dir_name", "type", "flags", "data"),
)  # fmt: skip
"""A function may have several: each is an event of its own."""


IN_PIECES = frozenset({
    "blk_account_io_start", "__blk_account_io_start", "blk_account_io_done", "__blk_account_io_done",
})  # fmt: skip
"""Small functions of which compilers leave but a piece under the name, which cannot be traced."""


def spots(function: str, returns: bool) -> list[Spot]:
    """The events that stand for the entry, or the return, of a kernel function."""
    return [spot for spot in SPOTS if spot.function == function and (spot.retval is not None) == returns]
