"""Verdict → words: what was refused, where in the script, and what would mend it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pbt.isa.insn import Insn, decode
from pbt.verifier_sim.explore import Walk, walk
from pbt.verifier_sim.env import Refuse, Unsupported
from pbt.verifier_sim.kernels import features as rules_of
from pbt.verifier_sim.reg import MapInfo, Reg
from pbt.verifier_sim.state import State, draw_frame

if TYPE_CHECKING:
    from pbt.bundle import Bundle, Place, Program


@dataclass(frozen=True)
class Refusal:
    """Why a program is refused: the slot, the kernel's words, a plain sentence, what would mend it."""

    pc: int
    reason: str
    words: str
    hint: str = ""


@dataclass(frozen=True)
class Verdict:
    """The answer. `ok`: no refusal is foreseen; `unsupported` names what could not be judged, if anything.

    `insns_processed` counts walked instructions over all paths; `stack_depth` is in bytes; `states`
    gives the states seen before each slot, where they were kept.
    """

    ok: bool
    error: Refusal | None = None
    insns_processed: int = 0
    stack_depth: int = 0
    unsupported: str = ""
    states: Mapping[int, Sequence[State]] = field(default_factory=dict)
    insns: Sequence[Insn] = ()
    spans: Sequence[Place] = ()

    @property
    def kind(self) -> str:
        return "unsupported" if self.unsupported else "accept" if self.ok else "reject"

    def before(self, pc: int) -> str:
        """What is known before slot `pc`, a line per distinct state: "R1=ctx() R10=fp0"."""
        return "\n".join(dict.fromkeys(draw_frame(s.frame) for s in self.states.get(pc, ())))


def verify(
    insns: bytes | Sequence[Insn],
    *,
    prog_type: str,
    expected_attach_type: str = "",
    maps: Sequence[MapInfo] = (),
    map_of: Mapping[int, tuple[int, str, int]] | None = None,
    features: frozenset[str] | None = None,
    kernel: str = "6.18",
    privileged: bool = True,
    keep_states: bool = False,
    strict: bool = False,
    sleepable: bool = False,
    gpl: bool = True,
    arguments: Sequence[Reg] | None = None,
    spans: Sequence[Place] = (),
) -> Verdict:
    slots = decode(insns) if isinstance(insns, bytes) else list(insns)
    rules = rules_of(kernel) if features is None else features
    try:
        found = walk(
            slots, prog_type, expected_attach_type, maps, map_of or {}, rules, keep=keep_states,
            privileged=privileged, strict=strict, sleepable=sleepable, gpl=gpl, arguments=arguments,
        )
    except Unsupported as reason:
        return Verdict(True, unsupported=str(reason), insns=slots, spans=spans)
    if found.refusal is None:
        return Verdict(True, None, found.processed, found.stack_depth, "", found.states, slots, spans)
    refusal = Refusal(found.pc, found.refusal.reason, found.refusal.reason, found.refusal.hint)
    return Verdict(False, refusal, found.processed, 0, "", found.states, slots, spans)
