"""Program types: what their context offers, which helpers they may call, what they may return.

Measured on Linux 6.18 (x86-64, a privileged user) by loading one program for each helper, context offset
and return value; a test repeats this. Types that its configuration or a policy did not load there follow
the func_proto and is_valid_access functions of the kernel's sources. Which helpers an older kernel
allows can only be found by trying.
"""

from __future__ import annotations

from collections.abc import Iterator

from pbt.data import NamedTuple


class ProgType(NamedTuple):
    """One program type.

    context: the UAPI struct behind r1, "" if it has no fixed one (TRACEPOINT: the entry that the event's
    format describes; TRACING, LSM, EXT, STRUCT_OPS: the arguments of what it attaches to, a u64 each).
    reads, writes: where the context may be accessed, as "sizes:start-end,..." groups: each digit is a
    size in bytes, allowed at every multiple of it within [start, end); use `may_access`. For the
    unnamed contexts of TRACING and its like, BTF decides.
    pointers: context offset → what the verifier makes of the value read there.
    helpers: names in HELPERS. returns: smallest and largest return value, None if not enforced; see
    RETURNS for attach types that differ. attach_types: those used with it, at load or when it is linked.
    test_run: what prog_test_run wants: "packet", "context", "kernel" (it runs functions of its own), "".
    feature: its row of FEATURES, empty if in Linux 5.4.
    """

    name: str
    id: int
    context: str
    reads: str
    writes: str
    pointers: dict[int, str]
    helpers: frozenset[str]
    returns: tuple[int, int] | None
    attach_types: tuple[str, ...]
    test_run: str
    feature: str


# allowed in every program that may read the kernel (bpf_base_func_proto)
_BASE = (
    "cgrp_storage_delete cgrp_storage_get copy_from_user copy_from_user_task current_task_under_cgroup "
    "dynptr_data dynptr_from_mem dynptr_read dynptr_write find_vma for_each_map_elem get_branch_snapshot "
    "get_cgroup_classid get_current_ancestor_cgroup_id get_current_cgroup_id get_current_comm "
    "get_current_pid_tgid get_current_task get_current_task_btf get_current_uid_gid "
    "get_ns_current_pid_tgid get_numa_node_id get_prandom_u32 get_smp_processor_id get_task_stack "
    "jiffies64 kptr_xchg ktime_get_boot_ns ktime_get_ns ktime_get_tai_ns loop map_delete_elem "
    "map_lookup_elem map_lookup_percpu_elem map_peek_elem map_pop_elem map_push_elem map_update_elem "
    "per_cpu_ptr perf_event_read perf_event_read_value probe_read_kernel probe_read_kernel_str "
    "probe_read_user probe_read_user_str ringbuf_discard ringbuf_discard_dynptr ringbuf_output "
    "ringbuf_query ringbuf_reserve ringbuf_reserve_dynptr ringbuf_submit ringbuf_submit_dynptr "
    "send_signal send_signal_thread snprintf snprintf_btf spin_lock spin_unlock strncmp strtol strtoul "
    "tail_call task_pt_regs task_storage_delete task_storage_get this_cpu_ptr timer_cancel timer_init "
    "timer_set_callback timer_start trace_printk trace_vprintk user_ringbuf_drain"
)
_ALLOWED = frozenset(_BASE.split())

