"""Verdicts in words, with places in the script; batches."""

from __future__ import annotations

import io
import json

import pytest

from pbt.bundle import Bundle, Code, Map, Place, Program, Reloc
from pbt.isa.asm import assemble
from pbt.isa.insn import encode
from pbt.source import Source
from pbt.verifier_sim import jsonl, verify_bundle
from pbt.verifier_sim.reasons import plain
from tests.unit.verifier_sim.reasons import run_example

_LOOK = "*(u32 *)(r10 -4) = 1; r2 = r10; r2 += -4; r1 = HASH; call map_lookup_elem"
SCRIPT = "kprobe:f {\n  @[1] = 2;\n}\n"


def _bundle(
    text: str, relocs: tuple[Reloc, ...] = (), spans: tuple[Place, ...] = (), copies: int = 1
) -> Bundle:
    code = Code(encode(assemble(text.replace(";", "\n"))), relocs, spans)
    programs = tuple(Program(f"kprobe:f{n}", "kprobe", "KPROBE", code, {}) for n in range(copies))
    maps = (Map("@", "HASH", 4, 8, 16),)
    return Bundle("s.bt", SCRIPT, programs, maps, (), "x86_64", "6.18.44")


def test_a_refusal_points_into_the_script() -> None:
    spans = (Place(13, 21), Place(13, 21), Place(-1, -1))
    verdict = verify_bundle(_bundle("r2 = 0; r0 = *(u64 *)(r2 +0); exit", spans=spans), None)[0]
    source = Source("s.bt", SCRIPT)
    assert verdict.kind == "reject" and verdict.error is not None
    assert verdict.error.pc == 1 and verdict.error.reason == "R2 invalid mem access 'scalar'"
    span = verdict.error.span(source)
    assert span is not None and span.locate()[0] == 2
    story = verdict.story(source)
    assert story.startswith("s.bt:2:3: ERROR: kprobe:f0: instruction 1: r2 is a number here")
    assert "HINT: " in story


def test_relocations_become_pointers() -> None:
    relocs = (Reloc(1, "map_fd", "@"),)
    text = (
        "*(u32 *)(r10 -4) = 1; r1 = 0 ll; r2 = r10; r2 += -4; call 1; if r0 == 0 goto +1;"
        "r1 = *(u64 *)(r0 +{}); r0 = 0; exit"
    )
    assert verify_bundle(_bundle(text.format(0), relocs), None)[0].kind == "accept"
    refused = verify_bundle(_bundle(text.format(8), relocs), None)[0]
    assert refused.error is not None and "outside of the allowed memory range" in refused.error.reason


def test_equal_code_is_judged_once() -> None:
    verdicts = verify_bundle(_bundle("r0 = 0; exit", copies=3), None)
    assert [v.name for v in verdicts] == ["kprobe:f0", "kprobe:f1", "kprobe:f2"]
    assert len({id(v.states) for v in verdicts}) == 1


def test_words_for_reasons() -> None:
    assert plain("R3 !read_ok") == "r3 is read, but nothing was put into it on the way here"
    assert plain("R0 invalid mem access 'map_value_or_null'").startswith("r0 may be null")
    assert plain("something new") == "something new"


