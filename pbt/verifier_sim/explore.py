"""All paths of a program: branches, pruning by earlier states, loops, callbacks, limits → Verdict.

Paths are walked depth first. At some slots the state is remembered (a `Node`); a path that arrives
with a state that an earlier, finished one covers needs no second walk. Two things make states
comparable: stack slots that nobody read afterwards do not count, and numbers whose exact value was
never needed ("imprecise") may differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pbt.data import NamedTuple
from pbt.isa.insn import Insn
from pbt.typing import TYPE_CHECKING, Any, Final
from pbt.uapi.progs import PROG_TYPES
from pbt.verifier_sim import arena, throw, unprivileged
from pbt.verifier_sim import check as shape
from pbt.verifier_sim.env import Env, Refuse, Unsupported
from pbt.verifier_sim.fields import usable, visible
from pbt.verifier_sim.functions import arguments, check_layout
from pbt.verifier_sim.kernels import Features
from pbt.verifier_sim.leave import DONE
from pbt.verifier_sim.prune import COVERS, EXACTLY, WITHIN, Node, covers, find
from pbt.verifier_sim.reg import MapInfo, Reg
from pbt.verifier_sim.stack import note_read
from pbt.verifier_sim.state import Frame, Slot, State
from pbt.verifier_sim.step import STEPS

if TYPE_CHECKING:
    from pbt.verifier_sim.log import Log

LIMIT: Final = 1_000_000  # BPF_COMPLEXITY_LIMIT_INSNS
_PRUNED: Final = -2  # an earlier state covers this one
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


# walking ------------------------------------------------------------------------------------------


class Explorer:
    """One walk over all paths."""

    def __init__(
        self, env: Env, flow: shape.Flow, keep: bool, thorough: bool, log: Log | None = None
    ) -> None:
        self.log = log
        self.env, self.flow, self.keep = env, flow, keep
        self.cover = WITHIN if thorough or not env.privileged else COVERS  # there, all numbers are precise
        self.live = [_ALL] * (len(env.insns) + 1) if thorough else flow.live
        self.nodes: dict[int, list[Node]] = {}
        self.states: dict[int, list[State]] = {}
        self.jumps_before = self.insns_before = 0
        self.jumps = 0
        self.pc = 0
        self.only = False  # walk one instruction, then come back

    def run(self, state: State, start: int = 0) -> Walk:
        """Walk the main program, or a global function by itself, from a first state."""
        env, pc = self.env, start
        env.subprogram = start > 0 and start != env.handler
        env.void = start > 0 and env.returns_void(start)
        self.nodes.clear()
        self.pc = start
        current = state
        try:
            while True:
                pc, found = self._path(pc, current)
                self._finished(found.node)
                if not env.pending:
                    break
                pc, current = env.pending.pop()
                if self.log is not None:
                    self.log.path(pc, current, current.path[1] if current.path else -1)
        except Refuse as refusal:
            where = refusal.pc if refusal.pc is not None else self.pc
            return Walk(refusal, where, env.processed, 0, self.states, self.current)
        return Walk(None, -1, env.processed, 0, self.states, None)

    def _path(self, pc: int, state: State) -> tuple[int, State]:
        """Walk until the path ends or an earlier state covers it."""
        env, prune, steps, insns = self.env, self.flow.prune, STEPS, self.env.insns
        keep, states, late = self.keep, self.states, self.flow.late
        self.current = state
        if self.log is not None:
            return self._logged_path(pc, state)
        while True:
            self.pc = pc
            env.processed += 1
            if env.processed > env.patience:
                if env.patience < LIMIT:
                    raise Unsupported(f"all that would take more than {env.patience} instructions to walk")
                raise Refuse(
                    f"BPF program is too large. Processed {env.processed} insn",
                    "The kernel walks at most a million instructions over all paths.",
                )
            if prune[pc] and self._known(pc, state):
                return (_PRUNED if self.only else pc), state
            if keep:
                states.setdefault(pc, []).append(state.copy())
            insn = insns[pc]
            step = steps[insn.opcode]
            if late and pc in late:
                raise Refuse(late[pc])
            if insn.opcode & 7 in (5, 6):  # JMP and JMP32
                self.jumps += 1
            if step is None:
                raise Refuse(f"unknown opcode {insn.opcode:02x}")
            pc = step(env, state, pc, insn)
            if pc == DONE or self.only:
                return pc, state

    def _logged_path(self, pc: int, state: State) -> tuple[int, State]:
        """The same, telling the log of every step."""
        log = self.log
        assert log is not None
        self.log = None
        try:
            if not self.env.processed:
                log.path(pc, state, -1)
            while True:
                log.step(pc, state)
                self.only = True
                try:
                    after, found = self._path(pc, state)
                except Refuse:
                    log.done(pc, None)
                    raise
                finally:
                    self.only = False
                if after == _PRUNED:
                    return pc, found
                log.done(pc, found if found.frames else None)
                if after == DONE:
                    return pc, found
                pc = after
        finally:
            self.log = log

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
        far = self.jumps - self.jumps_before >= 2 and env.processed - self.insns_before >= 8
        forced_new = forced or env.state_freq
        nodes = self.nodes.get(pc)
        if not nodes:
            if forced_new or far:
                self._remember(pc, state)
            return False
        young = (
            not forced_new and self.jumps - self.jumps_before < 20 and env.processed - self.insns_before < 100
        )
        found = self._compare(pc, state, nodes, forced, forced_new or far, young)
        if found == _HIT:
            return True
        if found == _NEW:
            self._remember(pc, state)
        return False

    def _compare(self, pc: int, state: State, nodes: list[Node], forced: bool, add: bool, young: bool) -> int:
        """Compare with earlier states at the same slot, the latest first.

        _HIT: one covers this state; _NEW: none does, and this one is worth remembering; else _MISS.
        As the kernel does, states that never help are forgotten; only those that were compared
        with a state worth remembering count as having missed.
        """
        live, rules = self.live, self.env.rules
        for node in nodes[::-1]:
            unfinished = node.branches > 0
            if unfinished:
                same = len(node.state.frames) == len(state.frames)
                if same and node.state.loops != state.loops:
                    if forced and covers(node, state, WITHIN, live, rules):
                        self._needs_all(state)
                        return _HIT
                elif same and covers(node, state, EXACTLY, live, rules):
                    raise Refuse(
                        f"infinite loop detected at insn {pc}", "Nothing changes from round to round."
                    )
                add = add and not young
            elif covers(node, state, self.cover, live, rules):
                node.hits += 1
                self._inherit(node, state)
                return _HIT
            if add:
                node.misses += 1
                rounds = 64 if forced and unfinished else 3
                if node.misses > rounds * node.hits + rounds:
                    nodes.remove(node)
        return _NEW if add else _MISS

    def _forced(self, pc: int) -> bool:
        """Calls with callbacks and may_goto: their rounds must be compared every time."""
        insn = self.env.insns[pc]
        if pc in self.env.kfuncs:
            return repeats(self.env.kfuncs[pc])
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
                self.env.precise(reg, certain=False)
            for index, slot in frame.stack.items():
                note_read(state, level, index)
                if slot.reg is not None:
                    self.env.precise(slot.reg, certain=False)

    def _remember(self, pc: int, state: State) -> None:
        self.jumps_before, self.insns_before = self.jumps, self.env.processed
        kept = state.copy()
        kept.path, kept.written = None, _NOTHING
        node = Node(pc, kept, state.node, state.written)
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


def repeats(name: str) -> bool:
    """Whether a kernel function is walked in rounds: iterators, and trees whose nodes are ordered."""
    return name.endswith("_next") or name == "bpf_rbtree_add_impl"


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
    log: Log | None = None,
    target: str = "",
    **options: Any,
) -> Walk:
    """Check the shape of a program, then walk all its paths; `target`: what it attaches to by BTF."""
    try:
        handler = throw.handler(options.get("declared"))
        flow = shape.check(insns, maps, map_of, rules, handler)
        arena.only_one(maps, map_of)
    except Refuse as refusal:
        return Walk(refusal, refusal.pc or 0, 0, 0, {}, None)
    maps = [visible(info, options.get("release", ())) for info in maps]
    if target:
        from pbt.verifier_sim.attach import attached

        try:
            options["attached"] = attached(
                options.get("types"), prog_type, attach, target, rules, options.get("sleepable", False)
            )
        except Refuse as refusal:
            return Walk(refusal, 0, 0, 0, {}, None)
    env = Env(insns, PROG_TYPES[prog_type], attach, maps, map_of, rules, **options)
    if not env.privileged:
        try:
            unprivileged.shape(env, flow.successors)
        except Refuse as refusal:
            return Walk(refusal, refusal.pc or 0, 0, 0, {}, None)
    why = env.sleep_rule()
    if why:
        return Walk(Refuse(why), 0, 0, 0, {}, None)
    env.starts, env.handler = flow.starts, handler
    for pc, (index, _, _) in map_of.items():
        reason = usable(env, maps[index])
        if reason:
            return Walk(Refuse(reason), pc, 0, 0, {}, None)
    for pc, insn in enumerate(insns):
        if insn.opcode == 0x85 and not insn.src_reg and insn.imm in _ROUNDS:
            flow.prune[pc] = 1
    for pc, name in env.kfuncs.items():
        if repeats(name) and pc < len(flow.prune):
            flow.prune[pc] = 1
    return _judge(env, flow, Explorer(env, flow, keep, thorough, log))


def _judge(env: Env, flow: shape.Flow, explorer: Explorer) -> Walk:
    """The main program and the global functions, in the kernel's order; then the depth of the stack."""
    known = env.declared
    try:
        check_layout(env.insns, flow.starts, known)
        if known is not None:
            env.globals.update((at, f) for at, f in known.functions.items() if at and f.is_global)
        lazy = "main_first" in env.rules
        order = [0] if lazy else [*env.globals, 0]
        if env.handler:
            throw.check_handler(env, env.handler)
            env.called.add(env.handler)
        judged: set[int] = set()
        while order:
            start = order.pop(0)
            if start in judged:
                continue
            judged.add(start)
            found = explorer.run(_entry(env, start), start)
            if found.refusal is not None:
                return found
            if lazy:
                order = [at for at in env.globals if at in env.called and at not in judged]
        _all_walked(env)
        throw.allowed(env, flow.starts)
        depth = shape.longest_stack(env.insns, flow.starts, env.depths, env.rules, env.private_stack)
    except Refuse as refusal:
        where = refusal.pc if refusal.pc is not None else explorer.pc
        return Walk(refusal, where, env.processed, 0, explorer.states, None)
    return Walk(None, -1, env.processed, depth, explorer.states, None)


def _all_walked(env: Env) -> None:
    """A function whose address is taken but that nothing calls is removed; the one behind it stands in for it.

    There has to be one behind it, unless nothing but the main program is left; a program that throws gets one more
    function, which makes its result of that.
    """
    kept = env.entered | env.called
    for start in sorted(env.passed - kept):
        if env.privileged and (kept or env.threw) and start > max(kept, default=0):
            raise Refuse(
                f"No program to jit at insn {start}",
                "Call the function, or do not take its address.",
                pc=start,
            )


def _entry(env: Env, start: int) -> State:
    """The state in which a function judged by itself begins."""
    frame = Frame(-1, start, 0)
    if not start:
        frame.regs[1] = Reg("ctx")
    else:
        frame.regs[1:6] = arguments(env.wanted(start), env.new_id)
    return State([frame])


__all__ = ["LIMIT", "Unsupported", "Walk", "walk"]
