"""Why programs are refused: every reason has a number, a plain sentence, and what mends it.

`docs/verifier.md` lists them, each with the smallest program that is refused for it; a test compares the two,
judges those programs, and finds each message of the simulator here.
"""

# ruff: noqa: E501 (a table: one reason, few lines)
from __future__ import annotations

import re

from pbt.data import NamedTuple
from pbt.typing import Final


class Reason(NamedTuple):
    """number: its id is PBT-V and this in three digits; pattern: of the kernel's words, whole;
    words: a sentence with the pattern's groups; mend: what to do."""

    number: int
    pattern: str
    words: str
    mend: str

    @property
    def id(self) -> str:
        return f"PBT-V{self.number:03}"


REASONS: Final = (
    # instructions
    Reason(1, r"the program is empty", "there is no instruction", "A program has at least r0 = 0; exit."),
    Reason(2, r"the program is too large", "there are more than a million instructions", "Split the program."),
    Reason(3, r"unknown opcode (\w+)", "opcode 0x{0} is no instruction of this kernel",
           "Compile for an older instruction set, or run on a newer kernel."),
    Reason(4, r"(.*) uses reserved fields|invalid (?:bpf_ld_imm64|BPF_LD_IMM) insn|unrecognized bpf_ld_imm64 insn",
           "a field of the instruction that has to be 0 is set", "Set those of src_reg, offset and imm to 0 that this opcode does not use."),
    Reason(5, r"R(\d+) is invalid", "there is no register r{0}", "Registers are r0 to r10."),
    Reason(6, r"BPF_ATOMIC uses invalid atomic opcode (\w+)|invalid atomic operand size",
           "this atomic operation does not exist in this size or on this kernel",
           "Atomic operations take 4 or 8 bytes; those that fetch came with Linux 5.12."),
    Reason(7, r"invalid may_goto (?:off -?\d+ )?imm -?\d+", "may_goto is malformed for this kernel",
           "Before Linux 6.14 may_goto has to skip something."),
    Reason(8, r"div by zero", "the divisor is the constant 0", "Leave the division out."),
    Reason(9, r"invalid shift (-?\d+)", "a shift by {0} bits does not fit the register",
           "Shift by less than the width of the register."),
    # control flow
    Reason(10, r"unreachable insn (\d+)", "no path leads to instruction {0}", "Remove it, or jump to it."),
    Reason(11, r"jump out of range from insn (\d+) to (-?\d+)", "the jump leads to {1}, outside of its function",
           "Jumps stay inside their function."),
    Reason(12, r"jump into the middle of ldimm64 insn (\d+)", "the jump leads into the second half of a wide load",
           "A wide load takes two slots: count both."),
    Reason(13, r"last insn is not an exit or jmp", "the function runs past its last instruction", "End it with exit."),
    Reason(14, r"call to invalid destination", "the call leads outside of the program", "Call the first instruction of a function."),
    Reason(15, r"back-edge from insn (\d+) to (\d+)", "the loop is closed by an instruction that is no jump",
           "Let the loop end in a jump; kernels from 6.8 on do not mind."),
    Reason(16, r"infinite loop detected at insn (\d+)", "the loop comes back to instruction {0} with nothing changed",
           "Count the rounds, up or down to a constant: a kernel follows every one."),
    Reason(17, r"BPF program is too large.*", "the kernel would have to walk more than a million instructions",
           "Fewer rounds, fewer branches in loops, or a callback (bpf_loop)."),
    Reason(18, r"The sequence of \d+ jumps is too complex\.", "too many branches are open at once (8192 at most)",
           "Fewer branches before the first exit."),
    Reason(19, r"the call stack of (\d+) frames is too deep.*", "functions call each other more than 8 deep",
           "Call less deep, or put functions into their callers."),
    Reason(20, r"combined stack size of (\d+) calls is (\d+)\. Too large", "{0} functions in a chain use {1} bytes of stack; 512 are allowed",
           "Use less stack, or a map of one element."),
    # registers
    Reason(21, r"R(\d+) !read_ok", "r{0} is read, but nothing was put into it on the way here",
           "Set it on every path; calls clear r1 to r5."),
    Reason(22, r"frame pointer is read only", "r10 is the frame pointer; a program cannot change it", "Copy it to another register first."),
    Reason(23, r"R(\d+) leaks addr .*|R(\d+) sign-extension part of pointer",
           "r{0} holds an address of the kernel, which may not leave the program", "Load with CAP_PERFMON, or do not store pointers."),
    # memory
    Reason(24, r"R(\d+) invalid mem access '(\w+)_or_null(?:_)?'", "r{0} may be null here and is used without a check",
           "Compare the pointer with 0 first."),
    Reason(25, r"R(\d+) invalid mem access '(?:scalar|inv)'", "r{0} is a number here, not a pointer that may be followed",
           "Read memory of the kernel or of a process by a probe_read helper."),
    Reason(26, r"R(\d+) invalid mem access '(\w+)'", "memory cannot be reached through r{0}, a pointer of kind {1}",
           "Pointers of this kind are for helpers alone."),
    Reason(27, r"R(\d+) min value is outside of the allowed memory range", "the access through r{0} starts outside of the memory it points to",
           "Stay inside: the offset plus the size is at most the size of the memory."),
    Reason(28, r"R(\d+) max value is outside of the allowed memory range", "the access through r{0} may end beyond the memory it points to",
           "Limit the index: compare it with a constant, or mask it."),
    Reason(29, r"R(\d+) unbounded memory access.*", "nothing limits how far r{0} reaches", "Compare the index or the size with a constant first."),
    Reason(30, r"R(\d+) min value is negative.*", "r{0} may be negative, or point before its memory", "Compare it as unsigned, or mask it."),
    Reason(31, r"R(\d+) offset is outside of the packet", "r{0} may reach past the end of the packet",
           "Compare the end of the access with data_end before."),
    Reason(32, r"misaligned (\w+) ?access.*", "the {0} access does not start at a multiple of its size", "Choose an offset that is a multiple of the size."),
    Reason(33, r"(write into|read from) map forbidden.*", "the flags of the map do not allow programs to {0} it", "Make the map without that flag."),
    Reason(34, r"cannot write into packet", "this type of program may only read the packet", "Use skb_store_bytes where the type has it."),
    Reason(35, r"R(\d+) cannot write into (\w+)|bpf_\w+\(\) may write into memory pointed by R\d+ .*|write to change key R\d+ not allowed|only read (?:is supported|from bpf_array is supported)|"
           r"no write support to \S* at off \d+",
           "this memory may only be read", "Copy it to the stack first."),
    Reason(36, r"R(\d+) invalid (?:\w+ buffer|variable buffer offset|\w+) access?:? ?.*|R\d+ invalid variable buffer offset.*|invalid access to flow keys.*",
           "this part of the object may not be read", "Only some fields of such objects may be read, at constant offsets."),
    Reason(37, r"R(\d+) is \w+ invalid (?:variable offset|negative access).*", "a kernel object is read at a place that is not fixed",
           "Use a constant offset, or probe_read_kernel."),
    Reason(38, r"same insn cannot be used with different pointers", "one load or store meets pointers of different kinds",
           "Let each kind of pointer have an instruction of its own."),
    Reason(39, r"access beyond (?:the end of member|struct) .*|cannot access ptr member .*|struct \S* (?:doesn't have field at offset|is not known to this kernel|contains itself).*|type \d+ refers to itself", "the access does not fit the fields of the structure",
           "Read a field as a whole, from its start."),
    # stack
    Reason(40, r"invalid(?: variable-offset)?(?: read from| write to) stack R(\d+) (?:var_off=\S+ \S+ )?off=(-?\d+) size=(\d+)|"
           r"invalid(?: variable-offset)?(?: read from| write to) stack R(\d+) var_off.*",
           "the access leaves the stack, 512 bytes below the frame pointer", "The stack is 512 bytes below r10."),
    Reason(41, r"invalid (?:indirect )?read from stack.*", "stack bytes are read that nobody wrote", "Write them first; from Linux 6.1 on privileged programs need not."),
    Reason(42, r"invalid unbounded variable-offset.* stack R(\d+)", "nothing limits where on the stack r{0} points", "Compare the index with a constant first, or mask it."),
    Reason(43, r"variable stack write prohibited.*", "this kernel writes to the stack at constant offsets alone", "Use a map's value instead."),
    Reason(44, r"invalid size of register (fill|spill)", "a pointer on the stack is 8 bytes; this is a part of one", "Store and load pointers as 8 bytes."),
    Reason(45, r"cannot spill pointers to stack into stack frame of the caller|cannot return stack pointer to the caller",
           "a function hands a pointer to its own stack to its caller", "Use the caller's stack, given as an argument."),
    # context
    Reason(46, r"invalid bpf_context access off=(-?\d+) size=(\d+)",
           "{1} bytes at offset {0} of the context may not be accessed by this type of program", "Read a field of the context with its own size."),
    Reason(47, r"(?:dereference of modified|negative offset) (\w+) ptr R(\d+).*|variable \w+ access var_off=.* disallowed|"
           r"dereference of modified ctx ptr R6 off=.*",
           "the pointer has to be as it was given, and it was moved", "Keep a copy that is not moved."),
    Reason(48, r"func '.*' doesn't have (\d+)-th argument", "what the program attaches to has fewer arguments", "Read one of the arguments that the function's prototype has: 8 bytes each."),
    # arithmetic with pointers
    Reason(49, r"R(\d+) pointer arithmetic on (\w+)_or_null(?:_)? prohibited.*", "r{0} may be null and is used in arithmetic without a check",
           "Compare the pointer with 0 first."),
    Reason(50, r"R(\d+) pointer arithmetic on (\w+) prohibited", "a pointer of kind {1} cannot be moved", "Use it as it is; take another register for the number."),
    Reason(51, r"R(\d+) (?:pointer \S+ pointer|bitwise operator \S+ on pointer|32-bit pointer arithmetic|pointer arithmetic with \S+ operator) prohibited|"
           r"R\d+ subtraction from stack pointer prohibited|R\d+ tried to subtract pointer from scalar",
           "this arithmetic is not allowed on the pointer in r{0}", "Pointers are moved by += and -= of 64-bit numbers."),
    Reason(52, r"math between (\w+) pointer and .*|(\w+) pointer offset .* is not allowed|value .* makes \w+ pointer be out of bounds",
           "a pointer is moved by an amount without limits, or by too much", "Compare the number with its limits first."),
    # helpers
    Reason(53, r"invalid func unknown#(-?\d+)", "this kernel has no helper with number {0}", "A newer kernel may have it."),
    Reason(54, r"program of this type cannot use helper bpf_(\w+)#\d+|unknown func bpf_(\w+)#\d+",
           "this type of program does not have the helper on this kernel", "Another type of program, or a newer kernel, may have it."),
    Reason(55, r"cannot call GPL-restricted.*|.* must have a GPL compatible license", "this is only for programs under the GPL", "Give the program a license that goes with the GPL."),
    Reason(56, r"helper call.*non-sleepable prog|sleepable helper .*", "the helper may sleep, and the program may not", "Make the program sleepable."),
    Reason(57, r"cannot pass map_type (\d+) into func bpf_(\w+)#\d+", "{1} does not take a map of this type", "Use the helper of that type of map."),
    Reason(58, r"R(\d+) type=(\w+) expected=(.*)", "r{0} is of the kind {1}, and the helper wants one of: {2}", "Pass what the helper's prototype names."),
    Reason(59, r"R(\d+) invalid zero-sized read.*|invalid zero-sized read", "the size may be 0", "Go on only if the size is not 0."),
    Reason(60, r"R(\d+) is not a known constant'?", "the size in r{0} has to be a constant", "Write the number itself."),
    Reason(61, r"helper access to the packet is not allowed", "this helper does not take packet memory", "Copy it to the stack first."),
    Reason(63, r"get_local_storage\(\) doesn't support non-zero flags", "the flags of get_local_storage have to be 0", "Pass 0."),
    Reason(64, r"R(\d+) is of type (\w+) but (\w+) is expected", "r{0} points to a {1}, and a {2} is wanted", "Pass a pointer to that structure."),
    Reason(65, r"Possibly NULL pointer passed to helper arg(\d+)", "r{0} (argument {0}) may be null and is given away", "Compare it with 0 first."),
    # references, locks
    Reason(66, r"BPF_EXIT instruction in main prog would lead to reference leak|tail_call would lead to reference leak|"
           r"BPF_LD_\[ABS\|IND\] would lead to reference leak|\S+ would lead to reference leak",
           "the program ends while it still holds something it has to give back", "Submit, discard or release it on every path."),
    Reason(67, r"R(\d+) must be referenced when passed to release function|release reference id=\d+ that is not held|arg \d+ is an unacquired reference",
           "what is given back is not held by the program", "Give back what a reserve or lookup returned, once."),
    Reason(68, r"R(\d+) must have zero offset when passed to release func", "what is given back was moved", "Keep a copy that is not moved."),
    Reason(69, r"map '(.*)' has no valid (\w+)|R\d+ has no valid kptr", "the value of this map has no such field", "Give the map's value a field of that type."),
    Reason(70, r"R(\d+) doesn't have constant offset\..*|off (-?\d+) doesn't point to .*|off=-?\d+ (?:doesn't point to kptr|kptr isn't referenced kptr)",
           "the pointer does not point to that field", "Pass the address of the field itself."),
    Reason(71, r"Locking two bpf_spin_locks are not allowed|bpf_spin_unlock (?:without taking a lock|of different lock|is missing)",
           "a lock is taken twice, or given back that is not held", "One lock at a time, unlocked by the same pointer."),
    Reason(72, r"(?:global )?function calls are not allowed while holding a lock,?", "nothing may be called while a lock is held", "Unlock first."),
    Reason(73, r"(?:tracing|socket filter|sleepable) progs cannot use .* yet|(?:Sleepable|perf_event) programs can only use .*", "this type of program may not refer to such a map", "Use another type of program or map."),
    Reason(74, r"(\w+) cannot be accessed (?:directly by load/store|indirectly by helper)|(\w+) access (?:cannot have variable offset|misaligned .*|size must be BPF_DW)",
           "the access touches a field that the kernel keeps for itself", "Leave the field to its helpers."),
    Reason(75, r"invalid kptr access, .*|store to (?:referenced kptr|uptr) disallowed|BPF_ST imm must be 0 .*|kptr in map can only be accessed using BPF_MEM .*", "this cannot be stored as that kernel pointer",
           "Exchange referenced pointers by kptr_xchg."),
    Reason(76, r"Two map pointers in a timer helper|timer pointer in R1 .*", "a timer belongs to the map that it lies in", "Pass that map."),
    # dynptrs
    Reason(77, r"Expected (?:an initialized dynptr|a dynptr of type .*) as arg #\d+", "there is no such dynptr at this place",
           "Make it first by dynptr_from_mem or ringbuf_reserve_dynptr."),
    Reason(78, r"potential write to dynptr .*|Dynptr has to be an uninitialized dynptr|cannot overwrite referenced dynptr|cannot release unowned const bpf_dynptr",
           "a dynptr is in use and cannot be replaced or given back here", "Submit or discard it first."),
    Reason(79, r"(\w+) has to be at a constant offset|cannot pass in (\w+) at an offset=(-?\d+)", "a dynptr lies at a fixed, aligned place of the stack",
           "Its address is a multiple of 8 below r10, 16 bytes long."),
    Reason(80, r"Unsupported reg type (\w+) for bpf_dynptr_from_mem data", "a dynptr is made of a map's value alone", "Pass a pointer to a map's value."),
    # ends of programs and functions
    Reason(81, r"At (.*) the register R0 .*should have been in \[(-?\d+), (-?\d+)\]", "the value returned at {0} has to be between {1} and {2}",
           "Return one of these."),
    Reason(82, r"At (.*) the register R0 is not a (?:known|scalar) value.*", "a pointer is returned at {0} where a number is due", "Return a number."),
    Reason(83, r"Caller passes invalid args into func#(\d+)(?: \('(\w+)'\))?", "the arguments do not fit the global function {1}", "See its prototype."),
    Reason(84, r"R(\d+) is not a scalar|arg#\d+ (?!is neither|expected for|doesn't point to|expected pointer to (?:map value|allocated)).*|Arg#\d+ type .*", "an argument does not fit the parameter's type", "See the function's prototype."),
    Reason(85, r"Global function .*|arg#\d+ (?:has (?:unsupported set|invalid combination) of tags|has type .* are allowed)", "the kernel does not support this global function", "Return a number, and take at most five arguments."),
    Reason(86, r"(?:LD_ABS|tail_call) is .*",
           "the function has to return int, and its types have to say so", "Compile with types (BTF), and declare it so."),
    Reason(87, r"number of funcs in func_info .*|func_info BTF section .*", "the types describe other functions than the program has", "Make the types anew."),
    # maps in the code, old loads, atomics
    Reason(88, r"fd (-?\d+) is not pointing to valid bpf_map", "the instruction names a map that was not given", "Give the map with the program."),
    Reason(89, r"direct value offset of (\d+) is not allowed|invalid access to map value pointer, .*", "the address lies outside of the map's value",
           "Only arrays of one element have such addresses."),
    Reason(90, r"BPF_LD_\[ABS\|IND\] instructions not allowed for this program type|at the time of BPF_LD_ABS\|IND R6 != pointer to skb|cannot use BPF_LD_\[ABS\|IND\] within callback",
           "the old packet loads want a socket buffer in r6", "Put the context into r6; only filters and classifiers have them."),
    Reason(91, r"BPF_ATOMIC (?:stores into|loads from) R(\d+) (\w+) is not allowed", "atomic operations do not work on {1}", "Use a map's value or the stack."),
    Reason(92, r"Tracing programs must provide btf_id", "the program does not say what it attaches to", "Name the function or tracepoint."),
    Reason(93, r"Only fentry.* can be sleepable|Program of this type cannot be sleepable|"
           r"Sleepable program cannot attach to non-faultable tracepoint \w*|Syscall programs can only be sleepable", "this type of program may not sleep, or has to",
           "Load it without, or with, the flag that says it sleeps."),
    # what programs attach to
    Reason(94, r"attach_type \d+ is unknown to this kernel|expected_attach_type .*|points to disabled hook .*|\w+ is not sleepable|"
           r"attach_btf_id \d+ is not a supported struct|attach to (?:invalid|unsupported) member .*",
           "no such program can be attached there", "See what this kernel offers, and which hooks may sleep."),
    Reason(95, r"func '.*' (?:arg|offset|returns).*|invalid bpf_context access off=-?\d+\. Reference may already be released", "this slot of the context cannot be read", "See the function's prototype."),
    Reason(96, r"helper call is not allowed in probe", "the helper is safe in few functions alone, and this is none of them", "Attach elsewhere, such as to vfs_getattr."),
    Reason(97, r"R(\d+) is ptr_\S* access (\w+) memory.*", "r{0} points to {1} memory, which is not read directly", "Use a helper that reads it."),
    Reason(98, r"R(\d+) does not point to a readonly map'|R(\d+) is not a constant address'|string is not zero-terminated",
           "the text has to be constant: in a map that is frozen and that programs only read", "Pass a string literal."),
    # kernel functions
    Reason(99, r"cannot call kernel function from non-GPL.*|kernel function (\w+) is not in this kernel|calling kernel function (\w+) is not allowed|"
           r"program must be sleepable to call sleepable kfunc (\w+)|kernel func (\w+) (?:is sleepable within|requires RCU).*",
           "the program may not call this kernel function here", "See which programs may, in which kernels and sections."),
    Reason(100, r"Possibly NULL pointer passed to trusted arg(\d+)|R(\d+) must be (?:referenced or trusted|a rcu pointer|a known constant)|"
           r"kernel function \w+ args#\d+ expected pointer .*|release kernel function .*",
           "the kernel function wants a pointer that it can rely on", "Check it for null; take a reference, or stay inside of an RCU section."),
    # without privileges
    Reason(101, r"Operation not permitted", "programs of this type take the capability CAP_BPF", "Load it with CAP_BPF (and CAP_PERFMON for tracing)."),
    Reason(102, r"loading/calling other bpf or kernel functions are allowed for .*", "functions take the capability CAP_BPF",
           "Put the function into its caller."),
    Reason(103, r"R(\d+) partial copy of pointer|R(\d+) pointer arithmetic prohibited", "part of an address would be seen",
           "Load with CAP_PERFMON, or copy the pointer whole."),
    Reason(104, r"R(\d+) pointer comparison prohibited", "addresses may not be compared, but with null",
           "Load with CAP_PERFMON, or compare numbers."),
    Reason(105, r"attempt to corrupt spilled pointer on stack|leaking pointer from stack off .*", "a pointer on the stack would be changed in part",
           "Overwrite the pointer as a whole."),
    Reason(106, r"R(\d+) variable stack access prohibited for !root.*", "r{0} would point to a part of the stack that is not known",
           "Move pointers to the stack by constants."),
    Reason(107, r"R(\d+) stack pointer arithmetic goes out of range, prohibited for !root.*", "r{0} would point outside of the stack",
           "Stay inside of 512 bytes below r10."),
    Reason(108, r"R(\d+) pointer arithmetic of map value goes out of range, prohibited for !root", "r{0} might point outside of the map's value",
           "Limit the offset before it is added."),
    Reason(109, r"R(\d+) has unknown scalar with mixed signed bounds, .*", "the offset in r{0} may be negative or positive",
           "Give it one sign: mask it, or compare it with 0."),
    Reason(110, r"R(\d+) has pointer with unsupported alu operation, .*", "r{0} is no pointer to the stack or to a map's value: it cannot be moved by a register",
           "Move it by a constant."),
    Reason(111, r"R(\d+) tried to (\w+) beyond pointer bounds, .*", "the pointer would leave its memory by this {1}",
           "Stay inside of the memory."),
    Reason(112, r"R(\d+) tried to (\w+) from different maps, paths or scalars, .*", "one {1} meets different pointers, or pointers and numbers, on different paths",
           "Let each kind of value have an instruction of its own."),
    Reason(113, r"nested rcu read lock .*|unmatched (?:rcu read unlock|attempt to enable preemption) .*|cannot restore irq state out of order.*|"
           r".*(?:bpf_rcu_read_lock|bpf_preempt_disable|bpf_local_irq_save)-ed region",
           "a section is closed that is not open, or left open", "Close every section once, in the reverse order, on every path."),
    Reason(114, r"expected (?:an initialized|uninitialized) (.*)#\d+|arg#\d+ expected pointer to (?:an iterator on stack|stack|ctx).*",
           "there is no such iterator or flags at this place of the stack, or there is one already", "Make it first, and destroy it once."),
    Reason(115, r"backtracking misuse", "bpf_loop is given something else than a number of rounds",
           "Put the number of rounds into r1."),
    Reason(116, r"No program to jit at insn (\d+)", "the function at instruction {0} is passed, but nothing ever calls it",
           "Call it, or do not take its address."),
    Reason(117, r"subprog exit from frame 0", "this kernel cannot follow back where a number came from that was there before the call",
           "Compute the number after the call of a function that loads from a packet, or run a kernel without this flaw."),
    Reason(118, r".*bpf_spin_lock-ed region", "the program ends, or goes elsewhere, while it holds a lock", "Unlock before, on every path."),
    Reason(119, r"missing btf func_info", "a function is passed, and no types (BTF) tell of it",
           "Load the program with types of its functions."),
    Reason(120, r"callback function not static", "the function that is passed is global",
           "Declare it static."),
    Reason(121, r"BPF_ST stores into R(\d+) ctx is not allowed", "this kernel stores no constants into the context", "Store a register."),
    # more of kernel functions
    Reason(130, r"the prog does not allow writes to packet data", "programs of this type may not write to packets, nor to any slice of a dynptr",
           "Use bpf_dynptr_slice, or a helper that stores bytes."),
    Reason(131, r"kern ctx type .* is not a struct|kfunc bpf_rdonly_cast type ID argument must be of a struct or void",
           "there is no structure of the kernel behind this", "Cast to a structure by its BTF id; contexts of tracing programs have none."),
    Reason(132, r"metadata kfuncs require device-bound program", "only programs loaded for one network device may ask for its metadata",
           "Load the program with the number of the device."),
    Reason(133, r"css_task_iter is only allowed in .*", "only LSM programs, iterators and programs that sleep walk the tasks of a control group",
           "Use bpf_iter_task, or a program that may sleep."),
    # objects of the program's own, lists, trees, locks
    Reason(135, r"bpf_obj_new/bpf_percpu_obj_new (?:type ID argument must be of a struct|requires prog BTF)|local type ID argument must be in range .*|"
           r"bpf_percpu_obj_new type .*", "there is no such kind of object", "Give the BTF id of a structure of the program; one for each CPU holds numbers alone, 512 bytes at most."),
    Reason(136, r"direct access to (\w+) is disallowed", "{0} belongs to the kernel", "Use the functions made for it."),
    Reason(137, r"arg#(\d+) (?:is neither owning or non-owning ref|doesn't point to a type with bpf_refcount field|expected for \w+\(\)|expected pointer to (?:map value or )?allocated object)|"
           r"allocated object must be referenced|\w+ can only take non-owning or refcounted bpf_rb_node pointer|arg#\d+ doesn't point to map value or allocated object|arg#\d+ doesn't point to a (?:const string|map value)",
           "this is no object that the program made (or holds) as the function wants it", "Pass what bpf_obj_new or the list gave, and each once."),
    Reason(138, r"bpf_spin_lock at off=-?\d+ must be held for (\w+)|held lock and object are not in the same allocation",
           "the lock beside the list or tree is not held", "Take that very lock before, and give it back after."),
    Reason(139, r"operation on (\w+) expects .*|arg#1 offset=.*|(\w+) not found at offset=.*", "the argument is not the node, list or tree that is meant",
           "Pass the address of the member that the list's or tree's declaration names."),
    Reason(140, r"(?:can't spin_\{lock,unlock\}|\w+ not allowed) in rbtree cb", "the function that orders nodes may only compare them", "Do it outside."),
    Reason(141, r"\w+_unlock (?:without taking a lock|of different lock|cannot be out of order)|"
           r"Acquiring the same lock again, AA deadlock detected|local 'kptr' has no valid \w+|kernel func \w+ .*IRQ-disabled region",
           "locks are given back in the reverse order, each by its own function, and not taken twice", "Give back what was taken last."),
    Reason(142, r"arg(\d+) expected pointer to func", "argument {0} (from 0) has to be a function of the program", "Pass the address of one."),
    Reason(143, r"bpf_throw kfunc .*|insn \d+ cannot call exception cb directly|multiple exception callback tags .*|exception (?:callback|cb) .*",
           "exceptions cannot be thrown, or handled, this way", "The handler is a global function of one number that nothing calls; callbacks do not throw."),
    Reason(144, r"addr_space_cast insn .*|Only one arena per program|R(\d+) is not a pointer to arena or scalar\.",
           "this is no use of the one arena that a program may have", "Refer to one map of type arena, and cast what comes from it."),
    Reason(145, r"\w+ pointer in R\d+ map_uid=.*", "the map is not that in whose value the work lies", "Pass that map."),
    Reason(146, r"'struct (\w+)' access is allowed only to .*", "the kernel's own structure of a map takes the capability CAP_PERFMON",
           "Load it with CAP_PERFMON, or use the map's values."),
    Reason(147, r"tail_calls are not allowed when call stack of previous frames is (\d+) bytes\. Too large",
           "{0} bytes of stack are in use where a function with a tail call is called; 256 are too many",
           "Use less stack in its callers, or tail call from the main program."),
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
