"""The examples that need kprobes, in every kernel of the lab."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable

import pytest

from tests.lab import kernels, vm

pytestmark = pytest.mark.lab

PBT = (sys.executable, "-m", "pbt")
READ = "for i in 1 2 3 4 5 6 7 8; do cat /etc/passwd /proc/uptime; done"
CONNECT = (
    "bash -c ': < /dev/tcp/127.0.0.1/9' 2>/dev/null; bash -c ': < /dev/tcp/127.0.0.1/10' 2>/dev/null; true"
)
NETWORK = ("tcp_", "inet_", "sock_")
OPENED = """
// 打开的路径
#ifndef BPFTRACE_HAVE_BTF
#include <linux/path.h>
#include <linux/dcache.h>
#endif

kprobe:vfs_open
{
    printf("open path: %s\\n", str(((struct path *)arg0)->dentry->d_name.name));
}
"""
FALLBACK = """
kprobe:vfs_read { @[probe, arg2 > 100] = count(); @f[str(((struct file *)arg0)->f_path.dentry->d_name.name, 64)] = count(); }
kretprobe:vfs_read { @r[retval > 100] = count(); }
"""
MEMORY = """
BEGIN { print((percpu_kaddr("process_counts") > 0, *(int64 *)percpu_kaddr("process_counts", 0) >= 0)); }
BEGIN { print(percpu_kaddr("process_counts", 1000)); }
tracepoint:syscalls:sys_enter_write /comm == "cat"/ { write_user(args.buf, "J", 1); @[str(args.buf, 2)] = count(); }
"""
WIDE = ",".join(f"kprobe:{name}*" for name in NETWORK) + " { @[func] = count(); }"
PROBES, HOOKS = "/sys/kernel/debug/kprobes/list", "/sys/kernel/tracing/enabled_functions"
SCRIPTS = {  # row of the table of examples: script, load
    "lhist": ("kretprobe:vfs_read { @bytes = lhist(retval, 0, 2000, 200); }", READ),
    "latency": (
        "kprobe:vfs_read { @start[tid] = nsecs; } "
        "kretprobe:vfs_read /@start[tid]/ { @ns[comm] = hist(nsecs - @start[tid]); delete(@start[tid]); }",
        READ,
    ),
    "kstack": ("kprobe:ip_output { @[kstack()] = count(); }", CONNECT),
    "two": ("kprobe:tcp_reset,kprobe:tcp_v4_rcv { @[probe] = count(); }", CONNECT),
    "many": ("kprobe:tcp_* { @[func] = count(); }", CONNECT),
    "functions": ("kprobe:vfs_read,kprobe:vfs_write { @[probe, func] = count(); }", READ),
}


COMMANDS = {
    name: vm.Command([*PBT, "-e", text], load=load, ready="Attached", timeout=240)
    for name, (text, load) in SCRIPTS.items()
}
COMMANDS["file"] = vm.Command([*PBT, "/run/lab/path.bt"], load=READ, ready="Attached", timeout=240)
COMMANDS["text"] = vm.Command([*PBT, "-e", OPENED], load=READ, ready="Attached", timeout=240)
COMMANDS["trampolines"] = vm.Command(
    [*PBT, "--no-feature", "kprobe", "-e", FALLBACK], load=READ, ready="Attached", timeout=240
)
COMMANDS["memory"] = vm.Command([*PBT, "--unsafe", "-e", MEMORY], load=READ, ready="Attached", timeout=240)
COMMANDS["wide"] = vm.Command([*PBT, "-e", WIDE], load=CONNECT, ready="Attached", timeout=240)
COMMANDS["left"] = vm.Command(["sh", "-c", f"cat {PROBES}; cat {HOOKS}"])
FILES = {"path.bt": OPENED}


@pytest.fixture
def outcome(booted) -> Callable[[str], vm.Result]:
    if not kernels.native(booted.kernel):
        pytest.skip(f"{booted.kernel} is emulated at a third of the speed: it runs rows.py alone")

    def get(name: str) -> vm.Result:
        result = booted.results[name]
        assert result.code == 0, result.stdout + result.stderr
        return result

    return get


def test_linear_histogram_of_a_return_value(outcome):
    rows = re.findall(r"^(\(\.\.\., 0\)|\[\d+, (?:\d+\)|\.\.\.\)))\s+(\d+) \|", outcome("lhist").stdout, re.M)
    counts = {label: int(count) for label, count in rows}
    assert sum(counts.values()) >= 16 and counts["[0, 200)"] > 0
    assert set(counts) <= {"(..., 0)", "[2000, ...)", *(f"[{n}, {n + 200})" for n in range(0, 2000, 200))}


def test_latency_by_process(outcome):
    text = outcome("latency").stdout
    assert "@ns[cat]:" in text
    assert re.search(r"^\[\d+\w?, \d+\w?\)\s+[1-9]\d* \|@", text, re.M)
    names = re.findall(r"^@(\w+)\[", text, re.M)
    assert names == sorted(names)


def test_path_through_btf(outcome):
    for name in ("file", "text"):
        assert "open path: passwd\n" in outcome(name).stdout


def test_kernel_stack_as_key(outcome):
    text = outcome("kstack").stdout
    assert re.search(r"^@\[\n\s+ip_output\+\d+\n(\s+\S+\+\d+\n)+\]: [1-9]", text, re.M)


def test_two_functions_one_body(outcome):
    counts = dict(re.findall(r"^@\[([^]]+)\]: (\d+)$", outcome("two").stdout, re.M))
    assert set(counts) == {"kprobe:tcp_reset", "kprobe:tcp_v4_rcv"}


def test_a_wildcard_attaches_to_all(outcome):
    result = outcome("many")
    attached = int(re.search(r"Attached (\d+) probes", result.stdout + result.stderr).group(1))
    functions = dict(re.findall(r"^@\[(\w+)\]: (\d+)$", result.stdout, re.M))
    assert attached > 150 and "tcp_v4_connect" in functions
    assert all(name.startswith("tcp_") for name in functions)


def test_hundreds_of_functions_and_none_stays_traced(outcome):
    result = outcome("wide")
    attached = int(re.search(r"Attached (\d+) probes", result.stdout + result.stderr).group(1))
    functions = dict(re.findall(r"^@\[(\w+)\]: (\d+)$", result.stdout, re.M))
    assert attached >= 500 and {"tcp_v4_connect", "inet_stream_connect"} <= set(functions)
    assert outcome("left").stdout == ""


def test_the_name_of_the_function(outcome):
    found = set(re.findall(r"^@\[([^,]+), (\w+)\]: ", outcome("functions").stdout, re.M))
    assert found <= {("kprobe:vfs_read", "vfs_read"), ("kprobe:vfs_write", "vfs_write")} and found


def test_trampolines_stand_in_for_kprobes(outcome):
    result = outcome("trampolines")
    assert "NOTE: kprobe:vfs_read is not to be had here; using fentry:vfs_read" in result.stderr
    assert "NOTE: kretprobe:vfs_read is not to be had here; using fexit:vfs_read" in result.stderr
    counts = dict(re.findall(r"^(@\w*\[[^]]+\]): (\d+)$", result.stdout, re.M))
    assert int(counts["@f[passwd]"]) >= 8 and int(counts["@[kprobe:vfs_read, true]"]) >= 16
    assert int(counts["@r[true]"]) >= 8


def test_what_only_other_kernels_let_a_program_reach(outcome):
    """Per-CPU variables by name, and the memory of a process, which a write changes."""
    text = outcome("memory").stdout
    assert text.startswith("(true, true)\n0\n")
    assert list(dict(re.findall(r"^@\[(.)\]: ([1-9])", text, re.M))) == ["J"]
