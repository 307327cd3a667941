"""What the running kernel's verifier can do: a tiny program for each rule that can be told apart.

Whoever may load programs loads them once per boot (pbt.host.verifier keeps the answers); then the
simulator knows this kernel instead of guessing from its release.
"""

# ruff: noqa: E501 (a table: one rule, one program)
from __future__ import annotations

from collections.abc import Mapping

from pbt.data import NamedTuple
from pbt.typing import Final
from pbt.verifier_sim.kernels import Features


class Probe(NamedTuple):
    """A program that is accepted exactly if the kernel has the rule (or, if not `means`, has it not).

    text: assembly, instructions separated by ";". `bad` reads a register that nobody set: a verifier
    that knows that no path leads there does not mind. ARRAY is the wide load of an array map with 4
    elements of 16 bytes.
    """

    rule: str
    text: str
    prog_type: str = "SOCKET_FILTER"
    means: bool = True


_END = "; out: r0 = 0; exit; bad: r0 = r9; exit"
_RANDOM, _TIME = "call get_prandom_u32", "call ktime_get_ns"
_LOOK = "*(u32 *)(r10 -8) = 1; r2 = r10; r2 += -8; r1 = ARRAY; call map_lookup_elem"

PROBES: Final = (
    Probe("atomics", "r0 = 0; *(u64 *)(r10 -8) = r0; r0 = atomic_fetch_add((u64 *)(r10 -8), r0); r0 = 0; exit"),
    Probe("narrow_spill", f"{_RANDOM}; r0 &= 15; *(u32 *)(r10 -8) = r0; r1 = *(u32 *)(r10 -8); if r1 > 15 goto bad{_END}"),
    Probe("registers_written", "r2 = 0; *(u64 *)(r1 +0) = r2; r0 = 0; exit", "KPROBE"),
    Probe("deep_reads", "r0 = *(u64 *)(r10 -8); exit"),
    Probe("equal_ranges", f"{_RANDOM}; if w0 < 4 goto out; w2 = 3; if w0 == w2 goto bad{_END}"),
    Probe("halves_compared", f"{_TIME}; if w0 > 20 goto out; if r0 == 24 goto bad{_END}"),
    Probe("bits_compared", f"{_RANDOM}; r0 &= 6; if r0 == 3 goto bad{_END}"),
    Probe("same_register", f"{_TIME}; if r0 != r0 goto bad{_END}"),
    Probe("loops_anywhere", "r0 = 0; goto b; a: r0 += 1; b: r0 += 1; if r0 < 9 goto a; exit"),
    Probe("signed_isa", "r0 = 0; r0 = (s8)r0; exit"),
    Probe("register_branches", f"{_TIME}; r6 = r0; r6 &= 3; {_TIME}; if r0 >= r6 goto out; if r0 > 2 goto bad{_END}"),
    Probe("spill_any", f"{_TIME}; *(u64 *)(r10 -8) = r0; if r0 > 10 goto out; r1 = *(u64 *)(r10 -8); if r1 > 10 goto bad{_END}"),
    Probe("const_shifts", f"{_RANDOM}; r0 &= 1; r1 = 1; r1 <<= r0; if r1 > 2 goto bad{_END}", means=False),
    Probe("narrow_fill", f"{_TIME}; r0 &= 15; *(u64 *)(r10 -8) = r0; r1 = *(u32 *)(r10 -8); if r1 > 15 goto bad{_END}"),
    Probe("linked_deltas", f"{_TIME}; r1 = r0; r1 += 4; if r1 > 10 goto out; if r0 s> 6 goto bad{_END}"),
    Probe("negative_deltas", f"{_TIME}; r1 = r0; r1 += -4; if r1 > 10 goto out; if r0 s> 14 goto bad{_END}"),
    Probe("narrow_deltas", f"{_RANDOM}; w0 &= 255; w1 = w0; w1 += 4; if w1 > 20 goto out; if w0 > 16 goto bad{_END}"),
    Probe("stack_round_16", "*(u64 *)(r10 -496) = 0; call f; r0 = 0; exit; f: *(u64 *)(r10 -8) = 0; r0 = 0; exit"),
    Probe("cpu_bounded", f"call get_smp_processor_id; if r0 > 100000 goto bad{_END}"),
    Probe("helper_reads", f"{_LOOK}; r1 = *(u32 *)(r10 -8); if r1 != 1 goto bad{_END}"),
    Probe("may_goto", "r0 = 0; may_goto +1; r0 = 0; exit"),
    Probe("may_goto_zero", "r0 = 0; may_goto +0; exit"),
    Probe("load_acquire", "r0 = 0; *(u64 *)(r10 -8) = r0; r0 = load_acquire((u64 *)(r10 -8)); r0 = 0; exit"),
    Probe("const_key", f"{_LOOK}; r0 = *(u64 *)(r0 +0); r0 = 0; exit"),
    Probe("sign_split", f"{_TIME}; if r0 s< -5 goto out; if r0 s> 5 goto out; if r0 < 11 goto out; if r0 s> -1 goto bad{_END}"),
    Probe("sign_split32", f"{_RANDOM}; if w0 s< -5 goto out; if w0 s> 5 goto out; if w0 < 11 goto out; if w0 s> -1 goto bad{_END}"),
    Probe("circular", f"{_TIME}; if r0 == 5 goto out; r0 -= 5; if r0 == 0 goto bad{_END}"),
    Probe("negation", f"{_RANDOM}; r0 &= 7; r0 = -r0; if r0 s> 0 goto bad{_END}"),
    Probe("comm_everywhere", "r1 = r10; r1 += -16; r2 = 16; call get_current_comm; r0 = 0; exit"),
    Probe("bits_forget", f"{_TIME}; if r0 s< -9 goto out; if r0 s> 9 goto out; if r0 & 1 goto out; if r0 s> 9 goto bad{_END}", means=False),
    Probe("fork_bits", f"{_RANDOM}; r0 <<= 32; r0 s>>= 63; r0 &= 6; if r0 == 2 goto bad{_END}"),
    Probe("tnum_steps", f"{_RANDOM}; r0 &= 40; if r0 < 9 goto out; if r0 > 39 goto out; if r0 != 32 goto bad{_END}"),
    Probe("swap_known", f"{_RANDOM}; r0 &= 255; r0 = be16 r0; r0 &= 255; if r0 != 0 goto bad{_END}"),
    Probe("division_bounds", f"{_RANDOM}; r0 &= 255; r0 %= 10; if r0 > 9 goto bad{_END}"),
    Probe("zeros_anywhere", f"r0 = 0; *(u64 *)(r10 -8) = r0; {_RANDOM}; r0 &= 7; r2 = r10; r2 += -8; r2 += r0;"
          f" r1 = *(u8 *)(r2 +0); if r1 != 0 goto bad{_END}"),
    Probe("scrub_variable", f"r0 = 7; *(u64 *)(r10 -8) = r0; {_RANDOM}; r0 &= 3; r2 = r10; r2 += -4; r2 += r0;"
          " *(u8 *)(r2 +0) = 1; r0 = *(u64 *)(r10 -8); r0 = 0; exit"),
    Probe("ctx_offsets", "r1 += 8; r0 = *(u64 *)(r1 +0); r0 = 0; exit", "KPROBE"),
    Probe("null_is_wide", f"{_LOOK}; if r0 == 0 goto out; if w0 == 0 goto bad{_END}", means=False),
    Probe("fields_first", "r0 = 0; if r0 == 0 goto out; .insn 0xb7 0 1 0 0; out: exit", means=False),
)  # fmt: skip


def programs() -> dict[str, tuple[str, bytes, tuple[int, ...]]]:
    """Rule → (program type, instructions, slots that load the array map)."""
    from pbt.isa.asm import assemble
    from pbt.isa.insn import encode
    from pbt.uapi.helpers import HELPERS

    ids = {name: helper.id for name, helper in HELPERS.items()}
    out = {}
    for probe in PROBES:
        insns = assemble(probe.text.replace("ARRAY", "map_fd[0][0]").replace(";", "\n"), ids)
        maps = tuple(at for at, insn in enumerate(insns) if insn.is_wide and insn.src_reg == 1)
        out[probe.rule] = (probe.prog_type, encode(insns), maps)
    return out


def calibrated(guess: Features, accepted: Mapping[str, bool]) -> Features:
    """The rules of a release, corrected by what the kernel answered to `programs`."""
    has = {probe.rule: accepted[probe.rule] == probe.means for probe in PROBES if probe.rule in accepted}
    without = guess - {rule for rule, there in has.items() if not there}
    return without | {rule for rule, there in has.items() if there}
