"""The simulator and the running kernel judge programs with objects of their own, lists and trees alike."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from pbt.cli.kernel import judging, kernel_types
from pbt.host.target import Target
from pbt.sys import bpf
from tests.live.loaded import refusal
from tests.property.objects import mutant
from tests.unit.verifier_sim.objects import MAPS, STRUCTS, TYPES, Case, cases

pytestmark = pytest.mark.live
RELEASE = os.uname().release


class Kernel:
    """The types and maps of the programs, loaded."""

    def __init__(self, held: ExitStack) -> None:
        self.btf = held.enter_context(bpf.btf_load(TYPES.data)).fileno()
        self.maps = [
            held.enter_context(
                bpf.map_create(
                    info.map_type, info.key_size, info.value_size, info.max_entries,
                    flags=1 if info.map_type == "HASH" else info.flags,  # BPF_F_NO_PREALLOC
                    **self.described(name),
                )
            ).fileno()
            for info, name in zip(MAPS, STRUCTS, strict=True)
        ]  # fmt: skip

    def described(self, name: str) -> dict[str, int]:
        if not name:
            return {"map_extra": 1 << 44}  # where user space is to see the arena
        return {"btf_fd": self.btf, "btf_key_type_id": TYPES.u32, "btf_value_type_id": TYPES.ids[name]}

    def judge(self, case: Case) -> str:
        """ "" if the kernel loads it, else its log."""
        types = Target.live().types
        assert types is not None
        functions = {at: types.find("func", name) or 0 for at, name in case.kfuncs.items()}
        return refusal(
            case.prog_type, case.insns, functions, case.map_of, self.maps.__getitem__, self.btf, case.func_info,
            sleepable=case.prog_type == "SYSCALL",
        )  # fmt: skip


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    types = Target.live().types
    if types is None or not types.find("func", "bpf_rbtree_first"):
        pytest.skip("this kernel has no objects of programs")
    with ExitStack() as held:
        yield Kernel(held)


def test_objects(kernel: Kernel) -> None:
    types = kernel_types(RELEASE)
    assert types is not None
    options = judging(RELEASE) | {"types": types}
    wrong = []
    for case in cases():
        if not all(types.source.find("func", name) for name in case.kfuncs.values()):
            continue
        log = kernel.judge(case)
        verdict = case.judge(**options)
        if verdict.unsupported or verdict.ok != (not log) or verdict.ok != (not case.reason):
            wrong.append((case.text, log[-200:], verdict.error or verdict.unsupported))
    assert not wrong


def test_programs_changed_at_random(kernel: Kernel) -> None:
    """None that the kernel refuses is accepted, and hardly one that it accepts is refused."""
    types = kernel_types(RELEASE)
    assert types is not None
    options = judging(RELEASE) | {"types": types}
    total, wrong, severe, accepted = 400, [], [], 0
    for seed in range(total):
        case = mutant(seed)
        if not all(types.source.find("func", name) for name in case.kfuncs.values()):
            continue
        log = kernel.judge(case)
        verdict = case.judge(**options)
        accepted += not log
        if verdict.unsupported or verdict.ok != (not log):
            wrong.append((seed, case.text, log[-200:], verdict.error or verdict.unsupported))
            if verdict.ok and not verdict.unsupported:
                severe.append(seed)
    assert not severe, wrong
    assert len(wrong) <= total // 200, wrong
    assert accepted > total // 20, "too few programs are accepted to say anything"
