"""32-bit x86: struct pt_regs of arch/x86/include/asm/ptrace.h.

The kernel is compiled to pass three arguments in registers (-mregparm=3).
"""

from __future__ import annotations

from pbt.arch import Arch, spread

_REGS = spread("bx cx dx si di bp ax ds es fs gs orig_ax ip cs flags sp ss", 4)

ARCH = Arch(
    name="i386",
    byteorder="little",
    word=4,
    syscalls={"bpf": 357, "perf_event_open": 336, "memfd_create": 356, "pidfd_open": 434},
    regs=_REGS,
    regs_size=68,
    args=tuple(_REGS[r] for r in ("ax", "dx", "cx")),
    syscall_args=tuple(_REGS[r] for r in ("bx", "cx", "dx", "si", "di", "bp")),
    retval=_REGS["ax"],
    pc=_REGS["ip"],
    sp=_REGS["sp"],
    fp=_REGS["bp"],
    syscall_prefix="__ia32_sys_",
    syscall_args_indirect=True,
    stack_args=("sp", 4),
    page=4096,
    triplet="i386-linux-gnu",
    source="x86",
    macros=("__i386__", "__i386", "__TARGET_ARCH_x86"),
)
