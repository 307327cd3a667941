"""Tail calls: in a function, the program may end there, so that the caller goes on."""

from __future__ import annotations

from collections.abc import Iterator

from pbt.isa import opcodes as op
from pbt.verifier_sim.env import Env
from pbt.verifier_sim.leave import leave
from pbt.verifier_sim.reg import ANY, MapInfo
from pbt.verifier_sim.require import uses
from pbt.verifier_sim.resources import forget_packets, nothing_held
from pbt.verifier_sim.state import State


def tail_call(env: Env, state: State, pc: int, info: MapInfo | None) -> None:
    """`state` goes on behind the call, which failed; the way on which it did not is kept for later."""
    if "packet_by_global" in env.rules and "tail_call_exit" not in env.rules:
        forget_packets(state)
    index = state.frames[-1].regs[3]
    if info is not None and index.is_scalar and (index.num.const or 0) < info.max_entries:
        env.precise(index)
    nothing_held(state, "tail_call")
    if len(state.frames) > 1 and "tail_call_exit" in env.rules:
        other = state.copy()
        other.frames[-1].regs[0] = ANY
        forget_packets(other)
        if "tail_calls_unseen" in env.rules:
            other.written.update(_written_after(env, state, pc + 1))
        env.push(leave(env, other), other)


def _written_after(env: Env, state: State, pc: int) -> Iterator[tuple[int, int]]:
    """Stack slots of callers, (frame, slot), that the function fills behind a call, up to its first branch."""
    regs, changed, level = state.frames[-1].regs, 0b111111, len(state.frames) - 1
    for insn in env.insns[pc:]:
        kind = insn.opcode & 7
        if kind in (op.JMP, op.JMP32):
            return
        reg = regs[insn.dst_reg]
        whole = kind in (op.ST, op.STX) and insn.opcode & 0xF8 == op.MEM | op.DW
        if (
            whole
            and not changed >> insn.dst_reg & 1
            and reg.kind == "fp"
            and reg.obj < level
            and not reg.num.mask
        ):
            at = reg.off + reg.num.smin + insn.offset
            if -512 <= at < 0 and not at % 8:
                yield reg.obj, -at // 8 - 1
        changed |= uses(insn)[1]


__all__ = ["tail_call"]
