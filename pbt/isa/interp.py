"""An interpreter for BPF programs: exact results, checked memory, one step at a time if wanted.

Memory is a set of regions, each a bytearray at its own multiple of 4 GiB, so that an address says
which region it means and one that leaves its region faults. Helpers are Python functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from pbt.data import NamedTuple
from pbt.isa import opcodes as op
from pbt.isa.insn import Insn, imm64, signed
from pbt.source import PbtError
from pbt.typing import Literal, TypeAlias

M64, M32 = (1 << 64) - 1, (1 << 32) - 1
_FRAME = op.STACK_SIZE
_CLOBBERED = [
    0xDEAD_BEEF_0000_0000 + n for n in range(1, 6)
]  # a program may not rely on r1 to r5 after a call
MAX_ROUNDS = 8 << 20  # BPF_MAX_LOOPS


class Fault(PbtError):
    """The program did what no verified program does; `pc` is the instruction's index."""

    def __init__(self, message: str, pc: int) -> None:
        super().__init__(f"instruction {pc}: {message}")
        self.pc = pc


class Step(NamedTuple):
    """The machine just before the instruction at `pc` runs."""

    pc: int
    registers: tuple[int, ...]  # r0 to r10, unsigned


Helper = Callable[["Machine", int, int, int, int, int], int]


class Machine:
    """Registers, memory regions and the call stack of one run."""

    def __init__(
        self, helpers: Mapping[int, Helper] | None = None, byteorder: Literal["little", "big"] = "little"
    ) -> None:
        self.helpers = helpers or {}
        self.byteorder = byteorder
        self.regions: list[bytearray] = []
        self.registers = [0] * op.REGISTERS
        self.pc = 0
        self.rounds = MAX_ROUNDS  # how often may_goto goes on before it jumps

    def allocate(self, content: bytes | bytearray | int) -> int:
        """A new region holding `content` (a bytearray is used in place; an int is a size): its address."""
        self.regions.append(content if isinstance(content, bytearray) else bytearray(content))
        return len(self.regions) << 32

    def _find(self, address: int, size: int) -> tuple[bytearray, int]:
        region, at = address >> 32, address & M32
        if not 1 <= region <= len(self.regions) or at + size > len(self.regions[region - 1]):
            raise Fault(f"access to {size} bytes at {address:#x}, which is no memory of the program", self.pc)
        return self.regions[region - 1], at

    def read(self, address: int, size: int) -> bytes:
        memory, at = self._find(address & M64, size)
        return bytes(memory[at : at + size])

    def write(self, address: int, data: bytes) -> None:
        memory, at = self._find(address & M64, len(data))
        memory[at : at + len(data)] = data

    def load(self, address: int, size: int) -> int:
        memory, at = self._find(address & M64, size)
        return int.from_bytes(memory[at : at + size], self.byteorder)

    def store(self, address: int, size: int, value: int) -> None:
        memory, at = self._find(address & M64, size)
        masked = value & (1 << 8 * size) - 1
        memory[at : at + size] = masked.to_bytes(size, self.byteorder)

    def packet_load(self, offset: int, size: int) -> int:
        """What the old packet loads get: a number of `size` bytes in network order."""
        raise Fault("legacy packet access has no packet here", self.pc)

    def text(self, address: int) -> bytes:
        """Bytes at an address up to a NUL."""
        memory, at = self._find(address, 0)
        return bytes(memory[at:]).partition(b"\0")[0]


def run(machine: Machine, insns: Sequence[Insn], *, r1: int = 0, r2: int = 0, limit: int = 1_000_000) -> int:
    """Run to the last `exit`; returns r0 unsigned. Fault on bad memory, bad code or too many steps."""
    for _ in steps(machine, insns, r1=r1, r2=r2, limit=limit):
        pass
    return machine.registers[0]


def trace(
    machine: Machine, insns: Sequence[Insn], *, r1: int = 0, r2: int = 0, limit: int = 1_000_000
) -> Iterator[Step]:
    """The state before each instruction that runs, for teaching and for properties."""
    for pc in steps(machine, insns, r1=r1, r2=r2, limit=limit):
        yield Step(pc, tuple(machine.registers))


