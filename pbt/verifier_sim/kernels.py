"""What the verifiers of different kernels can deduce and allow: a kernel is a set of these names.

Each row: name, the mainline release that brought it, and what it changes. Stable kernels take some
rows early; `features("6.18.44")` knows the ones that were measured.
"""

from __future__ import annotations

import functools

from pbt.data import NamedTuple
from pbt.typing import Final

Features = frozenset[str]


class Rule(NamedTuple):
    name: str
    release: tuple[int, ...]
    meaning: str


RULES = (
    Rule("linked_scalars", (5, 10), "copies of a number are refined together"),
    Rule("atomics", (5, 12), "atomic operations that fetch; before: only add"),
    Rule("var_stack_write", (5, 10), "writes to the stack at a variable offset"),
    Rule("narrow_spill", (5, 10), "numbers of 1, 2, 4 bytes keep their bounds on the stack"),
    Rule("uninit_stack", (5, 10), "privileged programs may read stack that nobody wrote"),
    Rule("deep_reads", (6, 1), "even below all that was written"),
    Rule("flow_keys_fixed", (5, 15), "pointers to flow keys move by constants alone"),
    Rule("callback_rounds", (6, 6), "callbacks are followed round by round, and as never called"),
    Rule("sleepable_locks", (6, 6), "sleepable programs may take spin locks"),
    Rule(
        "register_null", (6, 2), "equal to a pointer that is not null tells about null; maps are never null"
    ),
    Rule("rcu_kptrs", (6, 4), "kernel pointers in maps may be used inside RCU sections"),
    Rule("dynptr_reinit", (6, 3), "an initialised dynptr without reference may be initialised anew"),
    Rule("narrow_links", (6, 5), "a 32-bit copy of a number below 2**32 is refined with it"),
    Rule("signed_isa", (6, 6), "sign extension, signed division, bswap (cpu v4)"),
    Rule("gotol", (6, 6), "jumps by 32 bits (cpu v4)"),
    Rule("memory_params", (5, 12), "global functions take pointers to memory"),
    Rule("dynptr_params", (6, 8), "global functions take dynptrs"),
    Rule("arg_tags", (6, 8), "tags of the parameters of global functions"),
    Rule("main_first", (6, 8), "only global functions that are called are judged, after the main program"),
    Rule("packet_by_global", (6, 12), "global functions that move packet data end packet pointers"),
    Rule("dynptr_spill", (7, 0), "a pointer to a dynptr of the kernel survives on the stack"),
    Rule("void_functions", (7, 0), "global functions may return nothing"),
    Rule("null_param", (7, 0), "null is no argument for a parameter that may not be null"),
    Rule("sleeping_helpers", (5, 10), "helpers that may sleep are for sleepable programs alone"),
    Rule("null_folds", (5, 17), "arguments that may be null take pointers that may be"),
    Rule("ids_compared", (6, 2), "states are compared with the identities of all pointers"),
    Rule("context_constants", (6, 3), "constants are stored into the context, not only registers"),
    Rule("empty_tuples", (6, 2), "lookups of sockets take tuples of no bytes"),
    Rule("trusted_known", (6, 4), "trusted pointers are not null, and helpers read what they point to"),
    Rule(
        "number_first",
        (6, 4),
        "a number compared with a pointer tells what the pointer compared with it does",
    ),
    Rule("low_bits", (6, 3), "64-bit ranges tell about the low bits"),
    Rule("precise_returns", (6, 8), "what is returned is compared exactly, where only some numbers may be"),
    Rule("loads_exit", (7, 1), "the old packet loads in a function may also return from it"),
    Rule("equal_ranges", (6, 2), "ranges that do not meet decide == and !="),
    Rule("sleepable_hooks", (5, 11), "most hooks take LSM programs that sleep"),
    Rule("task_stack_sized", (5, 12), "get_task_stack returns at most the size of its buffer"),
    Rule("functions_passed", (5, 13), "functions of the program are passed to helpers"),
    Rule("kfuncs", (5, 13), "calls of functions of the kernel"),
    Rule("kfunc_trust", (6, 2), "kernel functions that ask for trusted pointers get no others"),
    Rule("sleepable_maps", (5, 15), "programs that sleep use more types of maps than arrays and hashes"),
    Rule("int_pointers", (5, 17), "pointers to integers in the context are numbers"),
    Rule("lsm_cgroup", (6, 0), "LSM programs attach to cgroups"),
    Rule("struct_args", (6, 1), "structures that are passed by value are numbers in the context"),
    Rule("trusted_args", (6, 2), "arguments of tracepoints, iterators and hooks are trusted pointers"),
    Rule("nested_trust", (6, 4), "what is read through a trusted pointer need not be trusted"),
    Rule("hook_ranges", (6, 12), "LSM programs return an error or 0"),
    Rule("memory_keys", (6, 2), "keys and values of maps are taken from records of ring buffers, too"),
    Rule("memory_not_null", (6, 2), "records of ring buffers and their like are known not to be null"),
    Rule("path_hooks_sleep", (6, 12), "hooks of paths take LSM programs that sleep"),
    Rule("hooks_closed", (6, 12), "some hooks are closed to programs"),
    Rule("blobs_closed", (7, 3), "the hook file_alloc_security is closed to programs"),
    Rule("raw_tp_nulls", (6, 13), "arguments of some tracepoints may be null"),
    Rule("async_context", (6, 18), "callbacks of timers may not sleep"),
    Rule("whole_pointers", (6, 13), "pointers in contexts that BTF describes are read as a whole"),
    Rule("registers_written", (6, 18), "KPROBE programs may write the registers in their context"),
    Rule("mul_union", (6, 18), "products with an unknown factor keep more known bits"),
    Rule("untrusted_memory", (6, 17), "what pointers to other than structures point to may be read"),
    Rule(
        "offsets_merged", (7, 1), "known and unknown parts of an offset are added before they are looked at"
    ),
    Rule("beyond_forgotten", (7, 1), "a packet pointer that is past the end and moved is not known to be"),
    Rule("rcu_nested", (6, 19), "RCU sections inside one another"),
    Rule("signal_errors", (7, 0), "the information of a signal may be no pointer"),
    Rule("any_pointers", (7, 1), "pointers to pointers in the context are numbers"),
    Rule("loops_anywhere", (6, 8), "a cycle may close at any instruction, not only at a jump"),
    Rule("local_calls_locked", (6, 9), "functions of the program may be called while a lock is held"),
    Rule("mixed_bounds", (6, 8), "32-bit and 64-bit, signed and unsigned bounds refine each other"),
    Rule("halves_compared", (6, 8), "32-bit ranges that do not meet decide == and != of 64 bits"),
    Rule("bits_compared", (6, 18), "known bits that differ decide == and !="),
    Rule("register_branches", (6, 8), "comparing two registers refines both"),
    Rule("spill_zero", (6, 8), "0 stored to the stack stays known as a number"),
    Rule("spill_any", (6, 8), "numbers without bounds are kept and linked on the stack"),
    Rule("scrub_variable", (6, 19), "a write at a variable offset forgets the whole number that it meets"),
    Rule("const_shifts", (6, 10), "only shifts by a constant keep bounds"),
    Rule("narrow_fill", (6, 10), "a fill may read the low part of a wider spill"),
    Rule("linked_deltas", (6, 12), "copies plus a constant are refined together"),
    Rule("signs_extended", (6, 12), "64-bit bounds within those of 32 bits become these, if not negative"),
    Rule("stack_round_16", (6, 12), "frames of one call chain are rounded to 16 bytes, not 32"),
    Rule("cpu_bounded", (6, 12), "get_smp_processor_id() is below the number of CPUs"),
    Rule("helper_reads", (6, 14), "what a helper only reads on the stack stays known"),
    Rule("may_goto", (6, 9), "the may_goto instruction (needs the JIT of x86-64 or arm64)"),
    Rule("may_goto_zero", (6, 14), "may_goto over no instruction"),
    Rule("gotox", (6, 19), "jumps to addresses from tables, which are maps of instructions"),
    Rule("load_acquire", (6, 15), "load_acquire and store_release"),
    Rule(
        "acquires_before", (7, 0), "what load_acquire reads from is judged by what the register held before"
    ),
    Rule("const_key", (6, 15), "an array looked up with a constant key in range is not null"),
    Rule("overflow_pairs", (6, 17), "adding keeps bounds when both ends overflow"),
    Rule("kptr_in_objects", (6, 12), "kptr_xchg puts pointers into objects of the program"),
    Rule("arenas", (6, 9), "arenas, and the cast between addresses of the kernel and of user space"),
    Rule("locked_loops", (6, 15), "loops over numbers run while a lock is held"),
    Rule("walk_trees", (6, 16), "rbtree_remove takes nodes with a reference of the program's, too"),
    Rule("sign_split", (6, 17), "signed 64-bit ranges over the sign boundary refine unsigned ones"),
    Rule("inner_map_flag", (6, 19), "arrays in maps may differ in size: a constant key may be out of range"),
    Rule("sign_split32", (6, 19), "signed 32-bit ranges over the sign boundary refine unsigned ones"),
    Rule("negation", (6, 17), "negation keeps bounds"),
    Rule("comm_everywhere", (6, 18), "current task's helpers in socket filters"),
    Rule("tail_call_exit", (6, 15), "a tail call in a function may also return from it"),
    Rule("private_stack", (6, 13), "tracing programs have a stack for each function"),
    Rule(
        "bits_forget",
        (6, 17),
        "where `if a & N` does not jump, only the known bits of a stay known, not its range",
    ),
    Rule("fork_bits", (6, 19), "0 or -1, masked by a constant, is followed as two paths"),
    Rule("tnum_steps", (6, 19), "a range with one value that fits the known bits is that value"),
    Rule("swap_known", (6, 19), "byte swaps keep known bits"),
    Rule("negative_deltas", (6, 19), "copies minus a constant are refined together"),
    Rule("narrow_deltas", (6, 19), "32-bit additions keep copies together"),
    Rule("delta_cleared", (6, 19), "a number that leaves its copies forgets its distance from them"),
    Rule("commuted_kept", (7, 0), "a number plus a pointer keeps the pointer's frame and reference"),
    Rule("inner_map_pointer", (7, 0), "what a map of maps gives is a map, even before the check for null"),
    Rule("flags_precise", (7, 0), "flags of get_local_storage are compared exactly"),
    Rule(
        "signs_met",
        (7, 0),
        "64-bit bounds within those of 32 bits are narrowed by these, whatever their signs",
    ),
    Rule("block_bounds", (7, 0), "64-bit bounds move to where the 32-bit ones allow"),
    Rule("same_register", (6, 19), "a register compared with itself is decided"),
    Rule("frames_unlimited", (7, 0), "only frames that are entered count, not chains of calls in the code"),
    Rule("tracing_timers", (7, 0), "tracing programs may use timers"),
    Rule("sockmaps_owned", (7, 0), "fewer types of programs change maps of sockets"),
    Rule("loads_outside_callbacks", (7, 0), "LD_ABS is not for callbacks"),
    Rule("fields_first", (7, 0), "reserved fields are looked at before any path is walked"),
    Rule(
        "speculation_barred", (6, 17), "what speculation could do without privileges is stopped, not refused"
    ),
    Rule("untrusted_args", (6, 17), "global functions take pointers that nobody vouches for"),
    Rule("syscall_context", (7, 0), "the context of system call programs is memory like any other"),
    Rule(
        "never_null",
        (7, 0),
        "what equals a pointer is not null if pointers of that kind never are",
    ),
    Rule("circular", (7, 3), "one range of each width, on a circle, tells signed and unsigned bounds"),
    Rule("zero_register", (7, 3), "a comparison with a register that is 0 tells about null"),
    Rule("null_is_wide", (7, 0), "a 32-bit comparison does not tell that a pointer is null"),
    Rule("division_bounds", (7, 0), "division and modulo by a constant keep bounds"),
    Rule("retval_range", (7, 0), "the argument of set_retval is checked"),
    Rule("zeros_anywhere", (7, 0), "a stack read at a variable offset finds spilled zeros"),
    Rule("empty_is_dead", (7, 0), "a branch whose refined range is empty is dead"),
    Rule(
        "more_sleepable_maps",
        (7, 3),
        "programs that sleep use tries, system call programs arrays of programs",
    ),
    Rule("ctx_offsets", (7, 0), "context pointers may be moved by known amounts"),
)


