"""64-bit RISC-V: struct user_regs_struct of arch/riscv/include/uapi/asm/ptrace.h; LP64D."""

from __future__ import annotations

from pbt.arch import Arch, spread

_REGS = spread(
    "pc ra sp gp tp t0 t1 t2 s0 s1 a0 a1 a2 a3 a4 a5 a6 a7 s2 s3 s4 s5 s6 s7 s8 s9 s10 s11 t3 t4 t5 t6", 8
)
_ORIG_A0 = 280  # behind the user part; the kernel puts -ENOSYS into a0 before it runs a system call

ARCH = Arch(
    name="riscv64",
    byteorder="little",
    word=8,
    syscalls={"bpf": 280, "perf_event_open": 241, "memfd_create": 279, "pidfd_open": 434},
    regs=_REGS,
    regs_size=256,
    args=tuple(_REGS[f"a{n}"] for n in range(8)),
    syscall_args=(_ORIG_A0, *(_REGS[f"a{n}"] for n in range(1, 6))),
    retval=_REGS["a0"],
    pc=_REGS["pc"],
    sp=_REGS["sp"],
    fp=_REGS["s0"],
    syscall_prefix="__riscv_sys_",
    syscall_args_indirect=True,
    stack_args=("sp", 0),
    triplet="riscv64-linux-gnu",
    source="riscv",
    macros=("__riscv", "__riscv_xlen=64", "__TARGET_ARCH_riscv"),
)
