"""Registers, stack slots and frames in the words of the kernel's log."""

from __future__ import annotations

from collections.abc import Collection

from pbt.typing import Final
from pbt.verifier_sim.reg import MapInfo, Reg
from pbt.verifier_sim.scalar import UNKNOWN, Scalar
from pbt.verifier_sim.state import INVALID, SPILL, Slot, State
from pbt.verifier_sim.tnum import M32

EVERYTHING: Final = frozenset(range(-64, 11))


def _signed(value: int) -> str:
    """A signed number: decimal if it fits 16 bits, else as 64 bits in hexadecimal."""
    return str(value) if -(1 << 15) <= value < 1 << 15 else f"{value & (1 << 64) - 1:#x}"


def _signed32(value: int) -> int:
    """A signed number of 32 bits, as a number of 64 that has the same hexadecimal digits."""
    return value if -(1 << 15) <= value < 1 << 15 else value & M32


def _unsigned(value: int) -> str:
    return str(value) if value < 1 << 16 else f"{value:#x}"


def _bounds(s: Scalar) -> list[str]:
    """Limits that say something: equal lower limits share one number, and so do equal upper ones."""
    rows = [
        ("smin", s.smin, UNKNOWN.smin), ("smax", s.smax, UNKNOWN.smax),
        ("umin", s.umin, 0), ("umax", s.umax, UNKNOWN.umax),
        ("smin32", s.s32min, UNKNOWN.s32min), ("smax32", s.s32max, UNKNOWN.s32max),
        ("umin32", s.u32min, 0), ("umax32", s.u32max, M32),
    ]  # fmt: skip
    left = [
        (name, _signed32(value) if name[0] == "s" and name[4:] else value)
        for name, value, default in rows
        if value != default
    ]
    parts = []
    while left:
        first, value = left[0]
        same = [name for name, other in left if other == value and name[1:4] == first[1:4]]
        left = [row for row in left if row[0] not in same]
        parts.append(f"{'='.join(same)}={_signed(value) if first[0] == 's' else _unsigned(value)}")
    if s.mask != UNKNOWN.mask or s.value:
        parts.append(f"var_off=({s.value:#x}; {s.mask:#x})")
    return parts


def draw(reg: Reg, level: int = -1) -> str:
    """A value: "map_value(map=@,ks=4,vs=8)", "fp-8", "scalar()"; `level`: the number of the frame that holds it."""
    if reg.kind == "uninit":
        return "?"
    if reg.kind == "scalar" and not reg.num.mask:
        return _signed(reg.num.smin)
    name = reg.type_name + (str(reg.obj) if reg.kind in ("ptr_", "own") and reg.obj else "")
    if reg.kind == "arena":
        return name
    if reg.kind == "fp":
        name += f"[{reg.obj}]" if level not in (-1, reg.obj) else ""
        if not reg.num.mask:
            return name + _signed(reg.off + reg.num.smin)
    return f"{name}({','.join(_parts(reg))})"


def _parts(reg: Reg) -> list[str]:
    """What is known of a value that is no constant."""
    parts = []
    if reg.id and (reg.kind != "mem" or reg.null):
        delta = f"{reg.delta:+d}" if reg.kind == "scalar" and reg.delta else ""
        parts.append(f"id={reg.id}{delta}")
    if reg.ref:
        parts.append(f"ref_obj_id={reg.ref}")
    if "non_own_" in reg.mods:
        parts.append("non_own_ref")
    if isinstance(reg.obj, MapInfo):
        parts += [f"map={reg.obj.name}"] if reg.obj.name else []
        parts.append(f"ks={reg.obj.key_size},vs={reg.obj.value_size}")
    if reg.off and reg.kind != "scalar":
        parts.append(f"off={_signed(reg.off)}")
    if reg.kind in ("pkt", "pkt_meta"):
        parts.append(f"r={reg.size}")
    elif reg.kind == "mem":
        parts.append(f"sz={_unsigned(reg.size)}")
    if reg.num.mask:
        return parts + _bounds(reg.num)
    return parts + ([f"imm={_signed(reg.num.smin)}"] if reg.num.value else [])


def draw_slot(slot: Slot, level: int = -1, precise: bool = False) -> str:
    """Eight bytes of stack: the spilled value, behind the bytes above it, or a letter for each byte."""
    types = slot.types[::-1]
    if slot.reg is None or types[-1] != SPILL:
        return types
    return types.partition(SPILL)[0] + "P" * precise + draw(slot.reg, level)


def draw_frame(
    state: State,
    level: int = -1,
    only: Collection[int] = EVERYTHING,
    precise: Collection[tuple[int, int]] = (),
) -> str:
    """One line: "R1=ctx() R10=fp0 fp-8=mmmmmmmm"; functions are told apart by "frame1: " before it.

    level: of the frame, the innermost if not given; only: numbers of registers, and of slots (-1: fp-8 …);
    precise: what is marked as needed exactly, by frame and such a number.
    """
    level = level % len(state.frames)
    frame = state.frames[level]
    parts = [f"frame{level}:"] if level else []
    parts += [
        f"R{i}={'P' * ((level, i) in precise)}{draw(reg, level)}"
        for i, reg in enumerate(frame.regs)
        if i in only and reg.kind != "uninit"
    ]
    parts += [
        f"fp-{8 * (i + 1)}={draw_slot(slot, level, (level, -1 - i) in precise)}"
        for i, slot in sorted(frame.stack.items())
        if -1 - i in only and slot.types != INVALID * 8
    ]
    if state.refs:
        parts.append("refs=" + ",".join(str(number) for number, _ in state.refs))
    if frame.callback is not None:
        parts.append("cb")
    return " ".join(parts)
