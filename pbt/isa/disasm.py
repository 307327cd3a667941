"""Instructions → text, in the kernel verifier's spelling; and an instruction's bytes taken apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pbt.data import NamedTuple
from pbt.isa import opcodes as op
from pbt.isa.insn import Insn, imm64

_WIDTH = {op.W: "u32", op.H: "u16", op.B: "u8", op.DW: "u64"}
_SIGNED = {op.W: "s32", op.H: "s16", op.B: "s8"}


def disasm(
    insns: Sequence[Insn],
    index: int,
    helpers: Mapping[int, str] | None = None,
    symbols: Mapping[int, str] | None = None,
) -> str:
    """The text of the instruction at `index`.

    `helpers` names helper ids; `symbols` gives a wide load, by its index, the name of what it loads, and a call of
    the kernel's own functions that of what it calls.
    Unknown instructions print as their bytes.
    """
    insn = insns[index]
    cls = insn.opcode & 7
    if cls in (op.ALU, op.ALU64):
        return _alu(insn) or _raw(insn)
    if cls in (op.JMP, op.JMP32):
        name = (symbols or {}).get(index)
        return f"call {name}" if name else _jump(insn, helpers or {}) or _raw(insn)
    if insn.opcode == op.LD_IMM64:
        return _wide(insns, index, (symbols or {}).get(index))
    return _memory(insn) or _raw(insn)


def listing(
    insns: Sequence[Insn], helpers: Mapping[int, str] | None = None, symbols: Mapping[int, str] | None = None
) -> Iterator[tuple[int, str]]:
    """(index, text) of every instruction; second slots of wide loads are left out."""
    skip = False
    for index, insn in enumerate(insns):
        if skip:
            skip = False
            continue
        text = disasm(insns, index, helpers, symbols)
        skip = insn.is_wide and not text.startswith(".insn")
        yield index, text


def _raw(insn: Insn) -> str:
    return f".insn {insn.opcode:#04x} {insn.dst_reg} {insn.src_reg} {insn.offset} {insn.imm}"


def malformed(insns: Sequence[Insn]) -> Iterator[int]:
    """Indices of slots that are no instruction: unknown opcodes, reserved fields that are not zero."""
    for index, text in listing(insns):
        if text.startswith(".insn"):
            yield index


def _reg(number: int, wide: bool = True) -> str:
    return f"{'r' if wide else 'w'}{number}"


def _alu(insn: Insn) -> str | None:
    wide, register = insn.cls == op.ALU64, insn.opcode & op.X
    code = insn.opcode & 0xF0
    dst = _reg(insn.dst_reg, wide)
    if code == op.END:
        return _end(insn)
    if insn.opcode == op.ALU64 | op.X | op.MOV and insn.offset == 1:
        return _cast(insn)
    row = op.ALU_BY_CODE.get((code, insn.offset))
    if row is None or insn.dst_reg >= op.REGISTERS or insn.src_reg >= op.REGISTERS:
        return None
    if code == op.NEG:
        return f"{dst} = -{dst}" if not register and not insn.imm and not insn.src_reg else None
    if register:
        if insn.imm or (row.name == "MOVSX32" and not wide):
            return None
        joint = "" if row.name.startswith("MOVSX") else " "
        return f"{dst} {row.text}{joint}{_reg(insn.src_reg, wide)}"
    return None if insn.src_reg or row.name.startswith("MOVSX") else f"{dst} {row.text} {insn.imm}"


def _cast(insn: Insn) -> str | None:
    """Between the address spaces of an arena's pointers (BPF_ADDR_SPACE_CAST)."""
    if insn.imm not in (1, 1 << 16) or insn.dst_reg >= op.REGISTERS or insn.src_reg >= op.REGISTERS:
        return None
    return f"r{insn.dst_reg} = addr_space_cast(r{insn.src_reg}, {insn.imm >> 16}, {insn.imm & 0xFFFF})"


