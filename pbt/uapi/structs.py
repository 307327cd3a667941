"""ctypes mirrors of the kernel's structs, with the field names of <linux/bpf.h> and <linux/perf_event.h>.

Each class of the bpf() system call mirrors one member of `union bpf_attr`; where that member holds a
union, there is one class for each use. Layouts are those of Linux 6.18: older kernels accept the bytes
they do not know as long as these are zero. A test compares every class with the running kernel's BTF.
This module must not postpone its annotations: `mirror` reads the field types from them.
"""

import ctypes
from collections.abc import Callable

from pbt.typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    u8 = int
    u16 = int
    u32 = int
    u64 = int
    s32 = int
    s64 = int
    ptr = int
    name16 = bytes
    tag8 = bytes
    pad928 = bytes
else:
    u8, u16, u32, u64 = ctypes.c_uint8, ctypes.c_uint16, ctypes.c_uint32, ctypes.c_uint64
    s32, s64, ptr = ctypes.c_int32, ctypes.c_int64, ctypes.c_uint64
    name16, tag8, pad928 = ctypes.c_char * 16, ctypes.c_uint8 * 8, ctypes.c_uint8 * 928

_S = TypeVar("_S", bound=ctypes.Structure)

MIRRORS: dict[str, tuple[str, tuple[str, ...]]] = {}
"""Class → the kernel's struct and, for a member of a union, the names that lead there: the name of a
member, or of any field in it if the member has no name."""


def mirror(struct: str, member: str = "") -> Callable[[type[_S]], type[_S]]:
    """Give a Structure the fields of its annotations, in order. `ptr` is a u64 that holds an address."""

    def fill(cls: type[_S]) -> type[_S]:
        cls._fields_ = list(cls.__annotations__.items())
        MIRRORS[cls.__name__] = struct, tuple(member.split(".")) if member else ()
        return cls

    return fill


@mirror("bpf_attr", "map_type")
class MapCreate(ctypes.Structure):
    """BPF_MAP_CREATE."""

    map_type: u32
    key_size: u32
    value_size: u32
    max_entries: u32
    map_flags: u32
    inner_map_fd: u32
    numa_node: u32
    map_name: name16
    map_ifindex: u32
    btf_fd: u32
    btf_key_type_id: u32
    btf_value_type_id: u32
    btf_vmlinux_value_type_id: u32
    map_extra: u64
    value_type_btf_obj_fd: s32
    map_token_fd: s32
    excl_prog_hash: ptr
    excl_prog_hash_size: u32


@mirror("bpf_attr", "map_fd")
class MapElem(ctypes.Structure):
    """BPF_MAP_*_ELEM; `value` doubles as next_key of BPF_MAP_GET_NEXT_KEY. Also BPF_MAP_FREEZE."""

    map_fd: u32
    key: ptr
    value: ptr
    flags: u64


@mirror("bpf_attr", "batch")
class MapBatch(ctypes.Structure):
    """BPF_MAP_*_BATCH."""

    in_batch: ptr
    out_batch: ptr
    keys: ptr
    values: ptr
    count: u32
    map_fd: u32
    elem_flags: u64
    flags: u64


@mirror("bpf_attr", "prog_type")
class ProgLoad(ctypes.Structure):
    """BPF_PROG_LOAD; `attach_btf_obj_fd` doubles as attach_prog_fd."""

    prog_type: u32
    insn_cnt: u32
    insns: ptr
    license: ptr
    log_level: u32
    log_size: u32
    log_buf: ptr
    kern_version: u32
    prog_flags: u32
    prog_name: name16
    prog_ifindex: u32
    expected_attach_type: u32
    prog_btf_fd: u32
    func_info_rec_size: u32
    func_info: ptr
    func_info_cnt: u32
    line_info_rec_size: u32
    line_info: ptr
    line_info_cnt: u32
    attach_btf_id: u32
    attach_btf_obj_fd: u32
    core_relo_cnt: u32
    fd_array: ptr
    core_relos: ptr
    core_relo_rec_size: u32
    log_true_size: u32
    prog_token_fd: s32
    fd_array_cnt: u32
    signature: ptr
    signature_size: u32
    keyring_id: s32


@mirror("bpf_attr", "pathname")
class ObjPin(ctypes.Structure):
    """BPF_OBJ_PIN, BPF_OBJ_GET."""

    pathname: ptr
    bpf_fd: u32
    file_flags: u32
    path_fd: s32


