"""Instructions that load and store: constants, memory, atomic operations, the old packet loads."""

from __future__ import annotations

from pbt.isa import opcodes as op
from pbt.isa.insn import Insn
from pbt.verifier_sim import fields, tnum, unprivileged
from pbt.verifier_sim.alu import link, put
from pbt.verifier_sim.context import result_kept
from pbt.verifier_sim.env import Decoded, Env, Refuse, read_reg, target
from pbt.verifier_sim.leave import leave
from pbt.verifier_sim.memory import aligned, load, store
from pbt.verifier_sim.prune import lose_precision
from pbt.verifier_sim.reg import ANY, NULL, UNINIT, Reg, exact, names
from pbt.verifier_sim.resources import nothing_held
from pbt.verifier_sim.state import State


def _same_pointer(env: Env, pc: int, regno: int, reg: Reg, loads: bool = False) -> None:
    """One load or store, rewritten for the kind of its pointer, may not meet another kind."""
    kind = reg.kind
    before = env.pointer_at.setdefault(pc, kind)
    if loads and "untrusted_memory" in env.rules and {kind, before} == {"mem", "ptr_"}:
        return
    if before != kind and (kind in _REWRITTEN or before in _REWRITTEN):
        from pbt.verifier_sim.words import describe, kind_words

        raise Refuse(
            "same insn cannot be used with different pointers",
            f"On this way r{regno} is {describe(reg)}; on one walked before, it was {kind_words(before)}. "
            "Let each kind of pointer have a load or store of its own, where the ways have not met yet.",
        )


_REWRITTEN = names("ctx sock sock_common tcp_sock xdp_sock ptr_ own arena")


def ldx(env: Env, pc: int, insn: Insn) -> Decoded:
    opcode, dst_reg, src_reg, offset, _ = insn
    return _ldx, (dst_reg, src_reg, offset, op.BYTES[opcode & 0x18], opcode & 0xE0 == op.MEMSX)


def _ldx(env: Env, state: State, pc: int, operands: tuple[int, int, int, int, bool]) -> int:
    dst_reg, src_reg, offset, size, sign = operands
    reg = read_reg(state, src_reg)
    regs = target(state, dst_reg)
    if not env.perfmon and reg.kind == "fp":
        aligned(env, reg, offset, size)
        unprivileged.readable(state, src_reg, reg, offset, size)
    got = load(env, state, src_reg, reg, offset, size, sign)
    _same_pointer(env, pc, src_reg, reg, loads=True)
    if reg.kind == "ctx" and size == 8 and "results_kept" in env.rules:
        got = result_kept(env, got, regs[dst_reg])
    regs[dst_reg] = got
    return pc + 1


def stx(env: Env, pc: int, insn: Insn) -> Decoded:
    opcode, dst_reg, src_reg, offset, _ = insn
    return _stx, (dst_reg, src_reg, offset, op.BYTES[opcode & 0x18])


def _stx(env: Env, state: State, pc: int, operands: tuple[int, int, int, int]) -> int:
    dst_reg, src_reg, offset, size = operands
    value, reg = read_reg(state, src_reg), read_reg(state, dst_reg)
    if reg.kind == "fp" and value.kind == "scalar" and "spill_any" in env.rules:
        fits = size == 8 or value.num.umax < 1 << 8 * size
        value = link(env, state, src_reg, value) if fits else value
    if not env.perfmon:
        _leak(src_reg, value, reg)
    if not env.privileged:
        value = unprivileged.stored(env, state, dst_reg, reg, offset, size, value)
    store(env, state, dst_reg, reg, offset, size, value, False, src_reg)
    _same_pointer(env, pc, dst_reg, reg)
    return pc + 1


def _leak(regno: int, value: Reg, reg: Reg) -> None:
    if reg.kind != "fp" and value.kind != "scalar":
        where = {"map_value": "map", "ctx": "ctx", "pkt": "packet"}.get(reg.kind, "mem")
        raise Refuse(f"R{regno} leaks addr into {where}")


def st(env: Env, pc: int, insn: Insn) -> Decoded:
    opcode, dst_reg, _, offset, imm = insn
    return _st, (dst_reg, offset, op.BYTES[opcode & 0x18], exact(imm))


def _st(env: Env, state: State, pc: int, operands: tuple[int, int, int, Reg]) -> int:
    regno, offset, size, value = operands
    reg = read_reg(state, regno)
    if not env.privileged:
        value = unprivileged.stored(env, state, regno, reg, offset, size, value)
    store(env, state, regno, reg, offset, size, value, True)
    _same_pointer(env, pc, regno, reg)
    return pc + 1


_NO_ATOMICS = names("ctx pkt pkt_meta flow_keys sock sock_common tcp_sock xdp_sock")


