"""IBM Z: the user part of struct pt_regs of arch/s390/include/asm/ptrace.h; s390x ELF ABI."""

from __future__ import annotations

from pbt.arch import Arch, spread

_REGS = spread("arg pswmask pswaddr " + " ".join(f"r{n}" for n in range(16)), 8)
_ORIG_GPR2 = 152  # behind the user part; the kernel puts -ENOSYS into r2 before it runs a system call

ARCH = Arch(
    name="s390x",
    byteorder="big",
    word=8,
    syscalls={"bpf": 351, "perf_event_open": 331, "memfd_create": 350, "pidfd_open": 434},
    regs=_REGS,
    regs_size=152,
    args=tuple(_REGS[f"r{n}"] for n in range(2, 7)),
    syscall_args=(_ORIG_GPR2, *(_REGS[f"r{n}"] for n in range(3, 8))),
    retval=_REGS["r2"],
    pc=_REGS["pswaddr"],
    sp=_REGS["r15"],
    fp=_REGS["r11"],
    syscall_prefix="__s390x_sys_",
    syscall_args_indirect=True,
    stack_args=("r15", 160),  # above the register save area
    triplet="s390x-linux-gnu",
    source="s390",
    macros=("__s390x__", "__s390__", "__zarch__", "__TARGET_ARCH_s390"),
)