@mirror("bpf_attr", "test")
class ProgTestRun(ctypes.Structure):
    """BPF_PROG_TEST_RUN."""

    prog_fd: u32
    retval: u32
    data_size_in: u32
    data_size_out: u32
    data_in: ptr
    data_out: ptr
    repeat: u32
    duration: u32
    ctx_size_in: u32
    ctx_size_out: u32
    ctx_in: ptr
    ctx_out: ptr
    flags: u32
    cpu: u32
    batch_size: u32


@mirror("bpf_attr", "next_id")
class GetId(ctypes.Structure):
    """BPF_*_GET_NEXT_ID, BPF_*_GET_FD_BY_ID."""

    start_id: u32
    next_id: u32
    open_flags: u32
    fd_by_id_token_fd: s32


@mirror("bpf_attr", "info")
class ObjInfo(ctypes.Structure):
    """BPF_OBJ_GET_INFO_BY_FD."""

    bpf_fd: u32
    info_len: u32
    info: ptr


@mirror("bpf_attr", "raw_tracepoint")
class RawTracepointOpen(ctypes.Structure):
    """BPF_RAW_TRACEPOINT_OPEN."""

    name: ptr
    prog_fd: u32
    cookie: u64


@mirror("bpf_attr", "btf")
class BtfLoad(ctypes.Structure):
    """BPF_BTF_LOAD."""

    btf: ptr
    btf_log_buf: ptr
    btf_size: u32
    btf_log_size: u32
    btf_log_level: u32
    btf_log_true_size: u32
    btf_flags: u32
    btf_token_fd: s32


@mirror("bpf_attr", "link_create.tracing")
class LinkCreateTracing(ctypes.Structure):
    """BPF_LINK_CREATE for fentry, fexit and typed raw tracepoints; also for cgroups, with zeros."""

    prog_fd: u32
    target_fd: u32
    attach_type: u32
    flags: u32
    target_btf_id: u32
    cookie: u64


@mirror("bpf_attr", "link_create.iter_info")
class LinkCreateIter(ctypes.Structure):
    """BPF_LINK_CREATE for iterators; `iter_info` is the address of a union bpf_iter_link_info."""

    prog_fd: u32
    target_fd: u32
    attach_type: u32
    flags: u32
    iter_info: ptr
    iter_info_len: u32


@mirror("bpf_attr", "link_create.perf_event")
class LinkCreatePerf(ctypes.Structure):
    """BPF_LINK_CREATE for perf events."""

    prog_fd: u32
    target_fd: u32
    attach_type: u32
    flags: u32
    bpf_cookie: u64


@mirror("bpf_attr", "link_create.kprobe_multi")
class LinkCreateKprobeMulti(ctypes.Structure):
    """BPF_LINK_CREATE for many kernel functions; `multi_flags` is kprobe_multi.flags."""

    prog_fd: u32
    target_fd: u32
    attach_type: u32
    flags: u32
    multi_flags: u32
    cnt: u32
    syms: ptr
    addrs: ptr
    cookies: ptr


@mirror("bpf_attr", "link_create.uprobe_multi")
class LinkCreateUprobeMulti(ctypes.Structure):
    """BPF_LINK_CREATE for many places of one file; `multi_flags` is uprobe_multi.flags."""

    prog_fd: u32
    target_fd: u32
    attach_type: u32
    flags: u32
    path: ptr
    offsets: ptr
    ref_ctr_offsets: ptr
    cookies: ptr
    cnt: u32
    multi_flags: u32
    pid: u32


@mirror("bpf_attr", "link_detach")
class LinkDetach(ctypes.Structure):
    """BPF_LINK_DETACH."""

    link_fd: u32


@mirror("bpf_attr", "enable_stats")
class EnableStats(ctypes.Structure):
    """BPF_ENABLE_STATS."""

    type: u32


@mirror("bpf_attr", "iter_create")
class IterCreate(ctypes.Structure):
    """BPF_ITER_CREATE."""

    link_fd: u32
    flags: u32


