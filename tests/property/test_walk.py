"""Loads through pointers that the verifier knows give what probe reads give, whatever way a script takes."""

from __future__ import annotations

import struct
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.lower.machine import MODERN, Ran, machine

TASKS = ("task", "parent", "grand")


def _task(number: int, *pointers: int) -> bytes:
    """struct task_struct of the machine: see there."""
    there, parent, marked = pointers
    head = struct.pack("<ii16sQ", number, 100 + number, b"task%d" % number, parent)
    return head + struct.pack("<IxxxxhhhhQQQ", 5 | 8 * number, -number, 2, -3, 4, there, marked, 0)


pointers = st.sampled_from(["real_parent", "there", "marked"])
fields = st.sampled_from(
    ["pid", "tgid", "comm", "bits", "arr[0]", "arr[3]", "word", "cpus", "arr", "real_parent", "marked"]
)
starts = st.sampled_from(
    ["curtask", "$t", "(struct task_struct *)curtask", "(curtask + 0)", "@kept", "$either", "$moved"]
)
ways = st.tuples(starts, st.lists(pointers, max_size=3), fields).map(
    lambda p: "->".join((f"({p[0]})", *p[1], p[2]))
)
scripts = st.lists(
    st.one_of(
        ways.map(lambda way: f"print({way});"),
        ways.map(lambda way: f"$N = {way}; print($N);").map(lambda text: f"if (1) {{ {text} }}"),
        st.tuples(ways, ways).map(lambda p: f"print(({p[0]}, {p[1]}));"),
        pointers.map(lambda p: f"$t = $t->{p};"),
        st.tuples(pointers, ways).map(lambda p: f"if ($t->{p[0]} != 0) {{ $t = $t->{p[0]}; print({p[1]}); }}"),
        st.tuples(pointers, pointers).map(lambda p: f"$either = pid > 5 ? $t->{p[0]} : curtask->{p[1]};"),
        st.tuples(pointers, ways).map(lambda p: f"for ($i : 0..3) {{ $moved = $moved->{p[0]}; @sum += (uint64)$moved; print({p[1]}); }}"),
        ways.map(lambda way: f"@N[{way}] = count();"),
    ),
    min_size=1,
    max_size=5,
)  # fmt: skip
links = st.lists(st.integers(0, 3), min_size=9, max_size=9)


def _outcome(script: str, memory: dict[str, bytes], features: tuple[str, ...]) -> Any:
    ran = Ran(script, memory=memory, target=machine((*MODERN, *features)))
    return ran.sent, {name: str(value) for name, value in ran.maps.items()}


@settings(max_examples=40, deadline=None)
@given(scripts, links)
def test_the_same_as_probe_reads(lines: list[str], links: list[int]) -> None:
    body = " ".join(line.replace("N", f"n{at}") for at, line in enumerate(lines))
    script = f"BEGIN {{ $t = curtask; $either = curtask; $moved = curtask; @kept = curtask; {body} }}"
    first = Ran("BEGIN { print(1); }", memory=dict.fromkeys(TASKS, b"")).at
    where = [*first.values(), 0]
    memory = {name: _task(n, *(where[k] for k in links[3 * n : 3 * n + 3])) for n, name in enumerate(TASKS)}
    assert _outcome(script, memory, ("get_current_task_btf",)) == _outcome(script, memory, ())


def test_direct_loads_are_made() -> None:
    target = machine((*MODERN, "get_current_task_btf"))
    ran = Ran(
        "BEGIN { $t = curtask; print($t->real_parent->there->pid); }",
        target=target,
        memory={"task": _task(1, 0, 0, 0)},
    )
    calls = [insn.imm for insn in ran.linked if insn.opcode == 0x85 and not insn.src_reg]
    assert 158 in calls and not {4, 112, 113} & set(calls)
    assert ran.printed == [0]
