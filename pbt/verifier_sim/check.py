"""Before any path is walked: is every instruction well formed, and does control stay inside?"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from pbt.data import NamedTuple
from pbt.isa import opcodes as op
from pbt.isa.insn import Insn
from pbt.verifier_sim import arena
from pbt.verifier_sim.env import Refuse
from pbt.verifier_sim.kernels import Features
from pbt.verifier_sim.reg import MapInfo
from pbt.verifier_sim.require import uses

_MAX_LENGTH = 1_000_000  # BPF_COMPLEXITY_LIMIT_INSNS


def _seen_late(insn: Insn, reason: str) -> bool:
    """Whether older kernels find this wrong only when a path comes to the instruction."""
    if reason.startswith("unknown opcode") or insn.opcode & 7 in (op.LD, op.LDX):
        return False
    return reason != "BPF_STX uses reserved fields"


class Flow(NamedTuple):
    """What the shape of a program tells: see `check`."""

    starts: tuple[int, ...]  # first slots of functions, the main program first
    successors: list[tuple[int, ...]]  # by slot
    prune: bytearray  # 1 where states are compared
    live: list[int]  # registers still to be read, as bit masks, by slot
    late: dict[int, str]  # slots that are malformed in a way that only a path that comes there finds


def check(
    insns: Sequence[Insn],
    maps: Sequence[MapInfo],
    map_of: Mapping[int, tuple[int, str, int]],
    rules: Features,
    handler: int = 0,
) -> Flow:
    """`handler`: a function that nothing in the code names, 0 if there is none.

    Refuse malformed instructions, bad jumps, unreachable code and bad map references."""
    if not insns or len(insns) > _MAX_LENGTH:
        raise Refuse("the program is empty" if not insns else "the program is too large", pc=0)
    late: dict[int, str] = {}
    wide = _instructions(insns, maps, map_of, rules, late)
    starts = _functions(insns, wide, handler)
    successors = _successors(insns, wide, starts)
    if "loops_anywhere" not in rules:
        _back_edges(insns, successors)
    _reachable(insns, wide, handler, successors)
    prune = _prune_points(insns, successors)
    return Flow(starts, successors, prune, liveness(insns, successors, wide), late)


# single instructions --------------------------------------------------------------------------------


def _instructions(
    insns: Sequence[Insn],
    maps: Sequence[MapInfo],
    map_of: Mapping[int, tuple[int, str, int]],
    rules: Features,
    late: dict[int, str],
) -> set[int]:
    """Check every instruction alone; the second slots of wide loads."""
    seconds: set[int] = set()
    pc, count = 0, len(insns)
    while pc < count:
        insn = insns[pc]
        reason = malformed(insn, rules)
        if reason:
            if "fields_first" in rules or not _seen_late(insn, reason):
                raise Refuse(reason, pc=pc)
            late[pc] = reason
        if insn.opcode == op.LD_IMM64:
            _wide(insns, pc, maps, map_of, rules)
            seconds.add(pc + 1)
            pc += 1
        pc += 1
    return seconds


def _wide(
    insns: Sequence[Insn],
    pc: int,
    maps: Sequence[MapInfo],
    map_of: Mapping[int, tuple[int, str, int]],
    rules: Features,
) -> None:
    insn = insns[pc]
    if pc + 1 >= len(insns) or insns[pc + 1]._replace(imm=0) != Insn(0):
        raise Refuse("invalid bpf_ld_imm64 insn", pc=pc)
    if insn.offset:
        raise Refuse("BPF_LD_IMM64 uses reserved fields", pc=pc)
    if insn.src_reg >= len(op.PSEUDO):
        raise Refuse("unrecognized bpf_ld_imm64 insn", pc=pc)
    kind = op.PSEUDO[insn.src_reg]
    if kind == "func" and "functions_passed" not in rules:
        raise Refuse("unrecognized bpf_ld_imm64 insn", pc=pc)
    if kind.startswith("map"):
        reference = map_of.get(pc)
        if reference is None:
            raise Refuse(f"fd {insn.imm} is not pointing to valid bpf_map", pc=pc)
        index, way, offset = reference
        if way == "map_fd":
            if insns[pc + 1].imm:
                raise Refuse("unrecognized bpf_ld_imm64 insn", pc=pc)
            return
        info = maps[index]
        if not 0 <= offset < 1 << 29:
            raise Refuse(f"direct value offset of {offset & 0xFFFFFFFF} is not allowed", pc=pc)
        if info.map_type == "ARENA":
            return
        if info.map_type != "ARRAY" or info.max_entries != 1 or offset >= info.value_size:
            raise Refuse(
                f"invalid access to map value pointer, value_size={info.value_size} off={offset}", pc=pc
            )


_V4 = frozenset(("SDIV", "SMOD", "MOVSX8", "MOVSX16", "MOVSX32"))


def malformed(insn: Insn, rules: Features) -> str:
    """Why a slot is no instruction of this kernel, in its words; "" if it is one."""
    if insn.dst_reg > 10 or (insn.src_reg > 10):
        return f"R{max(insn.dst_reg, insn.src_reg)} is invalid"
    cls = insn.opcode & 7
    if cls in (op.ALU, op.ALU64):
        return _malformed_alu(insn, rules)
    if cls in (op.JMP, op.JMP32):
        return _malformed_jump(insn, rules)
    return _malformed_memory(insn, rules)


def _malformed_alu(insn: Insn, rules: Features) -> str:
    code, wide = insn.opcode & 0xF0, insn.opcode & 7 == op.ALU64
    if code == op.END:
        if insn.src_reg or insn.offset or insn.imm not in (16, 32, 64):
            return "BPF_END uses reserved fields"
        if wide and (insn.opcode & op.X or "signed_isa" not in rules):
            return (
                "BPF_END uses reserved fields" if insn.opcode & op.X else f"unknown opcode {insn.opcode:02x}"
            )
        return ""
    if code == op.NEG:
        if insn.opcode & op.X or insn.src_reg or insn.offset or insn.imm:
            return "BPF_NEG uses reserved fields"
        return ""
    if arena.is_cast(insn):
        return arena.malformed(insn, rules)
    row = op.ALU_BY_CODE.get((code, insn.offset))
    what = "BPF_MOV" if code == op.MOV else "BPF_ALU"
    if code > op.END:
        return f"unknown opcode {insn.opcode:02x}"
    if row is None or (row.name in _V4 and "signed_isa" not in rules):
        return f"{what} uses reserved fields"
    if row.name == "MOVSX32" and not wide:
        return f"{what} uses reserved fields"
    if insn.opcode & op.X:
        return f"{what} uses reserved fields" if insn.imm else ""
    return f"{what} uses reserved fields" if insn.src_reg or row.name.startswith("MOVSX") else ""


def _malformed_jump(insn: Insn, rules: Features) -> str:
    code, wide = insn.opcode & 0xF0, insn.opcode & 7 == op.JMP
    row = op.JMP_BY_CODE.get(code)
    if row is None:
        return f"unknown opcode {insn.opcode:02x}"
    if code == op.JA:
        if insn.opcode & op.X or insn.dst_reg or insn.src_reg:
            return "BPF_JA uses reserved fields"
        if not wide and "gotol" not in rules:
            return f"unknown opcode {insn.opcode:02x}"
        return "BPF_JA uses reserved fields" if (insn.imm if wide else insn.offset) else ""
    if code in (op.CALL, op.EXIT) and not wide:
        return f"unknown opcode {insn.opcode:02x}"
    if code == op.CALL:
        if insn.opcode & op.X:
            return f"unknown opcode {insn.opcode:02x}"
        bad = insn.dst_reg or (insn.offset and insn.src_reg != op.CALL_KFUNC) or insn.src_reg > op.CALL_KFUNC
        return "BPF_CALL uses reserved fields" if bad else ""
    if code == op.EXIT:
        return "" if insn == Insn(op.JMP | op.EXIT) else "BPF_EXIT uses reserved fields"
    if code == op.JCOND:
        if "may_goto" not in rules:
            return f"unknown opcode {insn.opcode:02x}"
        bad = not wide or insn.opcode & op.X or insn.dst_reg or insn.src_reg or insn.imm
        bad = bad or (not insn.offset and "may_goto_zero" not in rules)
        return f"invalid may_goto imm {insn.imm}" if bad else ""
    if insn.opcode & op.X:
        return "BPF_JMP/JMP32 uses reserved fields" if insn.imm else ""
    return "BPF_JMP/JMP32 uses reserved fields" if insn.src_reg else ""


def _malformed_memory(insn: Insn, rules: Features) -> str:
    cls, mode, size = insn.opcode & 7, insn.opcode & 0xE0, insn.opcode & 0x18
    unknown = f"unknown opcode {insn.opcode:02x}"
    if cls == op.LD:
        if insn.opcode == op.LD_IMM64:
            return ""
        if mode not in (op.ABS, op.IND):
            return unknown if mode != op.IMM else "invalid BPF_LD_IMM insn"
        bad = insn.dst_reg or insn.offset or size == op.DW or (mode == op.ABS and insn.src_reg)
        return "BPF_LD_[ABS|IND] uses reserved fields" if bad else ""
    if cls == op.LDX:
        if mode == op.MEMSX and "signed_isa" in rules and size != op.DW:
            return "BPF_LDX uses reserved fields" if insn.imm else ""
        if mode != op.MEM:
            return unknown if mode not in (op.MEMSX,) else "BPF_LDX uses reserved fields"
        return "BPF_LDX uses reserved fields" if insn.imm else ""
    if cls == op.ST:
        return unknown if mode != op.MEM else "BPF_ST uses reserved fields" if insn.src_reg else ""
    if mode == op.MEM:
        return "BPF_STX uses reserved fields" if insn.imm else ""
    return unknown if mode != op.ATOMIC else _malformed_atomic(insn, size, rules)


def _malformed_atomic(insn: Insn, size: int, rules: Features) -> str:
    row = op.ATOMIC_BY_IMM.get(insn.imm)
    ordered = row is not None and row.imm >= 0x100
    if "atomics" not in rules and insn.imm:
        return "BPF_STX uses reserved fields"
    if row is None or (ordered and "load_acquire" not in rules):
        return f"BPF_ATOMIC uses invalid atomic opcode {insn.imm & 0xFFFFFFFF:02x}"
    if size not in (op.W, op.DW) and not ordered:
        return f"invalid atomic operand size {op.BYTES[size]}"
    return ""


# control flow -------------------------------------------------------------------------------------


def _functions(insns: Sequence[Insn], seconds: set[int], handler: int) -> tuple[int, ...]:
    """First slots of the main program and of all that calls and function pointers name."""
    starts = {0, handler}
    for pc, insn in enumerate(insns):
        if pc in seconds:
            continue
        called = insn.opcode == op.JMP | op.CALL and insn.src_reg == op.CALL_LOCAL
        pointed = insn.opcode == op.LD_IMM64 and insn.src_reg == op.PSEUDO.index("func")
        if called or pointed:
            target = pc + 1 + insn.imm
            if not 0 <= target < len(insns) or target in seconds:
                raise Refuse("call to invalid destination", pc=pc)
            starts.add(target)
    return tuple(sorted(starts))


def _successors(insns: Sequence[Insn], seconds: set[int], starts: tuple[int, ...]) -> list[tuple[int, ...]]:
    bounds = [*starts, len(insns)]
    out: list[tuple[int, ...]] = [()] * len(insns)
    for first, end in itertools.pairwise(bounds):
        for pc in range(first, end):
            if pc not in seconds:
                out[pc] = _next(insns[pc], pc, first, end)
        last = end - 2 if end - 1 in seconds else end - 1
        if end in out[last] or insns[last].opcode not in (op.JMP | op.EXIT, op.JMP | op.JA, op.JMP32 | op.JA):
            raise Refuse("last insn is not an exit or jmp", pc=last)
    for pc, targets in enumerate(out):
        for target in targets:
            if target in seconds:
                raise Refuse(f"jump into the middle of ldimm64 insn {target - 1}", pc=pc)
    return out


def _next(insn: Insn, pc: int, first: int, end: int) -> tuple[int, ...]:
    cls, code = insn.opcode & 7, insn.opcode & 0xF0
    if insn.opcode == op.LD_IMM64:
        return (pc + 2,)
    if cls not in (op.JMP, op.JMP32) or code == op.CALL:
        return (pc + 1,)
    if code == op.EXIT:
        return ()
    target = pc + 1 + (insn.imm if code == op.JA and cls == op.JMP32 else insn.offset)
    if not first <= target < end:
        raise Refuse(f"jump out of range from insn {pc} to {target}", pc=pc)
    return (target,) if code == op.JA else (pc + 1, target)


def _reachable(
    insns: Sequence[Insn], seconds: set[int], handler: int, successors: list[tuple[int, ...]]
) -> None:
    seen, work = bytearray(len(insns)), [0, handler]
    while work:
        pc = work.pop()
        if seen[pc]:
            continue
        seen[pc] = 1
        insn = insns[pc]
        work.extend(successors[pc])
        if (insn.opcode == op.JMP | op.CALL and insn.src_reg == op.CALL_LOCAL) or (
            insn.opcode == op.LD_IMM64 and insn.src_reg == op.PSEUDO.index("func")
        ):
            work.append(pc + 1 + insn.imm)
    for pc, visited in enumerate(seen):
        if not visited and pc not in seconds:
            raise Refuse(f"unreachable insn {pc}", "No path leads to this instruction.", pc=pc)


def _back_edges(insns: Sequence[Insn], successors: list[tuple[int, ...]]) -> None:
    """On old kernels, only a jump may close a cycle in the order of their depth-first search."""
    open_, done = 1, 2
    mark = bytearray(len(insns))
    path: list[tuple[int, list[int]]] = []

    def enter(pc: int) -> None:
        mark[pc] = open_
        insn = insns[pc]
        targets = list(successors[pc])
        local = insn.opcode == op.JMP | op.CALL and insn.src_reg == op.CALL_LOCAL
        if local or (insn.opcode == op.LD_IMM64 and insn.src_reg == op.PSEUDO.index("func")):
            targets.append(pc + 1 + insn.imm)
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
                raise Refuse(f"back-edge from insn {pc} to {target}", "Loops end in a jump.", pc=pc)
        elif not mark[target]:
            enter(target)


def _prune_points(insns: Sequence[Insn], successors: list[tuple[int, ...]]) -> bytearray:
    """Slots where a state is compared with earlier ones: branches, targets of jumps, ends of calls."""
    prune = bytearray(len(insns) + 1)
    for pc, targets in enumerate(successors):
        insn = insns[pc]
        if len(targets) == 2:
            prune[pc] = prune[targets[1]] = 1
        elif insn.opcode in (op.JMP | op.JA, op.JMP32 | op.JA):
            prune[targets[0]] = 1
        elif insn.opcode == op.JMP | op.CALL:
            prune[pc + 1] = 1
            if insn.src_reg == op.CALL_LOCAL:
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


def longest_stack(
    insns: Sequence[Insn],
    starts: tuple[int, ...],
    depths: Mapping[int, int],
    rules: Features,
    private: bool,
) -> int:
    """Bytes of stack of the deepest chain of calls; Refuse beyond 512 bytes or 8 frames.

    `private`: functions that use at least 64 bytes have a stack of their own.
    """
    grain = 16 if "stack_round_16" in rules else 32
    bounds = dict(zip(starts, [*starts[1:], len(insns)], strict=True))

    known: dict[tuple[int, int, int], int] = {}

    def visit(start: int, used: int, chain: int) -> int:
        key = (start, used, chain)
        if key not in known:
            known[key] = follow(start, used, chain)
        return known[key]

    def follow(start: int, used: int, chain: int) -> int:
        own = max(depths.get(start, 0), 0 if "frames_empty" in rules else 1)
        rounded = (own + grain - 1) // grain * grain
        if private and rounded >= 64:  # BPF_PRIV_STACK_MIN_SIZE
            total, limited = used, rounded
        else:
            total = limited = used + rounded
        if limited > op.STACK_SIZE:
            raise Refuse(f"combined stack size of {chain} calls is {limited}. Too large", pc=start)
        if chain > op.MAX_CALL_FRAMES and "frames_unlimited" not in rules:
            raise Refuse(f"the call stack of {chain} frames is too deep !", pc=start)
        deepest = limited
        for pc in range(start, bounds[start]):
            insn = insns[pc]
            called = insn.opcode == op.JMP | op.CALL and insn.src_reg == op.CALL_LOCAL
            if called or (insn.opcode == op.LD_IMM64 and insn.src_reg == op.PSEUDO.index("func")):
                deepest = max(deepest, visit(pc + 1 + insn.imm, total, chain + 1))
        return deepest

    return visit(0, 0, 1)
