"""Programs attached: links, iterators, raw tracepoints; by bpf(), refused with a `KernelError`."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence

from pbt.sys.bpf import address, ask, checked, copied
from pbt.sys.syscall import Fd
from pbt.typing import TYPE_CHECKING
from pbt.uapi import structs
from pbt.uapi.consts import ATTACH_TYPE

if TYPE_CHECKING:
    from ctypes import Structure


def raw_tracepoint_open(name: str, prog_fd: int, cookie: int = 0) -> Fd:
    """Attach to a tracepoint by name; the empty name attaches a TRACING program where it was loaded for."""
    text = copied(name.encode(errors="surrogateescape") + b"\0") if name else None
    attr = structs.RawTracepointOpen(address(text), prog_fd, cookie)
    return Fd(checked(ask("RAW_TRACEPOINT_OPEN", attr), f"cannot attach to raw tracepoint {name}".rstrip()))


def link_create(
    prog_fd: int,
    target_fd: int,
    attach_type: str,
    *,
    flags: int = 0,
    cookie: int = 0,
    target_btf_id: int = 0,
    iter_info: bytes = b"",
) -> Fd:
    """A link of a program to a target: a perf event, cgroup or network device, or nothing (0).

    `cookie` is for perf events and tracing; `iter_info` is a union bpf_iter_link_info.
    """
    kind, info = ATTACH_TYPE[attach_type], copied(iter_info)
    attr: Structure
    if attach_type == "PERF_EVENT":
        attr = structs.LinkCreatePerf(prog_fd, target_fd, kind, flags, cookie)
    elif attach_type == "TRACE_ITER":
        attr = structs.LinkCreateIter(prog_fd, target_fd, kind, flags, address(info), len(iter_info))
    else:
        attr = structs.LinkCreateTracing(prog_fd, target_fd, kind, flags, target_btf_id, cookie)
    return Fd(checked(ask("LINK_CREATE", attr), f"cannot attach a program ({attach_type.lower()})"))


def _array(kind: type[ctypes.c_uint64], items: Sequence[int]) -> ctypes.Array[ctypes.c_uint64] | None:
    return (kind * len(items))(*items) if items else None


def _at(array: ctypes.Array[ctypes.c_uint64] | ctypes.Array[ctypes.c_char_p] | None) -> int:
    return ctypes.addressof(array) if array is not None else 0


def link_kprobe_multi(
    prog_fd: int,
    *,
    syms: Sequence[str] = (),
    addrs: Sequence[int] = (),
    cookies: Sequence[int] = (),
    flags: int = 0,
    session: bool = False,
) -> Fd:
    """One link to many kernel functions, by name or by address; `flags` BPF_F_KPROBE_MULTI_RETURN."""
    texts = [name.encode() for name in syms]
    names = (ctypes.c_char_p * len(texts))(*texts) if texts else None
    places, marks = _array(ctypes.c_uint64, addrs), _array(ctypes.c_uint64, cookies)
    kind = ATTACH_TYPE["TRACE_KPROBE_SESSION" if session else "TRACE_KPROBE_MULTI"]
    attr = structs.LinkCreateKprobeMulti(
        prog_fd, 0, kind, 0, flags, len(syms) or len(addrs), _at(names), _at(places), _at(marks)
    )
    return Fd(checked(ask("LINK_CREATE", attr), f"cannot attach to {attr.cnt} kernel functions"))


def link_uprobe_multi(
    prog_fd: int,
    path: str,
    offsets: Sequence[int],
    *,
    ref_ctr_offsets: Sequence[int] = (),
    cookies: Sequence[int] = (),
    pid: int = 0,
    flags: int = 0,
    session: bool = False,
) -> Fd:
    """One link to many places of a file, as offsets into it in bytes; `pid` 0 means every process.

    `flags` BPF_F_UPROBE_MULTI_RETURN; `ref_ctr_offsets` are those of USDT semaphores.
    """
    text = copied(os.fsencode(path) + b"\0")
    arrays = [_array(ctypes.c_uint64, items) for items in (offsets, ref_ctr_offsets, cookies)]
    kind = ATTACH_TYPE["TRACE_UPROBE_SESSION" if session else "TRACE_UPROBE_MULTI"]
    attr = structs.LinkCreateUprobeMulti(
        prog_fd, 0, kind, 0, address(text), *map(_at, arrays), len(offsets), flags, pid
    )
    return Fd(checked(ask("LINK_CREATE", attr), f"cannot attach to {len(offsets)} places of {path}"))


def iter_create(link_fd: int) -> Fd:
    """A file to read an iterator's output from."""
    return Fd(checked(ask("ITER_CREATE", structs.IterCreate(link_fd)), "cannot start an iterator"))


def obj_pin(fd: int, path: str) -> None:
    """Keep an object in a bpf file system."""
    text = copied(os.fsencode(path) + b"\0")
    checked(ask("OBJ_PIN", structs.ObjPin(address(text), fd)), f"cannot pin to {path}")
