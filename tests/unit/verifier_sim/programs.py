"""Small programs with the verdict that every kernel from 6.12 on gives: program type, text, reason or "".

The unit tests hold the simulator to them; tests/live holds the running kernel to them as well.
`MAP`, `RING` and `ARRAY` in the text are the wide loads of three maps.
"""

from __future__ import annotations

from typing import NamedTuple

from pbt.isa.asm import assemble
from pbt.isa.insn import Insn
from pbt.uapi.helpers import HELPERS
from pbt.verifier_sim import MapInfo

MAPS = (
    MapInfo("hash", "HASH", 4, 16, 8),
    MapInfo("ring", "RINGBUF", 0, 0, 4096),
    MapInfo("array", "ARRAY", 4, 16, 1),
)
_LOADS = {"MAP": "map_fd[0][0]", "RING": "map_fd[1][0]", "ARRAY": "map_value[2][0]"}
_IDS = {name: helper.id for name, helper in HELPERS.items()}


class Case(NamedTuple):
    name: str
    prog_type: str
    text: str
    reason: str = ""  # the start of the kernel's last words; "" if it accepts


def build(text: str) -> tuple[list[Insn], dict[int, tuple[int, str, int]]]:
    """Slots, and what their wide loads mean."""
    for name, load in _LOADS.items():
        text = text.replace(name, load)
    insns = assemble(text.replace(";", "\n"), _IDS)
    references, at = {}, 0
    while at < len(insns):
        insn = insns[at]
        if insn.is_wide and insn.src_reg in (1, 2):
            references[at] = (insn.imm, "map_fd" if insn.src_reg == 1 else "map_value", insns[at + 1].imm)
        at += 2 if insn.is_wide else 1
    return insns, references


_LOOKUP = """
*(u32 *)(r10 -4) = 1; r2 = r10; r2 += -4; r1 = MAP; call map_lookup_elem
"""
_RESERVE = "r1 = RING; r2 = 16; r3 = 0; call ringbuf_reserve; if r0 == 0 goto out; r6 = r0"
_PACKET = "r2 = *(u32 *)(r1 +0); r3 = *(u32 *)(r1 +4)"
_END = "out: r0 = 0; exit"

