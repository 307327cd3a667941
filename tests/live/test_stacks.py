"""Thousands of different stacks: each is kept, under whatever id, and shown."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import pbt as api
from pbt.builtins import stackmaps
from pbt.host.target import Target
from pbt.output.sink import Collector
from pbt.runtime.failures import Failures, Report
from pbt.runtime.session import Session

pytestmark = pytest.mark.live

ROOT = Path(__file__).parents[2]
SAID = "tracepoint:bpf_trace:bpf_trace_printk"
C = """#include <unistd.h>
__attribute__((noinline)) int bottom(int n) { __asm__ volatile("" : "+r"(n)); return n; }
__attribute__((noinline)) int leaf(int n) { return bottom(n) + 3; }
int left(unsigned, int), right(unsigned, int);
int left(unsigned n, int deep) { return (deep ? (n & 1 ? left : right)(n >> 1, deep - 1) : leaf(n)) + 1; }
int right(unsigned n, int deep) { return (deep ? (n & 1 ? left : right)(n >> 1, deep - 1) : leaf(n)) + 2; }
int main(void) { for (unsigned n = 0; n < 4096; n++) left(n, 12); usleep(200000); return 0; }
"""


def calls(count: int) -> None:
    """bpf_trace_printk() from as many different stacks."""
    words = [sys.executable, "bench/load.py", "stacks", str(count)]
    subprocess.run(words, cwd=ROOT, check=True, capture_output=True, timeout=60)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A program whose function bottom is reached by 4096 ways; there the frame pointer is still that of leaf()."""
    folder = tmp_path_factory.mktemp("stacks")
    (folder / "tree.c").write_text(C)
    flags = ["-O1", "-fno-omit-frame-pointer", "-fno-optimize-sibling-calls"]
    subprocess.run(["cc", *flags, "tree.c", "-o", "tree"], cwd=folder, check=True, timeout=60)
    return str(folder / "tree")


def frames(data: dict[str, Any]) -> set[tuple[str, ...]]:
    """The stacks that a map has as keys."""
    return {tuple(key.split()) for key in data}


def test_all_kernel_stacks_are_there(pbt):
    script = f'{SAID} /comm == "python" || comm == "python3"/ {{ @[kstack(raw)] = count(); }}'
    made = pbt("-f", "json", "-e", script, load=lambda: calls(4000))  # of 16,384 buckets
    (data,) = [json.loads(line)["data"]["@"] for line in made.lines() if '"map"' in line]
    assert made.err == "" and len(frames(data)) == 4000 and set(data.values()) == {1}


@pytest.mark.parametrize("mode", ["bpftrace", "perf", "build_id"])
def test_all_stacks_of_a_process_are_there(pbt, tree, mode):
    script = f"uprobe:{tree}:bottom {{ @[ustack({mode}, 16)] = count(); }}"
    made = pbt("-f", "json", "-e", script, "-c", tree)
    (data,) = [json.loads(line)["data"]["@"] for line in made.lines() if '"map"' in line]
    assert made.err == "" and len(frames(data)) == 4096 and set(data.values()) == {1}
    names = {re.sub(r"\+.*|^\t\w+ ", "", line) for key in data for line in key.splitlines()}
    assert mode == "build_id" or {"bottom", "left", "right", "main"} <= names


def test_built_files_show_them_too(pbt, tree, tmp_path):
    tool = str(tmp_path / "tool")
    script = f"uprobe:{tree}:bottom {{ @[ustack(raw), 1] = 1; @s = ustack(raw); }}"
    assert pbt("build", "-e", script, "-o", tool).status == 0
    made = pbt("run", tool, "-c", tree)
    assert made.err in ("", "Attached 1 probe\n") and len(re.findall(r"@\[", made.out)) == 4096


def counted(count: int) -> tuple[dict[str, Any], list[Report]]:
    """The map @ after the load, and what failed."""
    bundle = api.compile(f"{SAID} {{ @[kstack(raw, 9)] = count(); }}")
    with Session(bundle, Target.live(), sink=Collector(), quiet=True) as session:
        session.start()
        calls(count)
        session.wind_up()
        return dict(session.maps["@"]), Failures(bundle, session.loaded).news()


def test_the_kernel_names_addresses_as_kallsyms_does():
    """Every symbol of the code is asked for in its first byte, each hundredth, and all of modules and programs."""
    listed: dict[int, set[tuple[str, str]]] = {}
    for line in Path("/proc/kallsyms").read_text().splitlines():
        place, kind, name, *module = line.split()
        if kind in "tT":
            listed.setdefault(int(place, 16), set()).add((name, "".join(module).strip("[]")))
    own = [address for address, names in listed.items() if not any(module for _, module in names)]
    others = [a for a, names in listed.items() if any(m and m.isalnum() and m != "bpf" for _, m in names)]
    symbols = Target.live().kallsyms
    for address in (*own[::100], *others[:1000]):
        found = symbols.symbol(address)
        assert found is not None and found.offset == 0 and (found.name, found.module) in listed[address]
    near = symbols.symbol(own[500] + 1)
    assert near is not None and near.offset == 1 and (near.name, near.module) in listed[own[500]]
    assert symbols.symbol(5) is None


@pytest.mark.parametrize("without", [(), ("--no-feature", "snprintf")], ids=["asked", "read"])
def test_names_with_and_without_the_kernels_help(pbt, without):
    script = 'tracepoint:syscalls:sys_enter_getpgid { printf("%s.\\n", kstack(9)); @[ksym(5)] = 1; exit(); }'
    made = pbt(*without, "-e", script, load=lambda: os.getpgid(0))
    assert "do_syscall_64+" in made.out and "@[0x5]: 1" in made.out


def test_naming_leaves_nothing_behind():
    bundle = api.compile('BEGIN { print(ksym(kaddr("vfs_read"))); exit(); }')
    target = Target.live()
    for turn in range(2):
        before = len(os.listdir("/proc/self/fd"))
        with Session(bundle, target, sink=(sink := Collector()), quiet=True) as session:
            session.run()
        assert "vfs_read" in str([*sink.take()]) and len(os.listdir("/proc/self/fd")) == before, turn


def test_nearly_all_in_one_bucket(monkeypatch):
    """Every stack is printed with the text it has as a key."""
    monkeypatch.setattr(stackmaps, "_BUCKETS", 4)
    found, failed = counted(1000)
    assert len(found) == 1000 and set(found.values()) == {1} and failed == []
    assert all(2 < len(key.split()) <= 9 for key in found)


def test_what_finds_no_room_is_counted(monkeypatch):
    monkeypatch.setattr(stackmaps, "_BUCKETS", 4)
    monkeypatch.setattr(stackmaps, "_MORE", 100)
    found, failed = counted(1000)
    kept = {key for key in found if key.split()}
    assert 50 <= len(kept) <= 104 and sum(found.values()) == 1000  # the rest is one key without frames
    (report,) = failed
    assert report.times == 1000 - len(kept) and "no room for another stack after 100" in str(report.warning)
