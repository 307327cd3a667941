"""Kernel functions that programs call by their BTF ids: what they take, give and promise (KF_* flags).

Unlike helpers they are no UAPI: a kernel may lack them. Source: Documentation/bpf/kfuncs.rst and the
definitions in kernel/bpf and net of Linux 6.1 to 6.18; where programs of which type may call them was
measured on 6.18.
"""

from __future__ import annotations

from pbt.data import NamedTuple
from pbt.uapi.kfuncs_ops import CALLERS, FLAGGED, NUMBERS, TRACERS

_TRACERS = "TRACING LSM TRACEPOINT PERF_EVENT RAW_TRACEPOINT"
_CGROUPS = "CGROUP_SKB CGROUP_SOCK CGROUP_DEVICE CGROUP_SOCK_ADDR CGROUP_SYSCTL CGROUP_SOCKOPT SOCK_OPS"
_SETS = {
    "all": None,
    "generic": f"{_TRACERS} {_CGROUPS} SCHED_CLS XDP STRUCT_OPS SYSCALL",
    "tracing": f"{_TRACERS} STRUCT_OPS SYSCALL",
    "xdp": "XDP",
    "lsm": "LSM",
    "probe": "KPROBE",
    "test": f"{_TRACERS} SCHED_CLS SYSCALL",
    "system": "SYSCALL",
    "classifiers": "SCHED_CLS XDP",
    "packets": "SCHED_CLS SCHED_ACT XDP",
    "skb_meta": "SCHED_CLS SCHED_ACT",
    "cls": "SCHED_CLS",
    "cgroups": _CGROUPS,
    "skb": f"{_TRACERS} {_CGROUPS} SCHED_CLS SCHED_ACT SOCKET_FILTER LWT_IN LWT_OUT LWT_XMIT LWT_SEG6LOCAL "
    "NETFILTER SK_SKB",
}


class Kfunc(NamedTuple):
    """One function.

    args: "num", "const" (a known number), "ignored", "ctx" ("ctx:STRUCT": tracing programs hand over that),
    "map", "text" (constant), "mem:N" (N bytes), "mem" and "size" behind one another (as many bytes as the size
    says), "ptr:STRUCT", "dynptr", "new_dynptr:TYPE" (no type: that of the dynptr before), "old_dynptr:TYPE" (that
    ends), "new_iter:KIND", "iter:KIND", "new_irq", "irq", "own" (an object of the program), "counted" (one that
    counts references), "root:KIND" (a list or tree), "new_node:KIND" (to be put into it), "node:KIND" (of it),
    "field:KIND" (of a map's value), "func" (a function of the program), "res_lock"; "?" at the end: may be null.
    result: "num", "void", "ptr:STRUCT", "untrusted:STRUCT", "mem:N" (N bytes to be read), "cell:N" (to be written,
    too), "slice" (of a dynptr), "context" (the kernel's structure of it), "cast" (to the type of a known id),
    "new" (an object of the program), "shared" (the argument), "node" (of a list or tree), "zero"; "?": may be null.
    flags: acquire, release, trusted, rcu, rcu_protected, sleepable, as KF_*; slept: sleepable before Linux 7;
    moves_packet: packet pointers end;
    locked, locked_loop: also while a lock is held; session: for programs that are attached as a session; device:
    for programs of one network device alone. types: programs that may call it, None for all.
    since, until: releases.
    """

    name: str
    args: tuple[str, ...]
    result: str
    flags: frozenset[str]
    types: frozenset[str] | None
    since: tuple[int, ...]
    until: tuple[int, ...] = ()

    @property
    def core(self) -> str:
        """The name without "_impl": since Linux 7 there is one without the arguments that are ignored."""
        return self.name.removesuffix("_impl")

    @property
    def adds(self) -> bool:
        """Whether it puts a node into a list or tree."""
        return any(arg.startswith("new_node:") for arg in self.args)


def _k(name: str, args: str, result: str, flags: str, types: str, since: str, until: str = "") -> Kfunc:
    numbers = [tuple(map(int, text.split("."))) if text else () for text in (since, until)]
    allowed = _SETS[types]
    kinds = None if allowed is None else frozenset(allowed.split())
    return Kfunc(f"bpf_{name}", tuple(args.split()), result, frozenset(flags.split()), kinds, *numbers)


