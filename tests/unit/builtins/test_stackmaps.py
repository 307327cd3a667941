"""Stacks whose bucket another one has get ids of their own."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from pbt.builtins.stackmaps import ELSEWHERE
from tests.unit.lower.machine import MODERN, Ran, machine

NEWER = machine((*MODERN, "long_keys", "alloc_on_demand"))
TAKEN = -17
A, B, DEEP, DEEPER = [7, 8, 9], [7, 8], [5] * 63, [5] * 64


def ids(ran: Ran) -> list[tuple[int, int]]:
    return [struct.unpack("<iI", raw) for raw in ran.printed]


def ran(what: str, *stacks: list[int], target: Any = NEWER) -> Ran:
    times = [{"stackid": TAKEN, "stack": stack, "pid": 11} for stack in stacks]
    return Ran(f"BEGIN {{ print({what}); }}", times=times, target=target)


@pytest.mark.parametrize("what", ["kstack", "kstack(raw, 5)", "ustack", "ustack(3)"])
def test_each_stack_has_one_id(what: str) -> None:
    first, second, again, third = ids(ran(what, A, B, A, [9]))
    assert first == again and len({first, second, third}) == 3
    assert all(whose & ELSEWHERE for _, whose in (first, second, third))


def test_the_hash_has_process_and_frames() -> None:
    made = ran("ustack(raw, 3)", A, B)
    keys = {struct.unpack("<4Q", key) for key in made.contents("stack_3_more")}
    assert keys == {(11, 7, 8, 9), (11, 7, 8, 0)}


def test_programs_make_ids_of_their_own() -> None:
    """Both count from 0."""
    script = "BEGIN { print(kstack); } END { print(kstack); }"
    seen = [{"stackid": TAKEN, "stack": A}, {"stackid": TAKEN, "stack": B}]
    both = Ran(script, times=seen, target=NEWER)
    assert len(set(ids(both))) == 2 and ids(both)[0] == ids(both)[1]
    ours = Ran("BEGIN { if (pid == 1) { print(kstack); } } END { if (pid == 2) { print(kstack); } }",
               times=[{**seen[0], "pid": 1}, {**seen[1], "pid": 2}], target=NEWER)  # fmt: skip
    (one, program), (other, another) = ids(ours)
    assert one == other == 0 and program != another


@pytest.mark.parametrize("error", [-14, -12])
def test_other_errors_stay(error: int) -> None:
    made = Ran("BEGIN { print(kstack); }", times=[{"stackid": error, "stack": A}], target=NEWER)
    assert ids(made) == [(error, 0)] and not made.contents("stack_127_more")


def test_no_stack_at_all() -> None:
    assert ids(ran("kstack", [])) == [(TAKEN, 0)]


def test_kernels_with_short_keys_lose_long_stacks_and_say_so() -> None:
    found = ran("kstack", DEEP, DEEPER, DEEP, target=machine())
    known, lost, again = ids(found)
    assert known == again and known[1] & ELSEWHERE and lost == (TAKEN, 0)
    assert {len(key) for key in found.contents("stack_127_more")} == {512}
    assert [f.helper for f in found.made.failures if f.map == "stack_127_more"] == [
        "get_stack",
        "map_update_elem",
    ]
    assert struct.unpack_from("<Qq", found.contents("failures")[bytes(4)]) == (1, -7)
    kept = ids(ran("kstack", DEEPER, DEEP))
    assert all(whose & ELSEWHERE for _, whose in kept) and len(set(kept)) == 2


def test_memory_is_taken_at_the_start_only_where_it_must_be() -> None:
    early, late = ran("kstack", A, target=machine()).made, ran("kstack", A).made
    assert early.map("stack_127").max_entries > late.map("stack_127").max_entries
    assert (early.map("stack_127_more").flags, late.map("stack_127_more").flags) == (0, 1)
