"""Map types: what their keys and values may be, and which helpers take them.

Source: the alloc_check functions of kernel/bpf/*.c and check_map_func_compatibility() in
kernel/bpf/verifier.c, as of Linux 6.18.
"""

from __future__ import annotations

from pbt.data import NamedTuple


class MapType(NamedTuple):
    """One map type.

    key: "any" (1 to 512 bytes), "u32" (exactly 4 bytes, an index), "lpm" (u32 prefix length, then up
    to 256 bytes), "cgroup" (u64 id of the cgroup, alone or with a u32 attach type), "none" (0 bytes).
    value: "any", "u32" (exactly 4 bytes: a file descriptor or an index), "u32/u64" (4 or 8 bytes),
    "stack" (a multiple of 8, up to 127 frames), "btf" (a kernel type), "none" (0 bytes).
    entries: "any" (at least 1), "page" (bytes: a power of two of at least one page), "zero".
    helpers: those of `HELPERS` that accept it. feature: its row of FEATURES, empty if in Linux 5.4.
    """

    name: str
    id: int
    key: str
    value: str
    per_cpu: bool
    helpers: frozenset[str]
    entries: str = "any"
    feature: str = ""


_LOOKUP = "map_lookup_elem map_update_elem map_delete_elem"
_HASH = f"{_LOOKUP} for_each_map_elem timer_init"
_PERCPU = f"{_LOOKUP} for_each_map_elem map_lookup_percpu_elem"
_QUEUE = "map_push_elem map_pop_elem map_peek_elem"
_RINGBUF = (
    "ringbuf_output ringbuf_reserve ringbuf_submit ringbuf_discard ringbuf_query "
    "ringbuf_reserve_dynptr ringbuf_submit_dynptr ringbuf_discard_dynptr"
)
_SOCKETS = "sk_select_reuseport map_lookup_elem map_update_elem map_delete_elem"


def _m(
    id: int,
    name: str,
    key: str,
    value: str,
    helpers: str,
    per_cpu: bool = False,
    entries: str = "any",
    feature: str = "",
) -> MapType:
    return MapType(name, id, key, value, per_cpu, frozenset(helpers.split()), entries, feature)


_ROWS = (
    _m(1, "HASH", "any", "any", _HASH),
    _m(2, "ARRAY", "u32", "any", _HASH),
    _m(3, "PROG_ARRAY", "u32", "u32", "tail_call"),
    _m(4, "PERF_EVENT_ARRAY", "u32", "u32",
       "perf_event_read perf_event_read_value perf_event_output skb_output xdp_output"),
    _m(5, "PERCPU_HASH", "any", "any", _PERCPU, per_cpu=True),
    _m(6, "PERCPU_ARRAY", "u32", "any", _PERCPU, per_cpu=True),
    _m(7, "STACK_TRACE", "u32", "stack", "get_stackid"),
    _m(8, "CGROUP_ARRAY", "u32", "u32", "skb_under_cgroup current_task_under_cgroup"),
    _m(9, "LRU_HASH", "any", "any", _HASH),
    _m(10, "LRU_PERCPU_HASH", "any", "any", _PERCPU, per_cpu=True),
    _m(11, "LPM_TRIE", "lpm", "any", _LOOKUP),
    _m(12, "ARRAY_OF_MAPS", "u32", "u32", "map_lookup_elem"),
    _m(13, "HASH_OF_MAPS", "any", "u32", "map_lookup_elem"),
    _m(14, "DEVMAP", "u32", "u32/u64", "redirect_map map_lookup_elem"),
    _m(15, "SOCKMAP", "u32", "u32/u64",
       f"sk_redirect_map sock_map_update msg_redirect_map {_SOCKETS}"),
    _m(16, "CPUMAP", "u32", "u32/u64", "redirect_map"),
    _m(17, "XSKMAP", "u32", "u32", "redirect_map map_lookup_elem"),
    _m(18, "SOCKHASH", "any", "u32/u64",
       f"sk_redirect_hash sock_hash_update msg_redirect_hash {_SOCKETS}"),
    _m(19, "CGROUP_STORAGE", "cgroup", "any", "get_local_storage", entries="zero"),
    _m(20, "REUSEPORT_SOCKARRAY", "u32", "u32/u64", "sk_select_reuseport"),
    _m(21, "PERCPU_CGROUP_STORAGE", "cgroup", "any", "get_local_storage", per_cpu=True, entries="zero"),
    _m(22, "QUEUE", "none", "any", _QUEUE),
    _m(23, "STACK", "none", "any", _QUEUE),
    _m(24, "SK_STORAGE", "u32", "any", "sk_storage_get sk_storage_delete kptr_xchg", entries="zero"),
    _m(25, "DEVMAP_HASH", "u32", "u32/u64", "redirect_map map_lookup_elem"),
    _m(26, "STRUCT_OPS", "u32", "btf", "", feature="struct_ops"),
    _m(27, "RINGBUF", "none", "none", _RINGBUF, entries="page", feature="ringbuf"),
    _m(28, "INODE_STORAGE", "u32", "any", "inode_storage_get inode_storage_delete kptr_xchg",
       entries="zero", feature="inode_storage"),
    _m(29, "TASK_STORAGE", "u32", "any", "task_storage_get task_storage_delete kptr_xchg",
       entries="zero", feature="task_storage"),
    _m(30, "BLOOM_FILTER", "none", "any", "map_push_elem map_peek_elem", feature="bloom_filter"),
    _m(31, "USER_RINGBUF", "none", "none", "user_ringbuf_drain", entries="page", feature="user_ringbuf"),
    _m(32, "CGRP_STORAGE", "u32", "any", "cgrp_storage_get cgrp_storage_delete kptr_xchg",
       entries="zero", feature="cgrp_storage"),
    _m(33, "ARENA", "none", "none", "", feature="arena"),
)  # fmt: skip

MAP_TYPES: dict[str, MapType] = {row.name: row for row in _ROWS}
"""By name, as in enum bpf_map_type without its prefix."""

MAP_BY_ID: dict[int, MapType] = {row.id: row for row in _ROWS}