_KNOWN = {
    "a value that may be null": (
        f"{_LOOK}; r1 = *(u64 *)(r0 +0); r0 = 0; exit",
        "KPROBE",
        ["r0 is a value of map HASH (16 bytes), or null, by 5: call bpf_map_lookup_elem#1"],
        "if r0 is null",
    ),
    "what was given back": (
        "r1 = RING; r2 = 8; r3 = 0; call ringbuf_reserve; if r0 == 0 goto out; r6 = r0; r1 = r6; r2 = 0;"
        " call ringbuf_submit; r1 = *(u64 *)(r6 +0); out: r0 = 0; exit",
        "KPROBE",
        [
            "r6 is a number without known limits; it was a record of a ring buffer (8 bytes), until 9: call bpf_ringbuf_submit#132"
        ],
        "use it before",
    ),
    "what is still held": (
        "r1 = RING; r2 = 8; r3 = 0; call ringbuf_reserve; if r0 == 0 goto out; out: r0 = 0; exit",
        "KPROBE",
        ["r0 is the number 0", "still held is what was taken by 4: call bpf_ringbuf_reserve#131"],
        "nothing gives back what instruction 4 took",
    ),
    "a packet that moved": (
        "r6 = *(u32 *)(r1 +0); r2 = *(u32 *)(r1 +4); r3 = r6; r3 += 14; if r3 > r2 goto out; r2 = 4;"
        " call xdp_adjust_head; r0 = *(u8 *)(r6 +2); out: r0 = 2; exit",
        "XDP",
        [
            "r6 is a number without known limits; it was the packet, 14 bytes of it checked, until 6: call bpf_xdp_adjust_head#44"
        ],
        "load data and data_end anew",
    ),
    "too little of a packet": (
        "r6 = *(u32 *)(r1 +0); r2 = *(u32 *)(r1 +4); r3 = r6; r3 += 14; if r3 > r2 goto out;"
        " r0 = *(u8 *)(r6 +23); out: r0 = 2; exit",
        "XDP",
        ["r6 is the packet, 14 bytes of it checked, by 0: r6 = *(u32 *)(r1 +0)"],
        "24 bytes are needed from the start, 14 are checked",
    ),
    "a number from the stack": (
        "call ktime_get_ns; *(u64 *)(r10 -8) = r0; r1 = *(u64 *)(r10 -8); r2 = *(u64 *)(r1 +0); r0 = 0; exit",
        "KPROBE",
        ["r1 is a number without known limits, by 1: *(u64 *)(r10 -8) = r0"],
        "probe_read",
    ),
    "an index into the stack": (
        "call get_prandom_u32; r0 &= 31; r2 = r10; r2 += -16; r2 += r0; *(u8 *)(r2 +0) = 1; r0 = 0; exit",
        "KPROBE",
        ["r2 is the stack, at fp-16 plus 0 to 31"],
        "limit the index to 15",
    ),
    "a size that may be negative": (
        "r2 = *(u64 *)(r1 +0); if r2 s> 16 goto out; r1 = r10; r1 += -16; r3 = 0; call probe_read_kernel; out: r0 = 0; exit",
        "KPROBE",
        [
            "r1 is the stack, at fp-16",
            "r2 is a number at most 16, perhaps negative, by 0: r2 = *(u64 *)(r1 +0)",
        ],
        "may be negative",
    ),
    "what a call cleared": (
        "r6 = r1; r2 = 4; call ktime_get_ns; r0 = r2; exit",
        "KPROBE",
        [],
        "The call at 2 cleared r1 to r5",
    ),
    "the wrong side of a check": (
        f"{_LOOK}; if r0 != 0 goto out; r1 = *(u64 *)(r0 +0); out: r0 = 0; exit",
        "KPROBE",
        ["r0 is the number 0, by 5: call bpf_map_lookup_elem#1"],
        "r0 is null on this way",
    ),
    "a number as memory": (
        "r1 = HASH; r2 = 8; call map_lookup_elem; r0 = 0; exit",
        "KPROBE",
        ["r1 is map HASH", "r2 is the number 8"],
        "the helper wants memory: pass an address",
    ),
    "an index into a map's value": (
        f"{_LOOK}; r6 = r0; if r6 == 0 goto out; call ktime_get_ns; r6 += r0; out: r0 = 0; exit",
        "KPROBE",
        [
            "r0 is a number without known limits, by 8: call bpf_ktime_get_ns#5",
            "r6 is a value of map HASH (16 bytes), by 5: call bpf_map_lookup_elem#1",
        ],
        "compare it as an unsigned one with a constant limit (16 bytes lie there)",
    ),
}


@pytest.mark.parametrize("name", list(_KNOWN))
def test_a_story_tells_what_is_known(name: str) -> None:
    """Of the registers that matter: what they hold, where that came from, and what would mend the program."""
    text, prog_type, facts, hint = _KNOWN[name]
    verdict = run_example(f"{prog_type}: {text}")
    assert verdict.error is not None
    assert [fact.text for fact in verdict.error.known] == facts
    assert hint in verdict.error.hint, verdict.error.hint
    assert all(fact in verdict.story() for fact in facts)


def test_facts_have_their_lines() -> None:
    spans = (Place(0, 11), Place(13, 21), Place(13, 21), Place(-1, -1))
    verdict = verify_bundle(_bundle("call 5; r2 = r0; r0 = *(u64 *)(r2 +0); exit", spans=spans), None)[0]
    assert (
        "known here: r2 is a number without known limits, by 0: call bpf_ktime_get_ns#5  (line 1: kprobe:f {)"
        in (verdict.story(Source("s.bt", SCRIPT)))
    )


def test_a_function_that_calls_itself() -> None:
    verdict = run_example("SOCKET_FILTER: call f; exit; f: call f; exit")
    assert verdict.error is not None and "calls itself" in verdict.error.hint


def _line(text: str, **more: object) -> str:
    insns = encode(assemble(text.replace(";", "\n"))).hex()
    row = {"id": 7, "insns": insns, "prog_type": 2, "expected_attach_type": 0, "prog_flags": 0}
    return json.dumps({**row, "maps": [], "relocs": [], "kernel": "6.18", **more}) + "\n"


def test_batches_answer_line_by_line() -> None:
    out = io.StringIO()
    jsonl.main(io.StringIO(_line("r0 = 0; exit") + _line("exit") + _line("exit", kfuncs=["f"])), out)
    accept, reject, unsupported = (json.loads(line) for line in out.getvalue().splitlines())
    assert accept == {"id": 7, "verdict": "accept", "reason": None, "insn": None, "walked": 2}
    assert (reject["verdict"], reject["reason"], reject["insn"]) == ("reject", "R0 !read_ok", 0)
    assert unsupported["verdict"] == "unsupported"


def test_many_calls_do_not_hang() -> None:
    """Functions that call the next one hundreds of times: each depth is looked at once."""
    text = []
    for name, after in zip("abcdefg", "bcdefgh", strict=True):
        text.append(f"{name}: " + f"call {after}; " * 200 + "r0 = 0; exit; ")
    from tests.unit.verifier_sim.programs import build

    insns, _ = build("".join(text) + "h: r0 = 0; exit")
    from pbt.verifier_sim.check import check
    from pbt.verifier_sim.flow import longest_stack
    from pbt.verifier_sim.kernels import features

    rules = features("6.18")
    flow = check(insns, (), {}, rules)
    depths = dict.fromkeys(flow.starts, 8)
    assert longest_stack(insns, flow.starts, depths, rules, False) == 8 * 16
