"""The walk in the manner of the kernel's own log (Documentation/bpf/verifier.rst).

Level 1 shows the path that was refused, with the branches that led there; level 2 every path. After an instruction
stands what is known now of the registers and stack slots that it used.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from pbt.isa import opcodes as op
from pbt.isa.disasm import disasm
from pbt.isa.insn import Insn
from pbt.typing import TYPE_CHECKING, Final
from pbt.uapi.helpers import BY_ID
from pbt.verifier_sim.backtrack import Backtracker, spilled, stepped
from pbt.verifier_sim.draw import EVERYTHING, draw_frame
from pbt.verifier_sim.reg import Reg
from pbt.verifier_sim.require import uses
from pbt.verifier_sim.state import State
from pbt.verifier_sim.tnum import M32

if TYPE_CHECKING:
    from pbt.verifier_sim.backtrack import Step
    from pbt.verifier_sim.env import Decoded, Env
    from pbt.verifier_sim.prune import Node

_NAMES = {helper.id: helper.name for helper in BY_ID.values()}
_COLUMN: Final = 40  # BPF_LOG_ALIGNMENT: where states stand, or a multiple of 8 behind longer instructions
_NO_CONDITION: Final = (op.CALL, op.EXIT, op.JA, op.JCOND)


class Log:
    """Lines of the walk. At level 1 those of paths that came to their end are taken back."""

    def __init__(self, insns: Sequence[Insn], level: int) -> None:
        self.insns, self.level = insns, level
        self.lines: list[str] = []
        # by path to be walked: how many lines were before it, the last of them, the slot of the branch
        self._marks: list[tuple[int, str, int, Step | None]] = []
        self._used: set[int] = set()  # registers, and slots (-1: fp-8), used since the last state was shown
        self._open = False  # the last line is an instruction, whose state may stand behind it
        self._came = -1  # where the path came from, if that was not told yet
        self._path: Step | None = None
        self._live: Sequence[int] = ()
        self._back = Backtracker(insns, self._followed, self._insn)

    def functions(self, starts: Sequence[int], live: Sequence[int]) -> None:
        """What the program consists of, before anything is walked; `live`: registers still to be read, by slot."""
        self._live = live
        if self.level < 2:
            return
        self.lines += [f"func#{number} @{start}" for number, start in enumerate(starts)]
        if live:
            self.lines.append("Live regs before insn:")
            self.lines += [f"    {pc:3}: {_row(live[pc])} {self._insn(pc)}" for pc in _slots(self.insns)]

    def starts(self) -> None:
        """The walk of a function begins: everything is told of its first state."""
        self._used, self._came, self._open, self._path = set(EVERYTHING), -1, False, None

    def goes_on(self) -> None:
        """The path that was left last, of those still to be walked, is taken up."""
        length, text, self._came, self._path = self._marks.pop()
        if self.level < 2:
            self.lines[length - 1 :] = [text]
        self._used, self._open = set(EVERYTHING), False

    def ends(self) -> None:
        """A path came to its end."""
        if self.level < 2 and not self._marks:
            self.lines.clear()

    def safe(self, pc: int) -> None:
        """The path needs no walking: an earlier one showed that all is well."""
        self.lines += ["", f"from {self._came} to {pc}: safe"] if self._came >= 0 else [f"{pc}: safe"]

    def inherits(self, pc: int, state: State, node: Node) -> None:
        """A path ends, for a remembered state covers it."""
        if self.level > 1:
            self._back.inherits(self._path, state, pc, node)

    def _followed(self, line: str) -> None:
        """A line of how a number is followed back; what is known now stands on a line of its own then."""
        self.lines.append(line)
        self._open = False

    def step(self, env: Env, state: State, pc: int, decoded: Decoded) -> int:
        """Walk one instruction, and tell of it."""
        self._before(pc, state)
        insn, depth = self.insns[pc], len(state.frames)
        leaving, stack = draw_frame(state), dict(state.frame.stack)
        path = None
        if self.level > 1:
            path = stepped(self._path, state, pc, self.insns, self._live)
            env.followed = lambda reg: self._back.asked(path, state, reg)
        after = decoded[0](env, state, pc, decoded[1])
        if path is not None:
            self._path = spilled(path, state, insn)
        while len(self._marks) < len(env.pending):
            self._marks.append((len(self.lines), self.lines[-1], pc, self._path))
        if after < 0:
            return after
        if len(state.frames) > depth:
            self._entered(state)
        elif len(state.frames) < depth:
            self._left(pc, after, leaving, state)
        else:
            self._used.update(-1 - at for at, slot in state.frame.stack.items() if stack.get(at) is not slot)
            if insn.opcode & 7 in (op.JMP, op.JMP32) and insn.opcode & 0xF0 not in _NO_CONDITION:
                self._show(pc, state)
        return after

    def _before(self, pc: int, state: State) -> None:
        """What is known by now, the instruction, and what it uses."""
        if self._came >= 0 and self.level > 1:
            self.lines += ["", f"from {self._came} to {pc}: {draw_frame(state)}"]
            self._open = False
        self._show(pc, state)
        insn = self.insns[pc]
        self.lines.append(f"{pc}: {self._insn(pc)}")
        self._came, self._open = -1, True
        if insn.opcode == op.JMP | op.EXIT:
            return
        read, written = uses(insn)
        self._used.update(n for n in range(11) if (read | written) >> n & 1)
        if insn.opcode & 7 in (op.LDX, op.ST, op.STX):
            base = insn.src_reg if insn.opcode & 7 == op.LDX else insn.dst_reg
            self._used.update(_touched(state.frame.regs[base], insn, len(state.frames) - 1))

    def _show(self, pc: int, state: State) -> None:
        """The state as far as it may have changed: behind the instruction that did it, if that was the last line."""
        told = draw_frame(state, only=self._used)
        if self._used and self._open:
            text = self.lines[-1]
            self.lines[-1] = f"{text:<{-(-max(len(text) + 5, _COLUMN) // 8) * 8 - 2}}; {told}".rstrip()
        elif self._used:
            self.lines.append(f"{pc}: {told}")
        self._used.clear()
        self._open = False

    def _left(self, pc: int, after: int, frame: str, state: State) -> None:
        """A function came to its end, and the path goes on in its caller."""
        self.lines += [
            "returning from callee:",
            f" {frame}",
            f"to caller at {after}:",
            f" {draw_frame(state)}",
        ]
        self._came, self._open = pc, False

    def _entered(self, state: State) -> None:
        """A function was called."""
        self.lines += ["caller:", f" {draw_frame(state, -2)}", "callee:", f" {draw_frame(state)}"]
        self._used, self._open = set(EVERYTHING), False

    def _insn(self, pc: int) -> str:
        text = disasm(self.insns, pc, _NAMES).removesuffix(" ll")
        text = re.sub(r"-\d+(?= goto)", lambda found: hex(int(found[0]) & M32), text)
        return f"({self.insns[pc].opcode:02x}) {text}"


def _row(live: int) -> str:
    return "".join(str(n) if live >> n & 1 else "." for n in range(10))


def _slots(insns: Sequence[Insn]) -> list[int]:
    """Where instructions begin."""
    out, pc = [], 0
    while pc < len(insns):
        out.append(pc)
        pc += 2 if insns[pc].is_wide else 1
    return out


def _touched(base: Reg, insn: Insn, level: int) -> range:
    """The stack slots of the innermost frame that a load or store may reach (-1: fp-8)."""
    if base.kind != "fp" or base.obj != level:
        return range(0)
    low = base.off + base.num.smin + insn.offset
    high = base.off + base.num.smax + insn.offset + op.BYTES[insn.opcode & 0x18] - 1
    return range(low // 8, high // 8 + 1) if -512 <= low <= high < 0 else range(0)
