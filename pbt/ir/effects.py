"""What helpers do to memory that a program reads, as far as passes make use of it."""

from __future__ import annotations

from pbt.ir.core import Op, Value

SAME = frozenset({
    "get_current_pid_tgid", "get_current_uid_gid", "get_current_task", "get_current_task_btf",
    "get_current_cgroup_id", "get_smp_processor_id", "get_numa_node_id", "get_func_ip",
    "get_attach_cookie",
})  # fmt: skip
"""Helpers whose answer stays the same during one run of a program (which never changes its CPU or its
task), and which write no memory. Clocks, random numbers and counters are not among them."""

QUIET = SAME | {
    "ktime_get_ns", "ktime_get_boot_ns", "ktime_get_tai_ns", "ktime_get_coarse_ns", "jiffies64", "get_prandom_u32",
    "map_lookup_elem", "map_lookup_percpu_elem",
}  # fmt: skip
"""Helpers that write no memory and soon return."""

FILLS = frozenset({"probe_read", "probe_read_kernel", "probe_read_user"})
"""Helpers that fill all of args[0], which has args[1] bytes, and write nothing else."""

TEXTS = frozenset({
    "get_current_comm", "probe_read_str", "probe_read_kernel_str", "probe_read_user_str",
})  # fmt: skip
"""Helpers that write a text to args[0], and nothing else: what is behind its NUL may stay (comm's on Linux 6.1)."""

READS = frozenset({
    "map_update_elem", "map_delete_elem", "map_push_elem", "ringbuf_output", "perf_event_output", "trace_printk",
})  # fmt: skip
"""Helpers that write to none of their arguments, though to maps."""


CHANGES_CONTEXT = frozenset({"override_return"})
"""Helpers that write to the context, which no other does."""


def written(op: Op) -> tuple[Value, ...] | None:
    """The pointers that a call writes through, to what it points to there or behind; None: anything may change."""
    if op.name in QUIET:
        return ()
    if op.name in FILLS or op.name in TEXTS:
        return op.args[:1]
    return None