def _end(insn: Insn) -> str | None:
    if insn.imm not in (16, 32, 64) or insn.src_reg or insn.offset or insn.dst_reg >= op.REGISTERS:
        return None
    if insn.cls == op.ALU64:
        kind = "bswap"
        if insn.opcode & op.X:
            return None
    else:
        kind = "be" if insn.opcode & op.TO_BE else "le"
    return f"r{insn.dst_reg} = {kind}{insn.imm} r{insn.dst_reg}"


def _jump(insn: Insn, helpers: Mapping[int, str]) -> str | None:
    code, wide = insn.opcode & 0xF0, insn.cls == op.JMP
    if insn.opcode == op.JMP | op.CALL and not insn.dst_reg and not insn.offset:
        return _call(insn, helpers)
    if insn == Insn(op.JMP | op.CALL | op.X, insn.dst_reg) and insn.dst_reg < op.REGISTERS:
        return f"callx r{insn.dst_reg}"
    if code == op.EXIT:
        return "exit" if insn == Insn(op.JMP | op.EXIT) else None
    if code == op.JA:
        if insn.dst_reg or insn.src_reg or insn.opcode & op.X:
            return None
        if wide:
            return f"goto pc{insn.offset:+d}" if not insn.imm else None
        return f"gotol pc{insn.imm:+d}" if not insn.offset else None
    if code == op.JCOND:
        return f"may_goto pc{insn.offset:+d}" if insn == Insn(op.JMP | op.JCOND, 0, 0, insn.offset) else None
    row = op.JMP_BY_CODE.get(code)
    if row is None or code in (op.CALL, op.EXIT) or insn.dst_reg >= op.REGISTERS:
        return None
    if insn.opcode & op.X:
        if insn.imm or insn.src_reg >= op.REGISTERS:
            return None
        right = _reg(insn.src_reg, wide)
    else:
        if insn.src_reg:
            return None
        right = f"{insn.imm:#x}" if insn.imm >= 0 else str(insn.imm)
    return f"if {_reg(insn.dst_reg, wide)} {row.text} {right} goto pc{insn.offset:+d}"


def _call(insn: Insn, helpers: Mapping[int, str]) -> str | None:
    if insn.src_reg == op.CALL_LOCAL:
        return f"call pc{insn.imm:+d}"
    if insn.src_reg == op.CALL_KFUNC:
        return f"call kfunc#{insn.imm}"
    if insn.src_reg:
        return None
    name = helpers.get(insn.imm)
    return f"call bpf_{name}#{insn.imm}" if name else f"call {insn.imm}"


def _place(register: int, offset: int) -> str:
    return f"(r{register} {offset:+d})"


def _memory(insn: Insn) -> str | None:
    mode, size = insn.opcode & 0xE0, insn.opcode & 0x18
    if insn.dst_reg >= op.REGISTERS or insn.src_reg >= op.REGISTERS:
        return None
    if insn.cls == op.LDX and not insn.imm:
        if mode == op.MEM:
            return f"r{insn.dst_reg} = *({_WIDTH[size]} *){_place(insn.src_reg, insn.offset)}"
        if mode == op.MEMSX and size in _SIGNED:
            return f"r{insn.dst_reg} = *({_SIGNED[size]} *){_place(insn.src_reg, insn.offset)}"
    if insn.cls == op.ST and mode == op.MEM and not insn.src_reg:
        return f"*({_WIDTH[size]} *){_place(insn.dst_reg, insn.offset)} = {insn.imm}"
    if insn.cls == op.STX and mode == op.MEM and not insn.imm:
        return f"*({_WIDTH[size]} *){_place(insn.dst_reg, insn.offset)} = r{insn.src_reg}"
    if insn.cls == op.STX and mode == op.ATOMIC:
        return _atomic(insn, size)
    if insn.cls == op.LD and mode in (op.ABS, op.IND) and size != op.DW:
        return _packet(insn, mode, size)
    return None


