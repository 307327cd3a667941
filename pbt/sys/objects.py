"""What the kernel holds: programs, links and types by their ids, and what it says of them."""

from __future__ import annotations

import ctypes
import errno
import struct
from collections.abc import Iterator

from pbt.data import NamedTuple
from pbt.sys.bpf import address, ask, checked, object_info
from pbt.sys.syscall import Fd
from pbt.uapi import structs


class ProgInfo(NamedTuple):
    """A loaded program. Lengths in bytes, `run_time_ns` and `run_cnt` only while statistics are on."""

    type: int
    id: int
    name: str
    tag: str
    jited_len: int
    xlated_len: int
    run_time_ns: int
    run_cnt: int
    recursion_misses: int
    verified_insns: int
    map_ids: tuple[int, ...]
    xlated: bytes


def prog_info(fd: int, xlated: bool = False) -> ProgInfo:
    """Facts of a program; with `xlated` also its instructions after the verifier's rewriting."""
    size = structs.ProgInfo()
    object_info(fd, size)
    code = ctypes.create_string_buffer(size.xlated_prog_len if xlated else 0)
    ids = (ctypes.c_uint32 * size.nr_map_ids)()
    info = structs.ProgInfo(
        xlated_prog_len=len(code), xlated_prog_insns=address(code),
        nr_map_ids=len(ids), map_ids=ctypes.addressof(ids) if len(ids) else 0,
    )  # fmt: skip
    object_info(fd, info)
    return ProgInfo(
        info.type, info.id, info.name.decode(), bytes(info.tag).hex(), info.jited_prog_len,
        info.xlated_prog_len, info.run_time_ns, info.run_cnt, info.recursion_misses,
        info.verified_insns, tuple(ids), code.raw,
    )  # fmt: skip


def prog_functions(fd: int) -> tuple[int, tuple[int, ...]]:
    """The id of the BTF that came with a program, and the numbers of its functions there; (0, ()) without."""
    size = structs.ProgInfo()
    object_info(fd, size)
    width, count = size.func_info_rec_size, size.nr_func_info
    records = ctypes.create_string_buffer(width * count)
    object_info(
        fd, structs.ProgInfo(func_info=address(records), nr_func_info=count, func_info_rec_size=width)
    )
    return size.btf_id, tuple(struct.unpack_from("=I", records, width * n + 4)[0] for n in range(count))


_KINDS = {"prog": "PROG", "map": "MAP", "btf": "BTF", "link": "LINK"}


def next_id(kind: str, start: int = 0) -> int | None:
    """The id after `start` of a "prog", "map", "btf" or "link"; None if there is none."""
    attr = structs.GetId(start)
    result = ask(f"{_KINDS[kind]}_GET_NEXT_ID", attr)
    return (
        None if result == -errno.ENOENT else (checked(result, f"cannot list every {kind}"), attr.next_id)[1]
    )


def ids(kind: str) -> Iterator[int]:
    """All ids of a kind, ascending."""
    found = next_id(kind)
    while found is not None:
        yield found
        found = next_id(kind, found)


def fd_by_id(kind: str, number: int) -> Fd:
    """Open an object by its id."""
    result = ask(f"{_KINDS[kind]}_GET_FD_BY_ID", structs.GetId(number))
    return Fd(checked(result, f"cannot open {kind} {number}"))


def btf_get_fd_by_id(number: int) -> Fd:
    """Open type information by its id."""
    return fd_by_id("btf", number)


def btf_info(fd: int) -> tuple[int, str, int]:
    """Type information: its id, the name of its module ("vmlinux" for the kernel), its size in bytes."""
    name = ctypes.create_string_buffer(64)
    info = structs.BtfInfo(name=ctypes.addressof(name), name_len=len(name))
    object_info(fd, info)
    return info.id, name.value.decode(), info.btf_size


def btf_data(fd: int) -> bytes:
    """Type information as it was loaded."""
    size = structs.BtfInfo()
    object_info(fd, size)
    data = ctypes.create_string_buffer(size.btf_size)
    object_info(fd, structs.BtfInfo(btf=address(data), btf_size=len(data)))
    return data.raw


def enable_stats() -> Fd:
    """Make the kernel count and time every run of every program until the result is closed."""
    return Fd(checked(ask("ENABLE_STATS", structs.EnableStats(0)), "cannot turn statistics on"))
