"""state + instruction → next states: one function per class of instruction.

A step changes `state` in place and returns the next slot, or DONE at the end of a path; the other
side of a branch is left in `env.pending`.
"""

from __future__ import annotations

from collections.abc import Callable

from pbt.isa import opcodes as op
from pbt.isa.insn import Insn
from pbt.typing import Final
from pbt.verifier_sim import arith, scalar, tnum, unprivileged
from pbt.verifier_sim.branch import ja, jcond, jump_if
from pbt.verifier_sim.calls import call
from pbt.verifier_sim.env import Env, Refuse, read_reg
from pbt.verifier_sim.leave import exit_
from pbt.verifier_sim.memory import aligned, load, store
from pbt.verifier_sim.reg import ANY, UNINIT, Reg, exact, immediate, merge_deps, names, number
from pbt.verifier_sim.resources import nothing_held
from pbt.verifier_sim.scalar import Scalar
from pbt.verifier_sim.stack import MAX_OFFSET
from pbt.verifier_sim.state import State

Step = Callable[[Env, State, int, Insn], int]
_NOT_MOVED: Final = names("pkt_end sock sock_common tcp_sock xdp_sock")


def _target(state: State, regno: int) -> list[Reg]:
    """The registers to write into, unless the register may not be written."""
    if regno == 10:
        raise Refuse("frame pointer is read only")
    return state.frames[-1].regs


# arithmetic ---------------------------------------------------------------------------------------


def _move(env: Env, state: State, insn: Insn, wide: bool) -> None:
    regs = _target(state, insn.dst_reg)
    if not insn.opcode & op.X:
        regs[insn.dst_reg] = exact(immediate(insn, wide))
        return
    src = read_reg(state, insn.src_reg)
    if insn.offset:
        regs[insn.dst_reg] = _move_signed(env, state, src, insn, wide)
    elif wide:
        if src.kind == "scalar":
            src = _link(env, state, insn.src_reg, src)
        regs[insn.dst_reg] = src
    elif src.kind == "scalar":
        if src.num.umax <= tnum.M32 and "narrow_links" in env.rules:
            regs[insn.dst_reg] = _link(env, state, insn.src_reg, src)
        else:
            regs[insn.dst_reg] = number(scalar.zero_extend32(src.num, env.rules), src.deps)
    elif env.privileged:
        regs[insn.dst_reg] = number(scalar.of_size(4))
    else:
        raise Refuse(f"R{insn.src_reg} partial copy of pointer")


