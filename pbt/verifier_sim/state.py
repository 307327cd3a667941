"""The machine as the verifier sees it at one point of one path: frames, stack slots, references."""

from __future__ import annotations

from pbt.data import NamedTuple
from pbt.typing import Any
from pbt.verifier_sim.reg import UNINIT, Reg
from pbt.verifier_sim.scalar import ZERO

MISC, ZEROED, SPILL, INVALID, DYNPTR, ITER = "m", "0", "r", "?", "d", "i"


class Later(NamedTuple):
    """A callback that runs by itself, later: whether it may sleep, and what it may return.

    In `Frame.callback` it stands in the place of the helper that calls back.
    """

    sleeps: bool
    limits: tuple[int, int]


TIMER = Later(False, (0, 0))
WORK = Later(True, (0, 0))
TASK_WORK = Later(True, (-(1 << 31), (1 << 31) - 1))


class Slot(NamedTuple):
    """Eight bytes of stack: `types[i]` tells of the byte at (address + i); `reg` if any byte is "r"."""

    types: str
    reg: Reg | None = None


MISC_SLOT, ZERO_SLOT = Slot(MISC * 8), Slot(ZEROED * 8)


class Frame:
    """Registers r0 to r10 and the stack of one call. `stack[i]` is the slot at fp - 8 * (i + 1)."""

    __slots__ = ("callback", "callsite", "regs", "rounds", "stack", "start")

    def __init__(self, callsite: int, start: int, number: int) -> None:
        self.regs = [UNINIT] * 10 + [Reg("fp", ZERO, 0, 0, False, number)]
        self.stack: dict[int, Slot] = {}
        self.callsite, self.start = callsite, start
        self.callback: Any = None  # the helper that calls this frame back, or None
        self.rounds = 0  # how often a helper called back so far, counted while it does

    def copy(self) -> Frame:
        new = Frame.__new__(Frame)
        new.regs, new.stack = self.regs[:], self.stack.copy()
        new.callsite, new.start, new.callback = self.callsite, self.start, self.callback
        new.rounds = self.rounds
        return new


Path = tuple[Any, int, bool, int] | None
"""The branches of a way, the last one first: (those before, slot, jumped, how many there are)."""

_REMEMBERED = 32  # branches that a story can tell of


def turn(path: Path, pc: int, jumped: bool) -> Path:
    """One branch more; of long ways only the last branches are kept."""
    if path is None:
        return None, pc, jumped, 1
    if path[3] >= 8 * _REMEMBERED:
        kept: Path = None
        for at, way in reversed(turns(path)):
            kept = turn(kept, at, way)
        return turn(kept, pc, jumped)
    return path, pc, jumped, path[3] + 1


def turns(path: Path) -> list[tuple[int, bool]]:
    """The last branches of a way, the latest first: (slot, jumped)."""
    out: list[tuple[int, bool]] = []
    while path is not None and len(out) < _REMEMBERED:
        out.append((path[1], path[2]))
        path = path[0]
    return out


class Held(NamedTuple):
    """A lock that is held: the map (or what else) it lies in, whose value by its id, its kind, the one taken before."""

    what: Any
    id: int
    kind: str
    outer: Held | None


class State:
    """All frames of a path, what it holds, and which stack slots it wrote since its checkpoint."""

    __slots__ = (
        "frames", "lock", "loops", "node", "path", "preempt", "rcu", "refs", "speculative", "written",
    )  # fmt: skip

    def __init__(self, frames: list[Frame]) -> None:
        self.frames = frames
        self.refs: tuple[tuple[int, int], ...] = ()  # (reference, slot of the instruction that took it)
        self.lock: Held | None = None  # the lock taken last
        self.path: Path = None  # the branches of this way
        self.speculative = False  # a way that only a processor running ahead goes
        self.rcu = 0  # RCU sections that are open
        self.preempt = 0  # sections without preemption that are open
        self.loops = 0  # rounds of callbacks on this path
        self.node: Any = None  # the checkpoint this path comes from
        self.written: set[tuple[int, int]] = set()

    def copy(self) -> State:
        new = State.__new__(State)
        new.frames = [frame.copy() for frame in self.frames]
        new.refs, new.lock, new.loops = self.refs, self.lock, self.loops
        new.rcu, new.path, new.speculative = self.rcu, self.path, self.speculative
        new.preempt = self.preempt
        new.node, new.written = self.node, self.written.copy()
        return new

    @property
    def frame(self) -> Frame:
        return self.frames[-1]
