"""The kernel's reasons in plain words."""

from __future__ import annotations

import re
from typing import Final

_ROWS: Final = (
    (r"R(\d+) !read_ok", "r{0} is read, but nothing was put into it on the way here"),
    (r"R(\d+) is invalid", "there is no register r{0}"),
    (r"frame pointer is read only", "r10 is the frame pointer; a program cannot change it"),
    (r"unreachable insn (\d+)", "no path leads to instruction {0}"),
    (r"jump out of range from insn (\d+) to (-?\d+)", "the jump leads to {1}, outside of its function"),
    (r"jump into the middle of ldimm64 insn (\d+)", "the jump leads into the second half of a wide load"),
    (r"last insn is not an exit or jmp", "the function runs past its last instruction"),
    (r"call to invalid destination", "the call leads outside of the program"),
    (r"infinite loop detected at insn (\d+)", "the loop comes back to instruction {0} with nothing changed"),
    (r"BPF program is too large.*", "the kernel would have to walk more than a million instructions"),
    (r"The sequence of \d+ jumps is too complex\.", "too many branches are open at once (8192 at most)"),
    (r"unknown opcode (\w+)", "opcode 0x{0} is no instruction of this kernel"),
    (r"(.*) uses reserved fields", "the instruction sets a field that has to be 0"),
    (r"invalid(?: .*)? stack R(\d+).* off=(-?\d+) size=(\d+)",
     "r{0} reaches {2} bytes at offset {1}, which is not inside the 512 bytes of stack"),
    (r"invalid (?:indirect )?read from stack.*", "stack bytes are read that nobody wrote"),
    (r"misaligned (\w+) ?access.*", "the {0} access does not start at a multiple of its size"),
    (r"R(\d+) invalid mem access '(\w+)_or_null'", "r{0} may be null here and is used without a check"),
    (r"R(\d+) invalid mem access 'scalar'", "r{0} is a number here, not a pointer that may be followed"),
    (r"R(\d+) invalid mem access '(\w+)'", "memory cannot be reached through r{0}, a pointer of kind {1}"),
    (r"R(\d+) min value is outside of the allowed memory range",
     "the access through r{0} starts outside of the memory it points to"),
    (r"R(\d+) max value is outside of the allowed memory range",
     "the access through r{0} may end beyond the memory it points to"),
    (r"R(\d+) unbounded memory access.*", "nothing limits how far r{0} reaches"),
    (r"R(\d+) min value is negative.*", "r{0} may be negative"),
    (r"R(\d+) offset is outside of the packet", "r{0} may reach past the end of the packet"),
    (r"R(\d+) invalid zero-sized read.*", "the size in r{0} may be 0"),
    (r"R(\d+) is not a known constant'", "the size in r{0} has to be a constant"),
    (r"invalid bpf_context access off=(-?\d+) size=(\d+)",
     "{1} bytes at offset {0} of the context may not be accessed by this type of program"),
    (r"dereference of modified ctx ptr R(\d+).*", "the context pointer in r{0} was moved"),
    (r"invalid func unknown#(-?\d+)", "there is no helper with number {0}"),
    (r"program of this type cannot use helper bpf_(\w+)#\d+",
     "this type of program has no helper {0} on this kernel"),
    (r"cannot call GPL-restricted.*", "the helper is only for programs under the GPL"),
    (r"cannot pass map_type (\d+) into func bpf_(\w+)#\d+", "{1} does not take a map of this type"),
    (r"R(\d+) type=(\w+) expected=(.*)", "r{0} holds {1} where the helper wants {2}"),
    (r"BPF_EXIT instruction in main prog would lead to reference leak",
     "the program ends while it still holds something it has to give back"),
    (r"R(\d+) must be referenced when passed to release function",
     "r{0} is given back, but the program does not hold it"),
    (r"R(\d+) pointer arithmetic on (\w+)_or_null prohibited.*",
     "r{0} may be null and is used in arithmetic without a check"),
    (r"R(\d+) pointer arithmetic on (\w+) prohibited", "a pointer of kind {1} cannot be moved"),
    (r"R(\d+) (?:pointer|bitwise) .* pointer prohibited", "this arithmetic is not allowed on pointers (r{0})"),
    (r"R(\d+) .*pointer arithmetic.*prohibited", "this arithmetic is not allowed on the pointer in r{0}"),
    (r"math between (\w+) pointer and .*", "a {0} pointer is moved by an amount without known limits"),
    (r"R(\d+) leaks addr .*", "r{0} holds an address of the kernel, which may not leave the program"),
    (r"At (.*) the register R0 .*should have been in \[(-?\d+), (-?\d+)\]",
     "the value returned at {0} has to be between {1} and {2}"),
    (r"At (.*) the register R0 is not a known value.*", "a pointer is returned at {0} where a number is due"),
    (r"combined stack size of (\d+) calls is (\d+)\. Too large",
     "{0} functions in a chain use {1} bytes of stack; 512 are allowed"),
    (r"the call stack of (\d+) frames is too deep.*", "functions call each other more than 8 deep"),
    (r"div by zero", "the divisor is the constant 0"),
    (r"invalid shift (-?\d+)", "a shift by {0} bits does not fit the register"),
    (r"(write into|read from) map forbidden.*", "the map does not allow programs to {0} it"),
    (r"cannot write into packet", "this type of program may only read the packet"),
    (r"fd -?\d+ is not pointing to valid bpf_map", "the instruction names a map that was not given"),
)  # fmt: skip

_compiled: list[tuple[re.Pattern[str], str]] = []


def plain(reason: str) -> str:
    """A sentence for a person; the reason itself if there is no better one."""
    if not _compiled:
        _compiled.extend((re.compile(pattern), text) for pattern, text in _ROWS)
    for pattern, text in _compiled:
        found = pattern.fullmatch(reason)
        if found:
            return text.format(*found.groups())
    return reason