def _move_signed(env: Env, state: State, src: Reg, insn: Insn, wide: bool) -> Reg:
    if src.kind != "scalar":
        if not env.privileged:
            raise Refuse(f"R{insn.src_reg} sign-extension part of pointer")
        return number(scalar.of_size(insn.offset // 8, sign=True)) if wide else ANY
    num = scalar.sign_extend(src.num, insn.offset // 8, env.rules, wide)
    if src.num.umax < 1 << (insn.offset - 1):
        return _link(env, state, insn.src_reg, src)._replace(num=num)
    return number(num, src.deps)


def _link(env: Env, state: State, regno: int, src: Reg) -> Reg:
    """Give a number an id, so that what one copy learns its other copies learn too.

    A number that was moved away from its copies (`size`) cannot be copied as such: it leaves them.
    """
    if "linked_scalars" not in env.rules:
        return src
    if src.size:
        src = src._replace(id=0, delta=0, size=0)
        state.frames[-1].regs[regno] = src
    if not src.id and src.num.mask:
        src = src._replace(id=env.new_id())
        state.frames[-1].regs[regno] = src
    return src


def alu(env: Env, state: State, pc: int, insn: Insn) -> int:
    wide = insn.opcode & 7 == op.ALU64
    code = insn.opcode & 0xF0
    if code == op.MOV:
        _move(env, state, insn, wide)
        return pc + 1
    if code in (op.NEG, op.END):
        dst = read_reg(state, insn.dst_reg)
        regs = _target(state, insn.dst_reg)
        if dst.kind != "scalar" and not env.privileged:
            raise Refuse(f"R{insn.dst_reg} pointer arithmetic prohibited")
        regs[insn.dst_reg] = _unary(env, dst, insn, wide, code)
        return pc + 1
    name = op.ALU_BY_CODE[code, insn.offset].name
    dst = read_reg(state, insn.dst_reg)
    if insn.opcode & op.X:
        src = read_reg(state, insn.src_reg)
    else:
        if code in (op.DIV, op.MOD) and insn.imm == 0:
            raise Refuse("div by zero")
        if code in (op.LSH, op.RSH, op.ARSH) and not 0 <= insn.imm < (64 if wide else 32):
            raise Refuse(f"invalid shift {insn.imm}")
        src = exact(immediate(insn, wide))
    regs = _target(state, insn.dst_reg)
    if dst.kind == "scalar" and src.kind == "scalar":
        if name in ("AND", "OR") and not src.num.mask and "fork_bits" in env.rules:
            dst = _fork(env, state, pc, insn, dst, wide)
        if not env.privileged:
            unprivileged.numbers(env, pc, insn, name)
        regs[insn.dst_reg] = _arithmetic(env, name, dst, src, insn, wide)
    else:
        moved = _pointer(env, name, dst, src, insn, wide)
        if not env.privileged:
            unprivileged.moving(env, state, pc, insn, dst, src, moved, name)
        regs[insn.dst_reg] = moved
    return pc + 1


def _fork(env: Env, state: State, pc: int, insn: Insn, dst: Reg, wide: bool) -> Reg:
    """A mask that is 0 or -1 (the trace of a comparison) is followed as two paths."""
    low, high = (dst.num.smin, dst.num.smax) if wide else (dst.num.s32min, dst.num.s32max)
    if (low, high) != (-1, 0):
        return dst
    other = state.copy()
    other.frames[-1].regs[insn.dst_reg] = number(scalar.ZERO, dst.deps)
    env.push(pc, other)
    return number(scalar.const(tnum.M64 if wide else tnum.M32), dst.deps)


def _arithmetic(env: Env, name: str, dst: Reg, src: Reg, insn: Insn, wide: bool) -> Reg:
    result = arith.binary(name, dst.num, src.num, wide, env.rules)
    deps = merge_deps(dst.deps, src.deps)
    if "linked_deltas" not in env.rules:
        return number(result, deps)
    step = _distance(env, name, dst, src, insn, wide, result)
    if step is not None and not dst.size:
        return Reg("scalar", result, 0, dst.id, False, None, 64 if wide else 32, 0, step, "", deps)
    if not dst.delta or step is not None or "delta_cleared" in env.rules:
        return number(result, deps)
    return number(result, deps)._replace(delta=dst.delta)


def _distance(env: Env, name: str, dst: Reg, src: Reg, insn: Insn, wide: bool, result: Scalar) -> int | None:
    """How far an addition moves a number from its copies; None if they part."""
    if not dst.id or name not in ("ADD", "SUB") or not (wide or "narrow_deltas" in env.rules):
        return None
    itself = bool(insn.opcode & op.X) and insn.src_reg == insn.dst_reg
    late = "negative_deltas" in env.rules
    if (late and itself) or (not late and name == "SUB"):
        return None
    num = result if itself else src.num  # before: the kernel looked at the register after the sum
    if num.mask & (tnum.M64 if wide else tnum.M32):
        return None
    if not wide and dst.num.umax > tnum.M32:
        return None
    step = num.smin if wide else scalar.s32(num.value & tnum.M32)
    if not late:
        return step if 0 <= step < 1 << 31 else None
    if name == "SUB":
        step = -step
    return step if -(1 << 31) <= step < 1 << 31 else None


def _unary(env: Env, dst: Reg, insn: Insn, wide: bool, code: int) -> Reg:
    if dst.kind != "scalar":
        return ANY
    if code == op.NEG:
        return number(arith.negate(dst.num, wide, env.rules), dst.deps)
    size = insn.imm // 8
    if wide or insn.opcode & op.X:  # bswap, or to big endian on a little-endian machine
        return number(arith.byte_swap(dst.num, size, env.rules), dst.deps)
    return number(arith.keep_low(dst.num, size, env.rules), dst.deps)


def _pointer(env: Env, name: str, dst: Reg, src: Reg, insn: Insn, wide: bool) -> Reg:
    """Arithmetic with at least one pointer."""
    sign = op.ALU_BY_NAME[name].text
    if dst.kind != "scalar" and src.kind != "scalar":
        if name == "SUB" and env.privileged:
            return ANY
        raise Refuse(f"R{insn.dst_reg} pointer {sign} pointer prohibited")
    if dst.kind != "scalar":
        pointer, off = dst, src
    else:
        pointer, off = src, dst
    env.precise(off)
    regno = insn.dst_reg
    if not wide:
        if name == "SUB" and env.privileged:
            return number(scalar.of_size(4))
        raise Refuse(f"R{regno} 32-bit pointer arithmetic prohibited")
    if pointer.null:
        raise Refuse(
            f"R{regno} pointer arithmetic on {pointer.type_name} prohibited, null-check it first",
            "Compare the pointer with 0 first.",
        )
    known = off.num.const
    if pointer.kind in _NOT_MOVED or (
        pointer.kind == "flow_keys" and known is None and "flow_keys_fixed" in env.rules
    ):
        raise Refuse(f"R{regno} pointer arithmetic on {pointer.type_name} prohibited")
    if pointer.kind == "map_ptr" and not (known == 0 and name == "ADD"):
        raise Refuse(f"R{regno} pointer arithmetic on {pointer.type_name} prohibited")
    _sane(off, pointer)
    if name == "ADD":
        if pointer is src and "commuted_kept" not in env.rules:
            pointer = pointer._replace(ref=0, obj=0 if pointer.kind == "fp" else pointer.obj)
        return _check_moved(_moved(env, pointer, off.num, 1))
    if name == "SUB":
        if dst is off:
            raise Refuse(f"R{regno} tried to subtract pointer from scalar")
        if pointer.kind == "fp":
            raise Refuse(f"R{regno} subtraction from stack pointer prohibited")
        return _check_moved(_moved(env, pointer, off.num, -1))
    if name in ("AND", "OR", "XOR"):
        raise Refuse(f"R{regno} bitwise operator {sign} on pointer prohibited")
    raise Refuse(f"R{regno} pointer arithmetic with {sign} operator prohibited")


def _sane(reg: Reg, pointer: Reg) -> None:
    """An offset, or a pointer after its move, stays within 2**29 of the start."""
    kind, num = pointer.type_name, reg.num
    if not num.mask and not -MAX_OFFSET < num.smin < MAX_OFFSET:
        raise Refuse(f"math between {kind} pointer and {num.smin} is not allowed")
    if not -MAX_OFFSET < reg.off < MAX_OFFSET:
        raise Refuse(f"{kind} pointer offset {reg.off} is not allowed")
    if num.smin == scalar.S64_MIN:
        raise Refuse(
            f"math between {kind} pointer and register with unbounded min value is not allowed",
            "Compare the number with its limits first.",
        )
    if not -MAX_OFFSET < num.smin < MAX_OFFSET:
        raise Refuse(f"value {num.smin} makes {kind} pointer be out of bounds")


def _check_moved(reg: Reg) -> Reg:
    _sane(reg, reg)
    return reg


def _moved(env: Env, pointer: Reg, num: Scalar, sign: int) -> Reg:
    if not num.mask:
        return pointer._replace(off=pointer.off + sign * num.smin)
    var = arith.binary("ADD" if sign > 0 else "SUB", pointer.num, num, True, env.rules)
    if pointer.kind not in ("pkt", "pkt_meta"):
        return pointer._replace(num=var)
    keeps = sign < 0 and num.smin >= 0
    return pointer._replace(num=var, id=env.new_id(), size=pointer.size if keeps else 0)


# memory -------------------------------------------------------------------------------------------


def _same_pointer(env: Env, pc: int, reg: Reg, loads: bool = False) -> None:
    """One load or store, rewritten for the kind of its pointer, may not meet another kind."""
    kind = reg.kind
    before = env.pointer_at.setdefault(pc, kind)
    if loads and "untrusted_memory" in env.rules and {kind, before} == {"mem", "ptr_"}:
        return
    if before != kind and (kind in _REWRITTEN or before in _REWRITTEN):
        raise Refuse("same insn cannot be used with different pointers")


_REWRITTEN = names("ctx sock sock_common tcp_sock xdp_sock ptr_")


def ldx(env: Env, state: State, pc: int, insn: Insn) -> int:
    reg = read_reg(state, insn.src_reg)
    regs = _target(state, insn.dst_reg)
    sign = insn.opcode & 0xE0 == op.MEMSX
    if not env.privileged and reg.kind == "fp":
        unprivileged.readable(state, insn.src_reg, reg, insn.offset, op.BYTES[insn.opcode & 0x18])
    got = load(env, state, insn.src_reg, reg, insn.offset, op.BYTES[insn.opcode & 0x18], sign)
    _same_pointer(env, pc, reg, loads=True)
    regs[insn.dst_reg] = got
    return pc + 1


def stx(env: Env, state: State, pc: int, insn: Insn) -> int:
    value, reg = read_reg(state, insn.src_reg), read_reg(state, insn.dst_reg)
    size = op.BYTES[insn.opcode & 0x18]
    fits = size == 8 or value.num.umax < 1 << 8 * size
    if reg.kind == "fp" and value.kind == "scalar" and fits and "spill_any" in env.rules:
        value = _link(env, state, insn.src_reg, value)
    _leak(env, insn.src_reg, value, reg)
    if not env.privileged:
        value = unprivileged.stored(state, insn.dst_reg, reg, insn.offset, size, value)
    store(env, state, insn.dst_reg, reg, insn.offset, size, value, False, insn.src_reg)
    _same_pointer(env, pc, reg)
    return pc + 1


def _leak(env: Env, regno: int, value: Reg, reg: Reg) -> None:
    if not env.privileged and reg.kind != "fp" and value.kind != "scalar":
        where = {"map_value": "map", "ctx": "ctx", "pkt": "packet"}.get(reg.kind, "mem")
        raise Refuse(f"R{regno} leaks addr into {where}")


def st(env: Env, state: State, pc: int, insn: Insn) -> int:
    reg = read_reg(state, insn.dst_reg)
    size = op.BYTES[insn.opcode & 0x18]
    value = exact(insn.imm)
    if not env.privileged:
        value = unprivileged.stored(state, insn.dst_reg, reg, insn.offset, size, value)
    store(env, state, insn.dst_reg, reg, insn.offset, size, value, True)
    _same_pointer(env, pc, reg)
    return pc + 1


_NO_ATOMICS = names("ctx pkt pkt_meta flow_keys sock sock_common tcp_sock xdp_sock")


def atomic(env: Env, state: State, pc: int, insn: Insn) -> int:
    if insn.imm in (0x100, 0x110):
        return _ordered(env, state, pc, insn)
    value, reg = read_reg(state, insn.src_reg), read_reg(state, insn.dst_reg)
    compare = insn.imm == 0xF1
    if compare:
        accumulator = read_reg(state, 0)
        if accumulator.kind != "scalar" and not env.privileged:
            raise Refuse("R0 leaks addr into mem")
    if value.kind != "scalar" and not env.privileged:
        raise Refuse(f"R{insn.src_reg} leaks addr into mem")
    if reg.kind in _NO_ATOMICS:
        raise Refuse(f"BPF_ATOMIC stores into R{insn.dst_reg} {reg.type_name} is not allowed")
    size = op.BYTES[insn.opcode & 0x18]
    aligned(env, reg, insn.offset, size, strict=True)
    if not env.privileged and reg.kind == "fp":
        unprivileged.readable(state, insn.dst_reg, reg, insn.offset, size)
        unprivileged.stored(state, insn.dst_reg, reg, insn.offset, size, ANY)
    old = load(env, state, insn.dst_reg, reg, insn.offset, size)
    store(env, state, insn.dst_reg, reg, insn.offset, size, ANY)
    if insn.imm & op.FETCH:
        regno = 0 if compare else insn.src_reg
        _target(state, regno)[regno] = old
    return pc + 1


def _ordered(env: Env, state: State, pc: int, insn: Insn) -> int:
    """load_acquire and store_release."""
    size = op.BYTES[insn.opcode & 0x18]
    if insn.imm == 0x100:
        reg = read_reg(state, insn.src_reg)
        if reg.kind in _NO_ATOMICS:
            raise Refuse(f"BPF_ATOMIC loads from R{insn.src_reg} {reg.type_name} is not allowed")
        regs = _target(state, insn.dst_reg)
        aligned(env, reg, insn.offset, size, strict=True)
        regs[insn.dst_reg] = load(env, state, insn.src_reg, reg, insn.offset, size)
        return pc + 1
    value, reg = read_reg(state, insn.src_reg), read_reg(state, insn.dst_reg)
    if reg.kind in _NO_ATOMICS:
        raise Refuse(f"BPF_ATOMIC stores into R{insn.dst_reg} {reg.type_name} is not allowed")
    aligned(env, reg, insn.offset, size, strict=True)
    store(env, state, insn.dst_reg, reg, insn.offset, size, value)
    return pc + 1


def ld_wide(env: Env, state: State, pc: int, insn: Insn) -> int:
    regs = _target(state, insn.dst_reg)
    pseudo = op.PSEUDO[insn.src_reg]
    if not pseudo:
        low, high = insn.imm & tnum.M32, env.insns[pc + 1].imm & tnum.M32
        regs[insn.dst_reg] = exact(low | high << 32)
    elif pseudo == "func":
        regs[insn.dst_reg] = Reg("func", obj=pc + 1 + insn.imm)
    elif pseudo == "btf_id":
        regs[insn.dst_reg] = Reg("ptr_", obj="", mods="percpu_")
    else:
        index, kind, offset = env.map_of[pc]
        info = env.maps[index]
        if kind == "map_fd":
            regs[insn.dst_reg] = Reg("map_ptr", obj=info)
        else:
            regs[insn.dst_reg] = Reg("map_value", off=offset, obj=info)
    return pc + 2


def ld_packet(env: Env, state: State, pc: int, insn: Insn) -> int:
    """The old packet loads: context in r6, result in r0, r1 to r5 are lost."""
    if env.prog.name not in ("SOCKET_FILTER", "SCHED_CLS", "SCHED_ACT"):
        raise Refuse("BPF_LD_[ABS|IND] instructions not allowed for this program type")
    nothing_held(state, "BPF_LD_[ABS|IND]")
    if "loads_outside_callbacks" in env.rules and any(f.callback for f in state.frames):
        raise Refuse("cannot use BPF_LD_[ABS|IND] within callback")
    if read_reg(state, 6).kind != "ctx":
        raise Refuse("at the time of BPF_LD_ABS|IND R6 != pointer to skb")
    if state.frames[-1].regs[6].off:
        raise Refuse(f"dereference of modified ctx ptr R6 off={state.frames[-1].regs[6].off} disallowed")
    if insn.opcode & 0xE0 == op.IND:
        read_reg(state, insn.src_reg)
    regs = state.frames[-1].regs
    regs[0:6] = [ANY, UNINIT, UNINIT, UNINIT, UNINIT, UNINIT]
    return pc + 1


def _table() -> tuple[Step | None, ...]:
    """opcode → step; None where there is no such instruction."""
    steps: list[Step | None] = [None] * 256
    for row in op.ALU_OPS:
        for cls in (op.ALU, op.ALU64):
            steps[cls | row.code] = alu
            if row.name != "NEG":
                steps[cls | row.code | op.X] = alu
    steps[op.ALU64 | op.END | op.X] = None
    for jump in op.JMP_OPS:
        for cls in (op.JMP, op.JMP32):
            if jump.name not in ("JA", "CALL", "EXIT", "JCOND"):
                steps[cls | jump.code] = steps[cls | jump.code | op.X] = jump_if
    steps[op.JMP | op.JA] = steps[op.JMP32 | op.JA] = ja
    steps[op.JMP | op.JCOND] = jcond
    steps[op.JMP | op.CALL], steps[op.JMP | op.EXIT] = call, exit_
    for size in op.BYTES:
        steps[op.LDX | op.MEM | size] = ldx
        steps[op.STX | op.MEM | size] = stx
        steps[op.ST | op.MEM | size] = st
        if size != op.DW:
            steps[op.LDX | op.MEMSX | size] = ldx
            steps[op.LD | op.ABS | size] = steps[op.LD | op.IND | size] = ld_packet
        steps[op.STX | op.ATOMIC | size] = atomic
    steps[op.LD_IMM64] = ld_wide
    return tuple(steps)


STEPS: Final = _table()
"""By opcode."""
