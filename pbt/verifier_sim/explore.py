"""All paths of a program: branches, pruning by earlier states, loops, callbacks, limits → Verdict.

Paths are walked depth first. At some slots the state is remembered (a `Node`); a path that arrives
with a state that an earlier, finished one covers needs no second walk. Two things make states
comparable: stack slots that nobody read afterwards do not count, and numbers whose exact value was
never needed ("imprecise") may differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pbt.data import NamedTuple
from pbt.isa import opcodes as op
from pbt.isa.insn import Insn
from pbt.typing import TYPE_CHECKING, Any, Final
from pbt.uapi.progs import PROG_TYPES
from pbt.verifier_sim import arena, throw, unprivileged
from pbt.verifier_sim.check import check
from pbt.verifier_sim.env import Decoded, Env, Refuse, Unsupported
from pbt.verifier_sim.fields import usable, visible
from pbt.verifier_sim.flow import Flow, longest_stack
from pbt.verifier_sim.functions import arguments, check_layout
from pbt.verifier_sim.kernels import Features
from pbt.verifier_sim.leave import DONE
from pbt.verifier_sim.prune import COVERS, EXACTLY, WITHIN, Node, covers, find, same_hint
from pbt.verifier_sim.reg import MapInfo, Reg, with_origin
from pbt.verifier_sim.stack import note_read
from pbt.verifier_sim.state import Frame, Slot, State
from pbt.verifier_sim.step import decoded

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

    def __init__(self, env: Env, flow: Flow, keep: bool, thorough: bool, log: Log | None = None) -> None:
        self.log = log
        self.env, self.flow, self.keep = env, flow, keep
        self.cover = WITHIN if thorough or not env.privileged else COVERS  # there, all numbers are precise
        self.live = [_ALL] * (len(env.insns) + 1) if thorough else flow.live
        self.marks = _marks(env, flow)
        self.steps: list[Decoded | None] = [None] * len(env.insns)
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
        env, marks, steps, only = self.env, self.marks, self.steps, self.only
        self.current = state
        if self.log is not None:
            return self._logged_path(pc, state)
        while True:
            self.pc = pc
            env.processed += 1
            if env.processed > env.patience:
                self._too_far()
            mark = marks[pc]
            if mark:
                if mark & _COMPARED and self._known(pc, state, mark & _EVERY_TIME):
                    return (_PRUNED if only else pc), state
                if mark & _JUMP:
                    self.jumps += 1
            if self.keep:
                self.states.setdefault(pc, []).append(state.copy())
            step = steps[pc]
            if step is None:
                step = steps[pc] = self._decoded(pc)
            pc = step[0](env, state, pc, step[1])
            if pc < 0 or only:
                return pc, state

    def _decoded(self, pc: int) -> Decoded:
        """The instruction at a slot, taken apart, or the refusal of older kernels that come to it."""
        if pc in self.flow.late:
            raise Refuse(self.flow.late[pc])
        return decoded(self.env, pc)

    def _too_far(self) -> None:
        env = self.env
        if env.patience < LIMIT:
            raise Unsupported(f"all that would take more than {env.patience} instructions to walk")
        raise Refuse(
            f"BPF program is too large. Processed {env.processed} insn",
            "The kernel walks at most a million instructions over all paths.",
        )

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

    def _known(self, pc: int, state: State, forced: int) -> bool:
        """Whether an earlier state covers this one; else perhaps remember it. `forced`: be quick to do so."""
        jumps, walked = self.jumps - self.jumps_before, self.env.processed - self.insns_before
        eager = bool(forced) or self.env.state_freq
        add = eager or (jumps >= 2 and walked >= 8)
        nodes = self.nodes.get(pc)
        if nodes:
            young = not eager and jumps < 20 and walked < 100
            found = self._compare(pc, state, nodes, bool(forced), add, young)
            if found != _NEW:
                return found == _HIT
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
        live, rules = self.live, self.env.rules
        for node in nodes[::-1]:
            unfinished = node.branches > 0
            if unfinished:
                same = len(node.state.frames) == len(state.frames)
                if same and node.state.loops != state.loops:
                    if forced and covers(node, state, WITHIN, live, rules):
                        self._needs_all(state)
                        return _HIT
                elif same and same_hint(node, state) and covers(node, state, EXACTLY, live, rules):
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
                    regs[regno] = with_origin(reg, ((node, (level, regno)),))
            for index, slot in frame.stack.items():
                held = slot.reg
                if held is not None and held.kind == "scalar":
                    deps = ((node, (level, -1 - index)),)
                    frame.stack[index] = Slot(slot.types, with_origin(held, deps))


def repeats(name: str) -> bool:
    """Whether a kernel function is walked in rounds: iterators, and trees whose nodes are ordered."""
    return name.endswith("_next") or name == "bpf_rbtree_add_impl"


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
        flow = check(insns, maps, map_of, rules, handler)
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
    return _judge(env, flow, Explorer(env, flow, keep, thorough, log))


def _judge(env: Env, flow: Flow, explorer: Explorer) -> Walk:
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
        depth = longest_stack(env.insns, flow.starts, env.depths, env.rules, env.private_stack)
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
