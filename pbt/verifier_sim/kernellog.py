"""A log of the kernel's verifier, read: the slots that its lines tell of, what was refused, and why."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from pbt.data import NamedTuple


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
    why = next(filter(find, said), said[0] if said else "")
    named = re.search(r" at insn (\d+)$", why)  # a loop is found out before its instruction is shown
    return int(named[1]) if named else pc, why
