"""All paths of a program: branches, pruning by earlier states, loops, callbacks, limits.

Paths are walked depth first. At some slots the state is remembered (a `Node`); a path that arrives
with a state that an earlier, finished one covers needs no second walk. Two things make states
comparable: stack slots that nobody read afterwards do not count, and numbers whose exact value was
never needed ("imprecise") may differ.
"""

from __future__ import annotations

from collections.abc import Mapping

from pbt.data import NamedTuple
from pbt.isa import opcodes as op
from pbt.typing import TYPE_CHECKING, Final
from pbt.verifier_sim import unprivileged
from pbt.verifier_sim.env import Certain, Decoded, Env, Refuse, Unsupported
from pbt.verifier_sim.flow import Flow
from pbt.verifier_sim.prune import COVERS, EXACTLY, WITHIN, Node, covers, find, same_hint
from pbt.verifier_sim.reg import with_origin
from pbt.verifier_sim.stack import note_read
from pbt.verifier_sim.state import Slot, State
from pbt.verifier_sim.step import decoded

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol

    class Watch(Protocol):
        """Somebody who is told of every step of a walk: a log, or a trail."""

        def functions(self, starts: Sequence[int], live: Sequence[int]) -> None:
            """What the program consists of; `live`: registers still to be read, by slot."""

        def starts(self) -> None:
            """The walk of the main program or of a global function begins."""

        def goes_on(self) -> None:
            """The path that was left last, of those still to be walked, is taken up."""

        def ends(self) -> None:
            """A path came to its end."""

        def safe(self, pc: int) -> None:
            """A path needs no walking from a slot on."""

        def inherits(self, pc: int, state: State, node: Node) -> None:
            """The path needs no walking from a slot on: a remembered state covers it, whose needs become its own."""

        def step(self, env: Env, state: State, pc: int, decoded: Decoded) -> int:
            """Walk one instruction; the slot after it."""


LIMIT: Final = 1_000_000  # BPF_COMPLEXITY_LIMIT_INSNS
_NOTHING: Final[set[tuple[int, int]]] = set()  # remembered states write nothing more
_MISS, _HIT, _NEW = 0, 1, 2
_ALL = 0b1111111111  # r0 to r9


class Walk(NamedTuple):
    """What a walk found: the refusal (None: accepted), its slot, and the story of the walk."""

    refusal: Refuse | None
    pc: int
    processed: int
    stack_depth: int
    states: Mapping[int, list[State]]
    last: State | None
    remembered: tuple[int, int, int] = (0, 0, 0)  # states: at most at one slot, all, at most at once


# walking ------------------------------------------------------------------------------------------


