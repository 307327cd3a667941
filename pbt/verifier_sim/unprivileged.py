"""Programs of users without privileges: what they may not use, and no way past a bound even by speculation.

Processors run ahead on the wrong side of a branch and with masked offsets. Kernels walk these paths as well
("speculative" ones), and refuse what goes wrong there; from 6.17 on they put a barrier before it.
Source: sanitize_ptr_alu(), sanitize_speculative_path(), check_stack_access_for_ptr_arithmetic().
"""

from __future__ import annotations

from collections.abc import Sequence

from pbt.isa import opcodes as op
from pbt.isa.insn import Insn
from pbt.typing import Final
from pbt.verifier_sim.env import Env, Refuse
from pbt.verifier_sim.reg import ANY, MapInfo, Reg, names
from pbt.verifier_sim.state import MISC, ZEROED, State

_TYPES: Final = names("SOCKET_FILTER CGROUP_SKB")
_OF_NETWORKS: Final = names(
    "SCHED_CLS SCHED_ACT XDP LWT_IN LWT_OUT LWT_XMIT LWT_SEG6LOCAL SK_SKB SK_MSG FLOW_DISSECTOR CGROUP_DEVICE "
    "CGROUP_SOCK CGROUP_SOCK_ADDR CGROUP_SOCKOPT CGROUP_SYSCTL SOCK_OPS EXT NETFILTER"
)
"""Types of programs that take CAP_NET_ADMIN, see is_net_admin_prog_type()."""
_TRACERS: Final = names(
    "KPROBE TRACEPOINT PERF_EVENT RAW_TRACEPOINT RAW_TRACEPOINT_WRITABLE TRACING LSM STRUCT_OPS EXT"
)
"""Types of programs that take CAP_PERFMON, see is_perfmon_prog_type()."""
_LONGEST: Final = 4096  # BPF_MAXINSNS
_WITHOUT = {"CGROUP_SKB": ((76, 84), (152, 160))}  # data, data_end; tstamp


def shape(env: Env, successors: Sequence[tuple[int, ...]]) -> None:
    """Refuse types of programs, lengths, functions and loops that take capabilities which the user lacks."""
    if not _may_load(env):
        raise Refuse("Operation not permitted", pc=0)
    if env.bpf:
        return
    if len(env.insns) > _LONGEST:
        raise Refuse("the program is too large", "Without CAP_BPF a program has 4096 instructions.", pc=0)
    for pc, insn in enumerate(env.insns):
        called = insn.opcode == op.JMP | op.CALL and insn.src_reg in (op.CALL_LOCAL, op.CALL_KFUNC)
        if called or (insn.is_wide and insn.src_reg == op.PSEUDO.index("func")):
            raise Refuse(
                "loading/calling other bpf or kernel functions are allowed for CAP_BPF and CAP_SYS_ADMIN",
                "Put the function into its caller.",
                pc=pc,
            )
    _no_loops(successors)


def _may_load(env: Env) -> bool:
    """Whether the user may load programs of this type at all."""
    name = env.prog.name
    return (
        (env.bpf or name in _TYPES)
        and ("NET_ADMIN" in env.capabilities or name not in _OF_NETWORKS)
        and (env.perfmon or name not in _TRACERS)
    )


def _no_loops(successors: Sequence[tuple[int, ...]]) -> None:
    """Control only goes ahead, in the order of a depth-first search."""
    mark, path = {0: 1}, [(0, list(successors[0]))]
    while path:
        pc, targets = path[-1]
        if not targets:
            mark[pc] = 2
            path.pop()
            continue
        target = targets.pop()
        if mark.get(target) == 1:
            raise Refuse(f"back-edge from insn {pc} to {target}", "Loops take CAP_BPF.", pc=pc)
        if target not in mark:
            mark[target] = 1
            path.append((target, list(successors[target])))


def sees(prog_type: str, offset: int) -> bool:
    """Whether a field of the context is for everybody."""
    return not any(low <= offset < high for low, high in _WITHOUT.get(prog_type, ()))


# --- memory -----------------------------------------------------------------------------------


