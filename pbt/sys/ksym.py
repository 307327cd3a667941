"""Addresses in the kernel → names, as the kernel itself prints them: `%pS` in a program of type SYSCALL (Linux 5.14).

/proc/kallsyms says the same of all symbols, but its text takes the kernel longer to make than most scripts take.
"""

from __future__ import annotations

import ctypes
from contextlib import ExitStack

from pbt.sys import bpf
from pbt.sys.syscall import repeated
from pbt.uapi import structs
from pbt.uapi.consts import BPF_F_RDONLY_PROG, BPF_F_SLEEPABLE, CMD

_FORMAT = b"%pS\0\0\0\0\0"
_ROOM = 1024  # bytes of text: names have at most 511, those of modules 55
_KEY = bytes(4)  # of an array's only element


class Namer:
    """Names addresses; owns the program that does it.

    KernelError where the kernel has no such programs, or none for this user.
    """

    def __init__(self) -> None:
        with ExitStack() as owned:
            text = owned.enter_context(bpf.map_create("ARRAY", 4, _ROOM, 1)).fileno()
            with bpf.map_create("ARRAY", 4, len(_FORMAT), 1, BPF_F_RDONLY_PROG) as shape:
                bpf.map_update(shape.fileno(), _KEY, _FORMAT)
                bpf.map_freeze(shape.fileno())
                code = bpf.native(_code(text, shape.fileno()))
                prog = bpf.prog_load("SYSCALL", code, name="ksym", flags=BPF_F_SLEEPABLE)
            self._owned = owned.pop_all()
            self._owned.enter_context(prog)
        self._context = ctypes.c_uint64()
        place = ctypes.addressof(self._context)
        attr = structs.ProgTestRun(prog_fd=prog.fileno(), ctx_size_in=8, ctx_in=place)
        self._run = repeated("bpf", CMD["PROG_TEST_RUN"], ctypes.byref(attr), ctypes.sizeof(attr))
        self._read = bpf.map_reader(text, len(_KEY), _ROOM)

    def close(self) -> None:
        """Free program and map; a second time does nothing."""
        self._owned.close()

    def __call__(self, address: int) -> str:
        """ "name+0xOFFSET/0xSIZE", " [MODULE]" behind it; "0x…" or nothing where nothing is known."""
        self._context.value = address
        found = self._read(_KEY) if self._run() >= 0 else None
        return found.partition(b"\0")[0].decode("utf-8", "replace") if found else ""


def _code(text: int, shape: int) -> bytes:
    """r0 = snprintf(text, _ROOM, shape, &address, 8), as little-endian instructions; the address is the context."""
    return b"".join((
        bytes.fromhex("7911000000000000" "7b1af8ff00000000"),  # r1 = *(u64 *)(r1 +0); *(u64 *)(r10 -8) = r1
        _value(1, text),
        b"\xb7\x02\0\0" + _ROOM.to_bytes(4, "little"),  # r2 = _ROOM
        _value(3, shape),
        bytes.fromhex("bfa4000000000000" "07040000f8ffffff"),  # r4 = r10; r4 += -8
        bytes.fromhex("b705000008000000" "85000000a5000000" "9500000000000000"),  # r5 = 8; call snprintf; exit
    ))  # fmt: skip


def _value(register: int, map_fd: int) -> bytes:
    """register = address of the first value of a map."""
    return bytes((0x18, 0x20 | register, 0, 0)) + map_fd.to_bytes(4, "little") + bytes(8)
