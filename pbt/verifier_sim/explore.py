"""All paths of a program: branches, pruning by earlier states, loops, callbacks, limits → Verdict.

Paths are walked depth first. At some slots the state is remembered (a `Node`); a path that arrives
with a state that an earlier, finished one covers needs no second walk. Two things make states
comparable: stack slots that nobody read afterwards do not count, and numbers whose exact value was
never needed ("imprecise") may differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from pbt.isa.insn import Insn
from pbt.uapi.progs import PROG_TYPES
from pbt.verifier_sim import check as shape
from pbt.verifier_sim import scalar
from pbt.verifier_sim.calls import DONE
from pbt.verifier_sim.env import Env, Refuse, Unsupported
from pbt.verifier_sim.kernels import Features
from pbt.verifier_sim.memory import note_read
from pbt.verifier_sim.reg import ANY, NULL, Deps, MapInfo, Reg
from pbt.verifier_sim.state import INVALID, MISC, SPILL, ZEROED, Frame, Slot, State
from pbt.verifier_sim.step import STEPS

LIMIT: Final = 1_000_000  # BPF_COMPLEXITY_LIMIT_INSNS
COVERS, EXACTLY, WITHIN = 0, 1, 2  # how states are compared; see _reg_covers
_MISS, _HIT, _IN_LOOP = 0, 1, 2
_ALL = 0b1111111111  # r0 to r9
_SAVED = 0b1111000000  # r6 to r9, which survive calls


class Walk(NamedTuple):
    """What a walk found: the refusal (None: accepted), its slot, and the story of the walk."""

    refusal: Refuse | None
    pc: int
    processed: int
    stack_depth: int
    states: Mapping[int, list[State]]
    last: State | None


class Node:
    """A remembered state and what later steps needed of it."""

    __slots__ = ("branches", "hint", "hits", "misses", "parent", "pc", "precise", "reads", "state", "written")

    def __init__(self, pc: int, state: State, parent: Node | None, written: set[tuple[int, int]]) -> None:
        self.pc, self.state, self.parent, self.written = pc, state, parent, written
        self.branches = 1
        self.hits = self.misses = 0
        self.hint = 0  # the register that differed last time
        self.reads: set[tuple[int, int]] = set()
        self.precise: set[tuple[int, int]] = set()

    def origin(self, place: tuple[int, int]) -> Deps:
        """Where the number at `place` came from before this state."""
        reg = find(self.state, place)
        return reg.deps if reg is not None else ()


def find(state: State, place: tuple[int, int]) -> Reg | None:
    """The register (level, n) or the spilled one (level, -1 - slot)."""
    level, at = place
    if level >= len(state.frames):
        return None
    if at >= 0:
        return state.frames[level].regs[at]
    slot = state.frames[level].stack.get(-1 - at)
    return slot.reg if slot is not None else None


# comparing states ---------------------------------------------------------------------------------


class Match:
    """One comparison of an earlier state with the current one."""

    __slots__ = ("ids", "mode", "node", "rules", "temporary")

    def __init__(self, node: Node, mode: int, rules: Features) -> None:
        self.node, self.mode, self.rules = node, mode, rules
        self.ids: dict[int, int] = {}
        self.temporary = 0

    def same_id(self, old: int, new: int) -> bool:
        """Whether ids correspond, one to one over the whole state."""
        if not old and not new:
            return True
        if not old or not new:
            return False
        known = self.ids.get(old)
        if known is None:
            if new in self.ids.values():
                return False
            self.ids[old] = new
            return True
        return known == new

    def scalar_id(self, old: int, new: int) -> bool:
        """The same for linked numbers: a new number without an id is linked to nothing."""
        if not old:
            return True
        if not new:
            self.temporary -= 1
            new = self.temporary
        return self.same_id(old, new)

    def reg(self, old: Reg, new: Reg, place: tuple[int, int]) -> bool:
        if old.kind == "uninit":
            return self.mode != EXACTLY or new.kind == "uninit"
        if old.kind != new.kind:
            return False
        if old.kind == "scalar":
            return self._scalar(old, new, place)
        if (
            old.off != new.off
            or old.null != new.null
            or old.mods != new.mods
            or not (old.obj is new.obj or old.obj == new.obj)
            or not self.same_id(old.id, new.id)
            or not self.same_id(old.ref, new.ref)
        ):
            return False
        if self.mode == EXACTLY or old.kind == "fp":
            return old.size == new.size and old.num == new.num
        if old.kind in ("pkt", "pkt_meta"):
            if old.size > new.size:
                return False
        elif old.size != new.size:
            return False
        return scalar.includes(old.num, new.num)

    def _scalar(self, old: Reg, new: Reg, place: tuple[int, int]) -> bool:
        if old.mods != new.mods:
            return False
        if self.mode == EXACTLY:
            return old.num == new.num and old.delta == new.delta and self.scalar_id(old.id, new.id)
        if self.mode == COVERS and place not in self.node.precise:
            return True
        if not scalar.includes(old.num, new.num):
            return False
        return not old.id or (old.delta == new.delta and self.scalar_id(old.id, new.id))

    def slot(self, old: Slot, new: Slot | None, place: tuple[int, int]) -> bool:
        types = new.types if new is not None else INVALID * 8
        if self.mode == EXACTLY:
            if old.types != types:
                return False
            if old.reg is None or new is None or new.reg is None:
                return (old.reg is None) == (new is None or new.reg is None)
            return self.reg(old.reg, new.reg, place)
        reg = new.reg if new is not None else None
        if old.reg is not None:
            if types != old.types or reg is None:
                reg = _as_number(types, old.types, reg)
            return reg is not None and self.reg(old.reg, reg, place)
        if types == old.types:
            return True
        loose = "uninit_stack" in self.rules
        for was, now in zip(old.types, types, strict=True):
            if was == now or was == INVALID:
                continue
            if was == MISC and (
                now == ZEROED
                or (now == INVALID and loose)
                or (now == SPILL and reg is not None and reg.kind == "scalar")
            ):
                continue
            if (
                was == ZEROED
                and now == SPILL
                and reg is not None
                and reg.num.const == 0
                and reg.kind == "scalar"
            ):
                continue
            return False
        return True

    def frame(self, level: int, old: Frame, new: Frame, live: int) -> bool:
        if old.callsite != new.callsite or (old.callback is None) != (new.callback is None):
            return False
        old_regs, new_regs = old.regs, new.regs
        for regno in range(10):
            if live >> regno & 1:
                was, now = old_regs[regno], new_regs[regno]
                if not self.reg(was, now, (level, regno)):
                    if self.mode == EXACTLY and was.kind == now.kind and was.num != now.num:
                        self.node.hint = regno
                    return False
        reads = self.node.reads
        for index, slot in old.stack.items():
            if self.mode == COVERS and (level, index) not in reads:
                continue
            if not self.slot(slot, new.stack.get(index), (level, -1 - index)):
                return False
        if self.mode == EXACTLY:
            return old.stack.keys() == new.stack.keys()
        return True


def _as_number(types: str, wanted: str, reg: Reg | None) -> Reg | None:
    """Eight unspilled bytes read as one number, to compare with a spilled one."""
    if wanted != SPILL * 8 or reg is not None:
        return None
    if types == ZEROED * 8:
        return NULL
    return ANY if INVALID not in types and set(types) <= {MISC, ZEROED} else None


def covers(node: Node, state: State, mode: int, live: Sequence[int], rules: Features) -> bool:
    """Whether what was found from `node` holds for `state` as well."""
    old = node.state
    if len(old.frames) != len(state.frames) or len(old.refs) != len(state.refs):
        return False
    if mode == EXACTLY and old.frames[-1].regs[node.hint].num != state.frames[-1].regs[node.hint].num:
        return False
    match = Match(node, mode, rules)
    last = len(old.frames) - 1
    for level, frame in enumerate(old.frames):
        new = state.frames[level]
        if level == last:
            mask = live[node.pc]
        else:
            inner = old.frames[level + 1]
            mask = live[inner.callsite] if inner.callback else live[inner.callsite + 1] & _SAVED
        if not match.frame(level, frame, new, mask):
            return False
    if (old.lock is None) != (state.lock is None):
        return False
    if old.lock and state.lock:
        if old.lock[0] != state.lock[0] or not match.same_id(old.lock[1], state.lock[1]):
            return False
    return all(match.same_id(a[0], b[0]) for a, b in zip(old.refs, state.refs, strict=True))


# walking ------------------------------------------------------------------------------------------


class Explorer:
    """One walk over all paths."""

    def __init__(self, env: Env, flow: shape.Flow, keep: bool, thorough: bool) -> None:
        self.env, self.flow, self.keep = env, flow, keep
        self.cover = WITHIN if thorough else COVERS
        self.live = [_ALL] * (len(env.insns) + 1) if thorough else flow.live
        self.nodes: dict[int, list[Node]] = {}
        self.states: dict[int, list[State]] = {}
        self.jumps_before = self.insns_before = 0
        self.jumps = 0

    def run(self, state: State) -> Walk:
        env, pc = self.env, 0
        current = state
        try:
            while True:
                pc, found = self._path(pc, current)
                self._finished(found.node)
                if not env.pending:
                    break
                pc, current = env.pending.pop()
            depth = shape.longest_stack(env.insns, self.flow.starts, env.depths, env.rules, env.private_stack)
        except Refuse as refusal:
            where = refusal.pc if refusal.pc is not None else self.pc
            return Walk(refusal, where, env.processed, 0, self.states, self.current)
        return Walk(None, -1, env.processed, depth, self.states, None)

    def _path(self, pc: int, state: State) -> tuple[int, State]:
        """Walk until the path ends or an earlier state covers it."""
        env, prune, steps, insns = self.env, self.flow.prune, STEPS, self.env.insns
        keep, states = self.keep, self.states
        self.current = state
        while True:
            self.pc = pc
            env.processed += 1
            if env.processed > LIMIT:
                raise Refuse(
                    f"BPF program is too large. Processed {env.processed} insn",
                    "The kernel walks at most a million instructions over all paths.",
                )
            if prune[pc]:
                if self._known(pc, state):
                    return pc, state
                self.jumps += 1
            if keep:
                states.setdefault(pc, []).append(state.copy())
            insn = insns[pc]
            step = steps[insn.opcode]
            if step is None:
                raise Refuse(f"unknown opcode {insn.opcode:02x}")
            pc = step(env, state, pc, insn)
            if pc == DONE:
                return pc, state

    def _finished(self, node: Node | None) -> None:
        """A path came to its end: its checkpoints are complete once all their branches are."""
        while node is not None:
            node.branches -= 1
            if node.branches > 0:
                return
            node = node.parent

    def _known(self, pc: int, state: State) -> bool:
        """Whether an earlier state covers this one; else perhaps remember it."""
        env = self.env
        forced = self._forced(pc)
        add = forced or (self.jumps - self.jumps_before >= 2 and env.processed - self.insns_before >= 8)
        nodes = self.nodes.get(pc)
        if nodes:
            found = self._compare(pc, state, nodes, forced)
            if found == _HIT:
                return True
            add = add and (forced or found != _IN_LOOP)
        if add:
            self._remember(pc, state)
        return False

    def _compare(self, pc: int, state: State, nodes: list[Node], forced: bool) -> int:
        """Compare with earlier states at the same slot: _HIT, _MISS, or _IN_LOOP (too early to add one)."""
        env, live, rules = self.env, self.live, self.env.rules
        answer, crowded = _MISS, None
        young = self.jumps - self.jumps_before < 20 and env.processed - self.insns_before < 100
        for node in nodes:
            if node.branches:
                if len(node.state.frames) != len(state.frames):
                    continue
                if node.state.loops != state.loops:
                    if forced and covers(node, state, WITHIN, live, rules):
                        self._needs_all(state)
                        return _HIT
                    continue
                if covers(node, state, EXACTLY, live, rules):
                    raise Refuse(
                        f"infinite loop detected at insn {pc}", "Nothing changes from round to round."
                    )
                if young:
                    answer = _IN_LOOP
            elif covers(node, state, self.cover, live, rules):
                node.hits += 1
                self._inherit(node, state)
                return _HIT
            node.misses += 1
            rounds = 64 if forced else 3
            if node.misses > rounds * node.hits + rounds:
                crowded = node
        if crowded is not None:  # as the kernel does: states that never help are forgotten
            nodes.remove(crowded)
        return answer

    def _forced(self, pc: int) -> bool:
        """Calls with callbacks and may_goto: their rounds must be compared every time."""
        insn = self.env.insns[pc]
        return insn.opcode == 0xE5 or (insn.opcode == 0x85 and not insn.src_reg and insn.imm in _ROUNDS)

    def _inherit(self, node: Node, state: State) -> None:
        """What the earlier walk needed, this path needs as well."""
        for level, index in node.reads:
            if level < len(state.frames):
                note_read(state, level, index)
        for place in node.precise:
            reg = find(state, place)
            if reg is not None:
                self.env.precise(reg)

    def _needs_all(self, state: State) -> None:
        """Compared with an unfinished state: everything may still turn out to be needed."""
        for level, frame in enumerate(state.frames):
            for reg in frame.regs:
                self.env.precise(reg)
            for index, slot in frame.stack.items():
                note_read(state, level, index)
                if slot.reg is not None:
                    self.env.precise(slot.reg)

    def _remember(self, pc: int, state: State) -> None:
        self.jumps_before, self.insns_before = self.jumps, self.env.processed
        node = Node(pc, state.copy(), state.node, state.written)
        self.nodes.setdefault(pc, []).append(node)
        state.node, state.written = node, set()
        for level, frame in enumerate(state.frames):
            regs = frame.regs
            for regno, reg in enumerate(regs):
                if reg.kind == "scalar":
                    regs[regno] = reg._replace(deps=((node, (level, regno)),))
            for index, slot in frame.stack.items():
                held = slot.reg
                if held is not None and held.kind == "scalar":
                    place = (level, -1 - index)
                    frame.stack[index] = Slot(slot.types, held._replace(deps=((node, place),)))


_ROUNDS = frozenset((164, 180, 181, 209))  # helpers that call back while they run


def walk(
    insns: Sequence[Insn],
    prog_type: str,
    attach: str,
    maps: Sequence[MapInfo],
    map_of: Mapping[int, tuple[int, str, int]],
    rules: Features,
    *,
    keep: bool = False,
    thorough: bool = False,
    **options: Any,
) -> Walk:
    """Check the shape of a program, then walk all its paths."""
    try:
        flow = shape.check(insns, maps, map_of, rules)
    except Refuse as refusal:
        return Walk(refusal, refusal.pc or 0, 0, 0, {}, None)
    env = Env(insns, PROG_TYPES[prog_type], attach, maps, map_of, rules, **options)
    first = Frame(-1, 0, 0)
    first.regs[1] = Reg("ctx")
    for pc, insn in enumerate(insns):
        if insn.opcode == 0x85 and not insn.src_reg and insn.imm in _ROUNDS:
            flow.prune[pc] = 1
    return Explorer(env, flow, keep, thorough).run(State([first]))


__all__ = ["LIMIT", "Unsupported", "Walk", "walk"]