def atomic(env: Env, state: State, pc: int, insn: Insn) -> int:
    if insn.imm in (0x100, 0x110):
        return _ordered(env, state, pc, insn)
    value, reg = read_reg(state, insn.src_reg), read_reg(state, insn.dst_reg)
    compare = insn.imm == 0xF1
    if compare:
        accumulator = read_reg(state, 0)
        if accumulator.kind != "scalar" and not env.perfmon:
            raise Refuse("R0 leaks addr into mem")
    if value.kind != "scalar" and not env.perfmon:
        raise Refuse(f"R{insn.src_reg} leaks addr into mem")
    if reg.kind in _NO_ATOMICS:
        raise Refuse(f"BPF_ATOMIC stores into R{insn.dst_reg} {reg.type_name} is not allowed")
    fetched = 0 if compare else insn.src_reg
    if insn.imm & op.FETCH and fetched == insn.dst_reg:
        reg = ANY  # kernels forget what the register of the old value held before they look at the address
    size = op.BYTES[insn.opcode & 0x18]
    aligned(env, reg, insn.offset, size, strict=True)
    if not env.perfmon and reg.kind == "fp":
        unprivileged.readable(state, insn.dst_reg, reg, insn.offset, size)
        if not insn.imm & op.FETCH:
            unprivileged.added(state, reg, insn.offset, size)
        unprivileged.stored(env, state, insn.dst_reg, reg, insn.offset, size, ANY)
    old = load(env, state, insn.dst_reg, reg, insn.offset, size)
    _no_kernel_pointer(reg, insn.offset)
    store(env, state, insn.dst_reg, reg, insn.offset, size, ANY)
    if insn.imm & op.FETCH:
        target(state, fetched)[fetched] = old
    return pc + 1


def _ordered(env: Env, state: State, pc: int, insn: Insn) -> int:
    """load_acquire and store_release; older kernels ask what the register points to after a load into it."""
    size = op.BYTES[insn.opcode & 0x18]
    if insn.imm == 0x100:
        reg = read_reg(state, insn.src_reg)
        regs = target(state, insn.dst_reg)
        aligned(env, reg, insn.offset, size, strict=True)
        regs[insn.dst_reg] = load(env, state, insn.src_reg, reg, insn.offset, size)
        _no_kernel_pointer(reg, insn.offset)
        now = reg if "acquires_before" in env.rules else regs[insn.src_reg]
        if now.kind in _NO_ATOMICS:
            raise Refuse(f"BPF_ATOMIC loads from R{insn.src_reg} {now.type_name} is not allowed")
        return pc + 1
    value, reg = read_reg(state, insn.src_reg), read_reg(state, insn.dst_reg)
    aligned(env, reg, insn.offset, size, strict=True)
    if not env.perfmon:
        _leak(insn.src_reg, value, reg)
    if not env.privileged:
        value = unprivileged.stored(env, state, insn.dst_reg, reg, insn.offset, size, value)
    store(env, state, insn.dst_reg, reg, insn.offset, size, value)
    if reg.kind in _NO_ATOMICS:
        raise Refuse(f"BPF_ATOMIC stores into R{insn.dst_reg} {reg.type_name} is not allowed")
    return pc + 1


def _no_kernel_pointer(reg: Reg, offset: int) -> None:
    """Kernel pointers in maps are loaded and stored by plain instructions alone."""
    if reg.kind == "map_value" and fields.pointer_at(reg.obj, reg, offset) is not None:
        raise Refuse("kptr in map can only be accessed using BPF_MEM instruction mode")


def ld_wide(env: Env, pc: int, insn: Insn) -> Decoded:
    return put, (insn.dst_reg, _wide(env, pc, insn), pc + 2)


def _wide(env: Env, pc: int, insn: Insn) -> Reg:
    """What the two slots of a wide load stand for."""
    pseudo = op.PSEUDO[insn.src_reg]
    if not pseudo:
        low, high = insn.imm & tnum.M32, env.insns[pc + 1].imm & tnum.M32
        return exact(low | high << 32)
    if pseudo == "func":
        return _passed(env, pc + 1 + insn.imm)
    if pseudo == "btf_id":
        return Reg("ptr_", obj="", mods="percpu_")
    index, kind, offset = env.map_of[pc]
    info = env.maps[index]
    if kind == "map_fd":
        return Reg("map_ptr", obj=info)
    return ANY if info.map_type == "ARENA" else Reg("map_value", off=offset, obj=info)


def _passed(env: Env, start: int) -> Reg:
    """A function that is passed: the program's types have to tell of it, and that nobody else sees it."""
    if not env.described:
        raise Refuse("missing btf func_info")
    if env.declared is not None and env.declared.functions[start].is_global:
        raise Refuse("callback function not static")
    env.passed.add(start)
    return Reg("func", obj=start)


_LOADED = (ANY, UNINIT, UNINIT, UNINIT, UNINIT, UNINIT)


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
    if len(state.frames) > 1 and "loads_exit" in env.rules:
        other = state.copy()
        other.frames[-1].regs[0:6] = _LOADED
        env.push(pc + 1, other)
        if "precision_lost" in env.rules:
            lose_precision(state)
        state.frames[-1].regs[0] = NULL
        return leave(env, state)
    state.frames[-1].regs[0:6] = _LOADED
    return pc + 1
