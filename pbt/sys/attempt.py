"""Whether the running kernel has a feature: by trying it (see pbt/uapi/features.py for the kinds)."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from pbt.source import KernelError
from pbt.sys import bpf
from pbt.uapi.consts import BPF_F_SLEEPABLE
from pbt.uapi.features import Feature
from pbt.uapi.helpers import HELPERS

BtfId = Callable[[str, str], int]
"""(BTF kind, name) → id of a type of the running kernel; 0 if there is none."""

_EXIT = bytes.fromhex("9500000000000000")
_RETURN = bytes.fromhex("b700000000000000") + _EXIT
_UNKNOWN = ("invalid func", "unknown func", "cannot use helper")
_NO_LINK = (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, 524)


def attempt(feature: Feature, btf_id: BtfId = lambda kind, name: 0) -> bool:
    """Whether this kernel, for this user, has the feature. A mistaken row is a KeyError."""
    try:
        return _KINDS[feature.kind](feature.detail, btf_id)
    except KernelError:
        return False


Detail = tuple[str | int, ...]


def _helper(detail: Detail, _: BtfId) -> bool:
    place, name = detail
    call = b"\x85\0\0\0" + HELPERS[str(name)].id.to_bytes(4, "little")
    flags = BPF_F_SLEEPABLE if place == "SYSCALL" else 0
    try:
        bpf.prog_load(str(place) or "SOCKET_FILTER", bpf.native(call + _RETURN), flags=flags).close()
    except KernelError as error:
        known = bool(error.log) and not any(word in error.log for word in _UNKNOWN)
        return known or (not place and bool(error.log) and f"_{name}#" in error.log)
    return True


def _map(detail: Detail, _: BtfId) -> bool:
    kind, key, value, entries, flags = detail
    bpf.map_create(str(kind), int(key), int(value), int(entries), int(flags)).close()
    return True


def _uses(detail: Detail, _: BtfId) -> bool:
    """The kernel lets programs of some types use some maps only."""
    kind, key, value, entries, flags = detail[1:]
    with bpf.map_create(str(kind), int(key), int(value), int(entries), int(flags)) as map_:
        address = b"\x18\x11\0\0" + map_.fileno().to_bytes(4, "little") + bytes(8)  # r1 = map
        bpf.prog_load(str(detail[0]), bpf.native(address + _RETURN)).close()
    return True


def _prog(detail: Detail, btf_id: BtfId) -> bool:
    prog = _loaded(detail, btf_id)
    if prog is not None:
        prog.close()
    return prog is not None


def _attachable(detail: Detail, btf_id: BtfId) -> bool:
    from pbt.sys.links import raw_tracepoint_open

    prog = _loaded(detail, btf_id)
    if prog is None:
        return False
    with prog:
        raw_tracepoint_open("", prog.fileno()).close()
    return True


def _loaded(detail: Detail, btf_id: BtfId) -> bpf.Fd | None:
    """A program that returns at once; None when BTF does not know what it belongs to."""
    prog_type, attach_type, kind, name = map(str, detail)
    target = btf_id(kind, name) if name else 0
    if name and not target:
        return None
    flags = BPF_F_SLEEPABLE if prog_type == "SYSCALL" else 0
    return bpf.prog_load(
        prog_type, bpf.native(_RETURN), expected_attach_type=attach_type, attach_btf_id=target, flags=flags
    )


def _insns(detail: Detail, _: BtfId) -> bool:
    bpf.prog_load(str(detail[0]), bpf.native(bytes.fromhex(str(detail[1])))).close()
    return True


def _run(detail: Detail, _: BtfId) -> bool:
    with bpf.prog_load(str(detail[0]), bpf.native(bytes.fromhex(str(detail[1])))) as prog:
        return bpf.prog_test_run(prog.fileno()).retval == 1


def _link(detail: Detail, _: BtfId) -> bool:
    """Attach to something that cannot be: a kernel that knows how says EBADF, ENOENT or the like."""
    prog_type, attach_type = map(str, detail)
    expected = "" if attach_type == "PERF_EVENT" else attach_type
    with bpf.prog_load(prog_type, bpf.native(_RETURN), expected_attach_type=expected) as prog:
        try:
            _attach(prog.fileno(), attach_type).close()
        except KernelError as error:
            return error.errno not in _NO_LINK
    return True


def _attach(prog: int, attach_type: str) -> bpf.Fd:
    from pbt.sys.links import link_create, link_kprobe_multi, link_uprobe_multi

    session = attach_type.endswith("SESSION")
    if "UPROBE" in attach_type:
        return link_uprobe_multi(prog, "/", [0], session=session)  # a folder: EBADF
    if "KPROBE" in attach_type:
        return link_kprobe_multi(prog, syms=["pbt_no_such_function"], session=session)  # ESRCH
    return link_create(prog, (1 << 32) - 1, attach_type)  # EBADF


def _batch(detail: Detail, _: BtfId) -> bool:
    kind = str(detail[0])
    size = bpf.percpu_size(8) if kind.startswith("PERCPU") else 8
    with bpf.map_create(kind, 4, 8, 2) as map_:
        return bpf.map_batch(map_.fileno(), 4, size) is not None


def _stats(_: Detail, __: BtfId) -> bool:
    from pbt.sys import objects

    objects.enable_stats().close()
    return True


def _file(detail: Detail, _: BtfId) -> bool:
    return any(os.access(str(path), os.R_OK) for path in detail)


_KINDS: dict[str, Callable[[Detail, BtfId], bool]] = {
    "helper": _helper,
    "map": _map,
    "uses": _uses,
    "prog": _prog,
    "attach": _attachable,
    "insns": _insns,
    "run": _run,
    "link": _link,
    "batch": _batch,
    "stats": _stats,
    "file": _file,
}
