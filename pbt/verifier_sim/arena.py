"""Arenas: memory shared with user space, whose pointers are computed with and followed freely.

Source: BPF_ADDR_SPACE_CAST and PTR_TO_ARENA in kernel/bpf/verifier.c.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pbt.isa.insn import Insn
from pbt.verifier_sim import scalar
from pbt.verifier_sim.env import Env, Refuse
from pbt.verifier_sim.kernels import Features
from pbt.verifier_sim.reg import ANY, MapInfo, Reg, number
from pbt.verifier_sim.state import State

_TO_KERNEL, _TO_USER = 1, 1 << 16  # the immediate: source and destination address space


def malformed(insn: Insn, rules: Features) -> str:
    """Why a cast is none; "" if it is one."""
    if "arenas" not in rules:
        return "BPF_MOV uses reserved fields"
    if insn.imm not in (_TO_KERNEL, _TO_USER):
        return "addr_space_cast insn can only convert between address space 1 and 0"
    return ""


def only_one(maps: Sequence[MapInfo], map_of: Mapping[int, tuple[int, str, int]]) -> None:
    """A program refers to one arena at most."""
    first = -1
    for pc, (index, _, _) in sorted(map_of.items()):
        if maps[index].map_type == "ARENA":
            if first not in (-1, index):
                raise Refuse("Only one arena per program", pc=pc)
            first = index


def cast(env: Env, insn: Insn) -> Reg:
    """Between addresses as user space sees them, which are numbers, and pointers to follow."""
    if not any(env.maps[index].map_type == "ARENA" for index, _, _ in env.map_of.values()):
        raise Refuse(
            "addr_space_cast insn can only be used in a program that has an associated arena",
            "Refer to a map of type arena.",
        )
    return Reg("arena") if insn.imm == _TO_KERNEL else ANY


def load(env: Env, state: State, regno: int, reg: Reg, offset: int, size: int, sign: bool) -> Reg:
    """Anything anywhere: where there is no page, zeros are read."""
    return ANY if size == 8 else number(scalar.of_size(size, sign=sign))
