"""Stopping a process once, right after it has become another program: ptrace(2), as far as that takes it."""

from __future__ import annotations

import ctypes

from pbt.sys.syscall import libc

SEIZE, DETACH = 0x4206, 17  # PTRACE_*, include/uapi/linux/ptrace.h
_TRACE_EXEC = 1 << 4  # PTRACE_O_TRACEEXEC
_EVENT_EXEC = 4  # PTRACE_EVENT_EXEC
_TRAP = 5  # SIGTRAP


def seize(pid: int) -> bool:
    """Ask to be told when a process executes a program; False where that is not allowed."""
    return _ptrace(SEIZE, pid, _TRACE_EXEC)


def at_exec(status: int) -> bool:
    """Whether a stopped process, by what waitpid(2) says of it, has just executed a program."""
    return status >> 8 == _TRAP | _EVENT_EXEC << 8


def release(pid: int, signal: int = 0) -> None:
    """Let a stopped process go on, by itself from now on; with the signal that stopped it, if one did."""
    _ptrace(DETACH, pid, signal)


def _ptrace(request: int, pid: int, data: int) -> bool:
    call = libc.ptrace
    call.restype = ctypes.c_long
    return bool(call(ctypes.c_long(request), ctypes.c_long(pid), None, ctypes.c_void_p(data)) == 0)
