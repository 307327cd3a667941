"""How the kernel follows a number back to where it came from, line by line, as its log tells of it (`mark_precise`).

The simulator itself keeps with each number which earlier numbers it was made of (`Env.precise`); the kernel has no
such notes and goes back through the instructions of the path. Here that is done for the log alone.
Source: backtrack_insn() and __mark_chain_precision() of kernel/bpf/verifier.c.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from pbt.data import NamedTuple
from pbt.isa import opcodes as op
from pbt.isa.insn import Insn
from pbt.typing import TYPE_CHECKING, Any, Final
from pbt.uapi.helpers import BY_ID
from pbt.verifier_sim.draw import draw_frame
from pbt.verifier_sim.reg import Reg
from pbt.verifier_sim.require import uses
from pbt.verifier_sim.state import SPILL, State

if TYPE_CHECKING:
    from pbt.verifier_sim.prune import Node

Place = tuple[int, int]
"""(frame, register), or (frame, -1 - slot): see `prune.find`."""

_ARGUMENTS: Final = range(1, 6)


class Step(NamedTuple):
    """An instruction of a path, behind those before it.

    pc, level: its slot and its frame. node: the remembered state that its path came from, first: the slot where the
    path came from it. slot: the place of the stack that it spilled to or filled from. linked: numbers that got their
    limits together, by a comparison.
    """

    before: Any
    pc: int
    level: int
    node: Node | None
    first: int
    slot: Place | None = None
    linked: frozenset[Place] = frozenset()


class Lost(Exception):
    """The kernel cannot tell where a number came from: it takes every number for needed."""


def stepped(before: Step | None, state: State, pc: int, insns: Sequence[Insn], live: Sequence[int]) -> Step:
    """The path with one instruction more, which is about to be walked in `state`.

    `live`: the registers still to be read, by slot; what is not does not count as linked. Empty: all count.
    """
    insn = insns[pc]
    same = before is not None and before.node is state.node
    first = before.first if before is not None and same else pc
    level = len(state.frames) - 1
    return Step(before, pc, level, state.node, first, _filled(state, insn), _linked(state, pc, insn, live))


def spilled(step: Step, state: State, insn: Insn) -> Step:
    """The same, with the slot that a store filled, once it is walked."""
    if insn.opcode & 7 not in (op.ST, op.STX) or step.level >= len(state.frames):
        return step
    place = _stack(state, insn, insn.dst_reg)
    if place is None or place[1] % 8:
        return step
    slot = state.frames[place[0]].stack.get(-place[1] // 8 - 1)
    held = slot is not None and slot.reg is not None and slot.types.count(SPILL) == _size(insn)
    return step._replace(slot=(place[0], place[1] // 8)) if held else step


def _size(insn: Insn) -> int:
    return op.BYTES[insn.opcode & 0x18]


def _stack(state: State, insn: Insn, regno: int) -> Place | None:
    """The frame and the offset below its frame pointer that a load or store goes to, if that is fixed."""
    base = state.frames[-1].regs[regno]
    if base.kind != "fp" or base.num.mask:
        return None
    return base.obj, base.off + base.num.smin + insn.offset


def _filled(state: State, insn: Insn) -> Place | None:
    """The place of the stack whose number a load takes into a register."""
    if insn.opcode & 7 != op.LDX:
        return None
    place = _stack(state, insn, insn.src_reg)
    if place is None or place[1] % 8:
        return None
    slot = state.frames[place[0]].stack.get(-place[1] // 8 - 1)
    if slot is None or slot.reg is None or slot.types.count(SPILL) < _size(insn):
        return None
    return place[0], place[1] // 8


def _linked(state: State, pc: int, insn: Insn, live: Sequence[int]) -> frozenset[Place]:
    """The numbers that a comparison tells something of, if they are more than one: those with the same id."""
    if insn.opcode & 7 not in (op.JMP, op.JMP32) or insn.opcode & 0xF0 in (op.CALL, op.EXIT, op.JA, op.JCOND):
        return frozenset()
    names = (insn.dst_reg, insn.src_reg) if insn.opcode & op.X else (insn.dst_reg,)
    compared = [state.frames[-1].regs[n] for n in names]
    ids = {reg.id for reg in compared if reg.kind == "scalar" and reg.id}
    if not ids:
        return frozenset()
    at = [*(frame.callsite for frame in state.frames[1:]), pc]  # by frame: where it is
    found = frozenset(
        (level, n)
        for (level, n), reg in _numbers(state)
        if reg.id in ids and (n < 0 or not live or live[at[level]] >> n & 1)
    )
    return found if len(found) > 1 else frozenset()


def _numbers(state: State) -> Iterator[tuple[Place, Reg]]:
    for level, frame in enumerate(state.frames):
        yield from (((level, n), reg) for n, reg in enumerate(frame.regs) if reg.kind == "scalar")
        for index, slot in frame.stack.items():
            if slot.reg is not None and slot.reg.kind == "scalar":
                yield (level, -1 - index), slot.reg


class Backtracker:
    """What was followed back so far, and how it is told: `say` takes a line, `shown` an instruction's slot."""

    def __init__(
        self, insns: Sequence[Insn], say: Callable[[str], None], shown: Callable[[int], str]
    ) -> None:
        self.insns, self.say, self.shown = insns, say, shown
        self.precise: dict[Node, set[Place]] = {}  # what is known to be needed of remembered states

    def asked(self, step: Step, state: State, reg: Reg) -> None:
        """The instruction at hand needs the exact value of a number."""
        place = self._place(state, reg, uses(self.insns[step.pc])[0])
        if place is not None:
            self._follow(step, {place}, len(state.frames) - 1)

    def inherits(self, before: Step | None, state: State, pc: int, node: Node) -> None:
        """A path ends here, for `node` covers it: what was needed of that is needed of this."""
        wanted = self.precise.get(node, set())
        for level in range(len(node.state.frames) - 1, -1, -1):
            names = sorted((at for fr, at in wanted if fr == level), key=lambda at: (at < 0, abs(at)))
            if names:
                told = ",".join(f"r{at}" if at >= 0 else f"fp{8 * at}" for at in names)
                self.say(f"frame {level}: propagating {told}")
        if wanted:
            first = before.first if before is not None and before.node is state.node else pc
            self._follow(Step(before, pc, 0, state.node, first), set(wanted), len(state.frames) - 1)

    def _place(self, state: State, reg: Reg, read: int) -> Place | None:
        """Where a number is: in a register that the instruction reads, else anywhere."""
        level = len(state.frames) - 1
        regs = [n for n, other in enumerate(state.frames[-1].regs) if other is reg]
        places = [(level, n) for n in sorted(regs, key=lambda n: not read >> n & 1)]
        if places and read >> places[0][1] & 1:
            return places[0]
        places += [place for place, other in _numbers(state) if other is reg]
        return places[-1] if places else None

    def _follow(self, step: Step, wanted: set[Place], level: int) -> None:
        """Back from an instruction that was not walked to its end, until nothing is wanted any more."""
        later, last = -1, step.pc
        at: Step | None = step
        skip = True
        while at is not None and wanted:
            self.say(f"mark_precise: frame{level}: last_idx {last} first_idx {at.first} subseq_idx {later} ")
            node = at.node
            while at is not None and at.node is node:
                if not skip:
                    self._tell(at, wanted, level)
                    try:
                        level = self._undo(at, wanted, level, later)
                    except Lost:
                        return
                    if not wanted:
                        return
                skip, later = False, at.pc
                at = at.before
            if node is None or at is None:
                return
            for frame in range(level, -1, -1):
                self._remember(node, wanted, frame)
            last = at.pc

    def _remember(self, node: Node, wanted: set[Place], level: int) -> None:
        """What is wanted of a remembered state: numbers that were not wanted of it before."""
        known, numbers = self.precise.setdefault(node, set()), dict(_numbers(node.state))
        for place in [place for place in wanted if place[0] == level]:
            if place not in numbers or place in known:
                wanted.discard(place)
            else:
                known.add(place)
        regs, slots = _masks(wanted, level)
        state = draw_frame(node.state, level, precise=known)
        self.say(f"mark_precise: frame{level}: parent state regs={regs} stack={slots}:  {state}")

    def _tell(self, step: Step, wanted: set[Place], level: int) -> None:
        regs, slots = _masks(wanted, level)
        self.say(
            f"mark_precise: frame{level}: regs={regs} stack={slots} before {step.pc}: {self.shown(step.pc)}"
        )

    def _undo(self, step: Step, wanted: set[Place], level: int, later: int) -> int:
        """What is wanted before an instruction, from what is wanted behind it; the frame that it runs in."""
        if step.linked & wanted:
            wanted |= step.linked
        insn = self.insns[step.pc]
        kind = insn.opcode & 7
        if kind in (op.ALU, op.ALU64):
            _computed(insn, wanted, level)
        elif kind in (op.LD, op.LDX):
            if (level, insn.dst_reg) in wanted:
                wanted.discard((level, insn.dst_reg))
                if kind == op.LD and insn.opcode & 0xE0 != op.IMM:
                    raise Lost
                if step.slot is not None:
                    wanted.add(step.slot)
        elif kind in (op.ST, op.STX):
            if (level, insn.dst_reg) in wanted:
                raise Lost
            if step.slot in wanted:
                wanted.discard(step.slot)
                if kind == op.STX:
                    wanted.add((level, insn.src_reg))
        elif insn.opcode & 0xF0 == op.CALL:
            level = self._called(step, insn, wanted, level, later)
        elif insn.opcode & 0xF0 == op.EXIT:
            level = self._left(wanted, level, later)
        elif insn.opcode & op.X and insn.opcode & 0xF0 not in (op.JA, op.JCOND):
            both = {(level, insn.dst_reg), (level, insn.src_reg)}
            wanted |= both if both & wanted else set()
        if step.linked & wanted:
            wanted |= step.linked
        return level

    def _called(self, step: Step, insn: Insn, wanted: set[Place], level: int, later: int) -> int:
        """Back over a call, or out of a function through the call that entered it."""
        entered = later >= 0 and later != step.pc + 1
        if entered and (insn.src_reg == 1 or _calls_back(insn)):
            for n in _ARGUMENTS:
                if (level, n) in wanted:
                    wanted.discard((level, n))
                    if insn.src_reg == 1:
                        wanted.add((level - 1, n))
            return level - 1
        wanted.discard((level, 0))
        return level

    def _left(self, wanted: set[Place], level: int, later: int) -> int:
        """Into a function, at its end: its result is what its caller's r0 is."""
        if later >= 0 and _calls_back(self.insns[later]):
            wanted -= {(level, n) for n in _ARGUMENTS}
        caller = self.insns[later - 1] if later > 0 else None
        result = caller is not None and caller.opcode == op.JMP | op.CALL and caller.src_reg == 1
        wanted_result = result and (level, 0) in wanted
        wanted.discard((level, 0))
        if wanted_result:
            wanted.add((level + 1, 0))
        return level + 1


def _computed(insn: Insn, wanted: set[Place], level: int) -> None:
    """Arithmetic: what a result was made of."""
    operation, dst, src = insn.opcode & 0xF0, (level, insn.dst_reg), (level, insn.src_reg)
    if dst not in wanted or operation in (op.END, op.NEG):
        return
    if operation == op.MOV:
        wanted.discard(dst)
    if insn.opcode & op.X and insn.src_reg != 10:
        wanted.add(src)


def _calls_back(insn: Insn) -> bool:
    """Whether a helper calls back while it runs."""
    helper = BY_ID.get(insn.imm) if insn.opcode == op.JMP | op.CALL and not insn.src_reg else None
    return helper is not None and "PTR_TO_FUNC" in helper.args


def _masks(wanted: set[Place], level: int) -> tuple[str, str]:
    """The registers and the stack slots of a frame that are wanted, as the log writes them."""
    places = [at for fr, at in wanted if fr == level]
    regs = ",".join(f"r{n}" for n in sorted(at for at in places if at >= 0))
    return regs, ",".join(str(8 * at) for at in sorted((at for at in places if at < 0), reverse=True))
