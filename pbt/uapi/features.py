"""What kernels differ in: name, first release, and the attempt that tells whether this one has it.

`kind` says what to attempt with `detail` (pbt.sys.attempt does it):
  helper  (program type, helper): load a call of it; the verifier must know it and allow it there.
          With an empty program type, knowing it is enough.
  map     (map type, key size, value size, entries, flags): create one.
  uses    (program type, map type, key size, value size, entries, flags): load a program that uses such a map.
  prog    (program type, attach type, BTF kind, BTF name): load a program that returns at once.
  attach  the same, and attach it: some machines load what they cannot attach.
  insns   (program type, instructions in hexadecimal, little-endian): load them.
  run     the same, and run them on a raw tracepoint's context: they return 1.
  link    (program type, attach type): attach such a program to nothing; the refusal tells.
  batch   (map type): read a map by MAP_LOOKUP_BATCH.
  stats   (): switch run-time statistics on.
  file    (path, ...): one of them is readable.
Releases are Linux's; distributions carry features back, so a release is never asked, only the kernel.
"""

from __future__ import annotations

from pbt.data import NamedTuple
from pbt.uapi.consts import BPF_F_NO_PREALLOC
from pbt.uapi.helpers import HELPERS
from pbt.uapi.progs import PROG_TYPES


class Feature(NamedTuple):
    """One feature; `release` is the first that has it, as "5.8"."""

    name: str
    release: str
    kind: str
    detail: tuple[str | int, ...]


# first release → last helper id in it (ids only grow)
_HELPER_RELEASES = (
    (110, "5.3"), (117, "5.5"), (118, "5.6"), (124, "5.7"), (135, "5.8"), (141, "5.9"), (155, "5.10"),
    (162, "5.11"), (163, "5.12"), (165, "5.13"), (168, "5.14"), (175, "5.15"), (179, "5.16"),
    (185, "5.17"), (193, "5.18"), (203, "5.19"), (207, "6.0"), (209, "6.1"), (211, "6.2"),
)  # fmt: skip

# where to look for a helper, in this order: the types that most scripts use come first
_PLACES = ("KPROBE", "PERF_EVENT", "SCHED_CLS", "XDP", "SOCK_OPS", "CGROUP_SKB", "SK_LOOKUP", "SYSCALL")


def helper_release(id: int) -> str:
    """The first release of Linux with a helper, by its id; "5.3" also stands for all before it."""
    return next(release for last, release in _HELPER_RELEASES if id <= last)


def _helper(name: str, helper: str = "") -> Feature:
    row = HELPERS[helper or name]
    place = next((p for p in _PLACES if row.name in PROG_TYPES[p].helpers), "")
    return Feature(name, helper_release(row.id), "helper", (place, row.name))


def _map(name: str, release: str, kind: str, key: int, value: int, entries: int, flags: int = 0) -> Feature:
    return Feature(name, release, "map", (kind, key, value, entries, flags))


_RETURN = "b7000000000000009500000000000000"  # r0 = 0; exit

