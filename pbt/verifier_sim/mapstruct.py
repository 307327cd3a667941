"""The start of the kernel's struct bpf_map, which programs may read: where its members lie, by release.

For kernels whose own types are not at hand. Measured on Debian's kernels and on 6.18.44, x86-64.
"""

from __future__ import annotations

from pbt.data import NamedTuple
from pbt.typing import Final
from pbt.verifier_sim.env import Refuse


class Member(NamedTuple):
    """What a walk found: a number, or a pointer to `struct` ("" if it points to something else).

    name, parent: of the member and of the structure that it stands in. tags: "user", "percpu", "rcu".
    loose: it lies in a union, where nobody knows which member is alive.
    """

    pointer: bool
    struct: str = ""
    name: str = ""
    parent: str = ""
    tags: frozenset[str] = frozenset()
    loose: bool = False


_HEAD = "ops:bpf_map_ops inner_map_meta:bpf_map security: map_type/4 key_size/4 value_size/4 max_entries/4"
_TYPES = "numa_node/4 btf_key_type_id/4 btf_value_type_id/4"
_TAIL = f"map_extra/8 map_flags/4 id/4 record:btf_record {_TYPES} btf_vmlinux_value_type_id/4 btf:btf objcg:obj_cgroup"

_SINCE: Final = (
    ((6, 19), f"sha/32 {_HEAD} {_TAIL}"),
    ((6, 18, 44), f"sha/32 excl/4 {_HEAD} {_TAIL}"),
    ((6, 18), f"sha/32 {_HEAD} {_TAIL}"),
    ((6, 2), f"{_HEAD} {_TAIL}"),
    (
        (5, 16),
        f"{_HEAD} map_extra/8 map_flags/4 spin_lock_off/4 kptr_off_tab:bpf_map_value_off timer_off/4 id/4 {_TYPES} "
        "btf_vmlinux_value_type_id/4 btf:btf objcg:obj_cgroup",
    ),
    ((), f"{_HEAD} map_flags/4 spin_lock_off/4 id/4 {_TYPES} btf:btf"),
)
"""Members in their order, each at a multiple of its size: NAME/BYTES, or a pointer NAME:STRUCT (or just NAME:)."""


def member(release: tuple[int, ...], off: int, size: int) -> Member | None:
    """What `size` bytes at `off` are; None: beyond what is known here. Refuse if they fit no member."""
    end = 0
    for text in next(row for since, row in _SINCE if since <= release).split():
        name, pointer, struct = text.partition(":")
        name, _, length = name.partition("/")
        bytes_ = int(length or 8)
        start = -(-end // min(bytes_, 8)) * min(bytes_, 8)
        if off < start:
            raise Refuse(f"struct bpf_map doesn't have field at offset {off}")
        end = start + bytes_
        if off >= end:
            continue
        where = f"in struct bpf_map with off {off} size {size}"
        if pointer and (off != start or size != 8):
            raise Refuse(f"cannot access ptr member {name} with moff {start} {where}")
        if off + size > end:
            raise Refuse(f"access beyond the end of member {name} (mend:{end}) {where}")
        return Member(bool(pointer), struct, name, "bpf_map")
    return None


__all__ = ["Member", "member"]
