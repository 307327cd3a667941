"""The text of attach points, and what they attach to."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from pbt.host.elf import find_library
from tests.conftest import Pbt

pytestmark = pytest.mark.live

DONE = "BEGIN { exit(); }"


@pytest.mark.parametrize(
    ("head", "count"),
    [
        ("interval:s:9,interval:s:8", 2),
        ("interval:s:9 , interval:s:8 ,", 2),
        ("interval:s:9,\n\n\tinterval:s:8", 2),
        ("interval:s:9, BEGIN, END", 3),
        ("Interval:s:9, PROFILE:hz:1, begin, End", 4),
        ("i:s:9, p:hz:1, t:sched:sched_switch, s:cpu:100000000, rt:sched_switch", 5),
        ("tracepoint:sched:sched_switc?", 1),
        ("tracepoint:sched:sched_[sx]witch", 1),
        ("tracepoint:sched:sched_switc*", 1),
        ("tracepoint:sche?:sched_switch", 1),
        ("t:*sched_switch", 1),
        ('tracepoint:"sched":"sched_switch"', 1),
        ("uprobe:libc:labs", 1),
        ('uprobe:"libc":"labs"', 1),
        ("uprobe:libc:labs /1/", 1),
        ("uprobe:libc:labs/pid == 1/", 1),
        ("interval:s:9 / 4 / 2 == 2 /", 1),
        ("interval:s:9/1/", 1),
        ("my_name=interval:s:9", 1),
        ("interval:s:$1", 1),
        ("tracepoint:$2:sched_switch", 1),
        ("uprobe:$3:labs", 1),
        ("$4:s:9", 1),
        ('"tracepoint":sched:"sched_switch"', 1),
        ("t:sched:sched_switch, t:*:sched_switch, rt:sched_switch, rt:vmlinux:sched_switch", 4),
        ("interval:9s, interval:900ms, interval:9000000us, interval:1000000000", 4),
    ],
)  # fmt: skip
def test_forms(pbt: Pbt, head: str, count: int) -> None:
    made = pbt("-e", f"{head} {{ @++; }} {DONE}", "9", "sched", "libc", "interval")
    assert (made.status, made.err) == (0, f"Attached {count + 1} probes\n")


def test_begin_may_have_a_predicate_close_to_it(pbt: Pbt) -> None:
    assert pbt("-q", "-e", "BEGIN/0/{ print(1); }BEGIN/1/{ print(2); }").out == "2\n"


def test_paths_with_every_mark(pbt: Pbt, tmp_path: Path) -> None:
    """Quotes take colons, commas, blanks and braces for what they are."""

    name = tmp_path / "a b:c,{d}"
    shutil.copy(find_library("libc") or "", name)
    made = pbt("-e", f'uprobe:"{name}":labs {{ }} {DONE}')
    assert (made.status, made.err) == (0, "Attached 2 probes\n")


SAME = {
    "tracepoint:syscalls:sys_enter_getppid": "import os; os.getppid()",
    "rawtracepoint:sys_enter": "import os; os.getppid()",
    "uprobe:libc:labs": "import ctypes; ctypes.CDLL(None).labs(-3)",
    "uretprobe:libc:labs": "import ctypes; ctypes.CDLL(None).labs(-3)",
}


@pytest.mark.parametrize("feature", ["", "uprobe_multi"])
@pytest.mark.parametrize("probe", SAME)
def test_probes_of_one_event_fire_in_the_order_of_the_script(pbt: Pbt, probe: str, feature: str) -> None:
    without = ("--no-feature", feature) if feature else ()
    script = "".join(
        f'{probe} /pid == cpid && !@done[{n}]/ {{ @done[{n}] = 1; printf("{n} "); }}\n' for n in range(4)
    )
    made = pbt(
        *without, "-q", "-c", f"{sys.executable} -c '{SAME[probe]}'",
        "-e", f"config = {{ print_maps_on_exit = false }}\n{script}",
    )  # fmt: skip
    assert made.out == "0 1 2 3 ", made


def test_timers_tick_in_the_order_of_the_script(pbt: Pbt) -> None:
    script = (
        "".join(f'interval:ms:50 {{ printf("{n} "); }}\n' for n in range(3)) + "interval:ms:120 { exit(); }"
    )
    assert pbt("-q", "-e", script).out.startswith("0 1 2 0 1 2 ")


def test_a_wildcard_leaves_out_pieces_of_functions(pbt: Pbt, tmp_path: Path) -> None:
    (tmp_path / "list").write_text("vfs_read\nvfs_read.part.0\nvfs_read.cold\nvfs_readv.constprop.0\n")
    words = ("--traceable-functions", str(tmp_path / "list"), "-l", "kprobe:vfs_read*")
    assert pbt(*words).lines() == ["kprobe:vfs_read", "kprobe:vfs_readv.constprop.0"]


@pytest.mark.parametrize(
    "probe",
    [
        "kprobe:no_such_function", "kretprobe:no_such_function", "fentry:no_such_function",
        "fexit:no_such_function", "tracepoint:no:such", "rawtracepoint:no_such", "uprobe:libc:no_such",
        "uretprobe:/no/such:f", "usdt:/no/such:f", "usdt:libc:no_such", "iter:no_such",
        "watchpoint:0xffff888000000001:8:w",
    ],
)  # fmt: skip
def test_missing_probes(pbt: Pbt, probe: str) -> None:
    """By the config variable an error, a warning, or nothing; there or refused by the kernel, it is the same."""
    script = f"{probe} {{ exit(); }} interval:ms:1 {{ print(1); exit(); }}"
    done = {
        policy: pbt("-e", f"config = {{ missing_probes = {policy} }} {script}")
        for policy in ("error", "warn", "ignore")
    }
    assert done["error"].status == 1 and "ERROR: " in done["error"].err and done["error"].out == ""
    assert done["warn"].status == 0 and "WARNING: " in done["warn"].err and done["warn"].out == "1\n"
    assert done["ignore"].status == 0 and "WARNING" not in done["ignore"].err
    assert done["ignore"].out == "1\n"


@pytest.mark.needs("btf")
def test_functions_that_the_kernel_keeps_to_itself_are_missing_probes(pbt: Pbt) -> None:
    """Programs of fentry belong to their function when they are loaded, so that is where they are refused."""
    script = "fentry:vfs_read { @ = 1; } interval:ms:1 { print(1); exit(); }"
    done = pbt("-q", "-e", f"config = {{ missing_probes = ignore; print_maps_on_exit = false }} {script}")
    assert done.status == 0 and done.out == "1\n" and done.err == ""


@pytest.mark.parametrize("without", ["none", "uprobe_multi,uprobe_session"])
def test_a_wildcard_leaves_out_what_the_kernel_cannot_probe(pbt: Pbt, without: str) -> None:
    """Instructions with a `lock` prefix, with which this function begins in many builds. Named alone it is an error."""
    words = (*(("--no-feature", without) if without != "none" else ()), "-e")
    names = pbt("-l", "uprobe:libc:pthread_spin_*").lines()
    alone = [pbt(*words, f"{name} {{ }} {DONE}") for name in names]
    assert all("a `lock` prefix" in made.err for made in alone if made.status)
    made, count = (
        pbt(*words, f"uprobe:libc:pthread_spin_* {{ }} {DONE}"),
        sum(not made.status for made in alone),
    )
    assert made.err == f"Attached {count + 1} probe{'s' * (count != 0)}\n", made.err