def steps(machine: Machine, insns: Sequence[Insn], *, r1: int, r2: int, limit: int) -> Iterator[int]:
    """Run, yielding the index of each instruction before it executes."""
    regs = machine.registers
    regs[:] = [0] * op.REGISTERS
    regs[1], regs[2] = r1, r2
    frames: list[_Caller] = []
    regs[10] = machine.allocate(_FRAME) + _FRAME
    pc, count = 0, 0
    while True:
        if not 0 <= pc < len(insns):
            raise Fault("control leaves the program", pc)
        count += 1
        if count > limit:
            raise Fault(f"more than {limit} instructions", pc)
        machine.pc = pc
        yield pc
        insn = insns[pc]
        cls = insn.opcode & 7
        if cls == op.ALU64 or cls == op.ALU:
            _alu(regs, insn, pc, machine.byteorder)
        elif cls == op.LDX:
            _load(machine, regs, insn, pc)
        elif cls == op.STX or cls == op.ST:
            _store(machine, regs, insn, pc)
        elif cls == op.LD:
            if insn.opcode == op.LD_IMM64:
                regs[insn.dst_reg] = imm64(insns, pc)
                pc += 1
            else:
                _packet_load(machine, regs, insn)
        else:
            code = insn.opcode & 0xF0
            if code == op.EXIT:
                if not frames:
                    return
                pc, saved = frames.pop()
                regs[6:11] = saved
            elif code == op.CALL and cls == op.JMP:
                if insn.src_reg == op.CALL_LOCAL:
                    _enter(machine, frames, pc)
                    pc += insn.imm
                else:
                    _call(machine, regs, insn, pc)
            elif code == op.JA:
                pc += insn.offset if cls == op.JMP else insn.imm
            elif code == op.JCOND:
                machine.rounds -= 1
                pc += insn.offset if machine.rounds < 0 else 0
            elif _taken(regs, insn, pc):
                pc += insn.offset
        pc += 1


_Caller: TypeAlias = "tuple[int, list[int]]"
"""The slot of a call, and r6 to r10 as they were there."""


def _enter(machine: Machine, frames: list[_Caller], pc: int) -> None:
    """A frame for the function that the instruction at `pc` calls."""
    if len(frames) + 1 >= op.MAX_CALL_FRAMES:
        raise Fault(f"more than {op.MAX_CALL_FRAMES} call frames", pc)
    frames.append((pc, machine.registers[6:11]))
    machine.registers[10] = machine.allocate(_FRAME) + _FRAME


def _packet_load(machine: Machine, regs: list[int], insn: Insn) -> None:
    index = regs[insn.src_reg] if insn.opcode & 0xE0 == op.IND else 0
    regs[0] = machine.packet_load(index + insn.imm, op.BYTES[insn.opcode & 0x18])
    regs[1:6] = _CLOBBERED


def call_back(machine: Machine, insns: Sequence[Insn], entry: int, *args: int, limit: int = 1_000_000) -> int:
    """Run the subprogram at slot `entry` for a helper; the caller's registers are kept."""
    saved, pc = list(machine.registers), machine.pc
    regs = machine.registers
    for number, value in enumerate(args, 1):
        regs[number] = value & M64
    result = _run_from(machine, insns, entry, limit)
    machine.registers[:] = saved
    machine.pc = pc
    return result


def _run_from(machine: Machine, insns: Sequence[Insn], entry: int, limit: int) -> int:
    args = machine.registers[1:6]
    prefix = [Insn(op.JMP | op.CALL, 0, op.CALL_LOCAL, 0, entry + 1), Insn(op.JMP | op.EXIT)]
    run_insns = [*prefix, *insns]
    inner = steps(machine, run_insns, r1=args[0], r2=args[1], limit=limit)
    next(inner)
    machine.registers[3:6] = args[2:]
    for _ in inner:
        pass
    return machine.registers[0]


def _call(machine: Machine, regs: list[int], insn: Insn, pc: int) -> None:
    number = regs[insn.dst_reg] if insn.opcode & op.X else insn.imm  # callx: the number is in a register
    helper = machine.helpers.get(number) if insn.src_reg == op.CALL_HELPER else None
    if helper is None:
        raise Fault(f"call of unknown helper {number}", pc)
    regs[0] = helper(machine, regs[1], regs[2], regs[3], regs[4], regs[5]) & M64
    regs[1:6] = _CLOBBERED


