"""What kernels call otherwise than old scripts do: functions and struct members, for "this kernel has" hints.

Names are tried in their order; only those that the target has are suggested.
"""

from __future__ import annotations

_STARTED = ("tracepoint:block:block_io_start", "tracepoint:block:block_rq_issue")  # v6.5, v2.6.29
_DONE = ("tracepoint:block:block_io_done", "tracepoint:block:block_rq_complete")

_PROFILED = (  # v6.10: the plain name is a macro that counts what is allocated
    "__alloc_pages", "__folio_alloc", "__kmalloc", "__kmalloc_node", "alloc_pages_mpol", "kmem_cache_alloc",
    "kmem_cache_alloc_bulk", "kmem_cache_alloc_lru", "kmem_cache_alloc_node", "vmalloc", "vzalloc",
)  # fmt: skip

FUNCTIONS: dict[str, tuple[str, ...]] = {  # function → its successors, or attach points in its place
    "__blk_account_io_start": ("blk_account_io_start", *_STARTED),
    "blk_account_io_start": ("__blk_account_io_start", *_STARTED),  # v5.16; inlined in some kernels since
    "__blk_account_io_done": ("blk_account_io_done", *_DONE),
    "blk_account_io_done": ("__blk_account_io_done", *_DONE),
    "swap_readpage": ("swap_read_folio",),  # v6.9
    "tcp_drop": ("tracepoint:skb:kfree_skb",),  # v5.18; with the reason since v5.17
    "do_sys_open": ("do_sys_openat2",),  # v5.6
    "_do_fork": ("kernel_clone",),  # v5.10
    "do_nanosleep": ("hrtimer_nanosleep",),
    "finish_task_switch": ("finish_task_switch.isra.0",),
    "account_page_dirtied": ("folio_account_dirtied", "tracepoint:writeback:writeback_dirty_folio"),  # v5.16
    "mark_page_accessed": ("folio_mark_accessed",),  # v5.16
    "add_to_page_cache_lru": ("filemap_add_folio",),  # v5.16
    "__page_cache_alloc": ("filemap_alloc_folio", "filemap_alloc_folio_noprof"),  # v5.16, v6.10
    "__do_page_cache_readahead": ("do_page_cache_ra", "page_cache_ra_unbounded"),  # v5.10; may be inlined
    "migrate_misplaced_page": ("migrate_misplaced_folio",),
    "new_sync_read": ("vfs_read",),  # where it is inlined
    "new_sync_write": ("vfs_write",),
    **{name: (f"{name}_noprof",) for name in _PROFILED},
}
MEMBERS: dict[tuple[str, str], tuple[str, ...]] = {  # (struct, member) → how it is reached now
    ("cfs_rq", "nr_running"): ("nr_queued",),  # v6.14
    ("cfs_rq", "h_nr_running"): ("h_nr_queued",),  # v6.14
    ("task_struct", "state"): ("__state",),  # v5.14
    ("task_struct", "cpu"): ("thread_info.cpu", "recent_used_cpu"),
    ("request", "rq_disk"): ("q.disk",),  # v5.17
    ("bio", "bi_disk"): ("bi_bdev.bd_disk",),  # v5.12
    ("request_queue", "backing_dev_info"): ("disk.bdi",),  # v5.15
    ("inode", "i_ctime"): ("__i_ctime", "i_ctime_sec"),  # v6.6, v6.11
    ("inode", "i_mtime"): ("__i_mtime", "i_mtime_sec"),  # v6.7, v6.11
    ("inode", "i_atime"): ("__i_atime", "i_atime_sec"),  # v6.7, v6.11
    ("file", "f_u"): ("f_llist",),  # v6.0
}


def successors(name: str) -> tuple[str, ...]:
    """What a function's name became; () for names that still stand, as far as is known here."""
    return FUNCTIONS.get(name.rpartition(":")[2], ())