_ROWS = (
    # maps
    _map("ringbuf", "5.8", "RINGBUF", 0, 0, 65536),
    _map("user_ringbuf", "6.1", "USER_RINGBUF", 0, 0, 65536),
    _map("bloom_filter", "5.16", "BLOOM_FILTER", 0, 8, 16),
    _map("arena", "6.9", "ARENA", 0, 0, 1, 1024),
    _map("mmapable_array", "5.5", "ARRAY", 4, 8, 1, 1024),
    _map("long_keys", "5.11", "HASH", 520, 8, 1),  # longer than the stack of a program
    Feature("alloc_on_demand", "6.1", "uses", ("PERF_EVENT", "HASH", 8, 8, 1, BPF_F_NO_PREALLOC)),
    Feature("batch", "5.6", "batch", ("HASH",)),
    Feature("batch_percpu_array", "5.13", "batch", ("PERCPU_ARRAY",)),
    # types of programs, and where they attach
    Feature("btf", "5.4", "file", ("/sys/kernel/btf/vmlinux",)),
    Feature("raw_tp_btf", "5.5", "prog", ("TRACING", "TRACE_RAW_TP", "typedef", "btf_trace_sched_switch")),
    Feature("fentry", "5.5", "attach", ("TRACING", "TRACE_FENTRY", "func", "bpf_fentry_test1")),
    Feature("fexit", "5.5", "attach", ("TRACING", "TRACE_FEXIT", "func", "bpf_fentry_test1")),
    Feature("iter", "5.8", "prog", ("TRACING", "TRACE_ITER", "func", "bpf_iter_task")),
    Feature("iter_task_vma", "5.12", "prog", ("TRACING", "TRACE_ITER", "func", "bpf_iter_task_vma")),
    Feature("lsm", "5.7", "prog", ("LSM", "LSM_MAC", "func", "bpf_lsm_file_open")),
    Feature("sk_lookup", "5.9", "prog", ("SK_LOOKUP", "SK_LOOKUP", "", "")),
    Feature("syscall_prog", "5.14", "prog", ("SYSCALL", "", "", "")),
    Feature("netfilter", "6.4", "prog", ("NETFILTER", "NETFILTER", "", "")),
    Feature("struct_ops", "5.6", "prog", ("STRUCT_OPS", "", "struct", "tcp_congestion_ops")),
    Feature("kprobe", "4.1", "file", (
        "/sys/bus/event_source/devices/kprobe/type", "/sys/kernel/tracing/kprobe_events",
        "/sys/kernel/debug/tracing/kprobe_events",
    )),
    Feature("perf_link", "5.15", "link", ("PERF_EVENT", "PERF_EVENT")),
    Feature("raw_tp_cookie", "6.10", "helper", ("RAW_TRACEPOINT", "get_attach_cookie")),
    Feature("kprobe_multi", "5.18", "link", ("KPROBE", "TRACE_KPROBE_MULTI")),
    Feature("kprobe_session", "6.10", "link", ("KPROBE", "TRACE_KPROBE_SESSION")),
    Feature("uprobe_multi", "6.6", "link", ("KPROBE", "TRACE_UPROBE_MULTI")),
    Feature("uprobe_session", "6.13", "link", ("KPROBE", "TRACE_UPROBE_SESSION")),
    Feature("bpf_stats", "5.8", "stats", ()),
    # instructions
    # r1 = 4; r1 += -1; if r1 != 0 goto -2; r0 = 0; exit
    Feature("bounded_loops", "5.3", "insns", (
        "SOCKET_FILTER", "b701000004000000" "07010000ffffffff" "5501feff00000000" + _RETURN,
    )),
    # r0 = 0; *(u64 *)(r10 -8) = r0; r0 = atomic_fetch_add((u64 *)(r10 -8), r0); r0 = 0; exit
    Feature("atomics", "5.12", "insns", (
        "SOCKET_FILTER", "b700000000000000" "7b0af8ff00000000" "db0af8ff01000000" + _RETURN,
    )),
    # r0 = 0; r0 = (s8)r0; exit
    Feature("cpu_v4", "6.6", "insns", ("SOCKET_FILTER", "b700000000000000" "bf00080000000000" + _RETURN)),
    # r0 = 0; may_goto +1; r0 = 0; exit (6.12 refuses a distance of 0)
    Feature("may_goto", "6.9", "insns", (
        "SOCKET_FILTER", "b700000000000000" "e500010000000000" + _RETURN,
    )),
    # *(u64 *)(r10 -16) = -1; *(u64 *)(r10 -8) = -1; r1 = r10; r1 += -16; r2 = 16; call get_current_comm
    # r1 = *(u8 *)(r10 -2); r0 = 1; if r1 != 255 goto +1; r0 = 0; exit: are bytes behind the NUL cleared?
    # 6.1 leaves them as they were, from 6.2 on they are cleared (commit f3f213497797).
    Feature("comm_padded", "6.2", "run", (
        "RAW_TRACEPOINT", "7a0af0ffffffffff" "7a0af8ffffffffff" "bfa1000000000000" "07010000f0ffffff"
        "b702000010000000" "8500000010000000" "71a1feff00000000" "b700000001000000" "55010100ff000000" + _RETURN,
    )),
    # helpers that come in groups, or under another name
    _helper("bpf_loop", "loop"),
    _helper("timer", "timer_init"),
    _helper("dynptr", "dynptr_from_mem"),
    _helper("task_storage", "task_storage_get"),
    _helper("cgrp_storage", "cgrp_storage_get"),
    _helper("inode_storage", "inode_storage_get"),
)  # fmt: skip

