"""What the kernel says of the links that it holds."""

from __future__ import annotations

import ctypes

from pbt.sys.bpf import object_info


class LinkInfo(ctypes.Structure):
    """The start of struct bpf_link_info: what all links have. `type`: see LINK_TYPE."""

    _fields_ = [("type", ctypes.c_uint32), ("id", ctypes.c_uint32), ("prog_id", ctypes.c_uint32)]


def link_info(fd: int) -> LinkInfo:
    info = LinkInfo()
    object_info(fd, info)
    return info
