"""A refused walk → Refusal: the reason in words, the way there, what was known, and what would mend it."""

from __future__ import annotations

from collections.abc import Sequence

from pbt.isa.insn import Insn
from pbt.verifier_sim.draw import draw
from pbt.verifier_sim.explore import Walk
from pbt.verifier_sim.reasons import find, plain
from pbt.verifier_sim.require import uses
from pbt.verifier_sim.state import State, turns
from pbt.verifier_sim.verdict import Refusal, Turn


def refusal(slots: Sequence[Insn], found: Walk) -> Refusal:
    """Why a walk ended where it did."""
    refused = found.refusal
    assert refused is not None
    row = find(refused.reason)
    return Refusal(
        found.pc,
        refused.reason,
        plain(refused.reason),
        refused.hint or (row.mend if row else ""),
        id=row.id if row else "",
        way=_way(slots, found.last),
        known=_known(slots, found.pc, found.last),
    )


def _way(slots: Sequence[Insn], last: State | None) -> tuple[Turn, ...]:
    """The last branches of the path that was refused, in their order."""
    if last is None:
        return ()
    from pbt.isa.disasm import disasm

    return tuple(Turn(pc, disasm(slots, pc), jumped) for pc, jumped in reversed(turns(last.path)))


def _known(slots: Sequence[Insn], pc: int, last: State | None) -> tuple[str, ...]:
    """The registers that the refused instruction reads, as the walk knew them."""
    if last is None or not 0 <= pc < len(slots):
        return ()
    read = uses(slots[pc])[0]
    regs = last.frame.regs
    return tuple(f"r{n} = {draw(regs[n])}" for n in range(10) if read >> n & 1 and regs[n].kind != "uninit")