_ROWS = (
    _k("rcu_read_lock", "", "void", "", "all", "6.2"),
    _k("rcu_read_unlock", "", "void", "", "all", "6.2"),
    _k("preempt_disable", "", "void", "", "all", "6.10"),
    _k("preempt_enable", "", "void", "", "all", "6.10"),
    _k("local_irq_save", "new_irq", "void", "", "all", "6.14"),
    _k("local_irq_restore", "irq", "void", "", "all", "6.14"),
    _k("throw", "num", "void", "", "generic", "6.7"),
    # tasks and cgroups
    _k("task_acquire", "ptr:task_struct", "ptr:task_struct?", "acquire rcu", "generic", "6.3"),
    _k("task_release", "ptr:task_struct", "void", "release", "generic", "6.2"),
    _k("task_from_pid", "num", "ptr:task_struct?", "acquire", "generic", "6.2"),
    _k("task_from_vpid", "num", "ptr:task_struct?", "acquire", "generic", "6.14"),
    _k("task_under_cgroup", "ptr:task_struct ptr:cgroup", "num", "rcu", "generic", "6.5"),
    _k("task_get_cgroup1", "ptr:task_struct num", "ptr:cgroup?", "acquire rcu", "generic", "6.8"),
    _k("send_signal_task", "ptr:task_struct num num num", "num", "trusted", "generic", "6.13"),
    _k("get_task_exe_file", "ptr:task_struct", "ptr:file?", "acquire trusted", "lsm", "6.12"),
    _k("put_file", "ptr:file", "void", "release", "lsm", "6.12"),
    _k("cgroup_acquire", "ptr:cgroup", "ptr:cgroup?", "acquire rcu", "generic", "6.3"),
    _k("cgroup_release", "ptr:cgroup", "void", "release", "generic", "6.2"),
    _k("cgroup_ancestor", "ptr:cgroup num", "ptr:cgroup?", "acquire rcu", "generic", "6.2"),
    _k("cgroup_from_id", "num", "ptr:cgroup?", "acquire", "generic", "6.4"),
    # objects of the program's own, lists and trees of them
    _k("obj_new_impl", "const ignored", "new?", "acquire", "generic", "6.2"),
    _k("percpu_obj_new_impl", "const ignored", "new?", "acquire", "generic", "6.7"),
    _k("obj_drop_impl", "own ignored", "void", "release", "generic", "6.2"),
    _k("percpu_obj_drop_impl", "own ignored", "void", "release", "generic", "6.7"),
    _k("refcount_acquire_impl", "counted ignored", "shared?", "acquire rcu locked", "generic", "6.4"),
    *(_k(f"list_push_{end}_impl", "root:list_head new_node:list_node ignored num", "num", "locked", "generic", "6.2")
      for end in ("front", "back")),
    *(_k(f"list_pop_{end}", "root:list_head", "node?", "acquire locked", "generic", "6.2")
      for end in ("front", "back")),
    *(_k(f"list_{end}", "root:list_head", "node?", "locked", "generic", "6.16") for end in ("front", "back")),
    _k("rbtree_add_impl", "root:rb_root new_node:rb_node func ignored num", "num", "locked", "generic", "6.3"),
    _k("rbtree_remove", "root:rb_root node:rb_node", "node?", "acquire locked", "generic", "6.3"),
    _k("rbtree_first", "root:rb_root", "node?", "locked", "generic", "6.3"),
    _k("rbtree_root", "root:rb_root", "node?", "locked", "generic", "6.16"),
    *(_k(f"rbtree_{side}", "root:rb_root node:rb_node", "node?", "locked", "generic", "6.16")
      for side in ("left", "right")),
    # the same since Linux 7, which fills in what was ignored
    _k("obj_new", "const", "new?", "acquire", "generic", "7.0"),
    _k("percpu_obj_new", "const", "new?", "acquire", "generic", "7.0"),
    _k("obj_drop", "own", "void", "release", "generic", "7.0"),
    _k("percpu_obj_drop", "own", "void", "release", "generic", "7.0"),
    _k("refcount_acquire", "counted", "shared?", "acquire rcu locked", "generic", "7.0"),
    *(_k(f"list_push_{end}", "root:list_head new_node:list_node", "num", "locked", "generic", "7.0")
      for end in ("front", "back")),
    _k("rbtree_add", "root:rb_root new_node:rb_node func", "num", "locked", "generic", "7.0"),
    _k("list_add", "root:list_head new_node:list_node node:list_node", "num", "locked", "generic", "7.1"),
    _k("list_del", "root:list_head node:list_node", "node?", "acquire locked", "generic", "7.1"),
    _k("list_empty", "root:list_head", "num", "locked", "generic", "7.1"),
    *(_k(f"list_is_{place}", "root:list_head node:list_node", "num", "locked", "generic", "7.1")
      for place in ("first", "last")),
    # locks that may fail
    _k("res_spin_lock", "res_lock", "zero", "locked", "all", "6.15"),
    _k("res_spin_unlock", "res_lock", "void", "locked", "all", "6.15"),
    _k("res_spin_lock_irqsave", "res_lock new_irq", "zero", "locked", "all", "6.15"),
    _k("res_spin_unlock_irqrestore", "res_lock irq", "void", "locked", "all", "6.15"),
    # work for later, memory shared with user space
    _k("wq_init", "field:wq map num", "num", "", "all", "6.10"),
    _k("wq_set_callback_impl", "field:wq func num ignored", "num", "", "all", "6.10", "7.0"),
    _k("wq_start", "field:wq num", "num", "", "all", "6.10"),
    *(_k(f"task_work_schedule_{how}_impl", "ptr:task_struct field:task_work map func ignored", "num", "trusted",
         "all", "6.18", "7.0") for how in ("signal", "resume")),
    _k("wq_set_callback", "field:wq func num", "num", "", "all", "7.0"),
    *(_k(f"task_work_schedule_{how}", "ptr:task_struct field:task_work map func", "num", "trusted", "all", "7.0")
      for how in ("signal", "resume")),
    _k("timer_cancel_async", "field:timer", "num", "", "all", "7.0"),
    _k("arena_alloc_pages", "map ignored num num num", "num", "slept trusted", "all", "6.9"),
    _k("arena_free_pages", "map ignored num", "void", "slept trusted", "all", "6.9"),
    _k("arena_reserve_pages", "map ignored num", "num", "slept trusted", "all", "6.17"),
    # CPU masks
    _k("cpumask_create", "", "ptr:bpf_cpumask?", "acquire", "tracing", "6.3"),
    _k("cpumask_release", "ptr:bpf_cpumask", "void", "release", "tracing", "6.3"),
    _k("cpumask_acquire", "ptr:bpf_cpumask", "ptr:bpf_cpumask", "acquire trusted", "tracing", "6.3"),
    *(_k(f"cpumask_{what}", "ptr:cpumask", "num", "rcu", "tracing", "6.3")
      for what in ("first", "first_zero", "empty", "full", "any_distribute")),
    _k("cpumask_weight", "ptr:cpumask", "num", "rcu", "tracing", "6.9"),
    *(_k(f"cpumask_{what}", "num ptr:bpf_cpumask", "void", "rcu", "tracing", "6.3")
      for what in ("set_cpu", "clear_cpu")),
    *(_k(f"cpumask_{what}", "num ptr:bpf_cpumask", "num", "rcu", "tracing", "6.3")
      for what in ("test_and_set_cpu", "test_and_clear_cpu")),
    _k("cpumask_test_cpu", "num ptr:cpumask", "num", "rcu", "tracing", "6.3"),
    *(_k(f"cpumask_{what}", "ptr:bpf_cpumask", "void", "rcu", "tracing", "6.3")
      for what in ("setall", "clear")),
    *(_k(f"cpumask_{what}", "ptr:bpf_cpumask ptr:cpumask ptr:cpumask", result, "rcu", "tracing", "6.3")
      for what, result in (("and", "num"), ("or", "void"), ("xor", "void"))),
    *(_k(f"cpumask_{what}", "ptr:cpumask ptr:cpumask", "num", "rcu", "tracing", "6.3")
      for what in ("equal", "intersects", "subset", "first_and", "any_and_distribute")),
    _k("cpumask_copy", "ptr:bpf_cpumask ptr:cpumask", "void", "rcu", "tracing", "6.3"),
    # iterators
    _k("iter_num_new", "new_iter:num num num", "num", "locked_loop", "all", "6.4"),
    _k("iter_num_next", "iter:num", "mem:4?", "locked_loop", "all", "6.4"),
    _k("iter_num_destroy", "iter:num", "void", "locked_loop", "all", "6.4"),
    _k("iter_task_new", "new_iter:task ptr:task_struct? num", "num", "trusted rcu_protected", "all", "6.7"),
    _k("iter_task_next", "iter:task", "ptr:task_struct?", "", "all", "6.7"),
    _k("iter_task_destroy", "iter:task", "void", "", "all", "6.7"),
    _k("iter_task_vma_new", "new_iter:task_vma ptr:task_struct num", "num", "rcu", "all", "6.7"),
    _k("iter_task_vma_next", "iter:task_vma", "ptr:vm_area_struct?", "", "all", "6.7"),
    _k("iter_task_vma_destroy", "iter:task_vma", "void", "", "all", "6.7"),
    _k("iter_bits_new", "new_iter:bits ignored num", "num", "", "all", "6.11"),
    _k("iter_bits_next", "iter:bits", "mem:4?", "", "all", "6.11"),
    _k("iter_bits_destroy", "iter:bits", "void", "", "all", "6.11"),
    _k("iter_css_new", "new_iter:css ptr:cgroup_subsys_state num", "num", "trusted rcu_protected", "all", "6.7"),
    _k("iter_css_next", "iter:css", "ptr:cgroup_subsys_state?", "", "all", "6.7"),
    _k("iter_css_destroy", "iter:css", "void", "", "all", "6.7"),
    _k("iter_css_task_new", "new_iter:css_task ptr:cgroup_subsys_state num", "num", "trusted", "all", "6.7"),
    _k("iter_css_task_next", "iter:css_task", "ptr:task_struct?", "", "all", "6.7"),
    _k("iter_css_task_destroy", "iter:css_task", "void", "", "all", "6.7"),
    _k("iter_kmem_cache_new", "new_iter:kmem_cache", "num", "sleepable", "all", "6.13"),
    _k("iter_kmem_cache_next", "iter:kmem_cache", "ptr:kmem_cache?", "sleepable", "all", "6.13"),
    _k("iter_kmem_cache_destroy", "iter:kmem_cache", "void", "sleepable", "all", "6.13"),
    _k("iter_dmabuf_new", "new_iter:dmabuf", "num", "sleepable", "all", "6.17"),
    _k("iter_dmabuf_next", "iter:dmabuf", "ptr:dma_buf?", "sleepable", "all", "6.17"),
    _k("iter_dmabuf_destroy", "iter:dmabuf", "void", "sleepable", "all", "6.17"),
    # dynptrs
    _k("dynptr_from_skb", "ctx:sk_buff num new_dynptr:SKB", "num", "trusted", "skb", "6.4"),
    _k("dynptr_from_skb_meta", "ctx num new_dynptr:SKB_META", "num", "trusted", "skb_meta", "6.18"),
    _k("dynptr_from_xdp", "ctx num new_dynptr:XDP", "num", "", "xdp", "6.4"),
    _k("dynptr_from_file", "ptr:file num new_dynptr:FILE", "num", "trusted", "all", "7.0"),
    _k("dynptr_file_discard", "old_dynptr:FILE", "num", "", "all", "7.0"),
    _k("dynptr_slice", "dynptr num mem? const", "slice?", "", "all", "6.4"),
    _k("dynptr_slice_rdwr", "dynptr num mem? const", "slice?", "", "all", "6.4"),
    _k("dynptr_clone", "dynptr new_dynptr", "num", "", "all", "6.5"),
    _k("dynptr_adjust", "dynptr num num", "num", "", "all", "6.5"),
    _k("dynptr_is_null", "dynptr", "num", "", "all", "6.5"),
    _k("dynptr_is_rdonly", "dynptr", "num", "", "all", "6.5"),
    _k("dynptr_size", "dynptr", "num", "", "all", "6.5"),
    _k("dynptr_copy", "dynptr num dynptr num num", "num", "", "all", "6.16"),
    _k("dynptr_memset", "dynptr num num num", "num", "", "all", "6.17"),
    *(_k(f"probe_read_{what}_dynptr", "dynptr num num ignored", "num", "", "all", "6.16")
      for what in ("user", "user_str", "kernel", "kernel_str")),
    *(_k(f"copy_from_user{what}_dynptr", "dynptr num num ignored", "num", "sleepable", "all", "6.16")
      for what in ("", "_str")),
    *(_k(f"copy_from_user_task{what}_dynptr", "dynptr num num ignored ptr:task_struct", "num",
         "sleepable trusted", "all", "6.16") for what in ("", "_str")),
    # memory and text
    _k("copy_from_user_str", "mem size ignored num", "num", "sleepable", "all", "6.12"),
    _k("copy_from_user_task_str", "mem size ignored ptr:task_struct num", "num", "sleepable", "all", "6.15"),
    *(_k(f"str{what}", "ignored ignored", "num", "", "all", "6.17") for what in ("cmp", "spn", "cspn", "str")),
    _k("strcasecmp", "ignored ignored", "num", "", "all", "6.18"),
    _k("strnstr", "ignored ignored num", "num", "", "all", "6.17"),
    *(_k(f"str{what}", "ignored num", "num", "", "all", "6.17") for what in ("chr", "chrnul", "rchr", "nlen")),
    _k("strnchr", "ignored num num", "num", "", "all", "6.17"),
    _k("strlen", "ignored", "num", "", "all", "6.17"),
    _k("stream_vprintk_impl", "num text mem size ignored", "num", "trusted", "all", "6.18", "7.0"),
    _k("stream_vprintk", "num text mem size", "num", "trusted", "all", "7.0"),
    _k("stream_print_stack", "num", "num", "", "all", "7.0"),
    _k("strcasestr", "ignored ignored", "num", "", "all", "7.0"),
    *(_k(f"strn{what}", "ignored ignored num", "num", "", "all", "7.0") for what in ("casecmp", "casestr")),
    # types
    _k("cast_to_kern_ctx", "ctx", "context", "", "all", "6.2"),
    _k("rdonly_cast", "ignored const", "cast", "", "all", "6.2"),
    _k("get_kmem_cache", "num", "untrusted:kmem_cache", "", "all", "6.13"),
    # cryptography
    _k("crypto_ctx_create", "mem size mem:4", "ptr:bpf_crypto_ctx?", "acquire sleepable", "system", "6.10"),
    _k("crypto_ctx_acquire", "ptr:bpf_crypto_ctx", "ptr:bpf_crypto_ctx?", "acquire rcu", "system", "6.10"),
    _k("crypto_ctx_release", "ptr:bpf_crypto_ctx", "void", "release", "system", "6.10"),
    *(_k(f"crypto_{what}crypt", "ptr:bpf_crypto_ctx dynptr dynptr dynptr?", "num", "rcu", "packets", "6.10")
      for what in ("en", "de")),
    # connections and other things of the network
    *(_k(f"{name}_ct_alloc", "ctx mem size mem size", "ptr:nf_conn___init?", "acquire", "classifiers", "6.0")
      for name in ("skb", "xdp")),
    *(_k(f"{name}_ct_lookup", "ctx mem size mem size", "ptr:nf_conn?", "acquire", "classifiers", "5.18")
      for name in ("skb", "xdp")),
    _k("ct_insert_entry", "ptr:nf_conn___init", "ptr:nf_conn?", "acquire release", "classifiers", "6.0"),
    _k("ct_release", "ptr:nf_conn", "void", "release", "classifiers", "5.18"),
    *(_k(f"ct_set_{what}", "ptr:nf_conn___init num", result, "trusted", "classifiers", "6.0")
      for what, result in (("timeout", "void"), ("status", "num"))),
    *(_k(f"ct_change_{what}", "ptr:nf_conn num", "num", "trusted", "classifiers", "6.0")
      for what in ("timeout", "status")),
    _k("ct_set_nat_info", "ptr:nf_conn___init mem:16 num num", "num", "trusted", "classifiers", "6.1"),
    _k("xdp_get_xfrm_state", "ctx mem size", "ptr:xfrm_state?", "acquire", "xdp", "6.8"),
    _k("xdp_xfrm_state_release", "ptr:xfrm_state", "void", "release", "xdp", "6.8"),
    _k("xdp_pull_data", "ctx num", "num", "moves_packet", "xdp", "6.18"),
    _k("xdp_metadata_rx_timestamp", "ctx mem:8", "num", "trusted device", "all", "6.3"),
    _k("xdp_metadata_rx_hash", "ctx mem:4 mem:4", "num", "trusted device", "all", "6.3"),
    _k("xdp_metadata_rx_vlan_tag", "ctx mem:2 mem:2", "num", "trusted device", "all", "6.8"),
    _k("sk_assign_tcp_reqsk", "ctx ptr:sock mem size", "num", "trusted", "cls", "6.9"),
    _k("sock_addr_set_sun_path", "ctx mem size", "num", "", "cgroups", "6.7"),
    _k("sock_ops_enable_tx_tstamp", "ctx num", "num", "trusted", "cgroups", "6.15"),
    # files and control groups
    _k("path_d_path", "ptr:path mem size", "num", "trusted", "lsm", "6.12"),
    _k("get_file_xattr", "ptr:file text dynptr", "num", "sleepable trusted", "lsm", "6.8"),
    _k("get_dentry_xattr", "ptr:dentry text dynptr", "num", "sleepable trusted", "lsm", "6.12"),
    _k("set_dentry_xattr", "ptr:dentry text dynptr num", "num", "sleepable trusted", "lsm", "6.14"),
    _k("remove_dentry_xattr", "ptr:dentry text", "num", "sleepable trusted", "lsm", "6.14"),
    _k("cgroup_read_xattr", "ptr:cgroup text dynptr", "num", "rcu", "all", "6.17"),
    _k("cpumask_populate", "ptr:cpumask mem size", "num", "rcu", "tracing", "6.15"),
    # keys
    _k("lookup_user_key", "num num", "ptr:bpf_key?", "acquire sleepable", "generic", "6.1"),
    _k("lookup_system_key", "num", "ptr:bpf_key?", "acquire", "generic", "6.1"),
    _k("key_put", "ptr:bpf_key", "void", "release", "generic", "6.1"),
    _k("map_sum_elem_count", "map", "num", "trusted", "all", "6.6"),
    # programs that run at the entry and at the return of a function (they alone; since 7 the context is an argument)
    _k("session_is_return", "", "num", "session", "probe", "6.10"),
    _k("session_cookie", "", "cell:8", "session", "probe", "6.10"),
    # what Linux 5.13 to 6.2 has for its own tests in the kernel image (net/bpf/test_run.c)
    _k("kfunc_call_test1", "sock num num num num", "num", "", "test", "5.13", "6.2"),
    _k("kfunc_call_test2", "sock num num", "num", "", "test", "5.13", "6.2"),
    _k("kfunc_call_test3", "sock", "ptr:sock", "", "test", "5.13", "6.2"),
    _k("kfunc_call_test_acquire", "mem:8", "ptr:prog_test_ref_kfunc?", "acquire", "test", "5.18", "6.2"),
    _k("kfunc_call_memb_acquire", "", "ptr:prog_test_member?", "acquire", "test", "5.18", "6.2"),
    _k("kfunc_call_test_release", "ptr:prog_test_ref_kfunc", "void", "release", "test", "5.18"),
    _k("kfunc_call_memb_release", "ptr:prog_test_member", "void", "release", "test", "5.18"),
    _k("kfunc_call_memb1_release", "ptr:prog_test_member1", "void", "release", "test", "5.18", "6.2"),
    _k("kfunc_call_test_ref", "ptr:prog_test_ref_kfunc", "void", "trusted", "test", "6.0", "6.2"),
    _k("kfunc_call_test_pass_ctx", "ctx", "void", "", "test", "5.17", "6.2"),
    _k("kfunc_call_test_pass1", "mem:16", "void", "", "test", "5.17", "6.2"),
    _k("kfunc_call_test_pass2", "mem:88", "void", "", "test", "5.17", "6.2"),
    *(_k(f"kfunc_call_test_fail{n}", "refused", "void", "", "test", "5.17", "6.2") for n in (1, 2, 3)),
    _k("kfunc_call_test_mem_len_pass1", "mem size", "void", "", "test", "5.17", "6.2"),
    _k("kfunc_call_test_mem_len_fail1", "refused num", "void", "", "test", "5.17", "6.2"),
    _k("kfunc_call_test_mem_len_fail2", "mem:8 num", "void", "", "test", "5.17", "6.2"),
)  # fmt: skip

_OF_NUMBERS = (
    Kfunc(
        name,
        ("num",) * count,
        "num" if gives else "void",
        frozenset(),
        frozenset(TRACERS.split()),
        (7, 3),
    )
    for name, (count, gives) in NUMBERS.items()
)
_OF_EXTENSIONS = (
    Kfunc(name, tuple(args.split()), result, frozenset(flags.split()), CALLERS.get(name), (7, 3))
    for names, args, result, flags in FLAGGED
    for name in names.split()
)
KFUNCS = {row.name: row for row in (*_ROWS, *_OF_NUMBERS, *_OF_EXTENSIONS)}
"""By name."""
