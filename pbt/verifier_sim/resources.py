"""What a path holds: references taken and given back, and pointers that end with them."""

from __future__ import annotations

from collections.abc import Callable

from pbt.verifier_sim import dynptr
from pbt.verifier_sim.env import Env, Refuse
from pbt.verifier_sim.reg import ANY, Reg
from pbt.verifier_sim.state import SPILL, Slot, State


def forget(state: State, which: Callable[[Reg], bool], to: Callable[[Reg], Reg] = lambda reg: ANY) -> None:
    """Turn every copy of some pointers into unknown numbers, or into something else."""
    for frame in state.frames:
        for regno, reg in enumerate(frame.regs):
            if which(reg):
                frame.regs[regno] = to(reg)
        for index, slot in frame.stack.items():
            if slot.reg is not None and which(slot.reg):
                frame.stack[index] = Slot(SPILL * 8, to(slot.reg))


def release(state: State, ref: int) -> None:
    if all(held != ref for held, _ in state.refs):
        raise Refuse(f"release reference id={ref} that is not held")
    state.refs = tuple(held for held in state.refs if held[0] != ref)
    dynptr.release(state, ref)
    forget(state, lambda reg: reg.ref == ref)


def acquire(env: Env, state: State, pc: int) -> int:
    """A new reference taken by the instruction at `pc`."""
    ref = env.new_id()
    state.refs = (*state.refs, (ref, pc))
    return ref


def forget_packets(state: State) -> None:
    """The packet may lie elsewhere now: pointers into it, slices of dynptrs among them, end."""
    forget(state, lambda reg: reg.kind in ("pkt", "pkt_meta", "pkt_end") or "packet_" in reg.mods)


def nothing_held(state: State, where: str) -> None:
    """Refuse to end, or to go elsewhere, with something that has to be given back."""
    if state.lock:
        raise Refuse(f"{where} cannot be used inside bpf_spin_lock-ed region")
    if state.refs:
        _no_references(state, where)
    if state.rcu:
        raise Refuse(f"{where} cannot be used inside bpf_rcu_read_lock-ed region")
    if state.preempt:
        raise Refuse(f"{where} cannot be used inside bpf_preempt_disable-ed region")


def _no_references(state: State, where: str) -> None:
    """Neither what has to be released, nor flags of interrupts that have to be restored."""
    from pbt.verifier_sim.iterators import irqs

    saved = irqs(state)
    leaks = [(ref, pc) for ref, pc in state.refs if ref not in saved]
    if leaks:
        raise Refuse(
            f"{where} would lead to reference leak",
            f"What instruction {leaks[0][1]} took must be given back on every path.",
            before="\n".join(f"Unreleased reference id={ref} alloc_insn={pc}" for ref, pc in leaks),
        )
    raise Refuse(f"{where} cannot be used inside bpf_local_irq_save-ed region")
