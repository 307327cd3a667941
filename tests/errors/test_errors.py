"""Wrong scripts and commands: what each says is in the `*.txt` files beside this one, with exit status 1.

A line beginning with `$ pbt` is a command, in a shell's quoting, run in the folder `scripts`; up to the
next empty line stands what it says on standard error. `pytest --bless` rewrites that.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from pbt.cli.main import main

HERE = Path(__file__).parent
SCRIPTS = HERE / "scripts"
ANYWHERE, LIVE = HERE / "anywhere.txt", HERE / "live.txt"


class Case(NamedTuple):
    """A command as written, its words, and what it says."""

    text: str
    words: list[str]
    says: str


def read(path: Path) -> list[Case | str]:
    """Cases, and lines of comment between them."""
    found: list[Case | str] = []
    lines = path.read_text().splitlines()
    while lines:
        line = lines.pop(0)
        if not line.startswith("$ "):
            found += [line] if line else []
            continue
        while True:
            try:
                words = shlex.split(line[2:])
                break
            except ValueError:  # the quotation goes on
                line += "\n" + lines.pop(0)
        says: list[str] = []
        while lines and lines[0]:
            says.append(lines.pop(0))
        found.append(Case(line, words[1:], "\n".join(says)))
    return found


def write(path: Path, items: list[Case | str]) -> None:
    rows = [f"{i.text}\n{i.says}\n" if isinstance(i, Case) else i for i in items]
    path.write_text("\n".join(rows))


def cases(path: Path):
    found = [case for case in read(path) if isinstance(case, Case)]
    return pytest.mark.parametrize("case", found, ids=[" ".join(c.words[-2:])[:60] for c in found])


def check(path: Path, case: Case, capsys, monkeypatch, bless: bool) -> None:
    monkeypatch.chdir(SCRIPTS)
    for name in [name for name in os.environ if name.startswith("BPFTRACE_")]:
        monkeypatch.delenv(name)
    status = main(case.words)
    out, err = capsys.readouterr()
    says = err.rstrip("\n")
    assert status == 1 and out == "" and says and "Traceback" not in says
    if bless and says != case.says:
        items = [case._replace(says=says) if item == case else item for item in read(path)]
        write(path, items)
        return
    assert says == case.says


@cases(ANYWHERE)
def test_wrong(case, capsys, monkeypatch, bless):
    check(ANYWHERE, case, capsys, monkeypatch, bless)


@pytest.mark.live
@cases(LIVE)
def test_wrong_for_a_kernel(case, capsys, monkeypatch, bless, tracefs):
    check(LIVE, case, capsys, monkeypatch, bless)


def test_there_are_enough():
    assert sum(isinstance(item, Case) for path in (ANYWHERE, LIVE) for item in read(path)) >= 80


# --- what needs more than a command -------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "BEGIN { $a = " + "(" * 20000 + "1" + ")" * 20000 + "; }",
        "BEGIN { $a = " + "-" * 20000 + "1; }",
        "BEGIN { $a = " + "1 + " * 20000 + "1; }",
        "BEGIN { " + "if (1) { " * 5000 + "}" * 5000 + " }",
        "BEGIN { @[" * 5000,
        "BEGIN { $a = ((struct x *)" * 5000,
    ],
    ids=["parentheses", "signs", "sums", "ifs", "keys", "casts"],
)
def test_deep_nesting(text, tmp_path, capsys):
    """bpftrace 0.27 crashes on the first of these."""
    (tmp_path / "deep.bt").write_text(text)
    assert main([str(tmp_path / "deep.bt")]) == 1
    err = capsys.readouterr().err
    assert "ERROR: nested more than" in err or "ERROR: syntax error" in err
    assert len(err) < 1000


def test_too_much_stack(tmp_path, capsys):
    given = "\n".join(f"  $v{i} = nsecs + {i};" for i in range(150))
    used = "\n".join(f"  @x[{i}] = $v{i};" for i in range(150))
    (tmp_path / "stack.bt").write_text(f"BEGIN {{\n{given}\n{used}\n}}")
    assert main([str(tmp_path / "stack.bt")]) == 1
    err = capsys.readouterr().err
    assert "bytes of stack, BPF has 512" in err and "\n  @x[" in err
    assert "HINT: " in err and "values that outlive a call" in err


def test_bytes_that_are_no_text(tmp_path, capsys):
    (tmp_path / "latin1.bt").write_bytes(b'BEGIN { printf("caf\xe9\\n"); }')
    assert main([str(tmp_path / "latin1.bt")]) == 1
    assert capsys.readouterr().err == f"ERROR: {tmp_path}/latin1.bt is not UTF-8 text: byte 19 is 0xe9\n"


def test_an_unreadable_file(tmp_path, capsys):
    assert main([str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"ERROR: cannot read {tmp_path}: Is a directory\n"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("BEGIN { print(((struct task_struct *)curtask)->pid); }", 'type "struct task_struct"'),
        ("BEGIN { print(sizeof(struct file)); }", 'type "struct file"'),
        ("BEGIN { print(curtask->pid); }", "field 'pid'"),
    ],
)
def test_no_types_of_the_kernel(text, place, capsys, monkeypatch):
    monkeypatch.setenv("BPFTRACE_BTF", "/nonexistent")
    assert main(["-e", text]) == 1
    err = capsys.readouterr().err
    assert place in err and "BTF" in err and "define the type in the script" in err


def powerless(*words: str, wrap: tuple[str, ...] = (), more: str = "") -> subprocess.CompletedProcess[str]:
    """Run pbt as nobody, able to read all files (for Python lies where it lies) but to do nothing `more`."""
    user = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")
    able = "-all,+dac_read_search" + more
    caps = ("--inh-caps", able, "--ambient-caps", able)
    return subprocess.run(
        [*wrap, *user, *caps, sys.executable, "-m", "pbt", *words],
        capture_output=True, text=True, timeout=60, cwd=HERE.parent.parent,
    )  # fmt: skip


@pytest.mark.live
@pytest.mark.parametrize(
    "text", ['BEGIN { printf("x\\n"); }', "profile:hz:9 { @++; }", "uprobe:libc:malloc { @++; }"]
)
def test_no_permission(text):
    done = powerless("-e", text)
    assert done.returncode == 1 and done.stdout == "" and "Traceback" not in done.stderr
    assert "EPERM (Operation not permitted)" in done.stderr
    assert "HINT: run as root, or with CAP_BPF and CAP_PERFMON" in done.stderr


@pytest.mark.live
@pytest.mark.parametrize("has, lacks", [("bpf", "CAP_PERFMON"), ("perfmon", "CAP_BPF"), ("bpf,+perfmon", "")])
def test_the_capability_that_is_missing(has, lacks):
    done = powerless("-e", "rawtracepoint:sched_switch { exit(); }", more=f",+{has}")
    if lacks:
        assert done.returncode == 1
        assert f"HINT: {lacks} is missing: run as root, or with CAP_BPF and CAP_PERFMON" in done.stderr
    else:
        assert (done.returncode, done.stderr) == (0, "Attached 1 probe\n")


@pytest.mark.live
def test_a_loop_that_never_ends(capsys):
    assert main(["-e", "BEGIN { while (@x == 0) { @x = 0; } }"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("stdin:1:") and "loop" in err and "verifier" in err


@pytest.mark.live
@pytest.mark.skipif(Path("/sys/bus/event_source/devices/kprobe").exists(), reason="this kernel has kprobes")
def test_a_kernel_without_kprobes(capsys):
    assert main(["--no-fallback", "-e", "kprobe:vfs_read { exit() }"]) == 1
    err = capsys.readouterr().err
    assert "Unable to attach kprobe:vfs_read: this kernel has no kprobes" in err
    assert "HINT: it was built without CONFIG_KPROBES: use a tracepoint" in err


@pytest.mark.live
def test_no_tracefs():
    """In a mount namespace of its own, without tracefs and without the right to mount it."""
    mounted = "awk '$3 ~ /^(tracefs|debugfs)$/ {print $2}' /proc/mounts"
    hide = f'for at in $({mounted}); do umount -l $at; done; exec "$@"'
    wrap = ("unshare", "-m", "sh", "-c", hide, "sh")
    done = powerless("-e", "tracepoint:sched:sched_switch { @++; }", wrap=wrap)
    assert done.returncode == 1 and done.stderr == (
        "ERROR: tracefs is not mounted, and mounting it failed: Operation not permitted\n"
        "HINT: as root: mount -t tracefs tracefs /sys/kernel/tracing\n"
    )