class Explorer:
    """One walk over all paths."""

    def __init__(self, env: Env, flow: Flow, keep: bool, thorough: bool, log: Watch | None = None) -> None:
        self.log = log
        self.env, self.flow, self.keep = env, flow, keep
        self.cover = WITHIN if thorough or not env.bpf else COVERS  # there, all numbers are precise
        self.live = [_ALL] * (len(env.insns) + 1) if thorough else flow.live
        self.marks = _marks(env, flow)
        self.steps: list[Decoded | None] = [None] * len(env.insns)
        self.nodes: dict[int, list[Node]] = {}
        self.states: dict[int, list[State]] = {}
        self.jumps_before = self.insns_before = 0
        self.jumps = 0
        self.remembered = self.kept = self.most = self.most_kept = (
            0  # states: all, those not forgotten, by slot
        )
        self.pc = 0

    @property
    def counts(self) -> tuple[int, int, int]:
        """States remembered: at most at one slot, in all, at most at once."""
        return self.most, self.remembered, self.most_kept

    def run(self, state: State, start: int = 0) -> Walk:
        """Walk the main program, or a global function by itself, from a first state."""
        env, pc = self.env, start
        env.subprogram = start > 0 and start != env.handler
        env.void = env.returns_void(start) if start else bool(env.attached and env.attached.void)
        self.nodes.clear()
        self.pc = start
        current = state
        if self.log is not None:
            self.log.starts()
        try:
            while True:
                try:
                    current = self._path(pc, current)
                except Certain:
                    raise
                except Refuse:
                    if not self._barred():
                        raise
                self._finished(current.node)
                if self.log is not None:
                    self.log.ends()
                if not env.pending:
                    break
                pc, current = env.pending.pop()
                if self.log is not None:
                    self.log.goes_on()
        except Refuse as refusal:
            where = refusal.pc if refusal.pc is not None else self.pc
            return Walk(refusal, where, env.processed, 0, self.states, self.current)
        return Walk(None, -1, env.processed, 0, self.states, None)

    def _barred(self) -> bool:
        """Whether the path that goes wrong is one that only a processor running ahead goes; it ends here then."""
        pc, step = self.pc, self.steps[self.pc]
        if step is None or not unprivileged.barred(self.env, self.current, pc):
            return False
        self.steps[pc] = _barrier, step
        return True

    def _path(self, pc: int, state: State) -> State:
        """Walk until the path ends or an earlier state covers it."""
        env, marks, steps = self.env, self.marks, self.steps
        self.current = state
        while True:
            self.pc = pc
            env.processed += 1
            if env.processed > env.patience:
                self._too_far()
            mark = marks[pc]
            if mark:
                if mark & _COMPARED and self._known(pc, state, mark & _EVERY_TIME):
                    if self.log is not None:
                        self.log.safe(pc)
                    return state
                if mark & _JUMP:
                    self.jumps += 1
            if self.keep:
                self.states.setdefault(pc, []).append(state.copy())
            step = steps[pc]
            if step is None:
                step = steps[pc] = self._decoded(pc)
            pc = step[0](env, state, pc, step[1])
            if pc < 0:
                return state

    def _decoded(self, pc: int) -> Decoded:
        """The instruction at a slot, taken apart, or the refusal of older kernels that come to it."""
        if pc in self.flow.late:
            raise Refuse(self.flow.late[pc])
        step = decoded(self.env, pc)
        return step if self.log is None else (self.log.step, step)

    def _too_far(self) -> None:
        env = self.env
        if env.patience < LIMIT:
            raise Unsupported(f"all that would take more than {env.patience} instructions to walk")
        raise Certain(f"BPF program is too large. Processed {env.processed} insn")

    def _finished(self, node: Node | None) -> None:
        """A path came to its end: its checkpoints are complete once all their branches are."""
        while node is not None:
            node.branches -= 1
            if node.branches > 0:
                return
            node = node.parent

    def _known(self, pc: int, state: State, forced: int) -> bool:
        """Whether an earlier state covers this one; else perhaps remember it. `forced`: be quick to do so."""
        jumps, walked = self.jumps - self.jumps_before, self.env.processed - self.insns_before
        eager = bool(forced) or self.env.state_freq
        add = eager or (jumps >= 2 and walked >= 8)
        nodes = self.nodes.get(pc)
        if nodes:
            young = not eager and jumps < 20 and walked < 100
            found = self._compare(pc, state, nodes, bool(forced), add, young)
            if found == _HIT:
                return True
            if len(nodes) > self.most:
                self.most = len(nodes)
            if found == _MISS:
                return False
        elif not add:
            return False
        self._remember(pc, state)
        return False

    def _compare(self, pc: int, state: State, nodes: list[Node], forced: bool, add: bool, young: bool) -> int:
        """Compare with earlier states at the same slot, the latest first.

        _HIT: one covers this state; _NEW: none does, and this one is worth remembering; else _MISS.
        As the kernel does, states that never help are forgotten; only those that were compared
        with a state worth remembering count as having missed.
        """
        live, rules, env = self.live, self.env.rules, self.env
        cover = EXACTLY if env.limits_matter else self.cover
        for node in nodes[::-1]:
            unfinished = node.branches > 0
            if unfinished:
                same = len(node.state.frames) == len(state.frames)
                if same and node.state.loops != state.loops:
                    if forced and covers(node, state, WITHIN, live, rules):
                        self._needs_all(state)
                        return _HIT
                elif same and same_hint(node, state) and covers(node, state, EXACTLY, live, rules):
                    raise _endless(pc, state, node.state)
                add = add and not young
            elif covers(node, state, cover, live, rules):
                node.hits += 1
                self._inherit(node, state)
                return _HIT
            if add:
                node.misses += 1
                rounds = 64 if forced and unfinished else 3
                if node.misses > rounds * node.hits + rounds:
                    nodes.remove(node)
                    self.kept -= not unfinished
        return _NEW if add else _MISS

    def _inherit(self, node: Node, state: State) -> None:
        """What the earlier walk needed, this path needs as well."""
        if self.log is not None:
            self.log.inherits(self.pc, state, node)
        for level, index in node.reads:
            if level < len(state.frames):
                note_read(state, level, index)
        for place in node.precise:
            reg = find(state, place)
            if reg is not None:
                self.env.precise(reg, told=True)

    def _needs_all(self, state: State) -> None:
        """Compared with an unfinished state: everything may still turn out to be needed."""
        for level, frame in enumerate(state.frames):
            for reg in frame.regs:
                self.env.precise(reg, certain=False)
            for index, slot in frame.stack.items():
                note_read(state, level, index)
                if slot.reg is not None:
                    self.env.precise(slot.reg, certain=False)

    def _remember(self, pc: int, state: State) -> None:
        self.jumps_before, self.insns_before = self.jumps, self.env.processed
        kept = state.copy()
        kept.path, kept.written = None, _NOTHING
        self.remembered += 1
        self.kept += 1
        self.most_kept = max(self.most_kept, self.kept)
        node = Node(pc, kept, state.node, state.written)
        self.nodes.setdefault(pc, []).append(node)
        state.node, state.written = node, set()
        for level, frame in enumerate(state.frames):
            regs = frame.regs
            for regno, reg in enumerate(regs):
                if reg.kind == "scalar":
                    regs[regno] = with_origin(reg, ((node, (level, regno)),))
            for index, slot in frame.stack.items():
                held = slot.reg
                if held is not None and held.kind == "scalar":
                    deps = ((node, (level, -1 - index)),)
                    frame.stack[index] = Slot(slot.types, with_origin(held, deps))


