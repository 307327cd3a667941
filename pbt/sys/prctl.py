"""What a process asks of the kernel for itself: prctl(2)."""

from __future__ import annotations

import ctypes

from pbt.sys.syscall import libc

_SET_PDEATHSIG = 1  # PR_*, include/uapi/linux/prctl.h


def end_with_parent(signal: int) -> None:
    """Be sent a signal when the thread ends that forked this process, however that happens."""
    libc.prctl(
        _SET_PDEATHSIG, ctypes.c_ulong(signal), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)
    )
