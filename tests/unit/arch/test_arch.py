"""The tables of machines: what must hold in each of them."""

from __future__ import annotations

import pytest

from pbt import arch

ALL = [arch.get(name) for name in arch.NAMES]


@pytest.fixture(params=ALL, ids=arch.NAMES)
def machine(request: pytest.FixtureRequest) -> arch.Arch:
    found: arch.Arch = request.param
    return found


def test_offsets_are_aligned_words_in_the_registers(machine: arch.Arch) -> None:
    inside = {*machine.args, machine.retval, machine.pc, machine.sp, machine.fp, *machine.regs.values()}
    assert all(o % machine.word == 0 and 0 <= o <= machine.regs_size - machine.word for o in inside)


def test_arguments_are_different_registers(machine: arch.Arch) -> None:
    for places in (machine.args, machine.syscall_args):
        assert len(set(places)) == len(places)
    assert len(machine.syscall_args) == 6


def test_arguments_go_on_in_memory(machine: arch.Arch) -> None:
    count = len(machine.args)
    assert machine.stack_arg(count - 1) is None
    first, second = machine.stack_arg(count), machine.stack_arg(count + 1)
    assert first is not None and second is not None
    assert first[0] == machine.sp and second[1] - first[1] == machine.word


def test_system_calls_have_distinct_numbers(machine: arch.Arch) -> None:
    assert len(set(machine.syscalls.values())) == len(machine.syscalls) >= 3


def test_names_of_uname_are_understood() -> None:
    assert arch.get("arm64") is arch.get("aarch64")
    assert arch.native().name in arch.NAMES
    with pytest.raises(KeyError):
        arch.get("vax")


def test_x86_arguments_follow_the_convention() -> None:
    x86 = arch.get("x86_64")
    assert [x86.regs[r] for r in ("di", "si", "dx", "cx", "r8", "r9")] == list(x86.args)
    assert x86.stack_arg(6) == (x86.regs["sp"], 8) and x86.regs["rip"] == x86.pc == 128
