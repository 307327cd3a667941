from __future__ import annotations

from pathlib import Path

import pytest

from pbt.isa.insn import Insn, alu, call, load, wide
from pbt.teach.explain import explain, taken_apart
from tests.unit.saved import machine, work

SCRIPT = """t:sched:sched_switch {
  @last[args.prev_comm] = nsecs;
  @n = count();
}
"""


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> str:
    return explain(work(SCRIPT, machine(tmp_path_factory.mktemp("machine"))))


def test_a_summary_of_each_program(story: str) -> None:
    assert "program tracepoint:sched:sched_switch\n=====" in story
    for row in ("type          TRACEPOINT", "of 512 bytes", "map           @last: HASH", "accepts it ("):
        assert row in story


def test_every_line_in_order_with_its_five_steps(story: str) -> None:
    places = [story.index(f"\nline {n}: ") for n in (2, 3)]
    assert places == sorted(places) and "not from a line of the script" in story[places[1] :]
    section = story[places[0] : places[1]]
    steps = [
        section.index(f"\n  {name}\n") for name in ("IR", "chosen", "registers", "stack", "instructions")
    ]
    assert steps == sorted(steps)
    assert "call ktime_get_boot_ns" in section and ": @last key, 16 bytes" in section


def test_each_instruction_once_with_bytes_and_state(tmp_path: Path, story: str) -> None:
    made = work(SCRIPT, machine(tmp_path))
    assert made.bundle is not None
    count = len(made.bundle.programs[0].code.insns) // 8
    numbers = [
        int(line[:8]) for line in story.splitlines() if line[:8].strip().isdigit() and line[8:9] == ":"
    ]
    assert sorted(numbers) == list(range(count))
    assert "before: R1=ctx() R10=fp0" in story


@pytest.mark.parametrize(
    ("insn", "words"),
    [
        (
            alu("ADD", 3, imm=-8),
            ("code 0000 ADD", "source 0 immediate", "class 111 ALU64", "dst_reg r3", "imm -8"),
        ),
        (load(4, 1, 10, -4), ("mode 011 MEM", "size 00 4 bytes", "src_reg r10", "offset -4")),
        (call(14), ("code 1000 CALL", "imm 14 (get_current_pid_tgid)")),
        (wide(1, 0, "map_fd")[0], ("mode 000 IMM", "src_reg 1 (map_fd)")),
        (Insn(0xFF, 1, 2, 3, 4), ("unknown",)),
    ],
)
def test_bytes_taken_apart(insn: Insn, words: tuple[str, ...]) -> None:
    text = "\n".join(taken_apart(insn))
    assert all(word in text for word in words), text
