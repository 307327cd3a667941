"""Kernel functions of the kernel's own extensions (sched_ext, HID, queueing, sockets): who may call them.

Measured on Linux 7.3 by calling each in programs of each type; what those with numbers alone take follows from the
kernel's types. Of the others only the callers are known here.
"""

from __future__ import annotations

TRACERS = "TRACING LSM TRACEPOINT PERF_EVENT RAW_TRACEPOINT STRUCT_OPS SYSCALL"

NUMBERS = {  # name, how many numbers it takes, whether it gives one
    "scx_bpf_cid_to_cpu": (1, True), "scx_bpf_cidperf_cap": (1, True), "scx_bpf_cidperf_cur": (1, True),
    "scx_bpf_cidperf_set": (2, True), "scx_bpf_cpu_node": (1, True), "scx_bpf_cpu_to_cid": (1, True),
    "scx_bpf_cpuperf_cap": (1, True), "scx_bpf_cpuperf_cur": (1, True), "scx_bpf_cpuperf_set": (2, False),
    "scx_bpf_destroy_dsq": (1, False), "scx_bpf_dsq_nr_queued": (1, True), "scx_bpf_dsq_reenq": (2, False),
    "scx_bpf_kick_cid": (2, False), "scx_bpf_kick_cpu": (2, False), "scx_bpf_now": (0, True),
    "scx_bpf_nr_cids": (0, True), "scx_bpf_nr_cpu_ids": (0, True), "scx_bpf_nr_node_ids": (0, True),
    "scx_bpf_nr_online_cids": (0, True), "scx_bpf_reenqueue_local___v2": (0, False),
    "scx_bpf_test_and_clear_cpu_idle": (1, True), "scx_bpf_this_cid": (0, True),
}  # fmt: skip
"""Functions that tracing and system call programs may call."""

_MASKS = "scx_bpf_get_idle_cpumask scx_bpf_get_idle_smtmask scx_bpf_get_online_cpumask scx_bpf_get_possible_cpumask"
_PUTS = "scx_bpf_put_cpumask scx_bpf_put_idle_cpumask"
_NODES = "scx_bpf_get_idle_cpumask_node scx_bpf_get_idle_smtmask_node"
_PICKS = "scx_bpf_pick_any_cpu scx_bpf_pick_idle_cpu"
_PICKS_OF_NODE = "scx_bpf_pick_any_cpu_node scx_bpf_pick_idle_cpu_node"

BY_CPU = frozenset(
    f"{_MASKS} {_PUTS} {_NODES} {_PICKS} {_PICKS_OF_NODE} scx_bpf_cpu_node scx_bpf_cpuperf_cap scx_bpf_cpuperf_cur "
    "scx_bpf_cpuperf_set scx_bpf_kick_cpu scx_bpf_test_and_clear_cpu_idle scx_bpf_cpu_curr scx_bpf_task_cpu".split()
)
"""Those that schedulers may not call that know processors by their topological ids."""

FLAGGED = (  # names, arguments, result and flags as in kfuncs.py
    (
        "scx_bpf_cpu_curr scx_bpf_cid_curr scx_bpf_tid_to_task scx_bpf_dsq_peek",
        "num",
        "ptr:task_struct?",
        "rcu_protected",
    ),
    ("scx_bpf_task_running scx_bpf_task_cpu scx_bpf_task_cid", "ptr:task_struct", "num", "rcu"),
    ("scx_bpf_task_set_slice scx_bpf_task_set_dsq_vtime", "ptr:task_struct num", "num", "rcu"),
    ("scx_bpf_task_cgroup", "ptr:task_struct", "ptr:cgroup", "acquire rcu"),
    (_MASKS, "", "ptr:cpumask", "acquire"),
    (_NODES, "num", "ptr:cpumask", "acquire"),
    (_PUTS, "ptr:cpumask", "void", "release"),
    (_PICKS, "ptr:cpumask num", "num", "rcu"),
    (_PICKS_OF_NODE, "ptr:cpumask num num", "num", "rcu"),
    ("scx_bpf_locked_rq", "", "ptr:rq?", ""),
    ("scx_bpf_events", "mem size", "void", ""),
    ("scx_bpf_cid_topo", "num mem size", "void", ""),
    ("hid_bpf_allocate_context", "num", "ptr:hid_bpf_ctx?", "acquire sleepable"),
    ("hid_bpf_release_context", "ptr:hid_bpf_ctx", "void", "release sleepable"),
    ("hid_bpf_hw_request", "ptr:hid_bpf_ctx mem size num num", "num", "trusted sleepable"),
    ("hid_bpf_hw_output_report", "ptr:hid_bpf_ctx mem size", "num", "trusted sleepable"),
    ("bpf_get_root_mem_cgroup", "", "ptr:mem_cgroup?", "acquire"),
    ("bpf_put_mem_cgroup", "ptr:mem_cgroup", "void", "release"),
    ("bpf_get_mem_cgroup", "ptr:cgroup_subsys_state", "ptr:mem_cgroup?", "acquire rcu"),
    ("bpf_mem_cgroup_usage", "ptr:mem_cgroup", "num", "trusted"),
    (
        "bpf_mem_cgroup_vm_events bpf_mem_cgroup_memory_events bpf_mem_cgroup_page_state",
        "ptr:mem_cgroup num",
        "num",
        "trusted",
    ),
    ("bpf_mem_cgroup_flush_stats", "ptr:mem_cgroup", "void", "trusted sleepable"),
)
"""What Linux 7.3 showed when it loaded calls of these; those that are not in CALLERS are for all programs."""