CASES = (
    # values and registers
    Case("smallest", "SOCKET_FILTER", "r0 = 0; exit"),
    Case("no return value", "SOCKET_FILTER", "exit", "R0 !read_ok"),
    Case("uninitialised", "SOCKET_FILTER", "r0 = r2; exit", "R2 !read_ok"),
    Case("lost over a call", "KPROBE", "r6 = r1; call ktime_get_ns; r0 = r1; exit", "R1 !read_ok"),
    Case("kept over a call", "KPROBE", "r6 = r1; call ktime_get_ns; r0 = *(u64 *)(r6 +0); exit"),
    Case("write r10", "SOCKET_FILTER", "r10 = 1; r0 = 0; exit", "frame pointer is read only"),
    Case("div by zero", "SOCKET_FILTER", "r0 = 1; r0 /= 0; exit", "div by zero"),
    Case("div by register", "SOCKET_FILTER", "r0 = 1; r2 = 0; r0 /= r2; exit"),
    Case("wide shift", "SOCKET_FILTER", "r0 = 1; r0 <<= 64; exit", "invalid shift 64"),
    Case("wide shift of 32 bits", "SOCKET_FILTER", "r0 = 1; w0 <<= 32; exit", "invalid shift 32"),
    Case("shift of 32 bits by a register of 64", "SOCKET_FILTER",
         "r2 = 0x300000000 ll; r0 = 1; w0 <<= w2; if w0 == 1 goto out; r0 = r9; out: r0 = 0; exit", "R9 !read_ok"),
    Case("compared with itself", "SOCKET_FILTER",
         "call get_prandom_u32; r0 &= 1; r0 += 63; if r0 s>= r0 goto out; if r0 == 63 goto out; r0 = r9;"
         " out: r0 = 0; exit", "R9 !read_ok"),
    Case("number as pointer", "KPROBE", "r2 = 8; r0 = *(u64 *)(r2 +0); exit",
         "R2 invalid mem access 'scalar'"),
    # packets and sockets
    Case("known to be past the end", "XDP", f"{_PACKET}; r4 = r2; r4 += 8; if r4 > r3 goto out; if r2 > r3 goto a;"
         " r0 = *(u8 *)(r2 +0); goto out; a: r0 = *(u8 *)(r2 +0); out: r0 = 0; exit",
         "R2 offset is outside of the packet"),
    Case("past the end on one way", "XDP", f"{_PACKET}; if r3 >= r2 goto a; r4 = 0; goto b; a: r4 = 1; b: r5 = r2;"
         " r5 += 1; if r5 > r3 goto out; r0 = *(u8 *)(r2 +1); out: r0 = 0; exit", "R2 offset is outside of the packet"),
    # control flow
    Case("unreachable", "SOCKET_FILTER", "r0 = 0; exit; r0 = 1; exit", "unreachable insn 2"),
    Case("fall through", "SOCKET_FILTER", "r0 = 0", "last insn is not an exit or jmp"),
    Case("jump out", "SOCKET_FILTER", "r0 = 0; goto +7; exit", "jump out of range from insn 1 to 9"),
    Case("jump into wide load", "SOCKET_FILTER",
         "r0 = 0; if r0 == 0 goto +1; r1 = 0x1122334455667788 ll; exit",
         "jump into the middle of ldimm64 insn"),
    Case("goto self", "SOCKET_FILTER", "r0 = 0; a: goto a; exit", "unreachable insn 2"),
    Case("no progress", "SOCKET_FILTER", "call get_prandom_u32; a: if r0 == 1 goto a; exit",
         "infinite loop detected"),
    Case("bounded loop", "SOCKET_FILTER", "r0 = 0; a: r0 += 1; if r0 < 100 goto a; exit"),
    Case("counts down", "SOCKET_FILTER", "r1 = 50; r0 = 0; a: r0 += r1; r1 -= 1; if r1 != 0 goto a; exit"),
    Case("dead branch", "SOCKET_FILTER", "r0 = 0; if r0 == 0 goto a; r10 = 1; a: exit"),
    # stack
    Case("below the stack", "SOCKET_FILTER", "*(u64 *)(r10 -520) = 0; r0 = 0; exit",
         "invalid write to stack R10 off=-520 size=8"),
    Case("above the stack", "SOCKET_FILTER", "*(u64 *)(r10 +0) = 0; r0 = 0; exit",
         "invalid write to stack R10 off=0 size=8"),
    Case("misaligned stack", "SOCKET_FILTER", "*(u32 *)(r10 -7) = 0; r0 = 0; exit", "misaligned stack access"),
    Case("last stack slot", "SOCKET_FILTER", "*(u64 *)(r10 -512) = 0; r0 = *(u64 *)(r10 -512); exit"),
    Case("part of a spilled pointer", "SOCKET_FILTER",
         "*(u64 *)(r10 -8) = r1; r0 = *(u32 *)(r10 -8); exit", "invalid size of register fill"),
    Case("spill of a part", "SOCKET_FILTER", "*(u32 *)(r10 -8) = r1; r0 = 0; exit",
         "invalid size of register spill"),
    Case("spill and fill", "KPROBE", "*(u64 *)(r10 -8) = r1; r2 = *(u64 *)(r10 -8); r0 = *(u64 *)(r2 +8); exit"),
    Case("variable stack offset", "SOCKET_FILTER",
         "call get_prandom_u32; r0 &= 31; r2 = r10; r2 += -32; r2 += r0; *(u8 *)(r2 +0) = 1; r0 = 0; exit"),
    Case("variable stack offset too far", "SOCKET_FILTER",
         "call get_prandom_u32; r0 &= 63; r2 = r10; r2 += -32; r2 += r0; *(u8 *)(r2 +0) = 1; r0 = 0; exit",
         "invalid variable-offset write to stack R2"),
    Case("deep calls", "SOCKET_FILTER",
         "*(u64 *)(r10 -512) = 0; call f; r0 = 0; exit; f: *(u64 *)(r10 -8) = 0; r0 = 0; exit",
         "combined stack size of 2 calls is"),
    # context
    Case("context", "KPROBE", "r0 = *(u64 *)(r1 +160); exit"),
    Case("beyond the context", "KPROBE", "r0 = *(u64 *)(r1 +168); exit", "invalid bpf_context access off=168"),
    Case("misaligned context", "KPROBE", "r0 = *(u64 *)(r1 +4); exit", "invalid bpf_context access off=4"),
    Case("moved context", "KPROBE", "r1 += 8; r0 = *(u64 *)(r1 +0); exit",
         "dereference of modified ctx ptr R1 off=8"),
    Case("field of __sk_buff", "SOCKET_FILTER", "r0 = *(u32 *)(r1 +0); exit"),
    Case("no packet pointers", "SOCKET_FILTER", "r0 = *(u32 *)(r1 +76); exit",
         "invalid bpf_context access off=76"),
    # map values
    Case("null check", "KPROBE", f"{_LOOKUP}; if r0 == 0 goto out; r1 = *(u64 *)(r0 +8); {_END}"),
    Case("no null check", "KPROBE", f"{_LOOKUP}; r1 = *(u64 *)(r0 +0); {_END}",
         "R0 invalid mem access 'map_value_or_null'"),
    Case("wrong side", "KPROBE", f"{_LOOKUP}; if r0 != 0 goto out; r1 = *(u64 *)(r0 +0); {_END}",
         "R0 invalid mem access 'scalar'"),
    Case("checked copy", "KPROBE", f"{_LOOKUP}; r7 = r0; if r7 == 0 goto out; *(u64 *)(r0 +0) = 1; {_END}"),
    Case("moved before check", "KPROBE", f"{_LOOKUP}; r0 += 8; if r0 == 0 goto out; {_END}",
         "R0 pointer arithmetic on map_value_or_null prohibited"),
    Case("beyond the value", "KPROBE", f"{_LOOKUP}; if r0 == 0 goto out; r1 = *(u64 *)(r0 +16); {_END}",
         "R0 min value is outside of the allowed memory range"),
    Case("index in range", "KPROBE",
         f"call get_prandom_u32; r7 = r0; r7 &= 15; {_LOOKUP}; if r0 == 0 goto out; r0 += r7;"
         f"r1 = *(u8 *)(r0 +0); {_END}"),
    Case("index out of range", "KPROBE",
         f"call get_prandom_u32; r7 = r0; r7 &= 16; {_LOOKUP}; if r0 == 0 goto out; r0 += r7;"
         f"r1 = *(u8 *)(r0 +0); {_END}",
         "R0 max value is outside of the allowed memory range"),
    Case("compared index", "KPROBE",
         f"call ktime_get_ns; r7 = r0; if r7 > 15 goto out; {_LOOKUP}; if r0 == 0 goto out; r0 += r7;"
         f"r1 = *(u8 *)(r0 +0); {_END}"),
    Case("index compared as signed", "KPROBE",
         f"call ktime_get_ns; r7 = r0; if r7 s> 15 goto out; {_LOOKUP}; if r0 == 0 goto out; r0 += r7;"
         f"r1 = *(u8 *)(r0 +0); {_END}",
         "math between map_value pointer and register with unbounded min value"),
    Case("linked index", "KPROBE",
         f"call ktime_get_ns; r7 = r0; r8 = r7; if r8 > 15 goto out; {_LOOKUP}; if r0 == 0 goto out; r0 += r7;"
         f"r1 = *(u8 *)(r0 +0); {_END}"),
    Case("spilled index", "KPROBE",
         f"call ktime_get_ns; r0 &= 15; *(u64 *)(r10 -16) = r0; {_LOOKUP}; if r0 == 0 goto out;"
         f"r7 = *(u64 *)(r10 -16); r0 += r7; r1 = *(u8 *)(r0 +0); {_END}"),
    Case("atomic add", "KPROBE", f"{_LOOKUP}; if r0 == 0 goto out; r1 = 1; lock *(u64 *)(r0 +0) += r1; {_END}"),
    Case("misaligned atomic", "KPROBE",
         f"{_LOOKUP}; if r0 == 0 goto out; r1 = 1; lock *(u64 *)(r0 +4) += r1; {_END}", "misaligned value access"),
    Case("direct value", "KPROBE", "r1 = ARRAY; *(u64 *)(r1 +8) = 3; r0 = 0; exit"),
    Case("beyond direct value", "KPROBE", "r1 = ARRAY; *(u64 *)(r1 +16) = 3; r0 = 0; exit",
         "R1 min value is outside of the allowed memory range"),
    # helpers
    Case("unknown helper", "KPROBE", "call 99999; r0 = 0; exit", "invalid func unknown#99999"),
    Case("helper of another type", "KPROBE", "r2 = 0; call redirect; r0 = 0; exit",
         "program of this type cannot use helper bpf_redirect#23"),
    Case("missing argument", "KPROBE", "r1 = MAP; call map_lookup_elem; r0 = 0; exit", "R2 !read_ok"),
    Case("key beyond the stack", "KPROBE", "r1 = MAP; r2 = r10; call map_lookup_elem; r0 = 0; exit",
         "invalid read from stack R2 off=0 size=4"),
    Case("number for a map", "KPROBE", "r1 = 1; r2 = r10; r2 += -4; call map_lookup_elem; r0 = 0; exit",
         "R1 type=scalar expected=map_ptr"),
    Case("context for memory", "KPROBE", "r2 = 8; call get_current_comm; r0 = 0; exit",
         "R1 type=ctx expected=fp, pkt"),
    Case("size 0", "KPROBE", "r1 = r10; r1 += -8; r2 = 0; call get_current_comm; r0 = 0; exit",
         "R2 invalid zero-sized read"),
    Case("negative size", "KPROBE",
         "r6 = *(u64 *)(r1 +0); r1 = r10; r1 += -16; r2 = r6; if r2 s> 16 goto out; r3 = 0;"
         f"call probe_read_kernel; {_END}", "R2 min value is negative"),
    Case("unbounded size", "KPROBE",
         f"r2 = *(u64 *)(r1 +0); r1 = r10; r1 += -16; r3 = 0; r2 >>= 1; call probe_read_kernel; {_END}",
         "R2 unbounded memory access"),
    Case("bounded size", "KPROBE",
         f"r2 = *(u64 *)(r1 +0); r2 &= 15; r1 = r10; r1 += -16; r3 = 0; call probe_read_kernel; {_END}"),
    Case("size over the buffer", "KPROBE", f"r2 = 17; r1 = r10; r1 += -16; r3 = 0; call probe_read_kernel; {_END}",
         "invalid write to stack R1 off=-16 size=17"),
    Case("string result as index", "KPROBE",
         f"r1 = r10; r1 += -16; r2 = 16; r3 = 0; call probe_read_kernel_str; if r0 s< 1 goto out; r0 -= 1;"
         f"r2 = r10; r2 += -16; r2 += r0; *(u8 *)(r2 +0) = 0; {_END}"),
    Case("map of another type", "KPROBE",
         "r1 = MAP; r2 = r10; r2 += -16; r3 = 0; call map_push_elem; r0 = 0; exit",
         "cannot pass map_type 1 into func bpf_map_push_elem#87"),
    Case("key of a map without keys", "KPROBE",
         "r1 = RING; r2 = r10; r2 += -8; *(u64 *)(r10 -8) = 0; call map_delete_elem; r0 = 0; exit",
         "invalid zero-sized read"),
    # references
    Case("reserve and submit", "KPROBE",
         f"{_RESERVE}; *(u64 *)(r6 +8) = 1; r1 = r6; r2 = 0; call ringbuf_submit; {_END}"),
    Case("reserve without check", "KPROBE",
         f"r1 = RING; r2 = 16; r3 = 0; call ringbuf_reserve; *(u64 *)(r0 +0) = 1; {_END}",
         "R0 invalid mem access 'ringbuf_mem_or_null'"),
    Case("leak", "KPROBE", f"{_RESERVE}; {_END}", "BPF_EXIT instruction in main prog would lead to reference leak"),
    Case("write after submit", "KPROBE",
         f"{_RESERVE}; r1 = r6; r2 = 0; call ringbuf_submit; *(u64 *)(r6 +0) = 1; {_END}",
         "R6 invalid mem access 'scalar'"),
    Case("beyond the record", "KPROBE",
         f"{_RESERVE}; *(u64 *)(r6 +16) = 1; r1 = r6; r2 = 0; call ringbuf_submit; {_END}",
         "R6 min value is outside of the allowed memory range"),
    Case("leak on one path", "KPROBE",
         f"{_RESERVE}; r1 = *(u64 *)(r6 +0); if r1 == 5 goto out; r1 = r6; r2 = 0; call ringbuf_submit; {_END}",
         "BPF_EXIT instruction in main prog would lead to reference leak"),
    # pointers
    Case("pointer and", "SOCKET_FILTER", "r1 &= 3; r0 = 0; exit", "R1 bitwise operator &= on pointer prohibited"),
    Case("pointer times", "SOCKET_FILTER", "r1 *= 2; r0 = 0; exit",
         "R1 pointer arithmetic with *= operator prohibited"),
    Case("pointer plus pointer", "SOCKET_FILTER", "r1 += r10; r0 = 0; exit", "R1 pointer += pointer prohibited"),
    Case("32-bit move of pointer", "SOCKET_FILTER", "w0 = w1; exit"),
    Case("32-bit arithmetic on pointer", "SOCKET_FILTER", "w1 += 1; r0 = 0; exit",
         "R1 32-bit pointer arithmetic prohibited"),
    Case("fp minus", "SOCKET_FILTER", "r1 = r10; r1 -= 8; r0 = 0; exit",
         "R1 subtraction from stack pointer prohibited"),
    # functions
    Case("function", "SOCKET_FILTER", "r1 = 7; call f; exit; f: r0 = r1; exit"),
    Case("function writes caller's stack", "SOCKET_FILTER",
         "r1 = r10; r1 += -8; call f; r0 = *(u64 *)(r10 -8); exit; f: *(u64 *)(r1 +0) = 1; r0 = 0; exit"),
    Case("function returns stack", "SOCKET_FILTER", "call f; r0 = 0; exit; f: r0 = r10; exit",
         "cannot return stack pointer to the caller"),
    Case("clobbered", "SOCKET_FILTER", "r1 = 7; call f; r0 = r1; exit; f: r0 = 0; exit", "R1 !read_ok"),
    # packets
    Case("packet", "XDP",
         "r2 = *(u32 *)(r1 +4); r1 = *(u32 *)(r1 +0); r3 = r1; r3 += 14; if r3 > r2 goto out;"
         f"r0 = *(u8 *)(r1 +13); {_END}"),
    Case("packet without check", "XDP", f"r1 = *(u32 *)(r1 +0); r0 = *(u8 *)(r1 +13); {_END}",
         "R1 offset is outside of the packet"),
    Case("past the checked packet", "XDP",
         "r2 = *(u32 *)(r1 +4); r1 = *(u32 *)(r1 +0); r3 = r1; r3 += 14; if r3 > r2 goto out;"
         f"r0 = *(u8 *)(r1 +14); {_END}",
         "R1 offset is outside of the packet"),
    Case("packet as a key", "XDP", f"{_PACKET}; r4 = r2; r4 += 8; if r4 > r3 goto out; r1 = MAP; call map_lookup_elem; {_END}"),
    Case("packet to a helper without its own check", "XDP",
         f"{_PACKET}; r4 = r2; r4 += 8; if r4 > r3 goto out; r1 = RING; r3 = 8; r4 = 0; call ringbuf_output; {_END}",
         "helper access to the packet is not allowed"),
    Case("range after a test of bits", "KPROBE",
         f"call ktime_get_ns; r7 = r0; if r7 s< -9 goto out; if r7 s> 9 goto out; if r7 & 15 goto out; {_LOOKUP};"
         f"if r0 == 0 goto out; r0 += r7; r1 = *(u8 *)(r0 +0); {_END}",
         "math between map_value pointer and register with unbounded min value"),
    # parts of numbers on the stack
    Case("low half, sign extended", "KPROBE",
         f"call ktime_get_ns; r7 = r0; if w7 > 7 goto out; *(u32 *)(r10 -16) = r7; {_LOOKUP}; if r0 == 0 goto out;"
         f"r8 = *(s32 *)(r10 -16); r0 += r8; r1 = *(u8 *)(r0 +0); {_END}",
         "value -2147483648 makes map_value pointer be out of bounds"),
    Case("low half, zero extended", "KPROBE",
         f"call ktime_get_ns; r7 = r0; if w7 > 7 goto out; *(u32 *)(r10 -16) = r7; {_LOOKUP}; if r0 == 0 goto out;"
         f"r8 = *(u32 *)(r10 -16); r0 += r8; r1 = *(u8 *)(r0 +0); {_END}"),
    # what no path comes to
    Case("no register, never seen", "SOCKET_FILTER", "r0 = 0; if r0 == 0 goto +1; .insn 0x61 2 11 0 0; exit"),
    Case("no register", "SOCKET_FILTER", ".insn 0x61 2 11 0 0; r0 = 0; exit", "R11 is invalid"),
    Case("no opcode, never seen", "SOCKET_FILTER", "r0 = 0; if r0 == 0 goto +1; .insn 0x8f 1 1 0 0; exit",
         "unknown opcode 8f"),
    # stack of functions
    Case("function without stack", "SOCKET_FILTER", "*(u64 *)(r10 -512) = 0; call f; r0 = 0; exit; f: r0 = 0; exit"),
    # pruning must not hide the second path
    Case("imprecise", "KPROBE",
         "call ktime_get_ns; r6 = 8; r7 = 0; if r0 == 1 goto a; r6 = 1000; a: r7 += 1; r7 += 1; r7 += 1;"
         f"if r7 == 9 goto out; {_LOOKUP}; if r0 == 0 goto out; r0 += r6; r1 = *(u8 *)(r0 +0); {_END}",
         "R0 min value is outside of the allowed memory range"),
    Case("hidden on the stack", "KPROBE",
         "call ktime_get_ns; *(u64 *)(r10 -16) = 8; if r0 == 1 goto a; *(u64 *)(r10 -16) = 1000;"
         "a: r7 = 1; r7 += 1; r7 += 1; r7 += 1; if r7 == 9 goto out; if r7 == 10 goto out;"
         f"{_LOOKUP}; if r0 == 0 goto out; r6 = *(u64 *)(r10 -16); r0 += r6; r1 = *(u8 *)(r0 +0); {_END}",
         "R0 min value is outside of the allowed memory range"),
)  # fmt: skip
