"""64-bit LoongArch: struct user_pt_regs of arch/loongarch/include/uapi/asm/ptrace.h; LP64D."""

from __future__ import annotations

from pbt.arch import Arch, spread

_R = spread(" ".join(f"r{n}" for n in range(32)) + " orig_a0 csr_era csr_badv", 8)
_REGS = {
    **_R,
    **{f"a{n}": _R[f"r{n + 4}"] for n in range(8)},
    "ra": _R["r1"],
    "sp": _R["r3"],
    "pc": _R["csr_era"],
}

ARCH = Arch(
    name="loongarch64",
    byteorder="little",
    word=8,
    syscalls={"bpf": 280, "perf_event_open": 241, "memfd_create": 279, "pidfd_open": 434},
    regs=_REGS,
    regs_size=360,
    args=tuple(_REGS[f"a{n}"] for n in range(8)),
    syscall_args=(_R["orig_a0"], *(_REGS[f"a{n}"] for n in range(1, 6))),
    retval=_REGS["a0"],
    pc=_REGS["pc"],
    sp=_REGS["sp"],
    fp=_R["r22"],
    syscall_prefix="sys_",
    syscall_args_indirect=False,
    stack_args=("sp", 0),
    triplet="loongarch64-linux-gnu",
    source="loongarch",
    macros=("__loongarch__", "__loongarch64", "__loongarch_grlen=64", "__TARGET_ARCH_loongarch"),
)
