"""The kernel's lasting number of a file: name_to_handle_at."""

from __future__ import annotations

import ctypes
import os
import sys

from pbt.source import UsageError
from pbt.sys.syscall import libc

_AT_FDCWD = -100
_SIZE = 8  # bytes that the handle of a file in cgroup2 takes (struct kernfs_node's 64-bit id)


class _Handle(ctypes.Structure):
    """struct file_handle with room for 8 bytes (<fcntl.h>)."""

    _fields_ = [
        ("handle_bytes", ctypes.c_uint),
        ("handle_type", ctypes.c_int),
        ("f_handle", ctypes.c_ubyte * _SIZE),
    ]


def cgroup_id(path: str) -> int:
    """The id of the cgroup (v2) that a folder stands for, as programs see it. UsageError if it is none."""
    handle, mount = _Handle(_SIZE), ctypes.c_int()
    if libc.name_to_handle_at(_AT_FDCWD, os.fsencode(path), ctypes.byref(handle), ctypes.byref(mount), 0):
        reason = os.strerror(ctypes.get_errno())
        raise UsageError(f"{path} is no cgroup: {reason}", "name a folder of cgroup2, such as /sys/fs/cgroup")
    if handle.handle_bytes != _SIZE:
        raise UsageError(f"{path} is no cgroup", "name a folder of cgroup2, such as /sys/fs/cgroup")
    return int.from_bytes(bytes(handle.f_handle), sys.byteorder)