def release(text: str) -> tuple[int, ...]:
    """The numbers at the start of a release: "6.18.44-1-amd64" → (6, 18, 44)."""
    numbers = []
    for part in text.split("-")[0].split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        numbers.append(int(digits))
    return tuple(numbers[:3])


_LATE_6_18 = (
    "swap_known tnum_steps fork_bits sign_split32 negative_deltas narrow_deltas delta_cleared inner_map_flag "
    "scrub_variable loads_exit"
)

_RESULTS_KEPT = "loading the result of a hook keeps what was known of the register before"

FLAWS = (
    (
        "precision_lost",
        (6, 18, 44),
        (6, 19),
        "numbers from before a function with an old packet load have no origin",
    ),
    (
        "tail_calls_unseen",
        (6, 18),
        (6, 19),
        "what a function writes after a tail call counts as written before",
    ),
    ("cgroup_hooks_sleep", (6, 2), (6, 13), "LSM programs of cgroups may sleep"),
    ("results_kept", (6, 12), (6, 18, 44), _RESULTS_KEPT),
    ("results_kept", (6, 19), (7, 2), _RESULTS_KEPT),
)
"""What some kernels do wrong, so that they refuse or accept what no other does: from, until, meaning."""

STABLE = (
    ((5, 10), 1, "zeros_anywhere const_shifts bits_forget"),
    (
        (6, 1),
        1,
        "const_shifts gotol commuted_kept zeros_anywhere low_bits loads_exit bits_forget hooks_closed",
    ),
    (
        (6, 12),
        60,
        "fork_bits sign_split sign_split32 scrub_variable bits_compared bits_forget whole_pointers "
        "raw_tp_nulls",
    ),
    ((6, 18), 44, _LATE_6_18),
)
"""What stable series took early, as far as it was measured: (series, point release, rules)."""


_LOCKED: Final = ((6, 18, 44), "registers_written")
"""The one kernel of this release that was measured is locked down: what it does not allow."""


@functools.cache
def features(kernel: str) -> Features:
    """The rules of a kernel release such as "6.18" (its last point release) or "6.18.15".

    Distributions that count for themselves, as in "6.1.0-56-amd64", do not say the point release: the last.
    """
    numbers = release(kernel)
    last = len(numbers) < 3 or (not numbers[2] and "-" in kernel)
    names = {rule.name for rule in RULES if rule.release <= numbers}
    for series, point, taken in STABLE:
        if numbers[:2] == series and (last or numbers[2] >= point):
            names.update(taken.split())
    full = (*numbers, 999) if last and len(numbers) == 2 else numbers
    names.update(name for name, first, end, _ in FLAWS if first <= full < end)
    if numbers == _LOCKED[0]:
        names.discard(_LOCKED[1])
    return frozenset(names)


LATEST: Features = frozenset(rule.name for rule in RULES)