def _quotient(a: int, b: int) -> int:
    """Truncated towards zero (RFC 9669 section 4.1)."""
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def _alu(regs: list[int], insn: Insn, pc: int, byteorder: str) -> None:
    code = insn.opcode & 0xF0
    if code == op.END:
        regs[insn.dst_reg] = _swap(regs[insn.dst_reg], insn, byteorder)
        return
    bits = 64 if insn.opcode & 7 == op.ALU64 else 32
    mask = M64 if bits == 64 else M32
    right = (regs[insn.src_reg] if insn.opcode & op.X else insn.imm) & mask
    left = regs[insn.dst_reg] & mask
    if code == op.MOV:
        value = signed(right, insn.offset) if insn.offset else right
    elif code == op.ADD:
        value = left + right
    elif code == op.SUB:
        value = left - right
    elif code == op.MUL:
        value = left * right
    elif code == op.OR:
        value = left | right
    elif code == op.AND:
        value = left & right
    elif code == op.XOR:
        value = left ^ right
    elif code == op.LSH:
        value = left << (right & (bits - 1))
    elif code == op.RSH:
        value = left >> (right & (bits - 1))
    elif code == op.ARSH:
        value = signed(left, bits) >> (right & (bits - 1))
    elif code == op.NEG:
        value = -left
    elif code == op.DIV:
        if not insn.offset:
            value = left // right if right else 0
        else:
            value = _quotient(signed(left, bits), signed(right, bits)) if right else 0
    elif code == op.MOD:
        if not right:
            value = left
        elif insn.offset:
            a, b = signed(left, bits), signed(right, bits)
            value = a - b * _quotient(a, b)
        else:
            value = left % right
    else:
        raise Fault(f"unknown arithmetic opcode {insn.opcode:#x}", pc)
    regs[insn.dst_reg] = value & mask


def _swap(value: int, insn: Insn, byteorder: str) -> int:
    size = insn.imm // 8
    value &= (1 << insn.imm) - 1
    wanted = "big" if insn.opcode & op.TO_BE else "little"
    if insn.opcode & 7 == op.ALU and wanted == byteorder:
        return value
    return int.from_bytes(value.to_bytes(size, "little"), "big")


def _load(machine: Machine, regs: list[int], insn: Insn, pc: int) -> None:
    size, mode = op.BYTES[insn.opcode & 0x18], insn.opcode & 0xE0
    value = machine.load(regs[insn.src_reg] + insn.offset, size)
    if mode == op.MEMSX:
        value = signed(value, 8 * size) & M64
    elif mode != op.MEM:
        raise Fault(f"unknown load opcode {insn.opcode:#x}", pc)
    regs[insn.dst_reg] = value


def _store(machine: Machine, regs: list[int], insn: Insn, pc: int) -> None:
    size, mode = op.BYTES[insn.opcode & 0x18], insn.opcode & 0xE0
    address = regs[insn.dst_reg] + insn.offset
    if mode == op.ATOMIC and insn.opcode & 7 == op.STX:
        _atomic(machine, regs, insn, size, address, pc)
    elif mode == op.MEM:
        machine.store(address, size, regs[insn.src_reg] if insn.opcode & 7 == op.STX else insn.imm)
    else:
        raise Fault(f"unknown store opcode {insn.opcode:#x}", pc)


def _atomic(machine: Machine, regs: list[int], insn: Insn, size: int, address: int, pc: int) -> None:
    mask = (1 << 8 * size) - 1
    row = op.ATOMIC_BY_IMM.get(insn.imm)
    if row is None:
        raise Fault(f"unknown atomic operation {insn.imm:#x}", pc)
    source = regs[insn.src_reg] & mask
    if row.name == "LOAD_ACQ":
        regs[insn.dst_reg] = machine.load(regs[insn.src_reg] + insn.offset, size)
        return
    if row.name == "STORE_REL":
        machine.store(address, size, source)
        return
    old = machine.load(address, size)
    if row.name == "CMPXCHG":
        if old == regs[0] & mask:
            machine.store(address, size, source)
        regs[0] = old
        return
    kind = insn.imm & 0xF0
    new = source if kind == 0xE0 else (
        old + source if kind == op.ADD else old | source if kind == op.OR
        else old & source if kind == op.AND else old ^ source
    )  # fmt: skip
    machine.store(address, size, new)
    if insn.imm & op.FETCH:
        regs[insn.src_reg] = old


def _taken(regs: list[int], insn: Insn, pc: int) -> bool:
    bits = 64 if insn.opcode & 7 == op.JMP else 32
    mask = M64 if bits == 64 else M32
    left = regs[insn.dst_reg] & mask
    right = (regs[insn.src_reg] if insn.opcode & op.X else insn.imm) & mask
    code = insn.opcode & 0xF0
    if code in (op.JSGT, op.JSGE, op.JSLT, op.JSLE):
        left, right = signed(left, bits), signed(right, bits)
    if code == op.JEQ:
        return left == right
    if code == op.JNE:
        return left != right
    if code == op.JSET:
        return bool(left & right)
    if code in (op.JGT, op.JSGT):
        return left > right
    if code in (op.JGE, op.JSGE):
        return left >= right
    if code in (op.JLT, op.JSLT):
        return left < right
    if code in (op.JLE, op.JSLE):
        return left <= right
    raise Fault(f"unknown jump opcode {insn.opcode:#x}", pc)