# what tracing programs add (bpf_tracing_func_proto); probe_write_user is gone under lockdown
_TRACE = (
    "get_attach_cookie get_stack get_stackid perf_event_output probe_read probe_read_str probe_write_user"
)
_SKC = (
    "skc_to_mptcp_sock skc_to_tcp6_sock skc_to_tcp_request_sock skc_to_tcp_sock skc_to_tcp_timewait_sock "
    "skc_to_udp6_sock skc_to_unix_sock"
)
_CLS = (
    "check_mtu clone_redirect csum_diff csum_level csum_update fib_lookup get_hash_recalc "
    "get_listener_sock get_netns_cookie get_route_realm get_socket_cookie get_socket_uid "
    "ktime_get_coarse_ns l3_csum_replace l4_csum_replace perf_event_output redirect redirect_neigh "
    "redirect_peer set_hash set_hash_invalid sk_assign sk_fullsock sk_lookup_tcp sk_lookup_udp sk_release "
    "sk_storage_delete sk_storage_get skb_adjust_room skb_ancestor_cgroup_id skb_cgroup_classid "
    "skb_cgroup_id skb_change_head skb_change_proto skb_change_tail skb_change_type skb_ecn_set_ce "
    "skb_get_tunnel_key skb_get_tunnel_opt skb_get_xfrm_state skb_load_bytes skb_load_bytes_relative "
    "skb_pull_data skb_set_tstamp skb_set_tunnel_key skb_set_tunnel_opt skb_store_bytes skb_under_cgroup "
    "skb_vlan_pop skb_vlan_push skc_lookup_tcp tcp_check_syncookie tcp_gen_syncookie "
    "tcp_raw_check_syncookie_ipv4 tcp_raw_check_syncookie_ipv6 tcp_raw_gen_syncookie_ipv4 "
    "tcp_raw_gen_syncookie_ipv6 tcp_sock"
)
_LWT = (
    "csum_diff get_hash_recalc get_route_realm ktime_get_coarse_ns perf_event_output skb_load_bytes "
    "skb_pull_data skb_under_cgroup"
)
_SKB_READS = "8:48-64,168-176 4:0-72,76-88,164-168,176-180 21:0-72,84-88,164-168,176-180"
_SKB_WRITES = "8:48-64 4:8-12,32-36,48-68 21:48-68"
_CLS_READS = (
    "8:48-64,152-160,168-176,184-192 "
    "4:0-88,140-144,160-168,176-180 2:0-76,84-88,160-168,176-180 1:0-76,84-88,160-168,176-181"
)
_CLS_WRITES = "8:48-64,152-160 4:8-16,32-36,44-68,72-76 21:48-68"
_PACKET = {76: "PTR_TO_PACKET", 80: "PTR_TO_PACKET_END", 168: "PTR_TO_SOCK_COMMON_OR_NULL"}


def _p(
    id: int,
    name: str,
    context: str,
    reads: str,
    writes: str = "",
    helpers: str = "",
    pointers: dict[int, str] | None = None,
    returns: tuple[int, int] | None = None,
    attach: str = "",
    run: str = "",
    feature: str = "",
) -> ProgType:
    allowed = _ALLOWED.union(helpers.split())
    attach_types = tuple(attach.split())
    return ProgType(
        name, id, context, reads, writes, pointers or {}, allowed, returns, attach_types, run, feature
    )