def _packet(insn: Insn, mode: int, size: int) -> str | None:
    if insn.dst_reg or insn.offset or (mode == op.ABS and insn.src_reg):
        return None
    inner = f"r{insn.src_reg} {insn.imm:+d}" if mode == op.IND else f"{insn.imm}"
    return f"r0 = *({_WIDTH[size]} *)skb[{inner}]"


def _atomic(insn: Insn, size: int) -> str | None:
    row = op.ATOMIC_BY_IMM.get(insn.imm)
    if row is None or (size not in (op.W, op.DW) and insn.imm < 0x100):
        return None
    width, wide = _WIDTH[size], size == op.DW
    place, src = _place(insn.dst_reg, insn.offset), _reg(insn.src_reg, wide)
    if row.name == "LOAD_ACQ":
        return f"{_reg(insn.dst_reg, wide)} = load_acquire(({width} *){_place(insn.src_reg, insn.offset)})"
    if row.name == "STORE_REL":
        return f"store_release(({width} *){place}, {src})"
    if row.name == "CMPXCHG":
        accumulator = _reg(0, wide)
        return f"{accumulator} = atomic_cmpxchg(({width} *){place}, {accumulator}, {src})"
    if row.imm & op.FETCH:
        return f"{src} = {row.text}(({width} *){place}, {src})"
    return f"lock *({width} *){place} {row.text} {src}"


def _wide(insns: Sequence[Insn], index: int, symbol: str | None) -> str:
    insn = insns[index]
    if index + 1 >= len(insns) or insn.src_reg >= len(op.PSEUDO) or insn.dst_reg >= op.REGISTERS:
        return _raw(insn)
    if insn.offset or insns[index + 1]._replace(imm=0) != Insn(0):
        return _raw(insn)
    kind = op.PSEUDO[insn.src_reg]
    if not kind:
        return f"r{insn.dst_reg} = {imm64(insns, index):#x} ll"
    if symbol is not None:
        return f"r{insn.dst_reg} = {symbol}"
    return f"r{insn.dst_reg} = {kind}[{insn.imm}][{insns[index + 1].imm}]"


class Part(NamedTuple):
    """One field of an instruction: its place in the eight bytes, its bits, what they say."""

    name: str
    where: str
    value: str
    meaning: str


def anatomy(insn: Insn) -> tuple[Part, ...]:
    """The eight bytes of a slot taken apart (RFC 9669 section 3)."""
    code, cls = insn.opcode, insn.cls
    parts = [Part("class", "byte 0, bits 0-2", f"{cls:03b}", op.CLASSES[cls])]
    if cls in (op.ALU, op.ALU64, op.JMP, op.JMP32):
        table: Mapping[int, object] = op.JMP_BY_CODE if cls in (op.JMP, op.JMP32) else {}
        row = table.get(code & 0xF0) if table else op.ALU_BY_CODE.get((code & 0xF0, insn.offset))
        name = getattr(row, "name", "unknown")
        source = "register" if code & op.X else "immediate"
        parts.append(Part("source", "byte 0, bit 3", f"{code >> 3 & 1}", source))
        parts.append(Part("code", "byte 0, bits 4-7", f"{code >> 4:04b}", name))
    else:
        parts.append(
            Part("size", "byte 0, bits 3-4", f"{code >> 3 & 3:02b}", f"{op.BYTES[code & 0x18]} bytes")
        )
        parts.append(
            Part("mode", "byte 0, bits 5-7", f"{code >> 5:03b}", op.MODES.get(code & 0xE0, "unknown"))
        )
    parts.append(Part("dst_reg", "byte 1, bits 0-3", f"{insn.dst_reg:04b}", f"r{insn.dst_reg}"))
    parts.append(Part("src_reg", "byte 1, bits 4-7", f"{insn.src_reg:04b}", f"r{insn.src_reg}"))
    parts.append(Part("offset", "bytes 2-3", f"{insn.offset & 0xFFFF:04x}", f"{insn.offset}"))
    parts.append(Part("imm", "bytes 4-7", f"{insn.imm & 0xFFFFFFFF:08x}", f"{insn.imm}"))
    return tuple(parts)