def readable(state: State, regno: int, reg: Reg, offset: int, size: int, helper: bool = False) -> None:
    """All bytes of stack were written; helpers do not get to see pointers there."""
    if reg.num.mask:
        raise Refuse(
            f"R{regno} variable stack access prohibited for !root, "
            f"var_off=({reg.num.value:#x}; {reg.num.mask:#x}) off={reg.off + offset}"
        )
    low, stack = reg.off + reg.num.smin + offset, state.frames[reg.obj].stack
    if not -8 * (max(stack, default=-1) + 1) <= low < 0:
        raise Refuse(f"invalid read from stack R{regno} off={low} size={size}", "Write these bytes first.")
    where = f"R{regno} off {low}" if helper else f"off {low}"
    for at in range(low, low + size):
        slot = stack.get((-at - 1) >> 3)
        kind = slot.types[at & 7] if slot is not None else "?"
        pointer = slot is not None and slot.reg is not None and slot.reg.kind != "scalar"
        if kind not in (MISC, ZEROED, "r") or (helper and kind == "r" and pointer):
            raise Refuse(
                f"invalid read from stack {where}+{at - low} size {size}",
                "Write these bytes first; pointers there are not for helpers.",
            )


def stored(env: Env, state: State, regno: int, reg: Reg, offset: int, size: int, value: Reg) -> Reg:
    """What a store into the stack keeps: of a number only that it is 0; pointers there stay whole."""
    if reg.kind != "fp":
        return value
    if not env.perfmon:
        _whole(state, regno, reg, offset, size)
    return value if env.bpf or value.kind != "scalar" or value.num.const == 0 else ANY


def _whole(state: State, regno: int, reg: Reg, offset: int, size: int) -> None:
    """A store into the stack leaves pointers there whole."""
    if reg.num.mask:
        readable(state, regno, reg, offset, size)
    slot = state.frames[reg.obj].stack.get((-(reg.off + reg.num.smin + offset) - 1) >> 3)
    held = slot.reg if slot is not None else None
    if held is not None and held.kind != "scalar" and size != 8:
        raise Refuse("attempt to corrupt spilled pointer on stack", "Overwrite the pointer as a whole.")


def filled(env: Env, state: State, regno: int, reg: Reg, size: int) -> None:
    """A helper writes to the stack, byte by byte."""
    for at in range(size):
        stored(env, state, regno, reg, at, 1, ANY)


def added(state: State, reg: Reg, offset: int, size: int) -> None:
    """An atomic operation that hands over no old value reads a pointer from the stack all the same."""
    at = reg.off + reg.num.smin + offset
    slot = state.frames[reg.obj].stack.get((-at - 1) >> 3)
    if size == 8 and slot is not None and slot.reg is not None and slot.reg.kind != "scalar":
        raise Refuse(f"leaking pointer from stack off {at}")


# --- arithmetic with pointers -----------------------------------------------------------------


def moving(env: Env, state: State, pc: int, insn: Insn, dst: Reg, src: Reg, result: Reg, name: str) -> None:
    """A pointer was moved (`result`) by an addition or subtraction.

    Its offset will be masked (sanitize_ptr_alu()): refused where that cannot be done and no barrier stands.
    """
    if name not in ("ADD", "SUB"):
        return
    pointer, off = (dst, src) if dst.kind != "scalar" else (src, dst)
    if not insn.opcode & op.X or pc in env.barriers:
        _landed(env, insn.dst_reg, result)
        return
    known, negative = not off.num.mask, off.num.smin < 0
    left, before = (name == "ADD") == negative, 0
    if not state.speculative:
        if not known and negative != (off.num.smax < 0):
            raise Refuse(
                f"R{insn.src_reg if pointer is dst else insn.dst_reg} has unknown scalar with mixed signed bounds, "
                "pointer arithmetic with it prohibited for !root"
            )
        before = _limit(pointer, left, insn, name)
        env.limits_matter |= not known
    if not known:
        other = state.copy()
        other.speculative = True
        other.frames[-1].regs[insn.dst_reg] = pointer
        env.push(pc + 1, other)
    _landed(env, insn.dst_reg, result)
    if not state.speculative:
        width = abs(before - _limit(result, left, insn, name))
        _remember(env, pc, insn, (f"pointer {known} {negative}", width), name)


