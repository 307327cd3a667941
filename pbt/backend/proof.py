"""Allocation → errors: a symbolic check that every read sees the value it names.

It knows nothing of how registers were allotted. Before each instruction it knows, for every machine
register and spill slot, which virtual registers' present value lies there; what two paths agree on is
true where they meet. The allocated instruction must be the original one with registers replaced, and
each register it reads must hold the value that the original reads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pbt.backend.allocate import ABlock, AFunction, Allocation
from pbt.backend.machine import CLOBBERED, FRAME, MachineProgram, MBlock, MEnd, MFunction, MInsn, effects
from pbt.isa import opcodes as op
from pbt.isa.insn import Insn

Place = tuple[str, int]  # ("r", register) or ("slot", number)
State = dict[Place, frozenset[int]]  # which original registers' values a place holds
_NONE: frozenset[int] = frozenset()
_ARGUMENTS = range(1, 6)


def check(program: MachineProgram, allocation: Allocation) -> list[str]:
    """What is wrong with an allocation, in words; empty if every read sees the right value."""
    if len(program.functions) != len(allocation.functions):
        return ["the number of functions differs"]
    pairs = zip(program.functions, allocation.functions, strict=True)
    return [f"{f.name}: {error}" for f, a in pairs for error in check_function(f, a)]


def check_function(function: MFunction, allocated: AFunction) -> list[str]:
    """The same for one function."""
    if [b.name for b in function.blocks] != [b.name for b in allocated.blocks]:
        return ["the blocks differ"]
    pairs = {b.name: (b, a) for b, a in zip(function.blocks, allocated.blocks, strict=True)}
    made = _made_once(function.blocks)
    spills = range(len(function.slots), len(allocated.slots))
    entry = function.blocks[0].name
    states: dict[str, State] = {entry: {("r", n): frozenset({n}) for n in _ARGUMENTS}}
    todo = [entry]
    while todo:
        name = todo.pop()
        state = _Walk(states[name], made, spills).block(*pairs[name])
        for target in pairs[name][0].end.targets:
            merged = state if target not in states else _meet(states[target], state)
            if target not in states or merged != states[target]:
                states[target] = merged
                todo.append(target)
    errors: list[str] = []
    for name, state in states.items():
        walk = _Walk(state, made, spills)
        walk.block(*pairs[name])
        errors += (f"{name}: {error}" for error in walk.errors)
    return errors


def _meet(a: State, b: State) -> State:
    both = {place: values & b.get(place, _NONE) for place, values in a.items()}
    return {place: values for place, values in both.items() if values}


def _made_once(blocks: Sequence[MBlock]) -> dict[int, MInsn]:
    """Registers that one instruction writes, which reads nothing: it may be run again anywhere."""
    writers: dict[int, list[MInsn]] = {}
    for block in blocks:
        for insn in block.insns:
            for register in effects(insn)[0]:
                writers.setdefault(register, []).append(insn)
    alone = {r: made[0] for r, made in writers.items() if len(made) == 1 and r > FRAME}
    return {r: m for r, m in alone.items() if not effects(m)[1] and m.insn.cls in (op.LD, op.ALU64)}


class _Walk:
    """One block, from the state before it to the state after it."""

    def __init__(self, state: State, made: Mapping[int, MInsn], spills: range) -> None:
        self.state, self.made, self.spills = dict(state), made, spills
        self.errors: list[str] = []

    def block(self, before: MBlock, after: ABlock) -> State:
        done = 0
        for insn, origin in after.insns:
            if origin < 0:
                self.inserted(insn)
                continue
            if origin < done:
                self.errors.append(f"instruction {origin} comes twice or too late")
                continue
            self.removed(before.insns[done:origin])
            self.kept(before.insns[origin], insn)
            done = origin + 1
        self.removed(before.insns[done:])
        self.end(before.end, after.end)
        return self.state

    # --- one instruction ----------------------------------------------------------------------

    def removed(self, insns: Sequence[MInsn]) -> None:
        """Only copies, and numbers that are made again where they are read, may vanish."""
        for insn in insns:
            if insn.is_move and insn.insn.src_reg != FRAME:
                self.copied(insn.insn.dst_reg, insn.insn.src_reg)
            elif insn.insn.dst_reg not in self.made:  # what is made once has one value for ever
                self.errors.append(f"{insn} is missing")

    def copied(self, dst: int, src: int) -> None:
        """The value of one original register is now that of another one too."""
        if dst == src:
            return
        self.forget(dst)
        for place, values in self.state.items():
            if src in values:
                self.state[place] = values | {dst}

    def forget(self, register: int) -> None:
        for place, values in self.state.items():
            if register in values:
                self.state[place] = values - {register}

    def inserted(self, m: MInsn) -> None:
        """A spill, a reload, a copy, or a number made again."""
        insn = m.insn
        own = m.slot in self.spills and insn.offset == 0
        if m.is_move:
            self.state["r", insn.dst_reg] = self.holds("r", insn.src_reg)
        elif insn.opcode == op.STX | op.MEM | op.DW and insn.dst_reg == FRAME and own:
            self.state["slot", m.slot] = self.holds("r", insn.src_reg)
        elif insn.opcode == op.LDX | op.MEM | op.DW and insn.src_reg == FRAME and own:
            self.state["r", insn.dst_reg] = self.holds("slot", m.slot)
        else:
            again = frozenset(r for r, made in self.made.items() if _same(made, m))
            if not again:
                self.errors.append(f"{m} was put in")
            self.state["r", insn.dst_reg] = again

    def kept(self, original: MInsn, m: MInsn) -> None:
        if not _same(original, m):
            self.errors.append(f"{original} became {m}")
        if m.slot in self.spills:
            self.errors.append(f"{m} uses a spill slot")
        for wanted, found in zip(_reads(original), _reads(m), strict=False):
            self.read(wanted, found, str(original))
        if original.is_move and original.insn.src_reg != FRAME:
            values = self.holds("r", m.insn.src_reg)
            self.written(original.insn.dst_reg, m.insn.dst_reg, values)
            return
        for wanted, found in zip(effects(original)[0], effects(m)[0], strict=False):
            self.written(wanted, found, _NONE)
        if original.insn.opcode == op.JMP | op.CALL:
            for register in CLOBBERED[1:]:
                self.state["r", register] = _NONE

    def written(self, register: int, place: int, more: frozenset[int]) -> None:
        self.forget(register)
        self.state["r", place] = more - {register} | {register}

    def read(self, wanted: int, found: int, where: str) -> None:
        if wanted != found and FRAME in (wanted, found):
            self.errors.append(f"{where}: the frame pointer was exchanged")
        elif found > FRAME:
            self.errors.append(f"{where}: register {found} is no machine register")
        elif wanted != FRAME and wanted not in self.holds("r", found):
            self.errors.append(f"{where}: r{found} does not hold {wanted}")

    def end(self, before: MEnd, after: MEnd) -> None:
        if (before.then, before.other) != (after.then, after.other):
            self.errors.append(f"{before} became {after}")
        if not before.then:
            self.read(0, 0, "exit")
        if before.insn is not None:
            if after.insn is None or _shape(before.insn) != _shape(after.insn):
                self.errors.append(f"{before} became {after}")
                return
            for wanted, found in zip(_sources(before.insn), _sources(after.insn), strict=True):
                self.read(wanted, found, str(before))

    def holds(self, kind: str, number: int) -> frozenset[int]:
        return self.state.get((kind, number), _NONE)


def _same(a: MInsn, b: MInsn) -> bool:
    """Whether two instructions differ in registers at most, and tie the same operands."""
    others = (a.otherwise is None, b.otherwise is None)
    if a.otherwise is not None and b.otherwise is not None:
        others = (_shape(a.otherwise) == _shape(b.otherwise), True)
    return (
        _shape(a.insn) == _shape(b.insn)
        and (a.slot, a.symbol, a.arity) == (b.slot, b.symbol, b.arity)
        and others[0] == others[1]
        and (a.insn.opcode != op.JMP | op.CALL or a.insn.src_reg == b.insn.src_reg)
    )


def _shape(insn: Insn) -> tuple[int, int, int]:
    return insn.opcode, insn.offset, insn.imm


def _reads(m: MInsn) -> tuple[int, ...]:
    """Registers read, in a fixed order, the frame pointer among them."""
    if m.insn.opcode == op.JMP | op.CALL:
        return tuple(range(1, m.arity + 1))
    reads = _sources(m.insn)
    return reads if m.otherwise is None else (*reads, m.otherwise.dst_reg, *_sources(m.otherwise))


def _sources(insn: Insn) -> tuple[int, ...]:
    """Registers that an instruction other than a call reads (RFC 9669 sections 4 and 5)."""
    cls, register, code = insn.opcode & 7, insn.opcode & op.X, insn.opcode & 0xF0
    if cls in (op.ALU, op.ALU64):
        if code == op.MOV:
            return (insn.src_reg,) if register else ()
        two = register and code not in (op.NEG, op.END)
        return (insn.dst_reg, insn.src_reg) if two else (insn.dst_reg,)
    if cls == op.LDX:
        return (insn.src_reg,)
    if cls == op.STX:
        return insn.dst_reg, insn.src_reg
    if cls == op.LD:
        return ()
    return (insn.dst_reg, insn.src_reg) if register and cls != op.ST else (insn.dst_reg,)
