"""Jumps: which way a branch goes, and what each side learns from it."""

from __future__ import annotations

from pbt.isa import opcodes as op
from pbt.isa.insn import Insn
from pbt.typing import Final
from pbt.verifier_sim import arith, bounds, callbacks, compare, fields, scalar, tnum, unprivileged
from pbt.verifier_sim.env import Decoded, Env, read_reg
from pbt.verifier_sim.leave import DONE
from pbt.verifier_sim.memory import merged
from pbt.verifier_sim.reg import (
    NULL,
    Deps,
    Reg,
    exact,
    merge_deps,
    names,
    with_number,
    with_origin,
)
from pbt.verifier_sim.scalar import Scalar
from pbt.verifier_sim.state import SPILL, Slot, State, turn


def ja(env: Env, state: State, pc: int, insn: Insn) -> int:
    return pc + 1 + (insn.offset if insn.opcode & 7 == op.JMP else insn.imm)


def jcond(env: Env, state: State, pc: int, insn: Insn) -> int:
    """may_goto: the kernel itself counts the rounds, so both ways are possible at any time."""
    other = state.copy()
    before = callbacks.earlier(state.node, pc, len(state.frames))
    if before is not None:
        callbacks.widen(before, other)
    other.loops += 1
    env.push(pc + 1, other)
    return pc + 1 + insn.offset


def jump_if(env: Env, pc: int, insn: Insn) -> Decoded:
    opcode, dst_reg, src_reg, offset, imm = insn
    wide = opcode & 7 == op.JMP
    constant = None if opcode & op.X else exact(imm if wide else imm & tnum.M32)
    return _jump_if, (insn, _NAMES[opcode], wide, dst_reg, src_reg, constant, pc + 1 + offset)


_NAMES: Final = tuple(
    op.JMP_BY_CODE[code & 0xF0].name if code & 0xF0 in op.JMP_BY_CODE else "" for code in range(256)
)


def _jump_if(
    env: Env, state: State, pc: int, operands: tuple[Insn, str, bool, int, int, Reg | None, int]
) -> int:
    insn, name, wide, dst_reg, src_reg, constant, target = operands
    src = read_reg(state, src_reg) if constant is None else constant
    dst = read_reg(state, dst_reg)
    outcome = _decide(env, name, dst, src, wide, constant is None and src_reg == dst_reg)
    if not env.perfmon:
        _compared(env, insn, name, dst, src, outcome)
    if outcome is None:
        return _both_ways(env, state, pc, insn, name, dst, src, wide)
    if dst.kind == "scalar" and (dst.deps or env.followed):
        env.precise(dst)
    if src.kind == "scalar" and constant is None and (src.deps or env.followed):
        env.precise(src)
    if not env.perfmon:
        unprivileged.dead_side(env, state, insn, pc + 1 if outcome else target)
    state.path = turn(state.path, pc, outcome)
    return target if outcome else pc + 1


def _compared(env: Env, insn: Insn, name: str, dst: Reg, src: Reg, outcome: bool | None) -> None:
    null = dst.null and not insn.opcode & op.X and not insn.imm and insn.opcode & 7 == op.JMP
    unprivileged.compared(insn, dst, src, outcome is not None or (null and name in ("JEQ", "JNE")))


def _both_ways(env: Env, state: State, pc: int, insn: Insn, name: str, dst: Reg, src: Reg, wide: bool) -> int:
    """Leave the way that jumps for later, with what it tells; go on with the other, if it can be taken."""
    target, inverse = pc + 1 + insn.offset, compare.INVERSE[name]
    if dst.kind == "scalar" and src.kind == "scalar":
        jumps = _refined(env, insn, name, dst, src, wide)
        stays = _refined(env, insn, inverse, dst, src, wide)
        if jumps is not None and stays is not None:
            other = state.copy()
            other.path = turn(state.path, pc, True)
            _put_both(env, other, insn, dst, src, jumps)
            env.push(target, other)
        elif jumps is not None:
            _put_both(env, state, insn, dst, src, jumps)
            state.path = turn(state.path, pc, True)
            return target
        if stays is None:
            return DONE
        _put_both(env, state, insn, dst, src, stays)
    else:
        other = state.copy()
        other.path = turn(state.path, pc, True)
        _learn(env, other, insn, name, dst, src, wide, name)
        _learn(env, state, insn, name, dst, src, wide, inverse)
        env.push(target, other)
    state.path = turn(state.path, pc, False)
    return pc + 1


# reg_not_null(): the context, the stack and packets are not among them
_NEVER_NULL = names("sock tcp_sock sock_common map_value map_key mem map_ptr")


