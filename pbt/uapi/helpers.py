"""Helper functions: ids from <linux/bpf.h>, arguments in the terms of struct bpf_func_proto.

A kind may carry a parameter after a colon: `PTR_TO_BTF_ID:task_struct` wants (or returns) a pointer to
that struct, `MEM_FIXED:8` memory of that many bytes, `DYNPTR:RINGBUF` a dynptr of that sort. Argument
n of a helper goes to register n + 1; registers beyond `args` are not looked at, which is how
trace_printk takes up to three values after its format. get_cgroup_classid looks at its argument only in
traffic control programs; check_mtu reads its memory before it fills it.
Checked against Linux 6.18 by the answers of its verifier; the names are its own, less the prefixes.

Kinds of arguments:
    CONST_MAP_PTR: a map, the same one on every path
    MAP_KEY: readable memory of the map's key size
    MAP_VALUE: readable memory of the map's value size
    MAP_VALUE_OR_NULL: the same, or a constant 0
    UNINIT_MAP_VALUE: memory of the map's value size that the helper fills
    MEM: memory that the helper reads and writes; its size is the next argument
    MEM_RDONLY: memory that the helper reads; its size is the next argument
    UNINIT_MEM: memory that the helper fills; its size is the next argument
    PTR_TO_MEM_OR_NULL: like MEM, or a constant 0
    MEM_OR_NULL_RDONLY: like MEM_RDONLY, or a constant 0
    MEM_FIXED: memory of the size after the colon that the helper reads
    UNINIT_MEM_FIXED: memory of the size after the colon, aligned to it, that the helper fills
    CONST_SIZE: a number with a known upper bound, never 0
    CONST_SIZE_OR_ZERO: a number with a known upper bound
    CONST_ALLOC_SIZE_OR_ZERO: a constant: how many bytes may be used through the returned pointer
    PTR_TO_CTX: the program's context, unmodified
    PTR_TO_CTX_OR_NULL: the program's context, or a constant 0
    ANYTHING: any initialised value
    SPIN_LOCK: the struct bpf_spin_lock in a map value
    TIMER: the struct bpf_timer in a map value
    KPTR: the place of a kernel pointer in a map value
    SOCK_COMMON: a socket that the verifier knows
    BTF_ID_SOCK_COMMON: a socket, known to the verifier or by BTF
    PTR_TO_BTF_ID: a kernel pointer known by BTF
    PTR_TO_BTF_ID_OR_NULL: the same, or null
    PTR_TO_PERCPU_BTF_ID: a per-CPU kernel variable
    PTR_TO_ALLOC_MEM: what the ring buffer reserved, given back by this call
    PTR_TO_FUNC: a subprogram
    PTR_TO_STACK_OR_NULL: a place on the stack, or a constant 0
    CONST_STR: text in a read-only map value
    DYNPTR: a dynptr on the stack
    DYNPTR_UNINIT: 16 bytes on the stack that become a dynptr

Kinds of results:
    INTEGER: a number
    VOID: nothing
    PTR_TO_MAP_VALUE: the map's value
    PTR_TO_MAP_VALUE_OR_NULL: the map's value, or null
    PTR_TO_ALLOC_MEM_OR_NULL: ring buffer memory of the size in the second argument, or null
    PTR_TO_DYNPTR_MEM_OR_NULL: memory of a dynptr, of the size in the third argument, or null
    PTR_TO_MEM_OR_BTF_ID: a variable of this CPU
    PTR_TO_MEM_OR_BTF_ID_OR_NULL: a variable of some CPU, or null
    PTR_TO_SOCKET_OR_NULL: a struct bpf_sock, or null
    PTR_TO_SOCK_COMMON_OR_NULL: the common part of a struct bpf_sock, or null
    PTR_TO_TCP_SOCK_OR_NULL: a struct bpf_tcp_sock, or null
    PTR_TO_BTF_ID: a kernel pointer known by BTF
    PTR_TO_BTF_ID_TRUSTED: a kernel pointer known by BTF that is surely alive
    PTR_TO_BTF_ID_OR_NULL: a kernel pointer known by BTF, or null
"""

from __future__ import annotations