def _barrier(env: Env, state: State, pc: int, step: Decoded) -> int:
    """An instruction that paths which only a processor running ahead goes do not come to."""
    return -1 if state.speculative else step[0](env, state, pc, step[1])


def repeats(name: str) -> bool:
    """Whether a kernel function is walked in rounds: iterators, and trees whose nodes are ordered."""
    return name.endswith("_next") or name.removesuffix("_impl") == "bpf_rbtree_add"


_ROUNDS = frozenset((164, 180, 181, 209))  # helpers that call back while they run
_COMPARED, _JUMP, _EVERY_TIME = 1, 2, 4


def _marks(env: Env, flow: Flow) -> bytearray:
    """By slot: whether states are compared there, whether it counts as a jump, whether each round is compared."""
    marks = bytearray(flow.prune)
    for pc, insn in enumerate(env.insns):
        opcode = insn.opcode
        if opcode & 7 in (op.JMP, op.JMP32):
            marks[pc] |= _JUMP
            if opcode == op.JMP | op.CALL and not insn.src_reg and insn.imm in _ROUNDS:
                marks[pc] |= _COMPARED | _EVERY_TIME
            elif opcode == op.JMP | op.JCOND:
                marks[pc] |= _EVERY_TIME
    for pc, name in env.kfuncs.items():
        if pc < len(env.insns):
            marks[pc] &= ~_EVERY_TIME
            if repeats(name):
                marks[pc] |= _COMPARED | _EVERY_TIME
    return marks


def _endless(pc: int, state: State, before: State) -> Certain:
    from pbt.verifier_sim.draw import draw_frame

    states = f"cur state: {draw_frame(state)}\nold state: {draw_frame(before)}"
    return Certain(f"infinite loop detected at insn {pc}", after=states)
