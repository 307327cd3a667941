"""Why programs are refused: every reason has a number, a plain sentence, what mends it, and an example.

`docs/verifier.md` is made from this table (`python -m pbt.verifier_sim.reasons`); a test compares them,
runs every example, and finds each message of the simulator here.

An example is "TYPE [words]: assembly", instructions separated by ";". Words: a release to judge for,
`unprivileged`, `strict` (alignment), `proprietary` (the license), `undescribed` (without types of functions), `attach=TYPE` (the expected attach type, to what the
small BTF of tests/unit/verifier_sim/attached.py has), `objects` (with the types, maps and short-hands of
tests/unit/verifier_sim/objects.py; TYPE is SCHED_CLS where none is given). The names of `EXAMPLE_MAPS` stand for the
wide loads of these maps; `kcall NAME` calls a kernel function; `{instruction} * N` is it N times.
"""

# ruff: noqa: E501 (a table: one reason, few lines)
from __future__ import annotations

import re

from pbt.data import NamedTuple
from pbt.typing import Final
from pbt.verifier_sim.reg import Field, MapInfo

EXAMPLE_MAPS: Final = (
    MapInfo("HASH", "HASH", 4, 16, 8),
    MapInfo("RING", "RINGBUF", 0, 0, 4096),
    MapInfo("ARRAY", "ARRAY", 4, 16, 4),
    MapInfo("ONE", "ARRAY", 4, 16, 1),
    MapInfo("RDONLY", "ARRAY", 4, 16, 4, 1 << 7),
    MapInfo("LOCK", "ARRAY", 4, 16, 4, 0, (Field("spin_lock", 0, 4),)),
    MapInfo("TIMER", "ARRAY", 4, 16, 4, 0, (Field("timer", 0, 16),)),
    MapInfo("KPTR", "ARRAY", 4, 16, 4, 0, (Field("kptr", 0, 8, "task_struct"),)),
    MapInfo("STORAGE", "CGROUP_STORAGE", 16, 16, 0),
)
"""ONE loads the address of its value, the others the map."""


class Reason(NamedTuple):
    """number: its id is PBT-V and this in three digits; pattern: of the kernel's words, whole;
    words: a sentence with the pattern's groups; mend: what to do; example: see the module."""

    number: int
    pattern: str
    words: str
    mend: str
    example: str

    @property
    def id(self) -> str:
        return f"PBT-V{self.number:03}"


_LOOK = "*(u32 *)(r10 -4) = 1; r2 = r10; r2 += -4; r1 = HASH; call map_lookup_elem"
_HELD = "r1 = RING; r2 = 8; r3 = 0; call ringbuf_reserve; if r0 == 0 goto out; r6 = r0"
_LOOK_RDONLY, _LOOK_LOCK, _LOOK_TIMER, _LOOK_KPTR = (
    _LOOK.replace("HASH", name) for name in ("RDONLY", "LOCK", "TIMER", "KPTR")
)
_LOCKED = f"{_LOOK_LOCK}; if r0 == 0 goto out; r6 = r0; r1 = r0; call spin_lock"
_END = "out: r0 = 0; exit"