def _landed(env: Env, regno: int, reg: Reg) -> None:
    """sanitize_check_bounds(): pointers stay where an access of one byte would be allowed."""
    if reg.kind == "fp":
        if reg.num.mask:
            raise Refuse(
                f"R{regno} variable stack access prohibited for !root, "
                f"var_off=({reg.num.value:#x}; {reg.num.mask:#x}) off={reg.off}",
                "Move pointers to the stack by constants.",
            )
        at = reg.off + reg.num.smin
        if not -op.STACK_SIZE <= at < 0:
            raise Refuse(
                f"R{regno} stack pointer arithmetic goes out of range, prohibited for !root; off={at}"
            )
    elif reg.kind == "map_value" and isinstance(reg.obj, MapInfo):
        low, high = reg.off + reg.num.smin, reg.off + reg.num.umax
        if low < 0 or high + 1 > reg.obj.value_size:
            raise Refuse(
                f"R{regno} pointer arithmetic of map value goes out of range, prohibited for !root",
                "Limit the offset before it is added.",
            )


def _limit(reg: Reg, left: bool, insn: Insn, name: str) -> int:
    """retrieve_ptr_limit()"""
    if reg.kind == "fp":
        most, limit = op.STACK_SIZE + left, -(reg.off + reg.num.value)
    elif reg.kind == "map_value" and isinstance(reg.obj, MapInfo):
        most, limit = reg.obj.value_size, (reg.num.smin if left else reg.num.umax) + reg.off
    else:
        raise Refuse(
            f"R{insn.dst_reg} has pointer with unsupported alu operation, pointer arithmetic with it prohibited "
            "for !root"
        )
    if not 0 <= limit < most:
        raise Refuse(
            f"R{insn.dst_reg} tried to {name.lower()} beyond pointer bounds, pointer arithmetic with it "
            "prohibited for !root"
        )
    return limit


def numbers(env: Env, pc: int, insn: Insn, name: str) -> None:
    """Two numbers were added or subtracted: on no other path may one of them be a pointer."""
    if name in ("ADD", "SUB") and insn.opcode & op.X and pc not in env.barriers:
        _remember(env, pc, insn, ("numbers", 0), name)


def _remember(env: Env, pc: int, insn: Insn, how: tuple[str, int], name: str) -> None:
    if env.masked.setdefault(pc, how) != how:
        raise Refuse(
            f"R{insn.dst_reg} tried to {name.lower()} from different maps, paths or scalars, pointer arithmetic "
            "with it prohibited for !root",
            "Let each kind of value have an instruction of its own.",
        )


# --- branches ---------------------------------------------------------------------------------


def compared(insn: Insn, dst: Reg, src: Reg, learnt: bool) -> None:
    """Addresses are not compared but with null, and with the ends of packets; `learnt`: it was such a test."""
    both = {dst.kind, src.kind} <= {"pkt", "pkt_end", "pkt_meta"}
    if not both and insn.opcode & op.X and src.kind != "scalar":
        raise Refuse(f"R{insn.src_reg} pointer comparison prohibited")
    if not both and not learnt and dst.kind != "scalar":
        raise Refuse(f"R{insn.dst_reg} pointer comparison prohibited")


def dead_side(env: Env, state: State, insn: Insn, pc: int) -> None:
    """The side that a decided branch does not take is walked all the same, with what decided it unknown."""
    other = state.copy()
    other.speculative = True
    regs = other.frames[-1].regs
    for regno in (insn.dst_reg, insn.src_reg) if insn.opcode & op.X else (insn.dst_reg,):
        if regno != 10:
            regs[regno] = ANY
    env.push(pc, other)


def barred(env: Env, state: State, pc: int) -> bool:
    """Whether what goes wrong at `pc` does so ahead of a branch alone: a barrier before it ends such paths there."""
    if not state.speculative or "speculation_barred" not in env.rules:
        return False
    env.barriers.add(pc)
    env.masked.pop(pc, None)
    return True
