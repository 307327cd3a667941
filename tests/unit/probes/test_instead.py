"""What stands in for kprobes: trampolines against a small BTF; the table of events against this kernel."""

from __future__ import annotations

import pytest

from pbt.data import replace
from pbt.feature import Provider
from pbt.host.target import Target
from pbt.probes.instead import substitutes
from pbt.probes.kprobe import in_pieces
from pbt.registry import collect
from pbt.source import PbtError
from pbt.uapi.functions import SPOTS, Spot, spots
from tests.unit.probes.test_typed import Machine

PROVIDERS = collect("pbt.probes", Provider)
PLACE = {"module": "", "function": "typed", "offset": 0}


class Bare(Machine):
    """Without kprobes, with trampolines or not."""

    def __init__(self, *features: str) -> None:
        super().__init__()
        self.features = features

    def has(self, feature: str) -> bool:
        return feature in self.features


class TestTrampolines:
    def test_entry_has_each_slot_as_a_number(self):
        (made,) = substitutes("kprobe", "kprobe:typed", PLACE, Bare("fentry"))
        assert (made.provider, made.said) == ("fentry", "fentry:typed")
        assert made.context.label == "kprobe:typed" and made.context.prog_type == "TRACING"
        assert made.context.detail[0] == tuple(
            (8 * n, 8, False) for n in range(4)
        )  # one is 16 bytes by value, in two registers too
        assert dict(made.context.lacks).keys() >= {"arg4", "arg31"} and "arg3" not in dict(made.context.lacks)

    def test_return_has_the_slot_behind_the_arguments(self):
        (made,) = substitutes("kretprobe", "kretprobe:typed", PLACE, Bare("fexit"))
        assert made.provider == "fexit" and made.context.detail[1] == (32, 8, False)
        assert made.context.retval is not None and made.context.arg is None

    @pytest.mark.parametrize("place", [{"address": 4096}, {**PLACE, "offset": 4}])
    def test_nothing_stands_in_for_the_middle_of_a_function(self, place):
        assert not substitutes("kprobe", "kprobe:typed", place, Bare("fentry"))

    def test_nothing_where_the_kernel_has_none(self):
        assert not substitutes("kprobe", "kprobe:typed", PLACE, Bare())


def test_kprobes_stay_where_the_kernel_has_them():
    """Another name of a function, or the function itself gone: then the event counts there as well."""

    class Here(Bare):
        def __init__(self) -> None:
            super().__init__("kprobe", "fentry")
            self.kallsyms = type("", (), {"has": lambda _, name: name == "typed"})()

    instead = PROVIDERS["kprobe"].instead
    assert not instead(PLACE, Here())
    assert not instead({**PLACE, "function": "vfs_*"}, Here())


def test_what_the_compiler_took_apart_has_a_substitute():
    """The kernel has the name, of a piece that it does not let be traced."""
    machine = Bare("kprobe", "fentry")
    place = {**PLACE, "function": "blk_account_io_start"}
    machine.tracefs.traced = lambda: {"vmlinux": frozenset({"blk_account_io_start"})}
    assert not in_pieces("blk_account_io_start", machine)
    machine.tracefs.traced = lambda: {"vmlinux": frozenset({"typed"})}
    assert in_pieces("blk_account_io_start", machine) and not in_pieces("other", machine)
    machine.kallsyms.has = lambda name: False
    assert not substitutes("kprobe", "kprobe:typed", {**PLACE, "function": "typed"}, machine)
    assert not PROVIDERS["kprobe"].instead(place, machine)  # nor an event, on this machine


def test_entries_and_returns_are_apart():
    assert all(spot.retval is None for spot in spots("vfs_read", False)) and spots("vfs_read", False)
    assert all(spot.retval == "ret" for spot in spots("vfs_read", True)) and spots("vfs_read", True)
    assert len(SPOTS) == len(set(map(str, SPOTS)))


def members(spot: Spot, target: Target) -> list[str] | None:
    """The event's arguments on this kernel; None if it has no such event."""
    name, *parts = spot.event.split(":")
    provider = PROVIDERS[name]
    wanted = (
        {"module": "", "event": parts[0]} if len(parts) == 1 else {"category": parts[0], "event": parts[1]}
    )
    for place in provider.expand(wanted, target):
        args = provider.describe(place, target).args
        return [member.name for member in args.members] if args is not None else []
    return None


@pytest.mark.live
@pytest.mark.parametrize("spot", SPOTS, ids=lambda spot: f"{spot.function}-{spot.event.rpartition(':')[2]}")
def test_the_events_have_these_arguments(spot):
    try:
        known = members(spot, Target.live())
    except PbtError as error:
        pytest.skip(str(error))
    if known is None:
        pytest.skip(f"this kernel has no {spot.event}")
    for argument in (*spot.args, spot.retval, *(what for what, _ in spot.only)):
        if isinstance(argument, int):
            assert argument < len(known), spot
        elif argument is not None:
            assert argument in known, spot


def test_contexts_compare():
    """Programs are shared between places by the contexts' values."""
    first, second = (
        substitutes("kprobe", "kprobe:typed", PLACE, Bare("fentry"))[0].context for _ in range(2)
    )
    assert first == second == replace(first)