REASONS: Final = (
    # instructions
    Reason(1, r"the program is empty", "there is no instruction", "A program has at least r0 = 0; exit.", "SOCKET_FILTER:"),
    Reason(2, r"the program is too large", "there are more than a million instructions", "Split the program.",
           "SOCKET_FILTER: {r0 = 0} * 1000000; exit"),
    Reason(3, r"unknown opcode (\w+)", "opcode 0x{0} is no instruction of this kernel",
           "Compile for an older instruction set, or run on a newer kernel.", "SOCKET_FILTER 6.1: r0 = 0; r0 = bswap16 r0; exit"),
    Reason(4, r"(.*) uses reserved fields|invalid (?:bpf_ld_imm64|BPF_LD_IMM) insn|unrecognized bpf_ld_imm64 insn",
           "a field of the instruction that has to be 0 is set", "Set those of src_reg, offset and imm to 0 that this opcode does not use.",
           "SOCKET_FILTER: .insn 0xb7 0 1 0 0; exit"),
    Reason(5, r"R(\d+) is invalid", "there is no register r{0}", "Registers are r0 to r10.",
           "SOCKET_FILTER: .insn 0xb7 11 0 0 0; exit"),
    Reason(6, r"BPF_ATOMIC uses invalid atomic opcode (\w+)|invalid atomic operand size (\d+)",
           "this atomic operation does not exist in this size or on this kernel",
           "Atomic operations take 4 or 8 bytes; those that fetch came with Linux 5.12.",
           "SOCKET_FILTER: r0 = 0; *(u64 *)(r10 -8) = 0; .insn 0xdb 10 0 -8 2; exit"),
    Reason(7, r"invalid may_goto (?:off -?\d+ )?imm -?\d+", "may_goto is malformed for this kernel",
           "Before Linux 6.14 may_goto has to skip something.", "SOCKET_FILTER 6.12: r0 = 0; may_goto +0; exit"),
    Reason(8, r"div by zero", "the divisor is the constant 0", "Leave the division out.", "SOCKET_FILTER: r0 = 1; r0 /= 0; exit"),
    Reason(9, r"invalid shift (-?\d+)", "a shift by {0} bits does not fit the register",
           "Shift by less than the width of the register.", "SOCKET_FILTER: r0 = 1; r0 <<= 64; exit"),
    # control flow
    Reason(10, r"unreachable insn (\d+)", "no path leads to instruction {0}", "Remove it, or jump to it.",
           "SOCKET_FILTER: r0 = 0; exit; r0 = 1; exit"),
    Reason(11, r"jump out of range from insn (\d+) to (-?\d+)", "the jump leads to {1}, outside of its function",
           "Jumps stay inside their function.", "SOCKET_FILTER: r0 = 0; goto +7; exit"),
    Reason(12, r"jump into the middle of ldimm64 insn (\d+)", "the jump leads into the second half of a wide load",
           "A wide load takes two slots: count both.",
           "SOCKET_FILTER: r0 = 0; if r0 == 0 goto +1; r1 = 0x1122334455667788 ll; exit"),
    Reason(13, r"last insn is not an exit or jmp", "the function runs past its last instruction", "End it with exit.",
           "SOCKET_FILTER: r0 = 0"),
    Reason(14, r"call to invalid destination", "the call leads outside of the program", "Call the first instruction of a function.",
           "SOCKET_FILTER: r0 = 0; .insn 0x85 0 1 0 99; exit"),
    Reason(15, r"back-edge from insn (\d+) to (\d+)", "the loop is closed by an instruction that is no jump",
           "Let the loop end in a jump; kernels from 6.8 on do not mind.",
           "SOCKET_FILTER 6.1: r0 = 0; goto b; a: r0 += 1; b: r0 += 1; if r0 < 9 goto a; exit"),
    Reason(16, r"infinite loop detected at insn (\d+)", "the loop comes back to instruction {0} with nothing changed",
           "Count the rounds, up or down to a constant: a kernel follows every one.",
           "SOCKET_FILTER: call get_prandom_u32; a: if r0 == 1 goto a; exit"),
    Reason(17, r"BPF program is too large.*", "the kernel would have to walk more than a million instructions",
           "Fewer rounds, fewer branches in loops, or a callback (bpf_loop).",
           "SOCKET_FILTER: r1 = 0; a: r1 += 1; if r1 < 500000 goto a; r0 = 0; exit"),
    Reason(18, r"The sequence of \d+ jumps is too complex\.", "too many branches are open at once (8192 at most)",
           "Fewer branches before the first exit.", "SOCKET_FILTER: call get_prandom_u32; {if r0 == 5 goto +0} * 8193; exit"),
    Reason(19, r"the call stack of (\d+) frames is too deep.*", "functions call each other more than 8 deep",
           "Call less deep, or put functions into their callers.",
           "SOCKET_FILTER 6.18: a: call b; exit; b: call c; exit; c: call d; exit; d: call e; exit; e: call f; exit; f: call g; exit;"
           " g: call h; exit; h: call i; exit; i: r0 = 0; exit"),
    Reason(20, r"combined stack size of (\d+) calls is (\d+)\. Too large", "{0} functions in a chain use {1} bytes of stack; 512 are allowed",
           "Use less stack, or a map of one element.",
           "SOCKET_FILTER: *(u64 *)(r10 -512) = 0; call f; r0 = 0; exit; f: *(u64 *)(r10 -8) = 0; r0 = 0; exit"),
    # registers
    Reason(21, r"R(\d+) !read_ok", "r{0} is read, but nothing was put into it on the way here",
           "Set it on every path; calls clear r1 to r5.", "SOCKET_FILTER: r0 = r2; exit"),
    Reason(22, r"frame pointer is read only", "r10 is the frame pointer; a program cannot change it", "Copy it to another register first.",
           "SOCKET_FILTER: r10 = 1; r0 = 0; exit"),
    Reason(23, r"R(\d+) leaks addr .*|R(\d+) sign-extension part of pointer",
           "r{0} holds an address of the kernel, which may not leave the program", "Load with CAP_PERFMON, or do not store pointers.",
           "SOCKET_FILTER unprivileged: r0 = r1; exit"),
    # memory
    Reason(24, r"R(\d+) invalid mem access '(\w+)_or_null(?:_)?'", "r{0} may be null here and is used without a check",
           "Compare the pointer with 0 first.", f"KPROBE: {_LOOK}; r1 = *(u64 *)(r0 +0); {_END}"),
    Reason(25, r"R(\d+) invalid mem access '(?:scalar|inv)'", "r{0} is a number here, not a pointer that may be followed",
           "Read memory of the kernel or of a process by a probe_read helper.", "KPROBE: r2 = 8; r0 = *(u64 *)(r2 +0); exit"),
    Reason(26, r"R(\d+) invalid mem access '(\w+)'", "memory cannot be reached through r{0}, a pointer of kind {1}",
           "Pointers of this kind are for helpers alone.", "XDP: r2 = *(u32 *)(r1 +4); r0 = *(u8 *)(r2 +0); exit"),
    Reason(27, r"R(\d+) min value is outside of the allowed memory range", "the access through r{0} starts outside of the memory it points to",
           "Stay inside: the offset plus the size is at most the size of the memory.",
           f"KPROBE: {_LOOK}; if r0 == 0 goto out; r1 = *(u64 *)(r0 +16); {_END}"),
    Reason(28, r"R(\d+) max value is outside of the allowed memory range", "the access through r{0} may end beyond the memory it points to",
           "Limit the index: compare it with a constant, or mask it.",
           f"KPROBE: call get_prandom_u32; r7 = r0; r7 &= 16; {_LOOK}; if r0 == 0 goto out; r0 += r7; r1 = *(u8 *)(r0 +0); {_END}"),
    Reason(29, r"R(\d+) unbounded memory access.*", "nothing limits how far r{0} reaches", "Compare the index or the size with a constant first.",
           f"KPROBE: r2 = *(u64 *)(r1 +0); r1 = r10; r1 += -16; r3 = 0; r2 >>= 1; call probe_read_kernel; {_END}"),
    Reason(30, r"R(\d+) min value is negative.*", "r{0} may be negative, or point before its memory", "Compare it as unsigned, or mask it.",
           "KPROBE: r6 = *(u64 *)(r1 +0); r1 = r10; r1 += -16; r2 = r6; if r2 s> 16 goto out; r3 = 0;"
           f" call probe_read_kernel; {_END}"),
    Reason(31, r"R(\d+) offset is outside of the packet", "r{0} may reach past the end of the packet",
           "Compare the end of the access with data_end before.", "XDP: r2 = *(u32 *)(r1 +0); r0 = *(u8 *)(r2 +0); exit"),
    Reason(32, r"misaligned (\w+) ?access.*", "the {0} access does not start at a multiple of its size", "Choose an offset that is a multiple of the size.",
           "SOCKET_FILTER: *(u32 *)(r10 -7) = 0; r0 = 0; exit"),
    Reason(33, r"(write into|read from) map forbidden.*", "the flags of the map do not allow programs to {0} it", "Make the map without that flag.",
           f"KPROBE: {_LOOK_RDONLY}; if r0 == 0 goto out; *(u64 *)(r0 +0) = 1; {_END}"),
    Reason(34, r"cannot write into packet", "this type of program may only read the packet", "Use skb_store_bytes where the type has it.",
           "CGROUP_SKB: r2 = *(u32 *)(r1 +76); r3 = *(u32 *)(r1 +80); r4 = r2; r4 += 1; if r4 > r3 goto out;"
           f" *(u8 *)(r2 +0) = 0; {_END}"),
    Reason(35, r"R(\d+) cannot write into (\w+)|write to change key R\d+ not allowed|only read (?:is supported|from bpf_array is supported)|"
           r"no write support to \S* at off \d+",
           "this memory may only be read", "Copy it to the stack first.", "SOCKET_FILTER: r1 = HASH; *(u32 *)(r1 +0) = 0; r0 = 0; exit"),
    Reason(36, r"R(\d+) invalid (?:\w+ buffer|variable buffer offset|\w+) access?:? ?.*|R\d+ invalid variable buffer offset.*|invalid access to flow keys.*",
           "this part of the object may not be read", "Only some fields of such objects may be read, at constant offsets.",
           "CGROUP_SKB: r1 = *(u64 *)(r1 +168); if r1 == 0 goto out; r0 = *(u64 *)(r1 +3); out: r0 = 1; exit"),
    Reason(37, r"R(\d+) is \w+ invalid (?:variable offset|negative access).*", "a kernel object is read at a place that is not fixed",
           "Use a constant offset, or probe_read_kernel.", "SOCKET_FILTER: r1 = HASH; r0 = *(u32 *)(r1 -4); exit"),
    Reason(38, r"same insn cannot be used with different pointers", "one load or store meets pointers of different kinds",
           "Let each kind of pointer have an instruction of its own.",
           "SOCKET_FILTER: r6 = r1; call get_prandom_u32; r2 = r6; if r0 == 7 goto a; r2 = r10; r2 += -8; *(u64 *)(r10 -8) = 0;"
           " a: r0 = *(u32 *)(r2 +0); exit"),
    Reason(39, r"access beyond (?:the end of member|struct) .*|cannot access ptr member .*|struct \S* (?:doesn't have field at offset|is not known to this kernel|contains itself).*|type \d+ refers to itself", "the access does not fit the fields of the structure",
           "Read a field as a whole, from its start.", "TRACING attach=TRACE_FENTRY: r1 = *(u64 *)(r1 +0); r0 = *(u32 *)(r1 +2); r0 = 0; exit"),
    # stack
    Reason(40, r"invalid(?: variable-offset)?(?: read from| write to) stack R(\d+) (?:var_off=\S+ \S+ )?off=(-?\d+) size=(\d+)|"
           r"invalid(?: variable-offset)?(?: read from| write to) stack R(\d+) var_off.*",
           "the access leaves the stack, 512 bytes below the frame pointer", "The stack is 512 bytes below r10.",
           "SOCKET_FILTER: *(u64 *)(r10 -520) = 0; r0 = 0; exit"),
    Reason(41, r"invalid (?:indirect )?read from stack.*", "stack bytes are read that nobody wrote", "Write them first; from Linux 6.1 on privileged programs need not.",
           "SOCKET_FILTER 5.10: r0 = *(u64 *)(r10 -8); exit"),
    Reason(42, r"invalid unbounded variable-offset.* stack R(\d+)", "nothing limits where on the stack r{0} points", "Compare the index with a constant first, or mask it.",
           "SOCKET_FILTER: call ktime_get_ns; r2 = r10; if r0 s< -99 goto a; r2 += r0; *(u8 *)(r2 +0) = 0; a: r0 = 0; exit"),
    Reason(43, r"variable stack write prohibited.*", "this kernel writes to the stack at constant offsets alone", "Use a map's value instead.",
           "SOCKET_FILTER 5.8: call get_prandom_u32; r0 &= 7; r2 = r10; r2 += -16; r2 += r0; *(u8 *)(r2 +0) = 1; r0 = 0; exit"),
    Reason(44, r"invalid size of register (fill|spill)", "a pointer on the stack is 8 bytes; this is a part of one", "Store and load pointers as 8 bytes.",
           "SOCKET_FILTER: *(u64 *)(r10 -8) = r1; r0 = *(u32 *)(r10 -8); exit"),
    Reason(45, r"cannot spill pointers to stack into stack frame of the caller|cannot return stack pointer to the caller",
           "a function hands a pointer to its own stack to its caller", "Use the caller's stack, given as an argument.",
           "SOCKET_FILTER: call f; r0 = 0; exit; f: r0 = r10; exit"),
    # context
    Reason(46, r"invalid bpf_context access off=(-?\d+) size=(\d+)",
           "{1} bytes at offset {0} of the context may not be accessed by this type of program", "Read a field of the context with its own size.",
           "KPROBE: r0 = *(u64 *)(r1 +168); exit"),
    Reason(47, r"(?:dereference of modified|negative offset) (\w+) ptr R(\d+).*|variable \w+ access var_off=.* disallowed|"
           r"dereference of modified ctx ptr R6 off=.*",
           "the pointer has to be as it was given, and it was moved", "Keep a copy that is not moved.", "KPROBE 6.18: r1 += 8; r0 = *(u64 *)(r1 +0); exit"),
    Reason(48, r"func '.*' doesn't have (\d+)-th argument", "what the program attaches to has fewer arguments", "Read one of the arguments that the function's prototype has: 8 bytes each.",
           "TRACING attach=TRACE_FENTRY: r0 = *(u64 *)(r1 +32); r0 = 0; exit"),
    # arithmetic with pointers
    Reason(49, r"R(\d+) pointer arithmetic on (\w+)_or_null(?:_)? prohibited.*", "r{0} may be null and is used in arithmetic without a check",
           "Compare the pointer with 0 first.", f"KPROBE: {_LOOK}; r0 += 8; if r0 == 0 goto out; {_END}"),
    Reason(50, r"R(\d+) pointer arithmetic on (\w+) prohibited", "a pointer of kind {1} cannot be moved", "Use it as it is; take another register for the number.",
           "SOCKET_FILTER: r1 = HASH; r1 += 8; r0 = 0; exit"),
    Reason(51, r"R(\d+) (?:pointer \S+ pointer|bitwise operator \S+ on pointer|32-bit pointer arithmetic|pointer arithmetic with \S+ operator) prohibited|"
           r"R\d+ subtraction from stack pointer prohibited|R\d+ tried to subtract pointer from scalar",
           "this arithmetic is not allowed on the pointer in r{0}", "Pointers are moved by += and -= of 64-bit numbers.",
           "SOCKET_FILTER: r1 &= 3; r0 = 0; exit"),
    Reason(52, r"math between (\w+) pointer and .*|(\w+) pointer offset .* is not allowed|value .* makes \w+ pointer be out of bounds",
           "a pointer is moved by an amount without limits, or by too much", "Compare the number with its limits first.",
           f"KPROBE: call ktime_get_ns; r7 = r0; if r7 s> 15 goto out; {_LOOK}; if r0 == 0 goto out; r0 += r7; r1 = *(u8 *)(r0 +0); {_END}"),
    # helpers
    Reason(53, r"invalid func unknown#(-?\d+)", "this kernel has no helper with number {0}", "A newer kernel may have it.",
           "KPROBE: call 99999; r0 = 0; exit"),
    Reason(54, r"program of this type cannot use helper bpf_(\w+)#\d+|unknown func bpf_(\w+)#\d+",
           "this type of program does not have the helper on this kernel", "Another type of program, or a newer kernel, may have it.",
           "KPROBE: r2 = 0; call redirect; r0 = 0; exit"),
    Reason(55, r"cannot call GPL-restricted.*", "the helper is only for programs under the GPL", "Give the program a license that goes with the GPL.",
           "KPROBE proprietary: r1 = r10; r1 += -8; r2 = 8; r3 = 0; call probe_read_kernel; r0 = 0; exit"),
    Reason(56, r"(?:helper call|sleepable helper).*non-sleepable prog", "the helper may sleep, and the program may not", "Make the program sleepable.",
           "KPROBE: r1 = r10; r1 += -8; r2 = 8; r3 = 0; call copy_from_user; r0 = 0; exit"),
    Reason(57, r"cannot pass map_type (\d+) into func bpf_(\w+)#\d+", "{1} does not take a map of this type", "Use the helper of that type of map.",
           "KPROBE: r1 = HASH; r2 = r10; r2 += -16; r3 = 0; call map_push_elem; r0 = 0; exit"),
    Reason(58, r"R(\d+) type=(\w+) expected=(.*)", "r{0} is of the kind {1}, and the helper wants one of: {2}", "Pass what the helper's prototype names.",
           "KPROBE: r1 = 1; r2 = r10; r2 += -4; call map_lookup_elem; r0 = 0; exit"),
    Reason(59, r"R(\d+) invalid zero-sized read.*|invalid zero-sized read", "the size may be 0", "Go on only if the size is not 0.",
           "KPROBE: r1 = r10; r1 += -8; r2 = 0; call get_current_comm; r0 = 0; exit"),
    Reason(60, r"R(\d+) is not a known constant'?", "the size in r{0} has to be a constant", "Write the number itself.",
           "KPROBE: call get_prandom_u32; r2 = r0; r1 = RING; r3 = 0; call ringbuf_reserve; r0 = 0; exit"),
    Reason(61, r"helper access to the packet is not allowed", "this helper does not take packet memory", "Copy it to the stack first.",
           "XDP: r2 = *(u32 *)(r1 +0); r3 = *(u32 *)(r1 +4); r4 = r2; r4 += 8; if r4 > r3 goto out; r1 = r2; r2 = 8;"
           f" call get_current_comm; {_END}"),
    Reason(63, r"get_local_storage\(\) doesn't support non-zero flags", "the flags of get_local_storage have to be 0", "Pass 0.",
           "CGROUP_SKB: r1 = STORAGE; r2 = 7; call get_local_storage; r0 = 1; exit"),
    Reason(64, r"R(\d+) is of type (\w+) but (\w+) is expected", "r{0} points to a {1}, and a {2} is wanted", "Pass a pointer to that structure.",
           "TRACING attach=TRACE_RAW_TP: r2 = *(u64 *)(r1 +0); r1 = *(u64 *)(r2 +8); call task_pt_regs; r0 = 0; exit"),
    Reason(65, r"Possibly NULL pointer passed to helper arg(\d+)", "r{0} (argument {0}) may be null and is given away", "Compare it with 0 first.",
           f"TRACEPOINT: {_LOOK_KPTR}; if r0 == 0 goto out; r6 = r0; r1 = r0; r2 = 0; call kptr_xchg; r1 = r6; r2 = r0; call kptr_xchg; {_END}"),
    # references, locks
    Reason(66, r"BPF_EXIT instruction in main prog would lead to reference leak|tail_call would lead to reference leak|"
           r"BPF_LD_\[ABS\|IND\] would lead to reference leak|\S+ would lead to reference leak",
           "the program ends while it still holds something it has to give back", "Submit, discard or release it on every path.",
           f"KPROBE: {_HELD}; {_END}"),
    Reason(67, r"R(\d+) must be referenced when passed to release function|release reference id=\d+ that is not held|arg \d+ is an unacquired reference",
           "what is given back is not held by the program", "Give back what a reserve or lookup returned, once.",
           f"KPROBE: {_LOOK}; if r0 == 0 goto out; r1 = 0; r2 = 0; call ringbuf_submit; {_END}".replace("r1 = 0; r2 = 0; call ringbuf_submit", "r1 = r10; r1 += -16; r2 = 0; call ringbuf_submit_dynptr")),
    Reason(68, r"R(\d+) must have zero offset when passed to release func", "what is given back was moved", "Keep a copy that is not moved.",
           f"KPROBE: {_HELD}; r6 += 1; r1 = r6; r2 = 0; call ringbuf_submit; {_END}"),
    Reason(69, r"map '(.*)' has no valid (\w+)|R\d+ has no valid kptr", "the value of this map has no such field", "Give the map's value a field of that type.",
           f"XDP: {_LOOK}; if r0 == 0 goto out; r1 = r0; call spin_lock; {_END}"),
    Reason(70, r"R(\d+) doesn't have constant offset\..*|off (-?\d+) doesn't point to .*|off=-?\d+ (?:doesn't point to kptr|kptr isn't referenced kptr)",
           "the pointer does not point to that field", "Pass the address of the field itself.",
           f"SCHED_CLS: {_LOOK_LOCK}; if r0 == 0 goto out; r1 = r0; r1 += 4; call spin_lock; {_END}"),
    Reason(71, r"Locking two bpf_spin_locks are not allowed|bpf_spin_unlock (?:without taking a lock|of different lock|is missing)",
           "a lock is taken twice, or given back that is not held", "One lock at a time, unlocked by the same pointer.",
           f"SCHED_CLS: {_LOCKED}; r1 = r6; call spin_lock; {_END}"),
    Reason(72, r"(?:global )?function calls are not allowed while holding a lock,?", "nothing may be called while a lock is held", "Unlock first.",
           f"SCHED_CLS: {_LOCKED}; call ktime_get_ns; {_END}"),
    Reason(73, r"(?:tracing|socket filter|sleepable) progs cannot use .* yet|(?:Sleepable|perf_event) programs can only use .*", "this type of program may not refer to such a map", "Use another type of program or map.",
           "KPROBE: r1 = LOCK; r0 = 0; exit"),
    Reason(74, r"(\w+) cannot be accessed (?:directly by load/store|indirectly by helper)|(\w+) access (?:cannot have variable offset|misaligned .*|size must be BPF_DW)",
           "the access touches a field that the kernel keeps for itself", "Leave the field to its helpers.",
           f"SCHED_CLS: {_LOOK_LOCK}; if r0 == 0 goto out; *(u32 *)(r0 +0) = 1; {_END}"),
    Reason(75, r"invalid kptr access, .*|store to (?:referenced kptr|uptr) disallowed|BPF_ST imm must be 0 .*", "this cannot be stored as that kernel pointer",
           "Exchange referenced pointers by kptr_xchg.",
           f"TRACEPOINT: {_LOOK_KPTR}; if r0 == 0 goto out; *(u64 *)(r0 +0) = 5; {_END}"),
    Reason(76, r"Two map pointers in a timer helper|timer pointer in R1 .*", "a timer belongs to the map that it lies in", "Pass that map.",
           f"SCHED_CLS: {_LOOK_TIMER}; if r0 == 0 goto out; r1 = r0; r2 = HASH; r3 = 1; call timer_init; {_END}"),
    # dynptrs
    Reason(77, r"Expected (?:an initialized dynptr|a dynptr of type .*) as arg #\d+", "there is no such dynptr at this place",
           "Make it first by dynptr_from_mem or ringbuf_reserve_dynptr.",
           "KPROBE: r1 = r10; r1 += -16; r2 = 0; r3 = 8; call dynptr_data; r0 = 0; exit"),
    Reason(78, r"Dynptr has to be an uninitialized dynptr|cannot overwrite referenced dynptr|cannot release unowned const bpf_dynptr",
           "a dynptr is in use and cannot be replaced or given back here", "Submit or discard it first.",
           "KPROBE: r1 = RING; r2 = 8; r3 = 0; r4 = r10; r4 += -16; call ringbuf_reserve_dynptr; *(u64 *)(r10 -8) = 0; r0 = 0; exit"),
    Reason(79, r"(\w+) has to be at a constant offset|cannot pass in (\w+) at an offset=(-?\d+)", "a dynptr lies at a fixed, aligned place of the stack",
           "Its address is a multiple of 8 below r10, 16 bytes long.",
           "KPROBE: r1 = r10; r1 += -12; r2 = 0; r3 = 8; call dynptr_data; r0 = 0; exit"),
    Reason(80, r"Unsupported reg type (\w+) for bpf_dynptr_from_mem data", "a dynptr is made of a map's value alone", "Pass a pointer to a map's value.",
           "KPROBE: r1 = r10; r1 += -8; r2 = 8; r3 = 0; r4 = r10; r4 += -24; call dynptr_from_mem; r0 = 0; exit"),
    # ends of programs and functions
    Reason(81, r"At (.*) the register R0 .*should have been in \[(-?\d+), (-?\d+)\]", "the value returned at {0} has to be between {1} and {2}",
           "Return one of these.", "CGROUP_SKB: r0 = 2; exit"),
    Reason(82, r"At (.*) the register R0 is not a (?:known|scalar) value.*", "a pointer is returned at {0} where a number is due", "Return a number.",
           "CGROUP_SKB: r0 = r1; exit"),
    Reason(83, r"Caller passes invalid args into func#(\d+)(?: \('(\w+)'\))?", "the arguments do not fit the global function {1}", "See its prototype.",
           "objects: r1 = r10; call given; r0 = 0; exit; given: r0 = 0; exit"),
    Reason(84, r"R(\d+) is not a scalar|arg#\d+ (?!is neither|expected for|doesn't point to|expected pointer to (?:map value|allocated)).*|Arg#\d+ type .*", "an argument does not fit the parameter's type", "See the function's prototype.",
           "TRACEPOINT: r1 = 5; r2 = 6; kcall bpf_strnchr; r0 = 0; exit"),
    Reason(85, r"Global function .*|arg#\d+ (?:has (?:unsupported set|invalid combination) of tags|has type .* are allowed)", "the kernel does not support this global function", "Return a number, and take at most five arguments.",
           "SCHED_CLS 6.1 objects: r0 = 0; if r0 == 0 goto out; call many; END; many: r0 = 0; exit"),
    Reason(86, r"(?:LD_ABS|tail_call) is .*",
           "the function has to return int, and its types have to say so", "Compile with types (BTF), and declare it so.",
           "SOCKET_FILTER: call f; exit; f: r6 = r1; .insn 0x20 0 0 0 0; exit"),
    Reason(87, r"number of funcs in func_info .*|func_info BTF section .*", "the types describe other functions than the program has", "Make the types anew.",
           "objects: call undescribed; exit; undescribed: r0 = 0; exit"),
    # maps in the code, old loads, atomics
    Reason(88, r"fd (-?\d+) is not pointing to valid bpf_map", "the instruction names a map that was not given", "Give the map with the program.",
           "KPROBE: r1 = map_fd[77][0]; r0 = 0; exit"),
    Reason(89, r"direct value offset of (\d+) is not allowed|invalid access to map value pointer, .*", "the address lies outside of the map's value",
           "Only arrays of one element have such addresses.",
           "SOCKET_FILTER: r1 = map_value[3][99]; r0 = 0; exit"),
    Reason(90, r"BPF_LD_\[ABS\|IND\] instructions not allowed for this program type|at the time of BPF_LD_ABS\|IND R6 != pointer to skb|cannot use BPF_LD_\[ABS\|IND\] within callback",
           "the old packet loads want a socket buffer in r6", "Put the context into r6; only filters and classifiers have them.",
           "SOCKET_FILTER: r6 = 0; r0 = *(u8 *)skb[0]; exit"),
    Reason(91, r"BPF_ATOMIC (?:stores into|loads from) R(\d+) (\w+) is not allowed", "atomic operations do not work on {1}", "Use a map's value or the stack.",
           "KPROBE: r0 = 0; lock *(u64 *)(r1 +0) += r0; exit"),
    Reason(92, r"Tracing programs must provide btf_id", "the program does not say what it attaches to", "Name the function or tracepoint.",
           "TRACING: r0 = 0; exit"),
    Reason(93, r"Only fentry.* can be sleepable|Program of this type cannot be sleepable|"
           r"Sleepable program cannot attach to non-faultable tracepoint \w*|Syscall programs can only be sleepable", "this type of program may not sleep, or has to",
           "Load it without, or with, the flag that says it sleeps.", "SYSCALL: r0 = 0; exit"),
    # what programs attach to
    Reason(94, r"attach_type \d+ is unknown to this kernel|expected_attach_type .*|points to disabled hook .*|\w+ is not sleepable|"
           r"attach_btf_id \d+ is not a supported struct|attach to (?:invalid|unsupported) member .*",
           "no such program can be attached there", "See what this kernel offers, and which hooks may sleep.",
           "SK_LOOKUP: r0 = 0; exit"),
    Reason(95, r"func '.*' (?:arg|offset|returns).*|invalid bpf_context access off=-?\d+\. Reference may already be released", "this slot of the context cannot be read", "See the function's prototype.",
           "TRACING attach=TRACE_FENTRY: r0 = *(u32 *)(r1 +12); r0 = 0; exit"),
    Reason(96, r"helper call is not allowed in probe", "the helper is safe in few functions alone, and this is none of them", "Attach elsewhere, such as to vfs_getattr.",
           "TRACING attach=TRACE_FENTRY: r1 = *(u64 *)(r1 +0); *(u64 *)(r10 -8) = 0; r2 = r10; r2 += -8; r3 = 8; call d_path; r0 = 0; exit"),
    Reason(97, r"R(\d+) is ptr_\S* access (\w+) memory.*", "r{0} points to {1} memory, which is not read directly", "Use a helper that reads it.",
           "objects: r1 = PLAIN; r2 = 0; kcall bpf_percpu_obj_new_impl; if r0 == 0 goto out; r6 = *(u64 *)(r0 +0); END"),
    Reason(98, r"R(\d+) does not point to a readonly map'|R(\d+) is not a constant address'|string is not zero-terminated",
           "the text has to be constant: in a map that is frozen and that programs only read", "Pass a string literal.",
           f"KPROBE: {_LOOK}; if r0 == 0 goto out; r6 = r0; r1 = r0; r2 = 8; r3 = r6; call strncmp; {_END}"),
    # kernel functions
    Reason(99, r"cannot call kernel function from non-GPL.*|kernel function (\w+) is not in this kernel|calling kernel function (\w+) is not allowed|"
           r"program must be sleepable to call sleepable kfunc (\w+)|kernel func (\w+) (?:is sleepable within|requires RCU).*",
           "the program may not call this kernel function here", "See which programs may, in which kernels and sections.",
           "KPROBE: r1 = 1; kcall bpf_task_from_pid; r0 = 0; exit"),
    Reason(100, r"Possibly NULL pointer passed to trusted arg(\d+)|R(\d+) must be (?:referenced or trusted|a rcu pointer|a known constant)|"
           r"kernel function \w+ args#\d+ expected pointer .*|release kernel function .*",
           "the kernel function wants a pointer that it can rely on", "Check it for null; take a reference, or stay inside of an RCU section.",
           "TRACEPOINT: r1 = 1; kcall bpf_task_from_pid; r1 = r0; kcall bpf_task_release; r0 = 0; exit"),
    # without privileges
    Reason(101, r"Operation not permitted", "programs of this type take the capability CAP_BPF", "Load it with CAP_BPF (and CAP_PERFMON for tracing).",
           "KPROBE unprivileged: r0 = 0; exit"),
    Reason(102, r"loading/calling other bpf or kernel functions are allowed for .*", "functions take the capability CAP_BPF",
           "Put the function into its caller.", "SOCKET_FILTER unprivileged: call f; r0 = 0; exit; f: r0 = 0; exit"),
    Reason(103, r"R(\d+) partial copy of pointer|R(\d+) pointer arithmetic prohibited", "part of an address would be seen",
           "Load with CAP_PERFMON, or copy the pointer whole.", "SOCKET_FILTER unprivileged: w0 = w1; r0 = 0; exit"),
    Reason(104, r"R(\d+) pointer comparison prohibited", "addresses may not be compared, but with null",
           "Load with CAP_PERFMON, or compare numbers.", "SOCKET_FILTER unprivileged: r0 = 0; if r1 == 5 goto out; out: exit"),
    Reason(105, r"attempt to corrupt spilled pointer on stack|leaking pointer from stack off .*", "a pointer on the stack would be changed in part",
           "Overwrite the pointer as a whole.", "SOCKET_FILTER unprivileged: *(u64 *)(r10 -8) = r1; *(u32 *)(r10 -8) = 0; r0 = 0; exit"),
    Reason(106, r"R(\d+) variable stack access prohibited for !root.*", "r{0} would point to a part of the stack that is not known",
           "Move pointers to the stack by constants.", "SOCKET_FILTER unprivileged: call get_prandom_u32; r0 &= 7; r1 = r10; r1 += -16; r1 += r0; r0 = 0; exit"),
    Reason(107, r"R(\d+) stack pointer arithmetic goes out of range, prohibited for !root.*", "r{0} would point outside of the stack",
           "Stay inside of 512 bytes below r10.", "SOCKET_FILTER unprivileged: r1 = r10; r1 += 8; r0 = 0; exit"),
    Reason(108, r"R(\d+) pointer arithmetic of map value goes out of range, prohibited for !root", "r{0} might point outside of the map's value",
           "Limit the offset before it is added.",
           "SOCKET_FILTER unprivileged: r1 = ONE; r1 += 17; r0 = 0; exit"),
    Reason(109, r"R(\d+) has unknown scalar with mixed signed bounds, .*", "the offset in r{0} may be negative or positive",
           "Give it one sign: mask it, or compare it with 0.",
           "SOCKET_FILTER unprivileged 6.1: call ktime_get_ns; if r0 s< -3 goto out; if r0 s> 3 goto out; r1 = ONE; r1 += 8; r1 += r0; out: r0 = 0; exit"),
    Reason(110, r"R(\d+) has pointer with unsupported alu operation, .*", "r{0} is no pointer to the stack or to a map's value: it cannot be moved by a register",
           "Move it by a constant.", "SOCKET_FILTER unprivileged 6.1: r2 = 8; r1 += r2; r0 = 0; exit"),
    Reason(111, r"R(\d+) tried to (\w+) beyond pointer bounds, .*", "the pointer would leave its memory by this {1}",
           "Stay inside of the memory.", "SOCKET_FILTER unprivileged 6.1: r1 = r10; r1 += -512; r2 = 8; r1 += r2; r0 = 0; exit"),
    Reason(112, r"R(\d+) tried to (\w+) from different maps, paths or scalars, .*", "one {1} meets different pointers, or pointers and numbers, on different paths",
           "Let each kind of value have an instruction of its own.",
           "SOCKET_FILTER unprivileged 6.1: call get_prandom_u32; r1 = ONE; r2 = 4; if r0 == 7 goto a; r1 = 5; a: r1 += r2; r0 = 0; exit"),
    Reason(113, r"nested rcu read lock .*|unmatched (?:rcu read unlock|attempt to enable preemption) .*|cannot restore irq state out of order.*|"
           r".*(?:bpf_rcu_read_lock|bpf_preempt_disable)-ed region",
           "a section is closed that is not open, or left open", "Close every section once, in the reverse order, on every path.",
           "TRACEPOINT: kcall bpf_rcu_read_unlock; r0 = 0; exit"),
    Reason(114, r"expected (?:an initialized|uninitialized) (.*) as arg #\d+|arg#\d+ expected pointer to (?:an iterator on stack|stack|ctx).*",
           "there is no such iterator or flags at this place of the stack, or there is one already", "Make it first, and destroy it once.",
           "TRACEPOINT: r1 = r10; r1 += -8; kcall bpf_iter_num_next; r0 = 0; exit"),
    Reason(115, r"backtracking misuse", "bpf_loop is given something else than a number of rounds",
           "Put the number of rounds into r1.", "objects: r1 = r10; r2 = FUNC; r3 = 0; r4 = 0; call loop; r0 = 0; exit; fn: r0 = 0; exit"),
    Reason(116, r"No program to jit at insn (\d+)", "the function at instruction {0} is passed, but nothing ever calls it",
           "Call it, or do not take its address.", "objects: r1 = 5; r2 = FUNC; r3 = 0; kcall bpf_throw; exit; fn: r0 = 0; exit"),
    Reason(117, r"subprog exit from frame 0", "this kernel cannot follow back where a number came from that was there before the call",
           "Compute the number after the call of a function that loads from a packet, or run a kernel without this flaw.",
           "SOCKET_FILTER 6.18.44 objects: r7 = -8; call fn; r1 = r10; r1 += r7; *(u64 *)(r1 +0) = 0; r0 = 0; exit; fn: r6 = r1; .insn 0x20 0 0 0 0; exit"),
    Reason(118, r".*bpf_spin_lock-ed region", "the program ends, or goes elsewhere, while it holds a lock", "Unlock before, on every path.",
           f"SCHED_CLS: {_LOCKED}; {_END}"),
    Reason(119, r"missing btf func_info", "a function is passed, and no types (BTF) tell of it",
           "Load the program with types of its functions.", "KPROBE undescribed: r1 = 4; r2 = func[6][0]; r3 = 0; r4 = 0; call loop; r0 = 0; exit; f: r0 = 0; exit"),
    Reason(120, r"callback function not static", "the function that is passed is global",
           "Declare it static.", "objects: r1 = 1; r2 = FUNC; r3 = 0; r4 = 0; call loop; r0 = 0; exit; given: r0 = 0; exit"),
    Reason(121, r"BPF_ST stores into R(\d+) ctx is not allowed", "this kernel stores no constants into the context", "Store a register.",
           "SCHED_CLS 6.1: *(u32 *)(r1 +8) = 0; r0 = 0; exit"),
    # more of kernel functions
    Reason(130, r"the prog does not allow writes to packet data", "programs of this type may not write to packets, nor to any slice of a dynptr",
           "Use bpf_dynptr_slice, or a helper that stores bytes.",
           "SOCKET_FILTER: r2 = 0; r3 = r10; r3 += -16; kcall bpf_dynptr_from_skb; r1 = r10; r1 += -16; r2 = 0; r3 = 0; r4 = 8; kcall bpf_dynptr_slice_rdwr; r0 = 0; exit"),
    Reason(131, r"kern ctx type .* is not a struct|kfunc bpf_rdonly_cast type ID argument must be of a struct or void",
           "there is no structure of the kernel behind this", "Cast to a structure by its BTF id; contexts of tracing programs have none.",
           "TRACEPOINT: kcall bpf_cast_to_kern_ctx; r0 = 0; exit"),
    Reason(132, r"metadata kfuncs require device-bound program", "only programs loaded for one network device may ask for its metadata",
           "Load the program with the number of the device.", "XDP: r2 = r10; r2 += -8; kcall bpf_xdp_metadata_rx_timestamp; r0 = 0; exit"),
    Reason(133, r"css_task_iter is only allowed in .*", "only LSM programs, iterators and programs that sleep walk the tasks of a control group",
           "Use bpf_iter_task, or a program that may sleep.",
           "TRACEPOINT: r1 = 1; kcall bpf_cgroup_from_id; if r0 == 0 goto out; r1 = r10; r1 += -8; r2 = r0; r3 = 0; kcall bpf_iter_css_task_new; out: r0 = 0; exit"),
    # objects of the program's own, lists, trees, locks
    Reason(135, r"bpf_obj_new/bpf_percpu_obj_new (?:type ID argument must be of a struct|requires prog BTF)|local type ID argument must be in range .*|"
           r"bpf_percpu_obj_new type .*", "there is no such kind of object", "Give the BTF id of a structure of the program; one for each CPU holds numbers alone, 512 bytes at most.",
           "TRACEPOINT: r1 = 1; r2 = 0; kcall bpf_obj_new_impl; r0 = 0; exit"),
    Reason(136, r"direct access to (\w+) is disallowed", "{0} belongs to the kernel", "Use the functions made for it.",
           "objects: r1 = ELEM; NEW; r6 = r0; r7 = *(u64 *)(r6 +8); END"),
    Reason(137, r"arg#(\d+) (?:is neither owning or non-owning ref|doesn't point to a type with bpf_refcount field|expected for \w+\(\)|expected pointer to (?:map value or )?allocated object)|"
           r"allocated object must be referenced|\w+ can only take non-owning or refcounted bpf_rb_node pointer|arg#\d+ doesn't point to map value or allocated object|arg#\d+ doesn't point to a (?:const string|map value)",
           "this is no object that the program made (or holds) as the function wants it", "Pass what bpf_obj_new or the list gave, and each once.",
           "TRACEPOINT: r1 = r10; r2 = 0; kcall bpf_obj_drop_impl; r0 = 0; exit"),
    Reason(138, r"bpf_spin_lock at off=-?\d+ must be held for (\w+)|held lock and object are not in the same allocation",
           "the lock beside the list or tree is not held", "Take that very lock before, and give it back after.",
           "objects: r1 = GRAPH; r1 += 8; kcall bpf_list_pop_back; r0 = 0; exit"),
    Reason(139, r"operation on (\w+) expects .*|arg#1 offset=.*|(\w+) not found at offset=.*", "the argument is not the node, list or tree that is meant",
           "Pass the address of the member that the list's or tree's declaration names.",
           "objects: LOCK; r1 = GRAPH; r1 += 24; kcall bpf_list_pop_back; UNLOCK; END"),
    Reason(140, r"(?:can't spin_\{lock,unlock\}|\w+ not allowed) in rbtree cb", "the function that orders nodes may only compare them", "Do it outside.",
           "objects: r1 = ELEM; NEW; r6 = r0; LOCK; r1 = GRAPH; r1 += 24; r2 = r6; r2 += 32; r3 = FUNC; r4 = 0; r5 = 0; kcall bpf_rbtree_add_impl; UNLOCK; END; fn: UNLOCK; r0 = 0; exit"),
    Reason(141, r"\w+_unlock (?:without taking a lock|of different lock|cannot be out of order)|"
           r"Acquiring the same lock again, AA deadlock detected|local 'kptr' has no valid \w+|kernel func \w+ .*IRQ-disabled region",
           "locks are given back in the reverse order, each by its own function, and not taken twice", "Give back what was taken last.",
           "objects: r1 = PLAIN; NEW; r1 = r0; call spin_lock; END"),
    Reason(142, r"arg(\d+) expected pointer to func", "argument {0} (from 0) has to be a function of the program", "Pass the address of one.",
           "objects: r1 = WORKS; LOOK; if r0 == 0 goto out; r1 = r0; r2 = r10; r3 = 0; kcall bpf_wq_set_callback; END"),
    Reason(143, r"bpf_throw kfunc .*|insn \d+ cannot call exception cb directly|multiple exception callback tags .*|exception (?:callback|cb) .*",
           "exceptions cannot be thrown, or handled, this way", "The handler is a global function of one number that nothing calls; callbacks do not throw.",
           "objects: r1 = 5; call handler; r0 = 0; exit; handler: r0 = 0; exit"),
    Reason(144, r"addr_space_cast insn .*|Only one arena per program|R(\d+) is not a pointer to arena or scalar\.",
           "this is no use of the one arena that a program may have", "Refer to one map of type arena, and cast what comes from it.",
           "TRACEPOINT: r1 = addr_space_cast(r1, 0, 1); r0 = 0; exit"),
    Reason(145, r"\w+ pointer in R\d+ map_uid=.*", "the map is not that in whose value the work lies", "Pass that map.",
           "objects: r1 = WORKS; LOOK; if r0 == 0 goto out; r1 = r0; r2 = OTHER; r3 = 0; kcall bpf_wq_init; END"),
    Reason(146, r"'struct (\w+)' access is allowed only to .*", "the kernel's own structure of a map takes the capability CAP_PERFMON",
           "Load it with CAP_PERFMON, or use the map's values.", "SOCKET_FILTER unprivileged: r1 = HASH; r0 = *(u32 *)(r1 +0); exit"),
)  # fmt: skip

