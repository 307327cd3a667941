"""Before any path is walked: is every instruction well formed?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pbt.isa import opcodes as op
from pbt.isa.insn import Insn
from pbt.verifier_sim import arena
from pbt.verifier_sim.env import Refuse, Unsupported
from pbt.verifier_sim.flow import Flow, flow
from pbt.verifier_sim.kernels import Features
from pbt.verifier_sim.reg import MapInfo

_MAX_LENGTH = 1_000_000  # BPF_COMPLEXITY_LIMIT_INSNS


def _seen_late(insn: Insn, reason: str) -> bool:
    """Whether older kernels find this wrong only when a path comes to the instruction."""
    if reason.startswith("unknown opcode") or reason == "invalid BPF_LD_IMM insn":
        return False
    return reason not in ("BPF_LDX uses reserved fields", "BPF_STX uses reserved fields")


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
    return flow(insns, wide, late, rules, handler)


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
        opcode, dst_reg, src_reg, offset, imm = insn
        unused = _UNUSED[opcode]
        used = (src_reg and _SRC) | (offset and _OFF) | (imm and _IMM) | _RARE
        if unused & used or dst_reg > 10 or src_reg > 10:
            reason = malformed(insn, rules)
            if reason:
                if "fields_first" in rules or not _seen_late(insn, reason):
                    raise Refuse(reason, pc=pc)
                late[pc] = reason
        if opcode == op.LD_IMM64:
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
        if info.map_type == "INSN_ARRAY" and "gotox" in rules:
            raise Unsupported("a table of addresses to jump to")
        if info.map_type != "ARRAY" or info.max_entries != 1 or offset >= info.value_size:
            raise Refuse(
                f"invalid access to map value pointer, value_size={info.value_size} off={offset}", pc=pc
            )


_SRC, _OFF, _IMM, _RARE = 1, 2, 4, 8


def _unused(opcode: int) -> int:
    """Fields that are 0 in all plain instructions of an opcode; _RARE: `malformed` judges every one of them."""
    cls, code, register = opcode & 7, opcode & 0xF0, opcode & op.X
    if cls in (op.ALU, op.ALU64) and code < op.END and code != op.NEG:
        return _OFF | (_IMM if register else _SRC)
    if (
        cls in (op.JMP, op.JMP32)
        and code in op.JMP_BY_CODE
        and code not in (op.JA, op.CALL, op.EXIT, op.JCOND)
    ):
        return _IMM if register else _SRC
    if opcode & 0xE0 == op.MEM and cls in (op.LDX, op.ST, op.STX):
        return _SRC if cls == op.ST else _IMM
    return _RARE


_UNUSED = tuple(map(_unused, range(256)))
_V4 = frozenset(("SDIV", "SMOD", "MOVSX8", "MOVSX16", "MOVSX32"))


def malformed(insn: Insn, rules: Features) -> str:
    """Why a slot is no instruction of this kernel, in its words; "" if it is one."""
    cls = insn.opcode & 7
    if cls in (op.ALU, op.ALU64):
        reason = _malformed_alu(insn, rules)
    elif cls in (op.JMP, op.JMP32):
        reason = _malformed_jump(insn, rules)
    else:
        reason = _malformed_memory(insn, rules)
    highest = max(insn.dst_reg, 0 if insn.opcode == op.LD_IMM64 else insn.src_reg)
    return reason or (f"R{highest} is invalid" if highest > 10 else "")


def _malformed_alu(insn: Insn, rules: Features) -> str:
    code, wide = insn.opcode & 0xF0, insn.opcode & 7 == op.ALU64
    if code == op.END:
        if wide and (insn.opcode & op.X or "signed_isa" not in rules):
            return f"unknown opcode {insn.opcode:02x}"
        bad = insn.src_reg or insn.offset or insn.imm not in (16, 32, 64)
        return "BPF_END uses reserved fields" if bad else ""
    if code == op.NEG:
        if insn.opcode & op.X:
            return f"unknown opcode {insn.opcode:02x}"
        return "BPF_NEG uses reserved fields" if insn.src_reg or insn.offset or insn.imm else ""
    if insn.offset == op.ADDR_SPACE_CAST and insn.opcode == op.ALU64 | op.MOV | op.X:
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
        if insn.opcode & op.X and wide and "gotox" in rules and not (insn.src_reg or insn.offset or insn.imm):
            raise Unsupported("a jump to an address from a table")
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
        return "invalid atomic operand size"
    return ""
