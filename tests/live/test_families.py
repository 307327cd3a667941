"""The simulator and the running kernel judge random programs of every family alike (see tests/property/families).

PBT_PROGRAMS=100 tries so many of each family, from number PBT_PROGRAMS_FROM on.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from pbt.cli.kernel import judging, kernel_types
from pbt.host.target import Target
from pbt.sys import bpf
from tests.live.loaded import refusal
from tests.property.families import FAMILIES, MAPS, STRUCTS, TYPES, Built, made

pytestmark = pytest.mark.live
RELEASE = os.uname().release
TRIES = int(os.environ.get("PBT_PROGRAMS") or 6)  # of each family
FIRST = int(os.environ.get("PBT_PROGRAMS_FROM") or 0)
PATIENCE = 20_000  # instructions: what takes longer to walk is another test's


class Kernel:
    """The types and maps of the programs, loaded; maps are made when first asked for."""

    def __init__(self, held: ExitStack) -> None:
        self.held = held
        self.btf = held.enter_context(bpf.btf_load(TYPES.data)).fileno()
        self.maps: dict[tuple[int, str], int] = {}

    def map(self, index: int, prog_type: str) -> int:
        """A map's fd: one for all programs, but tail calls stay between programs of a type."""
        info, struct_name = MAPS[index], STRUCTS[index]
        key = (index, prog_type if info.map_type == "PROG_ARRAY" else "")
        if key not in self.maps:
            more = {"map_extra": 1 << 44} if info.map_type == "ARENA" else {}  # where user space is to see it
            if struct_name:
                more = {
                    "btf_fd": self.btf,
                    "btf_key_type_id": TYPES.u32,
                    "btf_value_type_id": TYPES.ids[struct_name],
                }
            flags = 1 if info.map_type == "HASH" and struct_name else info.flags  # BPF_F_NO_PREALLOC
            made = bpf.map_create(
                info.map_type, info.key_size, info.value_size, info.max_entries, flags=flags, **more
            )
            self.maps[key] = self.held.enter_context(made).fileno()
        return self.maps[key]

    def judge(self, program: Built, functions: dict[str, int]) -> str:
        """ "" if the kernel loads it, else its log."""
        kind = program.program.prog_type
        return refusal(
            kind, program.insns, {at: functions[name] for at, name in program.kfuncs.items()}, program.map_of,
            lambda index: self.map(index, kind), self.btf, program.func_info, sleepable=program.program.sleepable,
        )  # fmt: skip


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    types = Target.live().types
    if types is None or not types.find("func", "bpf_task_work_schedule_resume_impl"):
        pytest.skip("this kernel lacks some of what the families are about")
    with ExitStack() as held:
        yield Kernel(held)


@pytest.mark.parametrize("family", FAMILIES)
def test_same_verdict(family: str, kernel: Kernel) -> None:
    """None that the kernel refuses is accepted; none that it accepts is refused."""
    types = kernel_types(RELEASE)
    assert types is not None
    options = judging(RELEASE, ask=True) | {"types": types}
    wrong, accepted, judged = [], 0, 0
    for number in range(FIRST, FIRST + TRIES):
        program = made(family, number)
        functions = {name: types.source.find("func", name) for name in program.kfuncs.values()}
        if not all(functions.values()):
            continue
        log = kernel.judge(program, {name: id or 0 for name, id in functions.items()})
        verdict = program.judge(patience=PATIENCE, explain=False, **options)
        judged, accepted = judged + 1, accepted + (not log)
        if not verdict.unsupported and verdict.ok != (not log):
            wrong.append(
                (family, number, log[-300:], verdict.error and verdict.error.reason, program.program.text)
            )
    assert not wrong, wrong
    assert judged > TRIES // 2
    assert accepted >= judged // 6, "too few programs are accepted to say anything"
