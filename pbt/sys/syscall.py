"""System calls by number, and the owner of a file descriptor."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from types import TracebackType

from pbt import arch
from pbt.source import UsageError

libc = ctypes.CDLL(None, use_errno=True)
_syscall = libc.syscall
_syscall.restype = ctypes.c_long
_numbers: dict[str, int] = {}


def number(name: str) -> int:
    """The number of a system call on this machine; UsageError if pbt does not know the machine."""
    if not _numbers:
        try:
            _numbers.update(arch.native().syscalls)
        except KeyError as error:
            raise UsageError(f"pbt does not know this machine: {os.uname().machine}") from error
    return _numbers[name]


def call(name: str, *args: object) -> int:
    """Make a system call: its result, or minus errno. Integers are passed as C longs."""
    longs = [ctypes.c_long(a) if isinstance(a, int) else a for a in args]
    result: int = _syscall(ctypes.c_long(number(name)), *longs)
    return result if result >= 0 else -ctypes.get_errno()


def repeated(name: str, *args: object) -> Callable[[], int]:
    """`call` with the same arguments each time, made ready once."""
    longs = [ctypes.c_long(a) if isinstance(a, int) else a for a in (number(name), *args)]

    def again() -> int:
        result: int = _syscall(*longs)
        return result if result >= 0 else -ctypes.get_errno()

    return again


class Fd:
    """Owns one file descriptor: closes it at `close`, at the end of `with`, or when forgotten."""

    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def fileno(self) -> int:
        """The descriptor; -1 once closed."""
        return self._fd

    def close(self) -> None:
        """Close it; a second time does nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def detach(self) -> int:
        """Give the descriptor away: the caller closes it."""
        fd, self._fd = self._fd, -1
        return fd

    def __enter__(self) -> Fd:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __repr__(self) -> str:
        return f"Fd({self._fd})"
