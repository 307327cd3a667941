"""Arithmetic instructions: numbers are computed with, copies stay linked, pointers move."""

from __future__ import annotations

from pbt.isa import opcodes as op
from pbt.isa.insn import Insn
from pbt.typing import Final
from pbt.verifier_sim import arena, arith, casts, scalar, tnum, unprivileged
from pbt.verifier_sim.env import Decoded, Env, Refuse, read_reg, target
from pbt.verifier_sim.reg import ANY, Reg, exact, merge_deps, moved, names, number
from pbt.verifier_sim.scalar import Scalar
from pbt.verifier_sim.stack import MAX_OFFSET
from pbt.verifier_sim.state import State

_NOT_MOVED: Final = names("pkt_end sock sock_common tcp_sock xdp_sock")


def alu(env: Env, pc: int, insn: Insn) -> Decoded:
    opcode, dst_reg, src_reg, offset, imm = insn
    code, wide = opcode & 0xF0, opcode & 7 == op.ALU64
    if code in (op.NEG, op.END):
        return _unary, insn
    constant = None if opcode & op.X else exact(imm if wide else imm & tnum.M32)
    if code == op.MOV:
        return (_copy, insn) if constant is None else (put, (dst_reg, constant, pc + 1))
    name = op.ALU_BY_CODE[code, offset].name
    return _binary, (insn, name, wide, dst_reg, src_reg, constant)


# copies -------------------------------------------------------------------------------------------


def put(env: Env, state: State, pc: int, operands: tuple[int, Reg, int]) -> int:
    """Set a register to the same value every time; operands: register, value, next slot."""
    regno, value, after = operands
    target(state, regno)[regno] = value
    return after


def _copy(env: Env, state: State, pc: int, insn: Insn) -> int:
    opcode, dst_reg, src_reg, offset, _ = insn
    wide = opcode & 7 == op.ALU64
    regs = target(state, dst_reg)
    src = read_reg(state, src_reg)
    if offset == op.ADDR_SPACE_CAST:
        regs[dst_reg] = arena.cast(env, insn)
    elif offset:
        regs[dst_reg] = _move_signed(env, state, src, insn, wide)
    elif src.kind != "scalar":
        regs[dst_reg] = src if wide else _low_half(env, src_reg)
    elif wide or (src.num.umax <= tnum.M32 and "narrow_links" in env.rules):
        regs[dst_reg] = link(env, state, src_reg, src)
    else:
        regs[dst_reg] = number(casts.zero_extend32(src.num, env.rules), src.deps)
    return pc + 1


def _low_half(env: Env, regno: int) -> Reg:
    """Of a pointer."""
    if env.perfmon:
        return number(scalar.of_size(4))
    raise Refuse(f"R{regno} partial copy of pointer")


def _move_signed(env: Env, state: State, src: Reg, insn: Insn, wide: bool) -> Reg:
    if src.kind != "scalar":
        if not env.perfmon:
            raise Refuse(f"R{insn.src_reg} sign-extension part of pointer")
        return ANY
    num = casts.sign_extend(src.num, insn.offset // 8, env.rules, wide)
    if src.num.umax < 1 << (insn.offset - 1):
        return link(env, state, insn.src_reg, src)._replace(num=num)
    return number(num, src.deps)


def link(env: Env, state: State, regno: int, src: Reg) -> Reg:
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


# numbers ------------------------------------------------------------------------------------------


def _binary(env: Env, state: State, pc: int, operands: tuple[Insn, str, bool, int, int, Reg | None]) -> int:
    insn, name, wide, dst_reg, src_reg, constant = operands
    src = read_reg(state, src_reg) if constant is None else constant
    dst = read_reg(state, dst_reg)
    if constant is not None and name in _LIMITED:
        _possible(insn, wide)
    regs = target(state, dst_reg)
    if dst.kind == "scalar" and src.kind == "scalar":
        if name in ("AND", "OR") and not src.num.mask and "fork_bits" in env.rules:
            dst = _fork(env, state, pc, insn, dst, wide)
        if not env.perfmon:
            unprivileged.numbers(env, pc, insn, name)
        regs[dst_reg] = _arithmetic(env, name, dst, src, insn, wide)
    elif dst.kind != "arena":
        result = _pointer(env, name, dst, src, insn, wide)
        if not env.perfmon:
            unprivileged.moving(env, state, pc, insn, dst, src, result, name)
        regs[dst_reg] = result
    return pc + 1


_LIMITED: Final = names("DIV MOD SDIV SMOD LSH RSH ARSH")


def _possible(insn: Insn, wide: bool) -> None:
    """Refuse immediate operands that no division and no shift takes."""
    if insn.opcode & 0xF0 in (op.DIV, op.MOD):
        if not insn.imm:
            raise Refuse("div by zero")
    elif not 0 <= insn.imm < (64 if wide else 32):
        raise Refuse(f"invalid shift {insn.imm}")


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
    deps = merge_deps(dst.deps, src.deps) if src.deps else dst.deps
    if not (dst.id or dst.delta) or "linked_deltas" not in env.rules:
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


def _unary(env: Env, state: State, pc: int, insn: Insn) -> int:
    wide, regno = insn.opcode & 7 == op.ALU64, insn.dst_reg
    dst = read_reg(state, regno)
    regs = target(state, regno)
    if dst.kind != "scalar":
        if not env.perfmon:
            raise Refuse(f"R{regno} pointer arithmetic prohibited")
        regs[regno] = ANY
        return pc + 1
    if insn.opcode & 0xF0 == op.NEG:
        num = arith.negate(dst.num, wide, env.rules)
    elif wide or insn.opcode & op.X:  # bswap, or to big endian on a little-endian machine
        num = casts.byte_swap(dst.num, insn.imm // 8, env.rules)
    else:
        num = casts.keep_low(dst.num, insn.imm // 8, env.rules)
    regs[regno] = number(num, dst.deps)
    return pc + 1


# pointers -----------------------------------------------------------------------------------------


def _pointer(env: Env, name: str, dst: Reg, src: Reg, insn: Insn, wide: bool) -> Reg:
    """Arithmetic with at least one pointer."""
    sign = op.ALU_BY_NAME[name].text
    if dst.kind != "scalar" and src.kind != "scalar":
        if name == "SUB" and env.perfmon:
            return ANY
        raise Refuse(f"R{insn.dst_reg} pointer {sign} pointer prohibited")
    if dst.kind != "scalar":
        pointer, off = dst, src
    else:
        pointer, off = src, dst
    env.precise(off)
    regno = insn.dst_reg
    if not wide:
        if name == "SUB" and env.perfmon:
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
    """The known part of an offset in `off`; on kernels that merge both, only while there is no unknown part."""
    merges, name = "offsets_merged" in env.rules, "ADD" if sign > 0 else "SUB"
    if pointer.kind == "pkt" and pointer.size < 0 and "beyond_forgotten" in env.rules:
        pointer = pointer._replace(size=0)
    if not num.mask:
        if merges and pointer.num.mask:
            return pointer._replace(num=arith.shifted(pointer.num, num, name, env.rules))
        return moved(pointer, pointer.off + sign * num.smin)
    before = pointer.num
    if merges and pointer.off:
        before, pointer = scalar.const(pointer.off), pointer._replace(off=0)
    var = arith.shifted(before, num, name, env.rules)
    if pointer.kind not in ("pkt", "pkt_meta"):
        return pointer._replace(num=var)
    size = pointer.size if sign < 0 and num.smin >= 0 else 0
    return pointer._replace(num=var, id=env.new_id(), size=size)