from pbt.data import NamedTuple


class Helper(NamedTuple):
    """One helper. `gpl`: only for programs under a GPL-compatible license; `feature`: the row of
    FEATURES that brings it, empty for helpers present since Linux 5.4."""

    name: str
    id: int
    args: tuple[str, ...]
    ret: str
    gpl: bool
    feature: str


NEWER = 110
"""Helpers with ids up to this one are in Linux 5.4 and have no row in FEATURES."""


def _h(
    id: int, name: str, args: str = "", ret: str = "INTEGER", gpl: bool = False, feature: str = ""
) -> Helper:
    own = name if id > NEWER else ""
    return Helper(name, id, tuple(args.split()), ret, gpl, feature or own)


_ROWS = (
    _h(1, "map_lookup_elem", "CONST_MAP_PTR MAP_KEY", ret="PTR_TO_MAP_VALUE_OR_NULL"),
    _h(2, "map_update_elem", "CONST_MAP_PTR MAP_KEY MAP_VALUE ANYTHING"),
    _h(3, "map_delete_elem", "CONST_MAP_PTR MAP_KEY"),
    _h(4, "probe_read", "UNINIT_MEM CONST_SIZE_OR_ZERO ANYTHING", gpl=True),
    _h(5, "ktime_get_ns", ""),
    _h(6, "trace_printk", "MEM_RDONLY CONST_SIZE", gpl=True),
    _h(7, "get_prandom_u32", ""),
    _h(8, "get_smp_processor_id", ""),
    _h(9, "skb_store_bytes", "PTR_TO_CTX ANYTHING MEM_RDONLY CONST_SIZE ANYTHING"),
    _h(10, "l3_csum_replace", "PTR_TO_CTX ANYTHING ANYTHING ANYTHING ANYTHING"),
    _h(11, "l4_csum_replace", "PTR_TO_CTX ANYTHING ANYTHING ANYTHING ANYTHING"),
    _h(12, "tail_call", "PTR_TO_CTX CONST_MAP_PTR ANYTHING", ret="VOID"),
    _h(13, "clone_redirect", "PTR_TO_CTX ANYTHING ANYTHING"),
    _h(14, "get_current_pid_tgid", ""),
    _h(15, "get_current_uid_gid", ""),
    _h(16, "get_current_comm", "UNINIT_MEM CONST_SIZE"),
    _h(17, "get_cgroup_classid", "PTR_TO_CTX"),
    _h(18, "skb_vlan_push", "PTR_TO_CTX ANYTHING ANYTHING"),
    _h(19, "skb_vlan_pop", "PTR_TO_CTX"),
    _h(20, "skb_get_tunnel_key", "PTR_TO_CTX UNINIT_MEM CONST_SIZE ANYTHING"),
    _h(21, "skb_set_tunnel_key", "PTR_TO_CTX MEM_RDONLY CONST_SIZE ANYTHING"),
    _h(22, "perf_event_read", "CONST_MAP_PTR ANYTHING", gpl=True),
    _h(23, "redirect", "ANYTHING ANYTHING"),
    _h(24, "get_route_realm", "PTR_TO_CTX"),
    _h(25, "perf_event_output", "PTR_TO_CTX CONST_MAP_PTR ANYTHING MEM_RDONLY CONST_SIZE_OR_ZERO", gpl=True),
    _h(26, "skb_load_bytes", "PTR_TO_CTX ANYTHING UNINIT_MEM CONST_SIZE"),
    _h(27, "get_stackid", "PTR_TO_CTX CONST_MAP_PTR ANYTHING", gpl=True),
    _h(
        28,
        "csum_diff",
        "MEM_OR_NULL_RDONLY CONST_SIZE_OR_ZERO MEM_OR_NULL_RDONLY CONST_SIZE_OR_ZERO ANYTHING",
    ),
    _h(29, "skb_get_tunnel_opt", "PTR_TO_CTX UNINIT_MEM CONST_SIZE"),
    _h(30, "skb_set_tunnel_opt", "PTR_TO_CTX MEM_RDONLY CONST_SIZE"),
    _h(31, "skb_change_proto", "PTR_TO_CTX ANYTHING ANYTHING"),
    _h(32, "skb_change_type", "PTR_TO_CTX ANYTHING"),
    _h(33, "skb_under_cgroup", "PTR_TO_CTX CONST_MAP_PTR ANYTHING"),
    _h(34, "get_hash_recalc", "PTR_TO_CTX"),
    _h(35, "get_current_task", "", gpl=True),
    _h(36, "probe_write_user", "ANYTHING MEM_RDONLY CONST_SIZE", gpl=True),
    _h(37, "current_task_under_cgroup", "CONST_MAP_PTR ANYTHING"),
    _h(38, "skb_change_tail", "PTR_TO_CTX ANYTHING ANYTHING"),
    _h(39, "skb_pull_data", "PTR_TO_CTX ANYTHING"),
    _h(40, "csum_update", "PTR_TO_CTX ANYTHING"),
    _h(41, "set_hash_invalid", "PTR_TO_CTX"),
    _h(42, "get_numa_node_id", ""),
    _h(43, "skb_change_head", "PTR_TO_CTX ANYTHING ANYTHING"),
    _h(44, "xdp_adjust_head", "PTR_TO_CTX ANYTHING"),
    _h(45, "probe_read_str", "UNINIT_MEM CONST_SIZE_OR_ZERO ANYTHING", gpl=True),
    _h(46, "get_socket_cookie", "PTR_TO_CTX"),
    _h(47, "get_socket_uid", "PTR_TO_CTX"),
    _h(48, "set_hash", "PTR_TO_CTX ANYTHING"),
    _h(49, "setsockopt", "PTR_TO_CTX ANYTHING ANYTHING MEM_RDONLY CONST_SIZE"),
    _h(50, "skb_adjust_room", "PTR_TO_CTX ANYTHING ANYTHING ANYTHING"),
    _h(51, "redirect_map", "CONST_MAP_PTR ANYTHING ANYTHING"),
    _h(52, "sk_redirect_map", "PTR_TO_CTX CONST_MAP_PTR ANYTHING ANYTHING"),
    _h(53, "sock_map_update", "PTR_TO_CTX CONST_MAP_PTR MAP_KEY ANYTHING"),
    _h(54, "xdp_adjust_meta", "PTR_TO_CTX ANYTHING"),
    _h(55, "perf_event_read_value", "CONST_MAP_PTR ANYTHING UNINIT_MEM CONST_SIZE", gpl=True),
    _h(56, "perf_prog_read_value", "PTR_TO_CTX UNINIT_MEM CONST_SIZE", gpl=True),
    _h(57, "getsockopt", "PTR_TO_CTX ANYTHING ANYTHING UNINIT_MEM CONST_SIZE"),
    _h(58, "override_return", "PTR_TO_CTX ANYTHING", gpl=True),
    _h(59, "sock_ops_cb_flags_set", "PTR_TO_CTX ANYTHING"),
    _h(60, "msg_redirect_map", "PTR_TO_CTX CONST_MAP_PTR ANYTHING ANYTHING"),
    _h(61, "msg_apply_bytes", "PTR_TO_CTX ANYTHING"),
    _h(62, "msg_cork_bytes", "PTR_TO_CTX ANYTHING"),
    _h(63, "msg_pull_data", "PTR_TO_CTX ANYTHING ANYTHING ANYTHING"),
    _h(64, "bind", "PTR_TO_CTX MEM_RDONLY CONST_SIZE"),
    _h(65, "xdp_adjust_tail", "PTR_TO_CTX ANYTHING"),
    _h(66, "skb_get_xfrm_state", "PTR_TO_CTX ANYTHING UNINIT_MEM CONST_SIZE ANYTHING"),
    _h(67, "get_stack", "PTR_TO_CTX UNINIT_MEM CONST_SIZE_OR_ZERO ANYTHING", gpl=True),
    _h(68, "skb_load_bytes_relative", "PTR_TO_CTX ANYTHING UNINIT_MEM CONST_SIZE ANYTHING"),
    _h(69, "fib_lookup", "PTR_TO_CTX MEM CONST_SIZE ANYTHING", gpl=True),
    _h(70, "sock_hash_update", "PTR_TO_CTX CONST_MAP_PTR MAP_KEY ANYTHING"),
    _h(71, "msg_redirect_hash", "PTR_TO_CTX CONST_MAP_PTR MAP_KEY ANYTHING"),
    _h(72, "sk_redirect_hash", "PTR_TO_CTX CONST_MAP_PTR MAP_KEY ANYTHING"),
    _h(73, "lwt_push_encap", "PTR_TO_CTX ANYTHING MEM_RDONLY CONST_SIZE"),
    _h(74, "lwt_seg6_store_bytes", "PTR_TO_CTX ANYTHING MEM_RDONLY CONST_SIZE"),
    _h(75, "lwt_seg6_adjust_srh", "PTR_TO_CTX ANYTHING ANYTHING"),
    _h(76, "lwt_seg6_action", "PTR_TO_CTX ANYTHING MEM_RDONLY CONST_SIZE"),
    _h(77, "rc_repeat", "PTR_TO_CTX", gpl=True),
    _h(78, "rc_keydown", "PTR_TO_CTX ANYTHING ANYTHING ANYTHING", gpl=True),
    _h(79, "skb_cgroup_id", "PTR_TO_CTX"),
    _h(80, "get_current_cgroup_id", ""),
    _h(81, "get_local_storage", "CONST_MAP_PTR ANYTHING", ret="PTR_TO_MAP_VALUE"),
    _h(82, "sk_select_reuseport", "PTR_TO_CTX CONST_MAP_PTR MAP_KEY ANYTHING"),
    _h(83, "skb_ancestor_cgroup_id", "PTR_TO_CTX ANYTHING"),
    _h(
        84,
        "sk_lookup_tcp",
        "PTR_TO_CTX MEM_RDONLY CONST_SIZE_OR_ZERO ANYTHING ANYTHING",
        ret="PTR_TO_SOCKET_OR_NULL",
    ),
    _h(
        85,
        "sk_lookup_udp",
        "PTR_TO_CTX MEM_RDONLY CONST_SIZE_OR_ZERO ANYTHING ANYTHING",
        ret="PTR_TO_SOCKET_OR_NULL",
    ),
    _h(86, "sk_release", "BTF_ID_SOCK_COMMON"),
    _h(87, "map_push_elem", "CONST_MAP_PTR MAP_VALUE ANYTHING"),
    _h(88, "map_pop_elem", "CONST_MAP_PTR UNINIT_MAP_VALUE"),
    _h(89, "map_peek_elem", "CONST_MAP_PTR UNINIT_MAP_VALUE"),
    _h(90, "msg_push_data", "PTR_TO_CTX ANYTHING ANYTHING ANYTHING"),
    _h(91, "msg_pop_data", "PTR_TO_CTX ANYTHING ANYTHING ANYTHING"),
    _h(92, "rc_pointer_rel", "PTR_TO_CTX ANYTHING ANYTHING", gpl=True),
    _h(93, "spin_lock", "SPIN_LOCK", ret="VOID"),
    _h(94, "spin_unlock", "SPIN_LOCK", ret="VOID"),
    _h(95, "sk_fullsock", "SOCK_COMMON", ret="PTR_TO_SOCKET_OR_NULL"),
    _h(96, "tcp_sock", "SOCK_COMMON", ret="PTR_TO_TCP_SOCK_OR_NULL"),
    _h(97, "skb_ecn_set_ce", "PTR_TO_CTX"),
    _h(98, "get_listener_sock", "SOCK_COMMON", ret="PTR_TO_SOCKET_OR_NULL"),
    _h(
        99,
        "skc_lookup_tcp",
        "PTR_TO_CTX MEM_RDONLY CONST_SIZE_OR_ZERO ANYTHING ANYTHING",
        ret="PTR_TO_SOCK_COMMON_OR_NULL",
    ),
    _h(
        100, "tcp_check_syncookie", "BTF_ID_SOCK_COMMON MEM_RDONLY CONST_SIZE MEM_RDONLY CONST_SIZE", gpl=True
    ),
    _h(101, "sysctl_get_name", "PTR_TO_CTX UNINIT_MEM CONST_SIZE ANYTHING"),
    _h(102, "sysctl_get_current_value", "PTR_TO_CTX UNINIT_MEM CONST_SIZE"),
    _h(103, "sysctl_get_new_value", "PTR_TO_CTX UNINIT_MEM CONST_SIZE"),
    _h(104, "sysctl_set_new_value", "PTR_TO_CTX MEM_RDONLY CONST_SIZE"),
    _h(105, "strtol", "MEM_RDONLY CONST_SIZE ANYTHING UNINIT_MEM_FIXED:8"),
    _h(106, "strtoul", "MEM_RDONLY CONST_SIZE ANYTHING UNINIT_MEM_FIXED:8"),
    _h(
        107,
        "sk_storage_get",
        "CONST_MAP_PTR BTF_ID_SOCK_COMMON MAP_VALUE_OR_NULL ANYTHING",
        ret="PTR_TO_MAP_VALUE_OR_NULL",
    ),
    _h(108, "sk_storage_delete", "CONST_MAP_PTR BTF_ID_SOCK_COMMON"),
    _h(109, "send_signal", "ANYTHING"),
    _h(110, "tcp_gen_syncookie", "BTF_ID_SOCK_COMMON MEM_RDONLY CONST_SIZE MEM_RDONLY CONST_SIZE", gpl=True),
    _h(
        111,
        "skb_output",
        "PTR_TO_BTF_ID:sk_buff CONST_MAP_PTR ANYTHING MEM_RDONLY CONST_SIZE_OR_ZERO",
        gpl=True,
    ),
    _h(112, "probe_read_user", "UNINIT_MEM CONST_SIZE_OR_ZERO ANYTHING", gpl=True),
    _h(113, "probe_read_kernel", "UNINIT_MEM CONST_SIZE_OR_ZERO ANYTHING", gpl=True),
    _h(114, "probe_read_user_str", "UNINIT_MEM CONST_SIZE_OR_ZERO ANYTHING", gpl=True),
    _h(115, "probe_read_kernel_str", "UNINIT_MEM CONST_SIZE_OR_ZERO ANYTHING", gpl=True),
    _h(116, "tcp_send_ack", "PTR_TO_BTF_ID:tcp_sock ANYTHING"),
    _h(117, "send_signal_thread", "ANYTHING"),
    _h(118, "jiffies64", ""),
    _h(119, "read_branch_records", "PTR_TO_CTX PTR_TO_MEM_OR_NULL CONST_SIZE_OR_ZERO ANYTHING", gpl=True),
    _h(120, "get_ns_current_pid_tgid", "ANYTHING ANYTHING UNINIT_MEM CONST_SIZE"),
    _h(
        121,
        "xdp_output",
        "PTR_TO_BTF_ID:xdp_buff CONST_MAP_PTR ANYTHING MEM_RDONLY CONST_SIZE_OR_ZERO",
        gpl=True,
    ),
    _h(122, "get_netns_cookie", "PTR_TO_CTX_OR_NULL"),
    _h(123, "get_current_ancestor_cgroup_id", "ANYTHING"),
    _h(124, "sk_assign", "PTR_TO_CTX BTF_ID_SOCK_COMMON ANYTHING"),
    _h(125, "ktime_get_boot_ns", ""),
    _h(
        126,
        "seq_printf",
        "PTR_TO_BTF_ID:seq_file MEM_RDONLY CONST_SIZE MEM_OR_NULL_RDONLY CONST_SIZE_OR_ZERO",
        gpl=True,
    ),
    _h(127, "seq_write", "PTR_TO_BTF_ID:seq_file MEM_RDONLY CONST_SIZE_OR_ZERO", gpl=True),
    _h(128, "sk_cgroup_id", "BTF_ID_SOCK_COMMON"),
    _h(129, "sk_ancestor_cgroup_id", "BTF_ID_SOCK_COMMON ANYTHING"),
    _h(130, "ringbuf_output", "CONST_MAP_PTR MEM_RDONLY CONST_SIZE_OR_ZERO ANYTHING", feature="ringbuf"),
    _h(
        131,
        "ringbuf_reserve",
        "CONST_MAP_PTR CONST_ALLOC_SIZE_OR_ZERO ANYTHING",
        ret="PTR_TO_ALLOC_MEM_OR_NULL",
        feature="ringbuf",
    ),
    _h(132, "ringbuf_submit", "PTR_TO_ALLOC_MEM ANYTHING", ret="VOID", feature="ringbuf"),
    _h(133, "ringbuf_discard", "PTR_TO_ALLOC_MEM ANYTHING", ret="VOID", feature="ringbuf"),
    _h(134, "ringbuf_query", "CONST_MAP_PTR ANYTHING", feature="ringbuf"),
    _h(135, "csum_level", "PTR_TO_CTX ANYTHING"),
    _h(136, "skc_to_tcp6_sock", "BTF_ID_SOCK_COMMON", ret="PTR_TO_BTF_ID_OR_NULL:tcp6_sock"),
    _h(137, "skc_to_tcp_sock", "BTF_ID_SOCK_COMMON", ret="PTR_TO_BTF_ID_OR_NULL:tcp_sock"),
    _h(138, "skc_to_tcp_timewait_sock", "BTF_ID_SOCK_COMMON", ret="PTR_TO_BTF_ID_OR_NULL:tcp_timewait_sock"),
    _h(139, "skc_to_tcp_request_sock", "BTF_ID_SOCK_COMMON", ret="PTR_TO_BTF_ID_OR_NULL:tcp_request_sock"),
    _h(140, "skc_to_udp6_sock", "BTF_ID_SOCK_COMMON", ret="PTR_TO_BTF_ID_OR_NULL:udp6_sock"),
    _h(141, "get_task_stack", "PTR_TO_BTF_ID:task_struct UNINIT_MEM CONST_SIZE_OR_ZERO ANYTHING"),
    _h(142, "load_hdr_opt", "PTR_TO_CTX MEM CONST_SIZE ANYTHING"),
    _h(143, "store_hdr_opt", "PTR_TO_CTX MEM_RDONLY CONST_SIZE ANYTHING"),
    _h(144, "reserve_hdr_opt", "PTR_TO_CTX ANYTHING ANYTHING"),
    _h(
        145,
        "inode_storage_get",
        "CONST_MAP_PTR PTR_TO_BTF_ID_OR_NULL:inode MAP_VALUE_OR_NULL ANYTHING",
        ret="PTR_TO_MAP_VALUE_OR_NULL",
    ),
    _h(146, "inode_storage_delete", "CONST_MAP_PTR PTR_TO_BTF_ID_OR_NULL:inode"),
    _h(147, "d_path", "PTR_TO_BTF_ID:path MEM CONST_SIZE_OR_ZERO"),
    _h(148, "copy_from_user", "UNINIT_MEM CONST_SIZE_OR_ZERO ANYTHING"),
    _h(149, "snprintf_btf", "MEM CONST_SIZE MEM_RDONLY CONST_SIZE ANYTHING"),
    _h(150, "seq_printf_btf", "PTR_TO_BTF_ID:seq_file MEM_RDONLY CONST_SIZE_OR_ZERO ANYTHING", gpl=True),
    _h(151, "skb_cgroup_classid", "PTR_TO_CTX"),
    _h(152, "redirect_neigh", "ANYTHING MEM_OR_NULL_RDONLY CONST_SIZE_OR_ZERO ANYTHING"),
    _h(153, "per_cpu_ptr", "PTR_TO_PERCPU_BTF_ID ANYTHING", ret="PTR_TO_MEM_OR_BTF_ID_OR_NULL"),
    _h(154, "this_cpu_ptr", "PTR_TO_PERCPU_BTF_ID", ret="PTR_TO_MEM_OR_BTF_ID"),
    _h(155, "redirect_peer", "ANYTHING ANYTHING"),
    _h(
        156,
        "task_storage_get",
        "CONST_MAP_PTR PTR_TO_BTF_ID_OR_NULL:task_struct MAP_VALUE_OR_NULL ANYTHING",
        ret="PTR_TO_MAP_VALUE_OR_NULL",
        feature="task_storage",
    ),
    _h(157, "task_storage_delete", "CONST_MAP_PTR PTR_TO_BTF_ID_OR_NULL:task_struct", feature="task_storage"),
    _h(158, "get_current_task_btf", "", ret="PTR_TO_BTF_ID_TRUSTED:task_struct", gpl=True),
    _h(159, "bprm_opts_set", "PTR_TO_BTF_ID:linux_binprm ANYTHING"),
    _h(160, "ktime_get_coarse_ns", ""),
    _h(161, "ima_inode_hash", "PTR_TO_BTF_ID:inode UNINIT_MEM CONST_SIZE"),
    _h(162, "sock_from_file", "PTR_TO_BTF_ID:file", ret="PTR_TO_BTF_ID_OR_NULL:socket"),
    _h(163, "check_mtu", "PTR_TO_CTX ANYTHING UNINIT_MEM_FIXED:4 ANYTHING ANYTHING", gpl=True),
    _h(164, "for_each_map_elem", "CONST_MAP_PTR PTR_TO_FUNC PTR_TO_STACK_OR_NULL ANYTHING"),
    _h(
        165,
        "snprintf",
        "PTR_TO_MEM_OR_NULL CONST_SIZE_OR_ZERO CONST_STR MEM_OR_NULL_RDONLY CONST_SIZE_OR_ZERO",
        gpl=True,
    ),
    _h(166, "sys_bpf", "ANYTHING MEM_RDONLY CONST_SIZE"),
    _h(167, "btf_find_by_name_kind", "MEM_RDONLY CONST_SIZE ANYTHING ANYTHING"),
    _h(168, "sys_close", "ANYTHING"),
    _h(169, "timer_init", "TIMER CONST_MAP_PTR ANYTHING", gpl=True, feature="timer"),
    _h(170, "timer_set_callback", "TIMER PTR_TO_FUNC", gpl=True, feature="timer"),
    _h(171, "timer_start", "TIMER ANYTHING ANYTHING", gpl=True, feature="timer"),
    _h(172, "timer_cancel", "TIMER", gpl=True, feature="timer"),
    _h(173, "get_func_ip", "PTR_TO_CTX", gpl=True),
    _h(174, "get_attach_cookie", "PTR_TO_CTX"),
    _h(175, "task_pt_regs", "PTR_TO_BTF_ID:task_struct", ret="PTR_TO_BTF_ID:pt_regs", gpl=True),
    _h(176, "get_branch_snapshot", "UNINIT_MEM CONST_SIZE_OR_ZERO", gpl=True),
    _h(177, "trace_vprintk", "MEM_RDONLY CONST_SIZE MEM_OR_NULL_RDONLY CONST_SIZE_OR_ZERO", gpl=True),
    _h(178, "skc_to_unix_sock", "BTF_ID_SOCK_COMMON", ret="PTR_TO_BTF_ID_OR_NULL:unix_sock"),
    _h(179, "kallsyms_lookup_name", "MEM_RDONLY CONST_SIZE_OR_ZERO ANYTHING UNINIT_MEM_FIXED:8"),
    _h(180, "find_vma", "PTR_TO_BTF_ID:task_struct ANYTHING PTR_TO_FUNC PTR_TO_STACK_OR_NULL ANYTHING"),
    _h(181, "loop", "ANYTHING PTR_TO_FUNC PTR_TO_STACK_OR_NULL ANYTHING", feature="bpf_loop"),
    _h(182, "strncmp", "MEM_RDONLY CONST_SIZE CONST_STR"),
    _h(183, "get_func_arg", "PTR_TO_CTX ANYTHING UNINIT_MEM_FIXED:8"),
    _h(184, "get_func_ret", "PTR_TO_CTX UNINIT_MEM_FIXED:8"),
    _h(185, "get_func_arg_cnt", "PTR_TO_CTX"),
    _h(186, "get_retval", ""),
    _h(187, "set_retval", "ANYTHING"),
    _h(188, "xdp_get_buff_len", "PTR_TO_CTX"),
    _h(189, "xdp_load_bytes", "PTR_TO_CTX ANYTHING UNINIT_MEM CONST_SIZE"),
    _h(190, "xdp_store_bytes", "PTR_TO_CTX ANYTHING MEM_RDONLY CONST_SIZE"),
    _h(
        191,
        "copy_from_user_task",
        "UNINIT_MEM CONST_SIZE_OR_ZERO ANYTHING PTR_TO_BTF_ID:task_struct ANYTHING",
        gpl=True,
    ),
    _h(192, "skb_set_tstamp", "PTR_TO_CTX ANYTHING ANYTHING"),
    _h(193, "ima_file_hash", "PTR_TO_BTF_ID:file UNINIT_MEM CONST_SIZE"),
    _h(194, "kptr_xchg", "KPTR PTR_TO_BTF_ID_OR_NULL", ret="PTR_TO_BTF_ID_OR_NULL"),
    _h(195, "map_lookup_percpu_elem", "CONST_MAP_PTR MAP_KEY ANYTHING", ret="PTR_TO_MAP_VALUE_OR_NULL"),
    _h(196, "skc_to_mptcp_sock", "BTF_ID_SOCK_COMMON", ret="PTR_TO_BTF_ID_OR_NULL:mptcp_sock"),
    _h(
        197, "dynptr_from_mem", "UNINIT_MEM CONST_SIZE_OR_ZERO ANYTHING DYNPTR_UNINIT:LOCAL", feature="dynptr"
    ),
    _h(
        198,
        "ringbuf_reserve_dynptr",
        "CONST_MAP_PTR ANYTHING ANYTHING DYNPTR_UNINIT:RINGBUF",
        feature="dynptr",
    ),
    _h(199, "ringbuf_submit_dynptr", "DYNPTR:RINGBUF ANYTHING", ret="VOID", feature="dynptr"),
    _h(200, "ringbuf_discard_dynptr", "DYNPTR:RINGBUF ANYTHING", ret="VOID", feature="dynptr"),
    _h(201, "dynptr_read", "UNINIT_MEM CONST_SIZE_OR_ZERO DYNPTR ANYTHING ANYTHING", feature="dynptr"),
    _h(202, "dynptr_write", "DYNPTR ANYTHING MEM_RDONLY CONST_SIZE_OR_ZERO ANYTHING", feature="dynptr"),
    _h(
        203,
        "dynptr_data",
        "DYNPTR ANYTHING CONST_ALLOC_SIZE_OR_ZERO",
        ret="PTR_TO_DYNPTR_MEM_OR_NULL",
        feature="dynptr",
    ),
    _h(204, "tcp_raw_gen_syncookie_ipv4", "MEM_FIXED:20 MEM_RDONLY CONST_SIZE_OR_ZERO", gpl=True),
    _h(205, "tcp_raw_gen_syncookie_ipv6", "MEM_FIXED:40 MEM_RDONLY CONST_SIZE_OR_ZERO", gpl=True),
    _h(206, "tcp_raw_check_syncookie_ipv4", "MEM_FIXED:20 MEM_FIXED:20", gpl=True),
    _h(207, "tcp_raw_check_syncookie_ipv6", "MEM_FIXED:40 MEM_FIXED:20", gpl=True),
    _h(208, "ktime_get_tai_ns", ""),
    _h(
        209,
        "user_ringbuf_drain",
        "CONST_MAP_PTR PTR_TO_FUNC PTR_TO_STACK_OR_NULL ANYTHING",
        feature="user_ringbuf",
    ),
    _h(
        210,
        "cgrp_storage_get",
        "CONST_MAP_PTR PTR_TO_BTF_ID_OR_NULL:cgroup MAP_VALUE_OR_NULL ANYTHING",
        ret="PTR_TO_MAP_VALUE_OR_NULL",
        feature="cgrp_storage",
    ),
    _h(211, "cgrp_storage_delete", "CONST_MAP_PTR PTR_TO_BTF_ID_OR_NULL:cgroup", feature="cgrp_storage"),
)

HELPERS: dict[str, Helper] = {helper.name: helper for helper in _ROWS}
"""By name, without bpf_."""

BY_ID: dict[int, Helper] = {helper.id: helper for helper in _ROWS}


def named(text: str) -> tuple[str, str]:
    """A kind of argument or return value without its parameter, and the parameter ("" if none)."""
    name, _, parameter = text.partition(":")
    return name, parameter