_ROWS = (
    _p(1, "SOCKET_FILTER", "__sk_buff", "8:48-64,168-176 421:0-72,84-88,164-168,176-180",
       writes="8:48-64 421:48-68",
       helpers=f"{_SKC} get_netns_cookie get_socket_cookie get_socket_uid ktime_get_coarse_ns "
       "perf_event_output skb_load_bytes skb_load_bytes_relative",
       pointers={168: "PTR_TO_SOCK_COMMON_OR_NULL"},
       run="packet"),
    _p(2, "KPROBE", "pt_regs", "8421:0-168",
       helpers=f"{_TRACE} get_func_ip override_return",
       attach="TRACE_KPROBE_MULTI TRACE_UPROBE_MULTI TRACE_KPROBE_SESSION TRACE_UPROBE_SESSION PERF_EVENT"),
    _p(3, "SCHED_CLS", "__sk_buff", _CLS_READS,
       writes=_CLS_WRITES,
       helpers=f"{_CLS} {_SKC}",
       pointers={**_PACKET, 140: "PTR_TO_PACKET_META"},
       attach="TCX_INGRESS TCX_EGRESS NETKIT_PRIMARY NETKIT_PEER",
       run="packet"),
    _p(4, "SCHED_ACT", "__sk_buff", _CLS_READS,
       writes=_CLS_WRITES,
       helpers=f"{_CLS} {_SKC}",
       pointers={**_PACKET, 140: "PTR_TO_PACKET_META"},
       run="packet"),
    _p(5, "TRACEPOINT", "", "8421:8-8192",
       helpers=_TRACE,
       attach="PERF_EVENT"),
    _p(6, "XDP", "xdp_md", "4:0-24",
       helpers=f"{_SKC} check_mtu csum_diff fib_lookup ktime_get_coarse_ns perf_event_output redirect "
       "redirect_map sk_lookup_tcp sk_lookup_udp sk_release skc_lookup_tcp "
       "tcp_check_syncookie tcp_gen_syncookie tcp_raw_check_syncookie_ipv4 "
       "tcp_raw_check_syncookie_ipv6 tcp_raw_gen_syncookie_ipv4 tcp_raw_gen_syncookie_ipv6 "
       "xdp_adjust_head xdp_adjust_meta xdp_adjust_tail xdp_get_buff_len xdp_load_bytes "
       "xdp_store_bytes",
       pointers={0: "PTR_TO_PACKET", 4: "PTR_TO_PACKET_END", 8: "PTR_TO_PACKET_META"},
       attach="XDP XDP_DEVMAP XDP_CPUMAP",
       run="packet"),
    _p(7, "PERF_EVENT", "bpf_perf_event_data", "8:0-184 421:168-184",
       helpers=f"{_TRACE} perf_prog_read_value read_branch_records",
       attach="PERF_EVENT"),
    _p(8, "CGROUP_SKB", "__sk_buff",
       "8:48-64,152-160,168-176,184-192 4:0-72,76-140,164-168,176-180 "
       "21:0-72,84-92,132-140,164-168,176-180",
       writes="8:48-64,152-160 4:8-12,32-36,48-68 21:48-68",
       helpers=f"{_SKC} get_listener_sock get_local_storage get_netns_cookie get_socket_cookie "
       "get_socket_uid ktime_get_coarse_ns perf_event_output sk_ancestor_cgroup_id "
       "sk_cgroup_id sk_fullsock sk_lookup_tcp sk_lookup_udp sk_release sk_storage_delete "
       "sk_storage_get skb_ancestor_cgroup_id skb_cgroup_id skb_ecn_set_ce skb_load_bytes "
       "skb_load_bytes_relative skc_lookup_tcp tcp_sock",
       pointers=_PACKET,
       returns=(0, 1),
       attach="CGROUP_INET_INGRESS CGROUP_INET_EGRESS",
       run="packet"),
    _p(9, "CGROUP_SOCK", "bpf_sock",
       "4:0-80 2:4-6,8-10,12-14,24-46,48-50,52-74,76-78 1:4-5,8-9,12-13,24-45,48-50,52-73,76-77",
       writes="4:0-4,16-24",
       helpers="get_local_storage get_netns_cookie get_retval get_socket_cookie ktime_get_coarse_ns "
       "perf_event_output set_retval sk_storage_get",
       returns=(0, 1),
       attach="CGROUP_INET_SOCK_CREATE CGROUP_INET_SOCK_RELEASE CGROUP_INET4_POST_BIND "
       "CGROUP_INET6_POST_BIND"),
    _p(10, "LWT_IN", "__sk_buff", _SKB_READS,
       writes=_SKB_WRITES,
       helpers=f"{_LWT} {_SKC} lwt_push_encap",
       pointers=_PACKET,
       run="packet"),
    _p(11, "LWT_OUT", "__sk_buff", _SKB_READS,
       writes=_SKB_WRITES,
       helpers=f"{_LWT} {_SKC}",
       pointers=_PACKET,
       run="packet"),
    _p(12, "LWT_XMIT", "__sk_buff", _SKB_READS,
       writes=_SKB_WRITES,
       helpers=f"{_LWT} {_SKC} clone_redirect csum_level csum_update l3_csum_replace l4_csum_replace "
       "lwt_push_encap redirect set_hash_invalid skb_change_head skb_change_tail "
       "skb_get_tunnel_key skb_get_tunnel_opt skb_set_tunnel_key skb_set_tunnel_opt "
       "skb_store_bytes",
       pointers=_PACKET,
       run="packet"),
    _p(13, "SOCK_OPS", "bpf_sock_ops",
       "8:168-208,216-224 4:0-168,208-216 2:212-214 1:212-213",
       writes="4:4-8,164-168",
       helpers=f"{_SKC} get_local_storage get_netns_cookie get_socket_cookie getsockopt "
       "ktime_get_coarse_ns load_hdr_opt perf_event_output reserve_hdr_opt setsockopt "
       "sk_storage_delete sk_storage_get sock_hash_update sock_map_update "
       "sock_ops_cb_flags_set store_hdr_opt tcp_sock",
       pointers={184: "PTR_TO_SOCKET_OR_NULL", 192: "PTR_TO_PACKET", 200: "PTR_TO_PACKET_END"},
       returns=(0, 1),
       attach="CGROUP_SOCK_OPS"),
    _p(14, "SK_SKB", "__sk_buff",
       "8:48-64,168-176 4:0-8,12-72,76-140,164-168,176-180 "
       "21:0-8,12-72,84-92,132-140,164-168,176-180",
       writes="4:32-36,44-48",
       helpers=f"{_SKC} get_socket_cookie get_socket_uid ktime_get_coarse_ns perf_event_output "
       "sk_lookup_tcp sk_lookup_udp sk_redirect_hash sk_redirect_map sk_release "
       "skb_adjust_room skb_change_head skb_change_tail skb_load_bytes skb_pull_data "
       "skb_store_bytes skc_lookup_tcp",
       pointers=_PACKET,
       attach="SK_SKB_STREAM_PARSER SK_SKB_STREAM_VERDICT SK_SKB_VERDICT"),
    _p(15, "CGROUP_DEVICE", "bpf_cgroup_dev_ctx", "4:0-12 21:0-4",
       helpers="get_local_storage perf_event_output",
       returns=(0, 1),
       attach="CGROUP_DEVICE"),
    _p(16, "SK_MSG", "sk_msg_md", "8:0-16,72-80 4:16-72",
       helpers=f"{_SKC} get_netns_cookie ktime_get_coarse_ns msg_apply_bytes msg_cork_bytes "
       "msg_pop_data msg_pull_data msg_push_data msg_redirect_hash msg_redirect_map "
       "perf_event_output sk_storage_delete sk_storage_get",
       pointers={0: "PTR_TO_PACKET", 8: "PTR_TO_PACKET_END", 72: "PTR_TO_SOCKET"},
       attach="SK_MSG_VERDICT"),
    _p(17, "RAW_TRACEPOINT", "bpf_raw_tracepoint_args", "8421:0-96",
       helpers=_TRACE,
       run="context"),
    _p(18, "CGROUP_SOCK_ADDR", "bpf_sock_addr", "8:8-24,48-56,64-72 4:0-60 21:4-28,40-60",
       writes="8:8-24,48-56 4:4-28,40-60",
       helpers=f"{_SKC} bind get_local_storage get_netns_cookie get_retval get_socket_cookie "
       "getsockopt ktime_get_coarse_ns perf_event_output set_retval setsockopt sk_lookup_tcp "
       "sk_lookup_udp sk_release sk_storage_delete sk_storage_get skc_lookup_tcp",
       pointers={64: "PTR_TO_SOCKET"},
       returns=(0, 1),
       attach="CGROUP_INET4_BIND CGROUP_INET6_BIND CGROUP_INET4_CONNECT CGROUP_INET6_CONNECT "
       "CGROUP_UNIX_CONNECT CGROUP_UDP4_SENDMSG CGROUP_UDP6_SENDMSG CGROUP_UNIX_SENDMSG "
       "CGROUP_UDP4_RECVMSG CGROUP_UDP6_RECVMSG CGROUP_UNIX_RECVMSG CGROUP_INET4_GETPEERNAME "
       "CGROUP_INET6_GETPEERNAME CGROUP_UNIX_GETPEERNAME CGROUP_INET4_GETSOCKNAME "
       "CGROUP_INET6_GETSOCKNAME CGROUP_UNIX_GETSOCKNAME"),
    _p(19, "LWT_SEG6LOCAL", "__sk_buff", _SKB_READS,
       writes=_SKB_WRITES,
       helpers=f"{_LWT} {_SKC} lwt_seg6_action lwt_seg6_adjust_srh lwt_seg6_store_bytes",
       pointers=_PACKET),
    _p(20, "LIRC_MODE2", "", "4:0-4",
       helpers="perf_event_output rc_keydown rc_pointer_rel rc_repeat",
       attach="LIRC_MODE2"),
    _p(21, "SK_REUSEPORT", "sk_reuseport_md", "8:0-16,40-56 4:16-36 2:16-32 1:16-20,24-32",
       helpers="get_socket_cookie ktime_get_coarse_ns sk_select_reuseport skb_load_bytes "
       "skb_load_bytes_relative",
       pointers={0: "PTR_TO_PACKET", 8: "PTR_TO_PACKET_END", 40: "PTR_TO_SOCKET",
                 48: "PTR_TO_SOCK_COMMON_OR_NULL"},
       attach="SK_REUSEPORT_SELECT SK_REUSEPORT_SELECT_OR_MIGRATE"),
    _p(22, "FLOW_DISSECTOR", "__sk_buff", "8:144-152 4:76-84",
       helpers=f"{_SKC} ktime_get_coarse_ns skb_load_bytes",
       pointers={76: "PTR_TO_PACKET", 80: "PTR_TO_PACKET_END", 144: "PTR_TO_FLOW_KEYS"},
       attach="FLOW_DISSECTOR",
       run="packet"),
    _p(23, "CGROUP_SYSCTL", "bpf_sysctl", "421:0-8",
       writes="4:4-8",
       helpers="get_local_storage ktime_get_coarse_ns perf_event_output sysctl_get_current_value "
       "sysctl_get_name sysctl_get_new_value sysctl_set_new_value",
       returns=(0, 1),
       attach="CGROUP_SYSCTL"),
    _p(24, "RAW_TRACEPOINT_WRITABLE", "bpf_raw_tracepoint_args", "8:0-96 4:4-96 2:2-96 1:1-96",
       helpers=_TRACE,
       pointers={0: "PTR_TO_TP_BUFFER"}),
    _p(25, "CGROUP_SOCKOPT", "bpf_sockopt", "8:0-24 4:24-40",
       writes="4:24-40",
       helpers="get_local_storage get_netns_cookie get_retval getsockopt perf_event_output "
       "set_retval setsockopt sk_storage_delete sk_storage_get tcp_sock",
       pointers={0: "PTR_TO_SOCKET", 8: "PTR_TO_PACKET", 16: "PTR_TO_PACKET_END"},
       returns=(0, 1),
       attach="CGROUP_GETSOCKOPT CGROUP_SETSOCKOPT"),
    _p(26, "TRACING", "", "",
       helpers=f"{_TRACE} {_SKC} d_path get_func_arg get_func_arg_cnt get_func_ip get_func_ret "
       "get_socket_cookie seq_printf seq_printf_btf seq_write sk_storage_delete "
       "sk_storage_get skb_output sock_from_file xdp_get_buff_len xdp_output",
       attach="TRACE_RAW_TP TRACE_FENTRY TRACE_FEXIT MODIFY_RETURN TRACE_ITER",
       run="kernel",
       feature="btf"),
    _p(27, "STRUCT_OPS", "", "",
       helpers="getsockopt ktime_get_coarse_ns setsockopt sk_storage_delete sk_storage_get tcp_send_ack",
       attach="STRUCT_OPS",
       run="context",
       feature="struct_ops"),
    _p(28, "EXT", "", "",
       feature="btf"),
    _p(29, "LSM", "", "",
       helpers=f"{_TRACE} {_SKC} bprm_opts_set d_path get_func_arg get_func_arg_cnt get_func_ret "
       "get_local_storage get_retval skb_output xdp_get_buff_len xdp_output "
       "get_socket_cookie getsockopt ima_file_hash ima_inode_hash "
       "inode_storage_delete inode_storage_get set_retval setsockopt sk_storage_delete "
       "sk_storage_get sock_from_file",
       attach="LSM_MAC LSM_CGROUP",
       feature="lsm"),
    _p(30, "SK_LOOKUP", "bpf_sk_lookup", "8:0-8 421:8-68",
       helpers=f"{_SKC} ktime_get_coarse_ns perf_event_output sk_assign sk_release",
       pointers={0: "PTR_TO_SOCKET_OR_NULL"},
       returns=(0, 1),
       attach="SK_LOOKUP",
       run="context",
       feature="sk_lookup"),
    _p(31, "SYSCALL", "", "8421:0-65536",
       writes="8421:0-65536",
       helpers=f"{_SKC} btf_find_by_name_kind get_socket_cookie get_stack get_stackid "
       "kallsyms_lookup_name perf_event_output probe_read probe_read_str probe_write_user skb_output "
       "sock_from_file sys_bpf sys_close xdp_get_buff_len xdp_output",
       run="context",
       feature="syscall_prog"),
    _p(32, "NETFILTER", "bpf_nf_ctx", "8:0-16",
       pointers={0: "PTR_TO_BTF_ID:nf_hook_state", 8: "PTR_TO_BTF_ID:sk_buff"},
       returns=(0, 1),
       attach="NETFILTER",
       run="packet",
       feature="netfilter"),
)  # fmt: skip

