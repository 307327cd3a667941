"""Probes at both ends of the same functions: one program where the kernel can tell the ends apart."""

from __future__ import annotations

import pytest

from pbt.bundle import Code
from pbt.ir import text
from pbt.ir.join import joined
from pbt.ir.verify import verify
from pbt.isa import opcodes as op
from pbt.isa.insn import Insn, call
from pbt.uapi.helpers import HELPERS
from pbt.verifier_sim import verify_bundle
from tests.unit.lower.machine import MODERN, Ran, compiled, machine

CAN = (*MODERN, "kprobe_multi", "kprobe_session", "bpf_loop")
TYPES = "TRACE_KPROBE_SESSION"


def attach_types(script: str, features: tuple[str, ...] = CAN) -> list[str]:
    bundle = compiled(script, target=machine(features)).bundle
    assert bundle is not None
    return [program.expected_attach_type for program in bundle.programs]


class InSession(Ran):
    """Runs with the input `rand` for what the kernel says about whose turn it is."""

    def _linked(self, code: Code) -> list[Insn]:
        known = tuple(reloc for reloc in code.relocs if reloc.kind != "kfunc")
        which = call(HELPERS["get_prandom_u32"].id)
        insns = super()._linked(Code(code.insns, known, code.spans, code.functions))
        return [which if i.opcode == op.JMP | op.CALL and i.src_reg == op.CALL_KFUNC else i for i in insns]


@pytest.mark.parametrize("name", ["do_it", "do_*"])
def test_each_half_runs_at_its_end(name: str) -> None:
    script = f"""
        kprobe:{name} /arg0 == 0/ {{ @start[tid] = nsecs; $n = 0; while ($n < 3) {{ $n++; @loops++; }} @arg = arg1; }}
        kretprobe:{name} /@start[tid]/ {{ @took = sum(nsecs - @start[tid]); @back = retval; printf("%s", comm); }}
        """
    for turn, left in ((0, {"@start", "@loops", "@arg"}), (1, set())):
        ran = InSession(script, times=({"rand": turn},), target=machine(CAN))
        programs = ran.made.programs
        assert {program.code for program in programs} == {programs[0].code}
        assert {program.expected_attach_type for program in programs} == {TYPES}
        assert set(ran.maps) == left and set(ran.results) == {0}
    both = InSession(script, times=({"rand": 0}, {"rand": 1}), target=machine(CAN))
    assert set(both.maps) == {"@start", "@loops", "@arg", "@took", "@back"}
    assert all(verdict.kind == "accept" for verdict in verify_bundle(both.made, None, kernel="6.18"))


def test_which_probes_are_halves() -> None:
    pair = "kprobe:do_it { @ = count(); } kretprobe:do_it { @b = count(); }"
    assert attach_types(pair) == [TYPES, TYPES]
    assert attach_types(pair, MODERN) == ["", ""]
    assert attach_types(pair.replace("do_it", "do_*")) == 4 * [TYPES]
    assert attach_types(
        "kprobe:do_* { @[probe] = count(); } kretprobe:do_* { @b[probe] = count(); }"
    ) == 4 * [TYPES]


COOKIES = (*CAN, "get_attach_cookie")
BOTH = "kprobe:{} {{ @[probe] = count(); }} kretprobe:{} {{ @b[probe] = count(); }}"


def test_one_cookie_names_the_place_of_both_halves() -> None:
    script = BOTH.format("do_*", "do_*")
    bundle = compiled(script, target=machine(COOKIES)).bundle
    assert bundle is not None and len({program.code for program in bundle.programs}) == 1
    cookies = {(program.place["function"], program.cookie) for program in bundle.programs}
    assert len(bundle.programs) == 4 and cookies == {("do_it", 0), ("do_more", 1)}
    tables = sorted(each.data.replace(b"\0", b" ").split() for each in bundle.maps if each.data)
    assert tables == [[b"kprobe:do_it", b"kprobe:do_more"], [b"kretprobe:do_it", b"kretprobe:do_more"]]


def test_halves_that_number_their_places_otherwise_stay_apart() -> None:
    other = BOTH.format("do_it, kprobe:do_more", "do_more, kretprobe:do_it")
    one = "kprobe:do_* { @ = count(); } kretprobe:do_* { @b[probe] = count(); }"
    for script in (other, one):
        bundle = compiled(script, target=machine(COOKIES)).bundle
        assert bundle is not None and len({program.code for program in bundle.programs}) == 2
        assert TYPES not in {program.expected_attach_type for program in bundle.programs}


@pytest.mark.parametrize(
    "script",
    [
        "kprobe:do_it { @ = count(); } kretprobe:do_more { @b = count(); }",
        "kprobe:do_it+4 { @ = count(); } kretprobe:do_it { @b = count(); }",
        "kprobe:vmlinux:do_it { @ = count(); } kretprobe:vmlinux:do_it { @b = count(); }",
        'kprobe:do_it { @ = reg("r12"); } kretprobe:do_it { @b = count(); }',
        "kprobe:do_it { @ = count(); } kretprobe:do_it { @b[kstack] = count(); }",
        "kprobe:do_it { @ = count(); } kprobe:do_it { @c = count(); } kretprobe:do_it { @b = count(); }",
        "kprobe:do_* { @ = count(); } kretprobe:do_it { @b = count(); }",
    ],
)
def test_which_are_not(script: str) -> None:
    assert TYPES not in attach_types(script)


def test_names_and_slots_of_both_stay_apart() -> None:
    half = text.parse(
        """program p
function main
slot 8 8 "a"
entry:
  %0:ctx = ctx
  %1 = load %0 8 0
  %2:stack = slot 0
  %3:func = func "turn"
  jump last(%1)
last(%4):
  store %2 %4 8 0
  return %4
function turn[int int]
entry:
  %0 = param 0
  return %0
"""
    )
    made = joined(half, half, "bpf_session_is_return", "return.")
    assert verify(made) == []
    assert [function.name for function in made.functions] == ["main", "turn", "return.turn"]
    assert len(made.functions[0].slots) == 2
    said = text.dump(made)
    assert "%1 = kfunc bpf_session_is_return(%0)" in said and "slot 1" in said and "func return.turn" in said
    assert text.dump(text.parse(said)) == said
