"""The instruction set as tables: every reader (encoder, assembler, interpreter, verifier) uses these rows.

Source: RFC 9669, and <linux/bpf.h> for what the kernel added after it (marked "Linux").
"""

from __future__ import annotations

from pbt.data import NamedTuple

# RFC 9669 section 3.1: the low three bits of the opcode
LD, LDX, ST, STX, ALU, JMP, JMP32, ALU64 = range(8)
CLASSES = ("LD", "LDX", "ST", "STX", "ALU", "JMP", "JMP32", "ALU64")

# section 4: the source bit of arithmetic and jumps
K, X = 0x00, 0x08


class AluOp(NamedTuple):
    name: str
    code: int  # the high four bits of the opcode
    offset: int  # value of the offset field that selects this operation
    text: str  # how the kernel prints it


# section 4.1
ALU_OPS = (
    AluOp("ADD", 0x00, 0, "+="),
    AluOp("SUB", 0x10, 0, "-="),
    AluOp("MUL", 0x20, 0, "*="),
    AluOp("DIV", 0x30, 0, "/="),
    AluOp("SDIV", 0x30, 1, "s/="),
    AluOp("OR", 0x40, 0, "|="),
    AluOp("AND", 0x50, 0, "&="),
    AluOp("LSH", 0x60, 0, "<<="),
    AluOp("RSH", 0x70, 0, ">>="),
    AluOp("NEG", 0x80, 0, "= -"),
    AluOp("MOD", 0x90, 0, "%="),
    AluOp("SMOD", 0x90, 1, "s%="),
    AluOp("XOR", 0xA0, 0, "^="),
    AluOp("MOV", 0xB0, 0, "="),
    AluOp("MOVSX8", 0xB0, 8, "= (s8)"),
    AluOp("MOVSX16", 0xB0, 16, "= (s16)"),
    AluOp("MOVSX32", 0xB0, 32, "= (s32)"),
    AluOp("ARSH", 0xC0, 0, "s>>="),
    AluOp("END", 0xD0, 0, "end"),
)
ALU_BY_NAME = {op.name: op for op in ALU_OPS}
ALU_BY_CODE = {(op.code, op.offset): op for op in ALU_OPS}

ADD, SUB, MUL, DIV, OR, AND, LSH, RSH, NEG, MOD, XOR, MOV, ARSH, END = (
    0x00, 0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0x80, 0x90, 0xA0, 0xB0, 0xC0, 0xD0,
)  # fmt: skip
TO_LE, TO_BE = 0x00, 0x08  # section 4.2: the source bit of END in class ALU


class JmpOp(NamedTuple):
    name: str
    code: int
    text: str


# section 4.3
JMP_OPS = (
    JmpOp("JA", 0x00, "goto"),
    JmpOp("JEQ", 0x10, "=="),
    JmpOp("JGT", 0x20, ">"),
    JmpOp("JGE", 0x30, ">="),
    JmpOp("JSET", 0x40, "&"),
    JmpOp("JNE", 0x50, "!="),
    JmpOp("JSGT", 0x60, "s>"),
    JmpOp("JSGE", 0x70, "s>="),
    JmpOp("CALL", 0x80, "call"),
    JmpOp("EXIT", 0x90, "exit"),
    JmpOp("JLT", 0xA0, "<"),
    JmpOp("JLE", 0xB0, "<="),
    JmpOp("JSLT", 0xC0, "s<"),
    JmpOp("JSLE", 0xD0, "s<="),
    JmpOp("JCOND", 0xE0, "may_goto"),  # Linux 6.9
)
JMP_BY_NAME = {op.name: op for op in JMP_OPS}
JMP_BY_CODE = {op.code: op for op in JMP_OPS}
CONDITIONAL = {op.text: op.code for op in JMP_OPS if op.name not in ("JA", "CALL", "EXIT", "JCOND")}

JA, JEQ, JGT, JGE, JSET, JNE, JSGT, JSGE, CALL, EXIT, JLT, JLE, JSLT, JSLE, JCOND = (
    op.code for op in JMP_OPS
)  # fmt: skip

# section 5: bits 3 and 4 of load and store opcodes
W, H, B, DW = 0x00, 0x08, 0x10, 0x18
BYTES = {W: 4, H: 2, B: 1, DW: 8}
SIZE_OF = {4: W, 2: H, 1: B, 8: DW}

# section 5: the high three bits of load and store opcodes
IMM, ABS, IND, MEM, MEMSX, ATOMIC = 0x00, 0x20, 0x40, 0x60, 0x80, 0xC0
MODES = {IMM: "IMM", ABS: "ABS", IND: "IND", MEM: "MEM", MEMSX: "MEMSX", ATOMIC: "ATOMIC"}


class AtomicOp(NamedTuple):
    name: str
    imm: int
    text: str


FETCH = 0x01
# section 5.3; LOAD_ACQ and STORE_REL: Linux 6.15
ATOMIC_OPS = (
    AtomicOp("ADD", 0x00, "+="),
    AtomicOp("OR", 0x40, "|="),
    AtomicOp("AND", 0x50, "&="),
    AtomicOp("XOR", 0xA0, "^="),
    AtomicOp("FETCH_ADD", 0x01, "atomic_fetch_add"),
    AtomicOp("FETCH_OR", 0x41, "atomic_fetch_or"),
    AtomicOp("FETCH_AND", 0x51, "atomic_fetch_and"),
    AtomicOp("FETCH_XOR", 0xA1, "atomic_fetch_xor"),
    AtomicOp("XCHG", 0xE1, "atomic_xchg"),
    AtomicOp("CMPXCHG", 0xF1, "atomic_cmpxchg"),
    AtomicOp("LOAD_ACQ", 0x100, "load_acquire"),
    AtomicOp("STORE_REL", 0x110, "store_release"),
)
ATOMIC_BY_IMM = {op.imm: op for op in ATOMIC_OPS}
ATOMIC_BY_NAME = {op.name: op for op in ATOMIC_OPS}

LD_IMM64 = LD | IMM | DW  # 0x18, section 5.4: two slots
# section 5.4: the source register of a 64-bit immediate load
PSEUDO = ("", "map_fd", "map_value", "btf_id", "func", "map_idx", "map_idx_value")
# section 4.3.1: the source register of CALL
CALL_HELPER, CALL_LOCAL, CALL_KFUNC = 0, 1, 2

REGISTERS = 11  # r0 to r10
STACK_SIZE = 512  # MAX_BPF_STACK
MAX_CALL_FRAMES = 8
ADDR_SPACE_CAST = 1  # BPF_ADDR_SPACE_CAST: the offset of a move between address spaces (Linux 6.9)