def _decide(env: Env, name: str, dst: Reg, src: Reg, wide: bool, itself: bool) -> bool | None:
    if dst.kind == "scalar" and src.kind == "scalar":
        if itself and "same_register" in env.rules:
            return compare.with_itself(name, dst.num, wide)
        if "register_branches" not in env.rules and src.num.mask & (tnum.M64 if wide else tnum.M32):
            return None
        return compare.taken(name, dst.num, src.num, wide, env.rules)
    if not wide and "null_is_wide" in env.rules:
        return None
    if dst.kind == "scalar" and "number_first" not in env.rules:
        return None
    pointer, other = (dst, src) if dst.kind != "scalar" else (src, dst)
    if other.kind == "scalar":
        if (
            not (other.num.value | other.num.mask) & (tnum.M64 if wide else tnum.M32)
            and not pointer.null
            and (
                (
                    pointer.kind in _NEVER_NULL
                    and "untrusted_" not in pointer.mods
                    and (pointer.kind != "mem" or "memory_not_null" in env.rules)
                )
                or (
                    "trusted_known" in env.rules
                    and (pointer.ref or pointer.mods.startswith("trusted_"))
                    and pointer.kind in ("ptr_", "own")
                )
            )
            and (pointer.kind != "map_ptr" or "register_null" in env.rules)
        ):
            if name == "JEQ":
                return False
            if name == "JNE":
                return True
        return None
    return _decide_packet(name, dst, src) if wide else None


def _decide_packet(name: str, dst: Reg, src: Reg) -> bool | None:
    """A packet pointer against the end, where an earlier comparison already told."""
    if dst.kind == "pkt_end" and src.kind == "pkt":
        return _decide_packet(compare.MIRROR[name], src, dst) if name in compare.MIRROR else None
    if dst.kind != "pkt" or src.kind != "pkt_end" or dst.size >= 0:
        return None
    beyond = dst.size == BEYOND_END
    if name == "JLE":
        return False if beyond else None
    if name == "JGT":
        return True if beyond else None
    if name == "JLT":
        return False
    return True if name == "JGE" else None


BEYOND_END, AT_END = -1, -2  # a packet pointer known to be past the end, or at it or past it


def _learn(env: Env, state: State, insn: Insn, name: str, dst: Reg, src: Reg, wide: bool, holds: str) -> None:
    """Put into `state` what one side of a branch tells of pointers."""
    register = bool(insn.opcode & op.X)
    if register:
        zero = src.kind == "scalar" and src.num.const == 0 and "zero_register" in env.rules
    else:
        zero = insn.imm == 0
    if dst.null and zero and wide and name in ("JEQ", "JNE"):
        if register:
            env.precise(src)
        settle_null(state, dst, holds == "JEQ")
        return
    if register and wide and name in ("JEQ", "JNE") and "register_null" in env.rules:
        _learn_null(env, state, dst, src, holds)
    if register and wide and dst.kind != "scalar" and src.kind != "scalar":
        _learn_packet(env, state, insn, dst, src, holds)


def _learn_null(env: Env, state: State, dst: Reg, src: Reg, holds: str) -> None:
    """An or-null pointer equal to one that is not null is not null either."""
    for one, other in ((dst, src), (src, dst)):
        if not one.null or one.kind == "ptr_":
            continue
        if "never_null" in env.rules:
            differs = other.kind in _NEVER_NULL and "untrusted_" not in other.mods
        else:
            differs = other.kind not in ("scalar", "ptr_")
        if differs and not other.null and holds == "JEQ":
            settle_null(state, one, False)


def _refined(
    env: Env, insn: Insn, holds: str, dst: Reg, src: Reg, wide: bool
) -> compare.Learnt | tuple[()] | None:
    """What both numbers are on one side of a branch; (): it tells nothing; None: it cannot be taken."""
    if insn.opcode & op.X:
        full = tnum.M64 if wide else tnum.M32
        unknown = src.num.mask & full and dst.num.mask & full
        if unknown and (holds != "JEQ" or not wide) and "register_branches" not in env.rules:
            return ()
        if insn.src_reg == insn.dst_reg:
            itself = compare.refine_itself(holds, dst.num, wide, env.rules)
            return () if itself is None else (itself, itself)
    try:
        return compare.refine(holds, dst.num, src.num, wide, env.rules)
    except bounds.Empty:
        return None if "empty_is_dead" in env.rules else ()


def _put_both(
    env: Env, state: State, insn: Insn, dst: Reg, src: Reg, learnt: compare.Learnt | tuple[()]
) -> None:
    if len(learnt) == 0:
        return
    left, right = learnt
    register = bool(insn.opcode & op.X)
    deps = merge_deps(dst.deps, src.deps) if register else dst.deps
    if left is not None or dst.id:
        _put(env, state, insn.dst_reg, dst, dst.num if left is None else left, deps)
    if register and (right is not None or src.id):
        now = state.frames[-1].regs[insn.src_reg]
        _put(env, state, insn.src_reg, now, src.num if right is None else right, deps)


