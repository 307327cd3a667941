from __future__ import annotations

from pathlib import Path

import pytest

from pbt.pipeline import Work
from pbt.teach.stages import VIEWS, show
from tests.unit.saved import machine, work

SCRIPT = """BEGIN { $x = (uint8)3; @a[comm, $x] = count(); }
t:sched:sched_switch,t:sched:sched_sw* /args.prev_pid > 1/ { printf("%d\\n", args.prev_pid); }
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Work:
    return work(SCRIPT, machine(tmp_path_factory.mktemp("machine")))


def rows(stage: str, made: Work) -> list[str]:
    return [line.strip() for line in show(stage, made).splitlines()]


def test_every_view_has_a_title_and_ends_with_an_empty_line(made: Work) -> None:
    for stage in VIEWS:
        text = show(stage, made)
        title, line = text.splitlines()[:2]
        assert line == "-" * len(title) and text.endswith("\n\n")


def test_ast_shows_nodes_with_their_places(made: Work) -> None:
    text = show("ast", made)
    assert "    AttachPoint 'BEGIN' <1:1>\n" in text
    assert "          operand: Int 3 <1:21>\n" in text
    assert "predicate: Binary '>' <2:41>" in text


def test_types_of_maps_variables_and_expressions(made: Work) -> None:
    found = rows("types", made)
    assert "@a[string[16], uint8]: count()" in found and "$x: uint8" in found
    assert any(row.split() == ["1:14", "(uint8)3", "uint8"] for row in found)
    assert "probe tracepoint:sched:sched_switch and 1 more" in found


def test_ir_before_and_after_the_passes(made: Work) -> None:
    text = show("ir", made)
    assert text.count("; begin, as lowered\nprogram begin\n") == 1
    assert text.count("; begin, after the passes\nprogram begin\n") == 1


def test_bpf_names_maps_helpers_and_lines(made: Work) -> None:
    found = rows("bpf", made)
    assert "; 1: BEGIN { $x = (uint8)3; @a[comm, $x] = count(); }" in found
    assert any(row.endswith("18 11 00 00 00 00 00 00  r1 = map[@a]") for row in found)
    assert any(row.endswith("call bpf_map_lookup_elem#1") for row in found)
    assert any(row.startswith("map @a: PERCPU_HASH, key 24 bytes, value 8 bytes, 4096") for row in found)


def test_verifier_shows_a_state_before_every_instruction_and_the_verdict(made: Work) -> None:
    found = rows("verifier", made)
    first = found.index("; R1=ctx() R10=fp0")
    assert found[first + 1].startswith("0: ")
    assert sum(row.startswith("verdict: accepted") for row in found) == 2


def test_views_say_the_same_twice(tmp_path: Path, made: Work) -> None:
    again = work(SCRIPT, machine(tmp_path))
    assert all(show(stage, again) == show(stage, made) for stage in VIEWS)