PROG_TYPES: dict[str, ProgType] = {row.name: row for row in _ROWS}
"""By name, as in enum bpf_prog_type without its prefix."""

RETURNS: dict[str, tuple[int, int]] = {
    "CGROUP_INET_EGRESS": (0, 3),
    "CGROUP_INET4_BIND": (0, 3),
    "CGROUP_INET6_BIND": (0, 3),
    **{
        f"CGROUP_{family}_{what}": (1, 1)
        for family in ("INET4", "INET6", "UNIX")
        for what in ("GETPEERNAME", "GETSOCKNAME")
    },
    **{f"CGROUP_{family}_RECVMSG": (1, 1) for family in ("UDP4", "UDP6", "UNIX")},
    "TRACE_FENTRY": (0, 0),
    "TRACE_FEXIT": (0, 0),
    "TRACE_ITER": (0, 1),
    "TRACE_KPROBE_SESSION": (0, 1),
    "TRACE_UPROBE_SESSION": (0, 1),
}
"""Return values by expected_attach_type, where these decide rather than the program type."""


_SINCE: dict[str, tuple[tuple[int, int, str], ...]] = {
    "SK_REUSEPORT": ((40, 56, "5.14"),),
    "__sk_buff": ((184, 192, "5.16"), (180, 184, "5.18")),
    "bpf_sock_ops": ((216, 224, "6.2"),),
    "bpf_sk_lookup": ((64, 72, "5.17"),),
}
"""Parts of contexts, by program type or context, that came after Linux 5.10: start, end, release."""


