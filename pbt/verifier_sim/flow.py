"""Where control goes in a program: functions, jumps, dead code, what is read later, the depth of the stack."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

from pbt.data import NamedTuple
from pbt.isa import opcodes as op
from pbt.isa.insn import Insn
from pbt.typing import Final
from pbt.uapi.helpers import HELPERS
from pbt.verifier_sim.env import Refuse
from pbt.verifier_sim.kernels import Features
from pbt.verifier_sim.require import uses


class Flow(NamedTuple):
    """What the shape of a program tells: see `flow`."""

    starts: tuple[int, ...]  # first slots of functions, the main program first
    successors: list[tuple[int, ...]]  # by slot
    prune: bytearray  # 1 where states are compared
    live: list[int]  # registers still to be read, as bit masks, by slot
    late: dict[int, str]  # slots that are malformed in a way that only a path that comes there finds


def flow(
    insns: Sequence[Insn], seconds: set[int], late: dict[int, str], rules: Features, handler: int = 0
) -> Flow:
    """Refuse jumps that lead nowhere and code that no path leads to.

    `seconds`: second slots of wide loads; `late`: see `Flow`; `handler`: a function that nothing in the code
    names, 0 if there is none.
    """
    entries = _entries(insns, seconds)
    starts = tuple(sorted({0, handler, *entries.values()}))
    successors = _successors(insns, seconds, starts)
    if "loops_anywhere" not in rules:
        _back_edges(insns, entries, successors)
    _reachable(seconds, handler, entries, successors)
    prune = _prune_points(insns, successors)
    return Flow(starts, successors, prune, liveness(insns, successors, seconds), late)


def _entries(insns: Sequence[Insn], seconds: set[int]) -> dict[int, int]:
    """Slots of calls and of function pointers → the first slot of the function that they name."""
    entries: dict[int, int] = {}
    for pc, (opcode, _, src_reg, _, imm) in enumerate(insns):
        called = opcode == op.JMP | op.CALL and src_reg == op.CALL_LOCAL
        pointed = opcode == op.LD_IMM64 and src_reg == _FUNC
        if (called or pointed) and pc not in seconds:
            target = pc + 1 + imm
            if not 0 <= target < len(insns) or target in seconds:
                raise Refuse("call to invalid destination", pc=pc)
            entries[pc] = target
    return entries


_FUNC = op.PSEUDO.index("func")


def _successors(insns: Sequence[Insn], seconds: set[int], starts: tuple[int, ...]) -> list[tuple[int, ...]]:
    bounds = [*starts, len(insns)]
    out: list[tuple[int, ...]] = [(pc + 1,) for pc in range(len(insns))]
    for first, end in itertools.pairwise(bounds):
        for pc in range(first, end):
            if insns[pc].opcode & 7 in (op.JMP, op.JMP32):
                out[pc] = _next(insns[pc], pc, first, end)
        last = end - 2 if end - 1 in seconds else end - 1
        if end in out[last] or insns[last].opcode not in (op.JMP | op.EXIT, op.JMP | op.JA, op.JMP32 | op.JA):
            raise Refuse("last insn is not an exit or jmp", pc=last)
    for pc in seconds:
        out[pc - 1], out[pc] = (pc + 1,), ()
    if seconds:
        for pc, targets in enumerate(out):
            for target in targets:
                if target in seconds:
                    raise Refuse(f"jump into the middle of ldimm64 insn {target - 1}", pc=pc)
    return out


def _next(insn: Insn, pc: int, first: int, end: int) -> tuple[int, ...]:
    """Where a jump, a call or an exit leads."""
    cls, code = insn.opcode & 7, insn.opcode & 0xF0
    if code == op.CALL:
        return (pc + 1,)
    if code == op.EXIT:
        return ()
    target = pc + 1 + (insn.imm if code == op.JA and cls == op.JMP32 else insn.offset)
    if not first <= target < end:
        raise Refuse(f"jump out of range from insn {pc} to {target}", pc=pc)
    return (target,) if code == op.JA else (pc + 1, target)


def _reachable(
    seconds: set[int], handler: int, entries: Mapping[int, int], successors: Sequence[tuple[int, ...]]
) -> None:
    seen, work = bytearray(len(successors)), [0, handler]
    while work:
        pc = work.pop()
        while not seen[pc]:
            seen[pc] = 1
            if pc in entries:
                work.append(entries[pc])
            targets = successors[pc]
            if not targets:
                break
            work.extend(targets[1:])
            pc = targets[0]
    if sum(seen) + len(seconds) == len(seen):
        return
    for pc, visited in enumerate(seen):
        if not visited and pc not in seconds:
            raise Refuse(f"unreachable insn {pc}", _endless(pc - 1, successors[pc - 1]), pc)


def _endless(pc: int, successors: tuple[int, ...]) -> str:
    """What to do about what stands behind a jump that always goes back; "" if that is no such jump."""
    if len(successors) != 1 or successors[0] > pc:
        return ""
    return f"The loop from {successors[0]} to {pc} has no end: jump back on a condition alone."


def _back_edges(
    insns: Sequence[Insn], entries: Mapping[int, int], successors: Sequence[tuple[int, ...]]
) -> None:
    """On old kernels, only a jump may close a cycle in the order of their depth-first search."""
    open_, done = 1, 2
    mark = bytearray(len(insns))
    path: list[tuple[int, list[int]]] = []

    def enter(pc: int) -> None:
        mark[pc] = open_
        targets = list(successors[pc])
        if pc in entries:
            targets.append(entries[pc])
        path.append((pc, targets[::-1]))

    enter(0)
    while path:
        pc, targets = path[-1]
        if not targets:
            mark[pc] = done
            path.pop()
            continue
        target = targets.pop()
        if mark[target] == open_:
            plain = insns[pc].opcode & 7 not in (op.JMP, op.JMP32) or insns[pc].opcode == op.JMP | op.CALL
            if plain and insns[pc].opcode != op.LD_IMM64:
                raise Refuse(f"back-edge from insn {pc} to {target}", pc=pc)
        elif not mark[target]:
            enter(target)


def _prune_points(insns: Sequence[Insn], successors: Sequence[tuple[int, ...]]) -> bytearray:
    """Slots where a state is compared with earlier ones: branches, targets of jumps, ends of calls."""
    prune = bytearray(len(insns) + 1)
    for pc, (opcode, _, src_reg, _, _) in enumerate(insns):
        if opcode & 7 not in (op.JMP, op.JMP32):
            continue
        targets = successors[pc]
        if len(targets) == 2:
            prune[pc] = prune[targets[1]] = 1
        elif opcode in (op.JMP | op.JA, op.JMP32 | op.JA):
            prune[targets[0]] = 1
        elif opcode == op.JMP | op.CALL:
            prune[pc + 1] = 1
            if src_reg == op.CALL_LOCAL:
                prune[pc] = 1
    return prune


def liveness(insns: Sequence[Insn], successors: list[tuple[int, ...]], seconds: set[int]) -> list[int]:
    """Registers that some path still reads, by slot; calls of functions read r1 to r5."""
    count = len(insns)
    live = [0] * (count + 1)
    rows = [(pc, *uses(insns[pc]), successors[pc]) for pc in range(count - 1, -1, -1) if pc not in seconds]
    backward = any(target <= pc for pc, _, _, targets in rows for target in targets)
    changed = True
    while changed:
        changed = False
        for pc, read, written, targets in rows:
            out = 0
            for target in targets:
                out |= live[target]
            new = out & ~written | read
            if new != live[pc]:
                live[pc] = new
                changed = backward
    return live


_BEFORE_TAIL: Final = (
    256  # bytes of stack below a function with a tail call: 33 of them may follow each other
)


def _tail_call(insn: Insn) -> bool:
    return insn.opcode == op.JMP | op.CALL and not insn.src_reg and insn.imm == HELPERS["tail_call"].id


def longest_stack(
    insns: Sequence[Insn],
    starts: tuple[int, ...],
    depths: Mapping[int, int],
    rules: Features,
    private: bool,
    later: AbstractSet[int] = frozenset(),
) -> int:
    """Bytes of stack of the main program's deepest chain of calls; Refuse beyond 512 bytes or 8 frames.

    `private`: functions that use at least 64 bytes have a stack of their own, in programs without tail calls;
    `later`: callbacks that run by themselves, such as timers', each with a stack of its own.
    """
    bounds = dict(zip(starts, [*starts[1:], len(insns)], strict=True))
    several = bounds.items() if len(starts) > 1 else ()
    tails = {start for start, end in several if any(map(_tail_call, insns[start:end]))}
    common: set[int] = set()  # functions without a stack of their own
    known: dict[tuple[int, int, int, bool], int] = {}

    def visit(start: int, used: int, chain: int, apart: bool) -> int:
        key = (start, used, chain, apart)
        if key not in known:
            known[key] = follow(start, used, chain, apart)
        return known[key]

    def follow(start: int, used: int, chain: int, apart: bool) -> int:
        if chain > 1 and start in tails and used >= _BEFORE_TAIL:
            reason = (
                f"tail_calls are not allowed when call stack of previous frames is {used} bytes. Too large"
            )
            raise Refuse(reason, pc=start)
        own = _rounded(depths.get(start, 0), rules)
        if not apart:
            common.add(start)
        if apart and own >= 64 and start not in common:  # BPF_PRIV_STACK_MIN_SIZE
            total, limited = used, own
        else:
            total = limited = used + own
        if limited > op.STACK_SIZE:
            raise Refuse(f"combined stack size of {chain} calls is {limited}. Too large", pc=start)
        if chain > op.MAX_CALL_FRAMES and "frames_unlimited" not in rules:
            raise Refuse(f"the call stack of {chain} frames is too deep !", pc=start)
        deepest = limited
        for pc in range(start, bounds[start]):
            insn = insns[pc]
            goal = pc + 1 + insn.imm
            called = insn.opcode == op.JMP | op.CALL and insn.src_reg == op.CALL_LOCAL
            passed = insn.opcode == op.LD_IMM64 and insn.src_reg == op.PSEUDO.index("func")
            if called or (passed and goal not in later):
                deepest = max(deepest, visit(goal, total, chain + 1, apart))
        return deepest

    for start in sorted(later, reverse=True):
        visit(start, 0, 1, False)
    return visit(0, 0, 1, private and not tails)


def _rounded(depth: int, rules: Features) -> int:
    """The bytes of a frame: in multiples of 16 for compiled programs, before of 32 and at least one."""
    if "stack_round_16" in rules:
        return (depth + 15) // 16 * 16
    return (max(depth, 1) + 31) // 32 * 32
