"""The verbs on this machine: files that run by themselves, listings of this kernel, a saved target."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pbt.feature import Provider
from pbt.registry import collect
from tests.conftest import ROOT, Pbt, environment

pytestmark = pytest.mark.live


def test_a_built_file_runs_without_the_compiler(pbt: Pbt, tmp_path: Path) -> None:
    tool = tmp_path / "tool.pbt"
    script = 'BEGIN { printf("hello %d\\n", $1); @[comm, 1] = count(); exit(3); }'
    assert pbt("build", "-e", script, "-o", str(tool), "42").status == 0
    code = (
        "import sys\nfrom pbt.cli.main import main\n"
        f"status = main(['run', {str(tool)!r}, '-q'])\n"
        "parts = ('lark', 'pbt.lang', 'pbt.ir', 'pbt.lower', 'pbt.backend', 'pbt.pipeline', 'pbt.verifier_sim')\n"
        "found = [m for m in sys.modules if m in parts or m.startswith(tuple(p + '.' for p in parts))]\n"
        "print(status, found)\n"
    )
    made = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment({}), cwd="/"
    )
    assert made.stdout.splitlines()[0] == "hello 42" and made.stdout.splitlines()[-1] == "3 []", made


def test_a_built_file_is_a_command(pbt: Pbt, tmp_path: Path) -> None:
    (tmp_path / "pbt").write_text(f'#!/bin/sh\nexec {sys.executable} -m pbt "$@"\n')
    (tmp_path / "pbt").chmod(0o755)
    tool = tmp_path / "tool.pbt"
    pbt("build", "-e", 'BEGIN { printf("%s\\n", "hi"); exit(); }', "-o", str(tool))
    env = environment({"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    made = subprocess.run([tool, "-f", "json", "-q"], capture_output=True, text=True, env=env, cwd=ROOT)
    assert '{"type": "printf", "data": "hi\\n"}' in made.stdout, made


def test_run_takes_the_options_of_tracing(pbt: Pbt, tmp_path: Path) -> None:
    tool, out = str(tmp_path / "tool.pbt"), tmp_path / "out"
    pbt("build", "-e", "tracepoint:syscalls:sys_enter_execve { @[pid] = count(); }", "-o", tool)
    assert pbt("run", "--dry-run", tool).status == 0
    made = pbt("run", tool, "-c", "/bin/true", "-o", str(out))
    assert made.status == 0 and "@[" in out.read_text()


def test_run_for_one_process(pbt: Pbt, tmp_path: Path) -> None:
    tool = str(tmp_path / "tool.pbt")
    pbt("build", "-e", "tracepoint:syscalls:sys_enter_getppid { @[pid] = count(); }", "-o", tool)

    def load() -> None:
        os.getppid()
        subprocess.run([sys.executable, "-c", "import os; os.getppid()"])

    made = pbt("run", tool, "-p", str(os.getpid()), load=load)
    assert made.status == 0 and made.out.split() == [f"@[{os.getpid()}]:", "1"], made


def test_a_damaged_file_does_not_run(pbt: Pbt, tmp_path: Path) -> None:
    tool = tmp_path / "tool.pbt"
    pbt("build", "-e", "BEGIN { exit(); }", "-o", str(tool))
    tool.write_bytes(tool.read_bytes()[:-3])
    made = pbt("run", str(tool))
    assert made.status == 1 and "is damaged" in made.err and "Traceback" not in made.err


def test_a_saved_target_compiles_to_the_same_bytes(pbt: Pbt, tmp_path: Path) -> None:
    assert pbt("target", str(tmp_path / "m"), "--events", "sched:sched_switch", "--no-symbols").status == 0
    script = "tracepoint:sched:sched_switch { @[args.prev_comm, curtask->pid] = hist(nsecs); }"
    for number, where in enumerate(([], ["--target", str(tmp_path / "m")])):
        assert pbt("build", "-e", script, "-o", str(tmp_path / str(number)), *where).status == 0
    assert (tmp_path / "0").read_bytes() == (tmp_path / "1").read_bytes()


def test_listing_this_kernel(pbt: Pbt, tracefs: Path) -> None:
    events = sorted(p.name for p in (tracefs / "events/syscalls").glob("sys_enter_*"))
    wanted = [f"tracepoint:syscalls:{name}" for name in events]
    assert pbt("-l", "tracepoint:syscalls:sys_enter_*").lines() == wanted
    assert pbt("-l", "tracepoint:skb:kfree_sk?").lines() == ["tracepoint:skb:kfree_skb"]
    first, *fields = pbt("-lv", "tracepoint:skb:kfree_skb").lines()
    assert first == "tracepoint:skb:kfree_skb" and fields[:2] == ["    void * skbaddr", "    void * location"]
    assert len(pbt("-l", "kretprobe:*").lines()) > 1000


@pytest.mark.needs("btf")
def test_every_listing_is_sorted(pbt: Pbt) -> None:
    providers = collect("pbt.probes", Provider)
    for name in providers:
        parts = "sh:*" if name in ("uprobe", "uretprobe", "usdt") else "*"
        lines = pbt("-l", f"{name}:{parts}").lines()
        assert lines == sorted(set(lines)) and all(line.startswith(f"{name}:") for line in lines), name
        assert not re.search(r":bpf_prog_[0-9a-f]{16}_", "\n".join(lines)), name  # those are no functions


@pytest.mark.needs("btf")
@pytest.mark.parametrize("option", ["-l", "-lv"])
def test_a_reader_that_goes_away_ends_the_listing(option: str) -> None:
    """As `head -1` does: at once, and without a word."""
    words = [sys.executable, "-m", "pbt", option]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdout=pipe, stderr=pipe, env=environment({}), cwd=ROOT) as listing:
        try:
            assert listing.stdout and listing.stdout.readline().startswith(b"fentry:")
            listing.stdout.close()
            assert listing.wait(timeout=60) == 141 and listing.stderr and listing.stderr.read() == b""
        finally:
            listing.kill()


def test_listing_types(pbt: Pbt) -> None:
    assert "struct task_struct" in pbt("-l", "struct task_*").lines()
    assert pbt("-lv", "struct path").lines() == [
        "vmlinux: struct path {", "\tstruct vfsmount *mnt;", "\tstruct dentry *dentry;", "};", ""
    ]  # fmt: skip
    assert "\tPIDTYPE_TGID = 1," in pbt("-lv", "enum pid_type").lines()


def test_info(pbt: Pbt) -> None:
    out = pbt("--info").out
    assert f"Linux {os.uname().release}" in out
    for section in ("System", "Kernel features", "Probe types"):
        assert section in out.splitlines()
    assert "  ringbuf: " in out


def test_the_name_of_a_probe_is_in_its_tree(pbt: Pbt) -> None:
    assert "AttachPoint 'BEGIN' 'first' " in pbt("-d", "ast", "-e", "first=BEGIN { }").out


def test_stages(pbt: Pbt) -> None:
    made = pbt("-d", "all", "-e", "BEGIN { @ = 1 }")
    assert made.status == 0 and "syntax tree" in made.out and "verdict: accepted" in made.out


@pytest.mark.needs("btf")
def test_patterns(pbt: Pbt) -> None:
    """No colon: that name at every provider of the kernel; commas between several patterns."""
    everywhere = pbt("-l", "*sched_switch").lines()
    assert {"tracepoint:sched:sched_switch", "rawtracepoint:vmlinux:sched_switch"} <= set(everywhere)
    assert [line.partition(":")[0] for line in everywhere] == sorted(
        line.partition(":")[0] for line in everywhere
    )
    both = pbt("-l", "t:skb:kfree_sk*,t:sched:sched_switch").lines()
    assert both == ["tracepoint:skb:kfree_skb", "tracepoint:sched:sched_switch"]
    assert pbt("-l", "t:sched:sched_switch", "-v").lines()[1].startswith("    ")
    odd = pbt("-l", "/nonexistent")
    assert odd.status == 0 and "WARNING: /nonexistent is not a file" in odd.err
    assert len(pbt("-l", "kfunc:vfs_*").lines()) > 10
