"""64-bit POWER, little-endian: struct pt_regs of arch/powerpc/include/uapi/asm/ptrace.h; ELFv2."""

from __future__ import annotations

from pbt.arch import Arch, spread

_REGS = spread(
    " ".join(f"r{n}" for n in range(32)) + " nip msr orig_gpr3 ctr link xer ccr softe trap dar dsisr result",
    8,
)

ARCH = Arch(
    name="ppc64le",
    byteorder="little",
    word=8,
    syscalls={"bpf": 361, "perf_event_open": 319, "memfd_create": 360, "pidfd_open": 434},
    regs=_REGS,
    regs_size=352,
    args=tuple(_REGS[f"r{n}"] for n in range(3, 11)),
    syscall_args=(_REGS["orig_gpr3"], *(_REGS[f"r{n}"] for n in range(4, 9))),
    retval=_REGS["r3"],
    pc=_REGS["nip"],
    sp=_REGS["r1"],
    fp=_REGS["r31"],
    syscall_prefix="sys_",
    syscall_args_indirect=True,
    stack_args=("r1", 96),  # the parameter save area starts at 32 and has room for the eight in registers
    triplet="powerpc64le-linux-gnu",
    source="powerpc",
    macros=("__powerpc64__", "__powerpc__", "_CALL_ELF=2", "_LITTLE_ENDIAN", "__TARGET_ARCH_powerpc"),
)
