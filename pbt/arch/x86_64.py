"""x86-64: struct pt_regs of arch/x86/include/uapi/asm/ptrace.h; System V calling convention."""

from __future__ import annotations

from pbt.arch import Arch, spread

_REGS = spread("r15 r14 r13 r12 bp bx r11 r10 r9 r8 ax cx dx si di orig_ax ip cs flags sp ss", 8)
_ALIASES = {
    "rbp": "bp", "rbx": "bx", "rax": "ax", "rcx": "cx", "rdx": "dx", "rsi": "si", "rdi": "di",
    "orig_rax": "orig_ax", "rip": "ip", "eflags": "flags", "rsp": "sp",
}  # fmt: skip
_NAMES = {**_REGS, **{alias: _REGS[name] for alias, name in _ALIASES.items()}}

ARCH = Arch(
    name="x86_64",
    byteorder="little",
    word=8,
    syscalls={"bpf": 321, "perf_event_open": 298, "memfd_create": 319, "pidfd_open": 434},
    regs=_NAMES,
    regs_size=168,
    args=tuple(_REGS[r] for r in ("di", "si", "dx", "cx", "r8", "r9")),
    syscall_args=tuple(_REGS[r] for r in ("di", "si", "dx", "r10", "r8", "r9")),
    retval=_REGS["ax"],
    pc=_REGS["ip"],
    sp=_REGS["sp"],
    fp=_REGS["bp"],
    syscall_prefix="__x64_sys_",
    syscall_args_indirect=True,
    stack_args=("sp", 8),  # the word at sp is the return address
    page=4096,
    triplet="x86_64-linux-gnu",
    source="x86",
    macros=("__x86_64__", "__x86_64", "__amd64__", "__TARGET_ARCH_x86"),
)
