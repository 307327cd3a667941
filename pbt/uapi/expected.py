"""What the expected attach type of a program changes: whether it is loaded, what of its context it may access.

Measured on Linux 6.18 (x86-64) by loading programs of each type with each attach type; a test repeats this.
"""

from __future__ import annotations

from pbt.uapi.features import FEATURES
from pbt.uapi.progs import PROG_TYPES, returns

_DEFAULTS = {
    "CGROUP_SOCK": True, "CGROUP_SKB": True, "SK_REUSEPORT": True,
    "CGROUP_SOCK_ADDR": False, "CGROUP_SOCKOPT": False, "SK_LOOKUP": False, "NETFILTER": False,
}  # fmt: skip
"""Program types that are loaded for one of their attach types: whether one of these is meant if none is named."""


_SINCE = {
    "CGROUP_UNIX_CONNECT": (6, 7), "CGROUP_UNIX_SENDMSG": (6, 7), "CGROUP_UNIX_RECVMSG": (6, 7),
    "CGROUP_UNIX_GETPEERNAME": (6, 7), "CGROUP_UNIX_GETSOCKNAME": (6, 7),
    "SK_REUSEPORT_SELECT": (5, 14), "SK_REUSEPORT_SELECT_OR_MIGRATE": (5, 14),
    "TRACE_KPROBE_SESSION": (6, 10), "TRACE_UPROBE_SESSION": (6, 13),
}  # fmt: skip
"""Attach types that make a difference, by the release that brought them, if after Linux 5.10."""

Release = tuple[int, ...]


def _has(attach_type: str, release: Release) -> bool:
    """Whether a release, () for the newest, has the attach type."""
    return not release or release >= _SINCE.get(attach_type, ())


def loads_for(prog_type: str, attach_type: str, release: Release = ()) -> bool:
    """Whether a kernel loads programs of a type with this expected attach type, "" for none."""
    since = FEATURES[PROG_TYPES[prog_type].feature].release if PROG_TYPES[prog_type].feature else ""
    if release and since and release < tuple(map(int, since.split("."))):
        return False
    default = _DEFAULTS.get(prog_type)
    if default is None:
        return prog_type not in ("SYSCALL", "EXT") or not attach_type
    if not attach_type:
        return default
    if prog_type == "SK_REUSEPORT" and not _has("SK_REUSEPORT_SELECT", release):
        return True
    return attach_type in PROG_TYPES[prog_type].attach_types and _has(attach_type, release)


def limits(prog_type: str, attach_type: str, release: Release = ()) -> tuple[int, int] | None:
    """The smallest and the largest value that a program may return; None if the verifier does not mind."""
    known = _has(attach_type, release)
    if attach_type in ("CGROUP_INET4_BIND", "CGROUP_INET6_BIND"):
        known = not release or release >= (5, 12)  # before, they could not let privileged ports pass
    return returns(prog_type, attach_type if known else "")


_BY4 = "CGROUP_INET4_BIND CGROUP_INET4_CONNECT CGROUP_INET4_GETPEERNAME CGROUP_INET4_GETSOCKNAME "
_BY6 = _BY4.replace("INET4", "INET6")
_CREATED = "CGROUP_INET_SOCK_CREATE CGROUP_INET_SOCK_RELEASE"
_GUARDED: dict[str, tuple[tuple[int, int, str, str], ...]] = {
    "CGROUP_SOCK": (
        (0, 4, "rw", _CREATED),
        (16, 24, "rw", _CREATED),
        (24, 28, "rw", "CGROUP_INET4_POST_BIND"),
        (28, 44, "rw", "CGROUP_INET6_POST_BIND"),
        (44, 48, "rw", "CGROUP_INET4_POST_BIND CGROUP_INET6_POST_BIND"),
    ),
    "CGROUP_SOCK_ADDR": (
        (4, 8, "rw", _BY4 + "CGROUP_UDP4_SENDMSG CGROUP_UDP4_RECVMSG"),
        (8, 24, "rw", _BY6 + "CGROUP_UDP6_SENDMSG CGROUP_UDP6_RECVMSG"),
        (40, 44, "rw", "CGROUP_UDP4_SENDMSG"),
        (44, 60, "rw", "CGROUP_UDP6_SENDMSG"),
    ),
    "XDP": ((20, 24, "r", "XDP_DEVMAP"),),
    "CGROUP_SOCKOPT": (
        (24, 32, "w", "CGROUP_SETSOCKOPT"),
        (36, 40, "rw", "CGROUP_GETSOCKOPT"),
    ),
}
"""Parts of contexts that only some attach types may access: start, end, how, attach types."""


def attached_access(prog_type: str, attach_type: str, offset: int, size: int, write: bool) -> bool:
    """Whether programs of an attach type may access bytes of the context that their type offers."""
    for start, end, how, types in _GUARDED.get(prog_type, ()):
        if offset < end and start < offset + size and ("w" if write else "r") in how:
            default = "CGROUP_INET_SOCK_CREATE" if prog_type == "CGROUP_SOCK" else "CGROUP_INET_INGRESS"
            return (attach_type or default) in types.split()
    return True