@mirror("bpf_prog_info")
class ProgInfo(ctypes.Structure):
    """struct bpf_prog_info; bit 0 of `bits` (the lowest-addressed) is gpl_compatible."""

    type: u32
    id: u32
    tag: tag8
    jited_prog_len: u32
    xlated_prog_len: u32
    jited_prog_insns: ptr
    xlated_prog_insns: ptr
    load_time: u64
    created_by_uid: u32
    nr_map_ids: u32
    map_ids: ptr
    name: name16
    ifindex: u32
    bits: u32
    netns_dev: u64
    netns_ino: u64
    nr_jited_ksyms: u32
    nr_jited_func_lens: u32
    jited_ksyms: ptr
    jited_func_lens: ptr
    btf_id: u32
    func_info_rec_size: u32
    func_info: ptr
    nr_func_info: u32
    nr_line_info: u32
    line_info: ptr
    jited_line_info: ptr
    nr_jited_line_info: u32
    line_info_rec_size: u32
    jited_line_info_rec_size: u32
    nr_prog_tags: u32
    prog_tags: ptr
    run_time_ns: u64
    run_cnt: u64
    recursion_misses: u64
    verified_insns: u32
    attach_btf_obj_id: u32
    attach_btf_id: u32


@mirror("bpf_map_info")
class MapInfo(ctypes.Structure):
    """struct bpf_map_info."""

    type: u32
    id: u32
    key_size: u32
    value_size: u32
    max_entries: u32
    map_flags: u32
    name: name16
    ifindex: u32
    btf_vmlinux_value_type_id: u32
    netns_dev: u64
    netns_ino: u64
    btf_id: u32
    btf_key_type_id: u32
    btf_value_type_id: u32
    btf_vmlinux_id: u32
    map_extra: u64
    hash: ptr
    hash_size: u32


@mirror("bpf_btf_info")
class BtfInfo(ctypes.Structure):
    """struct bpf_btf_info."""

    btf: ptr
    btf_size: u32
    id: u32
    name: ptr
    name_len: u32
    kernel_btf: u32


@mirror("perf_event_attr")
class PerfEventAttr(ctypes.Structure):
    """struct perf_event_attr; `flags` holds the bit fields (see PERF_ATTR_FLAGS), config1 doubles as
    bp_addr, kprobe_func and uprobe_path, config2 as bp_len, kprobe_addr and probe_offset."""

    type: u32
    size: u32
    config: u64
    sample_period: u64
    sample_type: u64
    read_format: u64
    flags: u64
    wakeup_events: u32
    bp_type: u32
    config1: u64
    config2: u64
    branch_sample_type: u64
    sample_regs_user: u64
    sample_stack_user: u32
    clockid: s32
    sample_regs_intr: u64
    aux_watermark: u32
    sample_max_stack: u16
    reserved_2: u16
    aux_sample_size: u32
    aux_action: u32
    sig_data: u64
    config3: u64


PERF_ATTR_FLAGS = {
    "disabled": 0, "inherit": 1, "pinned": 2, "exclusive": 3, "exclude_user": 4, "exclude_kernel": 5,
    "exclude_hv": 6, "exclude_idle": 7, "mmap": 8, "comm": 9, "freq": 10, "inherit_stat": 11,
    "enable_on_exec": 12, "task": 13, "watermark": 14, "precise_ip": 15, "mmap_data": 17,
    "sample_id_all": 18, "exclude_host": 19, "exclude_guest": 20, "exclude_callchain_kernel": 21,
    "exclude_callchain_user": 22, "mmap2": 23, "comm_exec": 24, "use_clockid": 25,
    "context_switch": 26, "write_backward": 27, "namespaces": 28, "ksymbol": 29, "bpf_event": 30,
    "aux_output": 31, "cgroup": 32, "text_poke": 33, "build_id": 34, "inherit_thread": 35,
    "remove_on_exec": 36, "sigtrap": 37,
}  # fmt: skip
"""Bit fields of struct perf_event_attr: name → first bit, counted from the lowest on little-endian
machines and from the highest on big-endian ones."""


@mirror("perf_event_mmap_page")
class PerfMmapPage(ctypes.Structure):
    """struct perf_event_mmap_page, the first page of a perf buffer."""

    version: u32
    compat_version: u32
    lock: u32
    index: u32
    offset: s64
    time_enabled: u64
    time_running: u64
    capabilities: u64
    pmc_width: u16
    time_shift: u16
    time_mult: u32
    time_offset: u64
    time_zero: u64
    size: u32
    reserved_1: u32
    time_cycles: u64
    time_mask: u64
    reserved: pad928
    data_head: u64
    data_tail: u64
    data_offset: u64
    data_size: u64
    aux_head: u64
    aux_tail: u64
    aux_offset: u64
    aux_size: u64
