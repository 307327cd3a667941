"""64-bit ARM: struct user_pt_regs of arch/arm64/include/uapi/asm/ptrace.h; AAPCS64."""

from __future__ import annotations

from pbt.arch import Arch, spread

_X = spread(" ".join(f"x{n}" for n in range(31)) + " sp pc pstate", 8)
_REGS = {**_X, **{f"r{n}": _X[f"x{n}"] for n in range(31)}, "fp": _X["x29"], "lr": _X["x30"]}

ARCH = Arch(
    name="aarch64",
    byteorder="little",
    word=8,
    syscalls={"bpf": 280, "perf_event_open": 241, "memfd_create": 279, "pidfd_open": 434},
    regs=_REGS,
    regs_size=272,
    args=tuple(_X[f"x{n}"] for n in range(8)),
    syscall_args=tuple(_X[f"x{n}"] for n in range(6)),
    retval=_X["x0"],
    pc=_X["pc"],
    sp=_X["sp"],
    fp=_X["x29"],
    syscall_prefix="__arm64_sys_",
    syscall_args_indirect=True,
    stack_args=("sp", 0),
    triplet="aarch64-linux-gnu",
    source="arm64",
    macros=("__aarch64__", "__AARCH64EL__", "__ARM_ARCH=8", "__TARGET_ARCH_arm64"),
)