def context_release(prog: ProgType, offset: int, size: int) -> str:
    """The first release whose contexts have these bytes; "" for all since 5.10."""
    for key in (prog.name, prog.context):
        for start, end, release in _SINCE.get(key, ()):
            if offset < end and start < offset + size:
                return release
    return ""


def returns(prog_type: str, attach_type: str = "") -> tuple[int, int] | None:
    """The smallest and the largest value that a program may return; None if the verifier does not mind."""
    row = PROG_TYPES[prog_type]
    return RETURNS.get(attach_type, row.returns) if attach_type in row.attach_types else row.returns


def ranges(text: str) -> Iterator[tuple[int, int, int]]:
    """The access rules of `reads` or `writes` as (size, start, end), in bytes."""
    for group in text.split():
        sizes, _, spans = group.partition(":")
        for span in spans.split(","):
            start, _, end = span.partition("-")
            for size in sizes:
                yield int(size), int(start), int(end)


def may_access(rules: str, offset: int, size: int) -> bool:
    """Whether `size` bytes at `offset` of the context may be accessed under `reads` or `writes`."""
    return offset % size == 0 and any(
        size == width and start <= offset and offset + size <= end for width, start, end in ranges(rules)
    )


def for_regs(prog: ProgType, size: int) -> ProgType:
    """The row for a machine whose struct pt_regs has `size` bytes (the table's is x86-64's, 168)."""
    if prog.context == "pt_regs":
        return prog._replace(reads=f"8421:0-{size}")
    if prog.context == "bpf_perf_event_data":
        return prog._replace(reads=f"8:0-{size + 16} 421:{size}-{size + 16}")
    return prog
