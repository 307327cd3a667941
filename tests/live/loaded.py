"""What the running kernel says of a program whose maps and types are loaded."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence

from pbt.isa.insn import Insn, encode
from pbt.source import KernelError
from pbt.sys import bpf


def refusal(
    prog_type: str,
    insns: Sequence[Insn],
    kfuncs: Mapping[int, int],
    map_of: Mapping[int, tuple[int, str, int]],
    map_fd: Callable[[int], int],
    btf_fd: int,
    func_info: Sequence[tuple[int, int]],
    *,
    sleepable: bool,
) -> str:
    """ "" if the kernel loads it, else its log; `kfuncs`: slot of a call → BTF id of the kernel's function."""
    slots = list(insns)
    for at, id in kfuncs.items():
        slots[at] = slots[at]._replace(imm=id)
    for at, (index, _, _) in map_of.items():
        slots[at] = slots[at]._replace(imm=map_fd(index))
    info = b"".join(struct.pack("<II", *row) for row in func_info)
    flags = 16 * sleepable  # BPF_F_SLEEPABLE
    try:
        bpf.prog_load(prog_type, encode(slots), prog_btf_fd=btf_fd, func_info=info, flags=flags).close()
    except KernelError as error:
        return error.log or str(error)
    return ""
