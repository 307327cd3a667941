"""32-bit ARM: struct pt_regs of arch/arm/include/uapi/asm/ptrace.h; AAPCS."""

from __future__ import annotations

from pbt.arch import Arch, spread

_REGS = spread(" ".join(f"r{n}" for n in range(11)) + " fp ip sp lr pc cpsr orig_r0", 4)

ARCH = Arch(
    name="armv7l",
    byteorder="little",
    word=4,
    syscalls={"bpf": 386, "perf_event_open": 364, "memfd_create": 385, "pidfd_open": 434},
    regs=_REGS,
    regs_size=72,
    args=tuple(_REGS[f"r{n}"] for n in range(4)),
    syscall_args=tuple(_REGS[f"r{n}"] for n in range(6)),
    retval=_REGS["r0"],
    pc=_REGS["pc"],
    sp=_REGS["sp"],
    fp=_REGS["fp"],
    syscall_prefix="sys_",
    syscall_args_indirect=False,
    stack_args=("sp", 0),
    page=4096,
    triplet="arm-linux-gnueabihf",
    source="arm",
    macros=("__arm__", "__ARM_ARCH=7", "__ARM_EABI__", "__ARMEL__", "__TARGET_ARCH_arm"),
)
