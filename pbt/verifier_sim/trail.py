"""The path that was refused, walked once more with the registers before each instruction: where values came from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pbt.data import NamedTuple
from pbt.isa import opcodes as op
from pbt.isa.insn import Insn
from pbt.typing import TYPE_CHECKING, Final
from pbt.verifier_sim.reg import Reg
from pbt.verifier_sim.require import uses
from pbt.verifier_sim.state import State

if TYPE_CHECKING:
    from pbt.verifier_sim.env import Decoded, Env
    from pbt.verifier_sim.prune import Node

LONGEST: Final = 20_000  # instructions; what takes longer to walk is not walked again


class Step(NamedTuple):
    """An instruction of the path: its slot, its frame's number, the registers of that frame before it."""

    pc: int
    level: int
    regs: tuple[Reg, ...]


class Origin(NamedTuple):
    """Where a value came from: the instruction that made it, and what it was before if it is not that any more."""

    pc: int
    before: Reg | None = None


class Trail:
    """The instructions of one path, kept while it is walked (see `log.Log` for when each method is called)."""

    def __init__(self, insns: Sequence[Insn]) -> None:
        self.insns = insns
        self.steps: list[Step] = []
        self._marks: list[int] = []

    def functions(self, starts: Sequence[int], live: Sequence[int]) -> None:
        """The trail is about one path."""

    def starts(self) -> None:
        self.steps.clear()

    def goes_on(self) -> None:
        del self.steps[self._marks.pop() :]

    def ends(self) -> None:
        """The next path goes back itself."""

    def safe(self, pc: int) -> None:
        """The next path goes back itself."""

    def inherits(self, pc: int, state: State, node: Node) -> None:
        """What else is needed of this path says nothing of where values came from."""

    def step(self, env: Env, state: State, pc: int, decoded: Decoded) -> int:
        """Remember an instruction, and walk it."""
        self.steps.append(Step(pc, len(state.frames) - 1, tuple(state.frame.regs)))
        after = decoded[0](env, state, pc, decoded[1])
        while len(self._marks) < len(env.pending):
            self._marks.append(len(self.steps))
        return after

    def origin(self, regno: int) -> Origin | None:
        """Where a register's value, before the last instruction, came from: copies and the stack are followed back."""
        if not self.steps:
            return None
        level, later = self.steps[-1].level, self.steps[-1].regs
        for pc, regs in self._backwards(level):
            if regs is None:
                return None  # the frame begins here
            insn, was = self.insns[pc], regs[regno]
            wrote = uses(insn)[1] >> regno & 1
            if not wrote:
                lost = was.kind not in ("scalar", "uninit") and later[regno].kind in ("scalar", "uninit")
                if lost and not was.null:
                    return Origin(pc, was)
            elif insn.opcode == op.ALU64 | op.MOV | op.X and not insn.offset:
                regno = insn.src_reg
            elif (source := self._filled(insn, pc, level)) is not None:
                return source
            else:
                return Origin(pc)
            later = regs
        return None

    def _backwards(self, level: int) -> Iterator[tuple[int, tuple[Reg, ...] | None]]:
        """The steps of a frame before the last, the latest first; None where it was entered."""
        for step in self.steps[-2::-1]:
            if step.level < level:
                yield step.pc, None
            elif step.level == level:
                yield step.pc, step.regs

    def _filled(self, insn: Insn, pc: int, level: int) -> Origin | None:
        """For a load from the stack: the instruction that stored there last."""
        if insn.opcode & 7 != op.LDX or insn.src_reg != 10:
            return None
        seen = False
        for at, regs in self._backwards(level):
            if regs is None:
                return None
            seen = seen or at == pc
            stored = self.insns[at]
            if (
                seen
                and stored.opcode & 7 in (op.ST, op.STX)
                and stored.dst_reg == 10
                and stored.offset == insn.offset
            ):
                return Origin(at)
        return None