_CALLERS = {
    TRACERS: (
        "bpf_iter_scx_dsq_destroy bpf_iter_scx_dsq_new bpf_iter_scx_dsq_next scx_bpf_cid_curr scx_bpf_cid_topo "
        "scx_bpf_cpu_curr scx_bpf_dsq_peek scx_bpf_dump_bstr scx_bpf_error_bstr scx_bpf_events scx_bpf_exit_bstr "
        "scx_bpf_get_idle_cpumask scx_bpf_get_idle_cpumask_node scx_bpf_get_idle_smtmask "
        "scx_bpf_get_idle_smtmask_node scx_bpf_get_online_cpumask scx_bpf_get_possible_cpumask scx_bpf_locked_rq "
        "scx_bpf_online_cmask scx_bpf_pick_any_cpu scx_bpf_pick_any_cpu_node scx_bpf_pick_idle_cpu "
        "scx_bpf_pick_idle_cpu_node scx_bpf_put_cpumask scx_bpf_put_idle_cpumask scx_bpf_sub_kill_bstr "
        "scx_bpf_task_cgroup scx_bpf_task_cid scx_bpf_task_cpu scx_bpf_task_running scx_bpf_task_set_dsq_vtime "
        "scx_bpf_task_set_slice scx_bpf_tid_to_task"
    ),
    "SYSCALL STRUCT_OPS": (
        "__scx_bpf_select_cpu_and scx_bpf_create_dsq scx_bpf_dsq_move scx_bpf_dsq_move_set_slice "
        "scx_bpf_dsq_move_set_vtime scx_bpf_dsq_move_vtime scx_bpf_select_cpu_and scx_bpf_select_cpu_dfl "
        "hid_bpf_allocate_context hid_bpf_hw_output_report hid_bpf_hw_request hid_bpf_input_report "
        "hid_bpf_release_context bpf_wakeup_sources_get_head bpf_wakeup_sources_read_lock "
        "bpf_wakeup_sources_read_unlock bpf_ksock_connect bpf_ksock_create"
    ),
    "SYSCALL STRUCT_OPS LSM": "bpf_ksock_acquire bpf_ksock_release bpf_ksock_send",
    "LSM": "bpf_get_fsverity_digest bpf_real_data_inode bpf_sock_read_xattr",
    "CGROUP_SKB STRUCT_OPS": "bpf_icmp_send",
    "TRACING": "bpf_sock_destroy",
    "TRACING LSM TRACEPOINT PERF_EVENT RAW_TRACEPOINT": "css_rstat_flush css_rstat_updated",
    "STRUCT_OPS": (
        "__scx_bpf_dsq_insert_vtime scx_bpf_dispatch_cancel scx_bpf_dispatch_nr_slots scx_bpf_dsq_insert "
        "scx_bpf_dsq_insert___v2 scx_bpf_dsq_insert_vtime scx_bpf_dsq_move_to_local scx_bpf_dsq_move_to_local___v2 "
        "scx_bpf_reenqueue_local scx_bpf_sub_dispatch hid_bpf_get_data hid_bpf_try_input_report "
        "bpf_io_uring_get_region bpf_io_uring_submit_sqes bpf_kfree_skb bpf_qdisc_bstats_update "
        "bpf_qdisc_init_prologue bpf_qdisc_reset_destroy_epilogue bpf_qdisc_skb_drop bpf_qdisc_watchdog_schedule "
        "bpf_skb_get_hash cubictcp_acked cubictcp_cong_avoid cubictcp_cwnd_event cubictcp_cwnd_event_tx_start "
        "cubictcp_init cubictcp_recalc_ssthresh cubictcp_state tcp_cong_avoid_ai tcp_reno_cong_avoid "
        "tcp_reno_ssthresh tcp_reno_undo_cwnd tcp_slow_start bbr_cwnd_event bbr_init bbr_main bbr_min_tso_segs "
        "bbr_set_state bbr_sndbuf_expand bbr_ssthresh bbr_undo_cwnd"
    ),
}
CALLERS = {name: frozenset(types.split()) for types, known in _CALLERS.items() for name in known.split()}
"""Function → the types of programs that may call it, if their function or attach type suits."""
