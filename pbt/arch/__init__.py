"""One table per machine: what differs between processors, for compiling and for attaching."""

from __future__ import annotations

import os
from importlib import import_module

from pbt.data import dataclass
from pbt.typing import Literal

NAMES = ("x86_64", "aarch64", "riscv64", "s390x", "ppc64le", "armv7l", "loongarch64", "i386")
"""The machines that have a module here; `uname -m` spells some of them differently (see `_ALIASES`)."""

_ALIASES = {
    "amd64": "x86_64", "arm64": "aarch64", "armv6l": "armv7l", "armv8l": "armv7l", "arm": "armv7l",
    "i486": "i386", "i586": "i386", "i686": "i386", "x86": "i386", "riscv": "riscv64", "s390": "s390x",
}  # fmt: skip


@dataclass(frozen=True)
class Arch:
    """One machine. Offsets are bytes into what a program of type KPROBE has as its context
    (`bpf_user_pt_regs_t`), unless said otherwise.

    name: as `uname -m` says; byteorder "little" or "big"; word: bytes of a pointer.
    syscalls: name → number. regs: register → offset. args: where a function's arguments are, first to
    last of those in registers. syscall_args: the same at the entry of a system call (six), in the
    kernel's whole struct pt_regs, which goes on behind the part that programs get.
    stack_args: (register, bytes): argument n, counted from 0 after those in registers, is the word at
    the register's value + bytes + n * word; None if pbt does not know. retval, pc, sp, fp: offsets.
    syscall_prefix: what stands before "open" in the name of the kernel function behind that system call.
    page: bytes, when the machine has one page size; 0 when the kernel's configuration chooses.
    syscall_args_indirect: whether the syscall function gets one argument, a pointer to registers.
    triplet: the folder of its headers below /usr/include; source: that of the kernel's arch/; macros:
    what C compilers (and tracers, `__TARGET_ARCH_*`) define for it, "NAME" or "NAME=value".
    """

    name: str
    byteorder: Literal["little", "big"]
    word: int
    syscalls: dict[str, int]
    regs: dict[str, int]
    regs_size: int
    args: tuple[int, ...]
    syscall_args: tuple[int, ...]
    retval: int
    pc: int
    sp: int
    fp: int
    syscall_prefix: str
    syscall_args_indirect: bool
    stack_args: tuple[str, int] | None
    page: int = 0
    triplet: str = ""
    source: str = ""
    macros: tuple[str, ...] = ()

    @property
    def struct_order(self) -> str:
        """The byte order as `struct` format strings write it."""
        return "<" if self.byteorder == "little" else ">"

    def stack_arg(self, index: int) -> tuple[int, int] | None:
        """Argument `index` (from 0 over all arguments) in memory: offset of the register that holds
        the address, and what to add to its value. None for those in registers or on unknown ground."""
        beyond = index - len(self.args)
        if beyond < 0 or self.stack_args is None:
            return None
        register, start = self.stack_args
        return self.regs[register], start + beyond * self.word


def get(name: str) -> Arch:
    """The machine of that name, or KeyError; other spellings of `uname -m` are accepted."""
    name = _ALIASES.get(name, name)
    if name not in NAMES:
        raise KeyError(name)
    arch: Arch = import_module(f"pbt.arch.{name}").ARCH
    return arch


def native() -> Arch:
    """The machine that this process runs on, or KeyError when pbt does not know it."""
    return get(os.uname().machine)


def spread(names: str, word: int, start: int = 0) -> dict[str, int]:
    """Registers in memory order, one word each → name: offset."""
    return {name: start + i * word for i, name in enumerate(names.split())}