def _put(env: Env, state: State, regno: int, old: Reg, num: Scalar, deps: Deps) -> None:
    """The refined number, in its register and in every linked copy."""
    new = with_number(old, num, deps)
    state.frames[-1].regs[regno] = new
    if old.id:
        _spread(env, state, new)


def _spread(env: Env, state: State, new: Reg) -> None:
    def whole(slot: Slot) -> bool:  # old kernels forget the copies in part of a slot
        return slot.types[7] == SPILL or "spill_any" in env.rules

    for frame in state.frames:
        for regno, reg in enumerate(frame.regs):
            if reg.id == new.id and reg.kind == "scalar" and reg is not new:
                frame.regs[regno] = _follow(env, reg, new)
        for index, slot in frame.stack.items():
            if slot.reg is not None and slot.reg.id == new.id and slot.reg.kind == "scalar" and whole(slot):
                frame.stack[index] = Slot(slot.types, _follow(env, slot.reg, new))


def _follow(env: Env, reg: Reg, new: Reg) -> Reg:
    if reg.size and new.size and reg.size != new.size:
        return reg  # one moved by a 32-bit addition, one by a 64-bit one
    deps = merge_deps(reg.deps, new.deps)
    if reg.delta == new.delta or not (reg.size or new.size):
        return with_origin(new, deps)
    if "linked_deltas" not in env.rules:
        return reg
    step = scalar.const(reg.delta - new.delta)
    wide = 32 not in (reg.size, new.size)
    return with_number(reg, arith.binary("ADD", new.num, step, wide, env.rules), deps)


def settle_null(state: State, pointer: Reg, is_null: bool) -> None:
    """After a comparison with 0: every copy of the pointer is null, or is not."""
    for frame in state.frames:
        regs = frame.regs
        for regno, reg in enumerate(regs):
            if reg.null and reg.id == pointer.id:
                regs[regno] = _settled(reg, is_null)
        for index, slot in frame.stack.items():
            reg_ = slot.reg
            if reg_ is not None and reg_.null and reg_.id == pointer.id:
                frame.stack[index] = Slot(SPILL * 8, _settled(reg_, is_null))
    if is_null and pointer.ref and pointer.ref == pointer.id:
        state.refs = tuple(ref for ref in state.refs if ref[0] != pointer.id)


def _settled(reg: Reg, is_null: bool) -> Reg:
    if is_null:
        return NULL
    keep = reg.id if reg.ref or (reg.kind == "map_value" and fields.has_lock(reg.obj)) else 0
    if reg.kind == "map_value" and reg.obj.inner is not None:
        return Reg("map_ptr", id=reg.id, obj=reg.obj.inner._replace(inner_of=reg.obj.name))
    return reg._replace(null=False, id=keep)


def _learn_packet(env: Env, state: State, insn: Insn, dst: Reg, src: Reg, holds: str) -> None:
    """A comparison with the end of the packet (or of the metadata) tells how much may be read."""
    pair, regno = (dst.kind, src.kind), insn.dst_reg
    if pair in (("pkt_end", "pkt"), ("pkt", "pkt_meta")) and holds in compare.MIRROR:
        if pair == ("pkt", "pkt_meta") and dst.num.const != 0:
            return
        dst, src, holds = src, dst, compare.MIRROR[holds]
        pair, regno = (dst.kind, src.kind), insn.src_reg
    if pair == ("pkt", "pkt_end") or (pair == ("pkt_meta", "pkt") and src.off == 0 and src.num.const == 0):
        if holds in ("JLE", "JLT"):
            _widen_packet(env, state, dst, holds == "JLT")
        elif pair == ("pkt", "pkt_end") and holds in ("JGT", "JGE"):
            regs = state.frames[-1].regs
            regs[regno] = dst._replace(size=BEYOND_END if holds == "JGT" else AT_END)


def _widen_packet(env: Env, state: State, dst: Reg, strict: bool) -> None:
    whole = merged(env, dst)
    reached = whole.num.umax if "offsets_merged" in env.rules else dst.off
    if reached < 0 or (reached == 0 and strict) or whole.off + whole.num.umax > 0xFFFF:
        return
    size = reached + (1 if strict else 0)
    for frame in state.frames:
        for regno, reg in enumerate(frame.regs):
            if reg.kind == dst.kind and reg.id == dst.id:
                frame.regs[regno] = reg._replace(size=max(reg.size, size))
        for index, slot in frame.stack.items():
            if slot.reg is not None and slot.reg.kind == dst.kind and slot.reg.id == dst.id:
                new = slot.reg._replace(size=max(slot.reg.size, size))
                frame.stack[index] = Slot(slot.types, new)
