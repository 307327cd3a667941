"""The walk in the manner of the kernel's own log, and such a log read back.

Level 1 shows the path that was refused, level 2 every path (Documentation/bpf/verifier.rst).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from pbt.data import NamedTuple
from pbt.isa.disasm import disasm
from pbt.isa.insn import Insn
from pbt.uapi.helpers import BY_ID
from pbt.verifier_sim.reg import draw
from pbt.verifier_sim.require import uses
from pbt.verifier_sim.state import State, draw_frame

_NAMES = {helper.id: helper.name for helper in BY_ID.values()}


class Log:
    """Lines of the walk. `level` 1 keeps those of the latest path alone."""

    def __init__(self, insns: Sequence[Insn], level: int) -> None:
        self.insns, self.level = insns, level
        self.lines = ["func#0 @0"]
        self._last = -1  # the slot before, -1 at the start of a path
        self._pending = ""

    def path(self, pc: int, state: State, origin: int) -> None:
        """A path begins at a slot, remembered by the branch at `origin` (-1: the program's start)."""
        if self.level < 2:
            self.lines.clear()
        known = draw_frame(state.frame)
        if origin >= 0:
            self.lines += ["", f"from {origin} to {pc}: {known}"]
        self.lines.append(f"{pc}: {known}")

    def step(self, pc: int, state: State) -> None:
        """The instruction at a slot is about to run."""
        insn = self.insns[pc]
        self._pending = f"{pc}: ({insn.opcode:02x}) {disasm(self.insns, pc, _NAMES)}"

    def done(self, pc: int, state: State | None) -> None:
        """It ran: what is known now of the registers that it used (nothing, if it was refused)."""
        told = ""
        if state is not None:
            read, written = uses(self.insns[pc])
            regs = state.frame.regs
            shown = [
                f"R{n}={draw(regs[n])}"
                for n in range(11)
                if (read | written) >> n & 1 and regs[n].kind != "uninit"
            ]
            told = " ".join(shown)
        self.lines.append(f"{self._pending:<37} ; {told}" if told else self._pending)


class Line(NamedTuple):
    """A line of a kernel's log: the slot of the instruction (-1: none), and the text."""

    pc: int
    text: str


_INSN = re.compile(r"(\d+): \([0-9a-f]{2}\) ")


def read(text: str) -> Iterator[Line]:
    """The lines of a log, with the slots of those that show an instruction."""
    for line in text.splitlines():
        found = _INSN.match(line)
        yield Line(int(found[1]) if found else -1, line)


_NOISE = re.compile(
    r"processed \d+|from \d+|func#|\d+: |mark_|Live regs|\s|;|\(\d+\)|arg#|max_states|verification time |stack depth |"
    r"subprog \d+ \(|last_idx |regs=|parent |propagating |cur state: |old state: |R\d+(_\w+)?="
)  # lines of logs of Linux 5.10 to 7.3 that are no reason


def verdict_of(lines: Sequence[Line]) -> tuple[int, str]:
    """The instruction that was refused last, and why in the kernel's words ("" if it was not).

    Kernels may take more than one line to say why: the first that tells a reason (see reasons.py) is taken.
    """
    from pbt.verifier_sim.reasons import find

    pc, said = -1, list[str]()
    for line in lines:
        if line.pc >= 0:
            pc, said = line.pc, []
        elif line.text and not _NOISE.match(line.text):
            said.append(line.text)
    return pc, next(filter(find, said), said[0] if said else "")