_compiled: list[tuple[re.Pattern[str], Reason]] = []


def find(reason: str) -> Reason | None:
    """The row of a message in the kernel's words."""
    if not _compiled:
        _compiled.extend((re.compile(row.pattern), row) for row in REASONS)
    return next((row for pattern, row in _compiled if pattern.fullmatch(reason)), None)


def plain(reason: str) -> str:
    """A sentence for a person; the reason itself if there is no better one."""
    row = find(reason)
    if row is None:
        return reason
    found = re.fullmatch(row.pattern, reason)
    assert found is not None
    first = next(
        filter(None, found.groups()), ""
    )  # of patterns with alternatives: what the one that fits names
    return row.words.format(*(group or first for group in found.groups()))


_HEADS: Final = (
    "`attach=TYPE`: attached to a function or tracepoint of the small BTF of tests/unit/verifier_sim/attached.py; "
    "`objects`: with the types, maps and short-hands of tests/unit/verifier_sim/objects.py."
)


def page() -> str:
    """docs/verifier.md's list of reasons."""
    maps = "; ".join(
        f"`{m.name}` {m.map_type.lower()} of {m.max_entries}, key {m.key_size}, value {m.value_size} bytes"
        + "".join(f", {field.kind} at its start" for field in m.fields)
        for m in EXAMPLE_MAPS
    )
    lines = [
        "| Id | Refused because | To mend it | Smallest example |", "|---|---|---|---|",
    ]  # fmt: skip
    for row in REASONS:
        words = re.sub(r"\{\d+\}", "…", row.words)
        lines.append(f"| {row.id} | {words} | {row.mend} | `{row.example}` |".replace("|IND", "\\|IND"))
    return "\n".join([f"Maps of the examples: {maps}.", _HEADS, "", *lines, ""])


if __name__ == "__main__":
    print(page(), end="")