FEATURES: dict[str, Feature] = {row.name: row for row in _ROWS}
"""By name: the rows above, and one for every helper that came after Linux 5.4 by itself."""

FEATURES.update(
    (helper.name, _helper(helper.name)) for helper in HELPERS.values() if helper.feature == helper.name
)

FALLBACKS: dict[str, tuple[tuple[str, str], ...]] = {
    "ringbuf": (("", "a perf buffer for each CPU"),),
    "btf": (("", "a file of BTF (--btf=FILE), definitions in the script; arg0, arg1, ... of rawtracepoint"),),
    "kprobe": (("fentry", "fentry and fexit"), ("", "tracepoints that come near")),
    "fentry": (("kprobe", "none: write kprobe"), ("", "none: write tracepoint or rawtracepoint")),
    "fexit": (("kprobe", "none: write kretprobe"), ("", "none: write tracepoint or rawtracepoint")),
    "kprobe_multi": (("kprobe", "one link for each function"),),
    "kprobe_session": (("kprobe", "a link for the entries and one for the returns"),),
    "uprobe_session": (("", "a link for the entries and one for the returns"),),
    "uprobe_multi": (("", "one perf event for each function"),),
    "perf_link": (("", "ioctl of the perf event"),),
    "get_attach_cookie": (("", "a program for each place where a body names its `probe`"),),
    "raw_tp_cookie": (("", "the same for rawtracepoint"),),
    "long_keys": (("", "stacks of more than 63 frames may be lost"),),
    "alloc_on_demand": (("", "memory of maps for stacks is taken at the start"),),
    "batch": (("", "maps are read key by key"),),
    "batch_percpu_array": (("", "maps are read key by key"),),
    "bpf_loop": (("bounded_loops", "bounded loops, of at most 1024 turns where the end is not known"),),
    "cpu_v4": (("", "version 3 of the instruction set"),),
    "get_func_ip": (("", "none: no `func` in kretprobe, fentry and fexit"),),
    "get_func_ret": (("", "the result is read behind the arguments"),),
    "comm_padded": (("", "room for comm is cleared first where it is a key"),),
    "probe_read_kernel": (("", "probe_read"),),
    "get_current_task_btf": (("", "get_current_task: members of curtask are probe-read"),),
    "for_each_map_elem": (("", "none: no loops over maps, no len(@map)"),),
    "map_lookup_percpu_elem": (("", "none: aggregations are printed, but no numbers in expressions"),),
    "iter": (("", "none: no iter probes"),),
    "iter_task_vma": (("", "none: no iter:task_vma"),),
    "ktime_get_boot_ns": (("", "ktime_get_ns, which stands still while the machine sleeps"),),
    "ktime_get_tai_ns": (("", "none: write nsecs(sw_tai)"),),
    "get_ns_current_pid_tgid": (("", "none: pid and tid are those outside of a PID namespace"),),
    "snprintf": (("", "addresses in the kernel are named by kallsyms"),),
    "syscall_prog": (("", "addresses in the kernel are named by kallsyms"),),
    "per_cpu_ptr": (("", "addresses of kallsyms"),),
}
"""What pbt does without a feature: (feature that this takes, or "", what it is), the first that can be had.
Features without a row are not used by pbt, or only by a function that says so itself.
"""
