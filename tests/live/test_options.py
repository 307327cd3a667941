"""Options of the command line, run for real."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Pbt

pytestmark = pytest.mark.live

OPTIONS = 'BEGIN { print((getopt("n", 5, "how many"), getopt("v", false))); exit(); }'


def test_help_of_a_script(pbt: Pbt, tmp_path: Path) -> None:
    (tmp_path / "tool.bt").write_text(OPTIONS)
    asked = pbt(str(tmp_path / "tool.bt"), "--", "--help")
    assert asked.status == 0
    assert asked.out == "OPTIONS OF THE SCRIPT, after --:\n    --n                        how many\n    --v\n"
    both = pbt("-h", str(tmp_path / "tool.bt"))
    assert both.status == 0 and both.out.startswith("USAGE:") and both.out.endswith(asked.out)
    assert "has no options of its own" in pbt("-e", "BEGIN { exit(); }", "--", "--help").out


def test_options_may_follow_the_script(pbt: Pbt, tmp_path: Path) -> None:
    (tmp_path / "tool.bt").write_text('BEGIN { printf("%d %s\\n", $1, str($2)); exit(); }')
    made = pbt(str(tmp_path / "tool.bt"), "-4", "-q", "x", "-f", "json")
    assert [json.loads(line)["data"] for line in made.out.splitlines()] == ["-4 x\n"]
    plain = pbt("-e", 'BEGIN { printf("%d %s\\n", $1, str($2)); exit(); }', "--", "-4", "-q")
    assert plain.out == "-4 -q\n" and plain.err == "Attached 1 probe\n"


def test_grouped_options(pbt: Pbt) -> None:
    made = pbt("-qe", "BEGIN { exit(4); }")
    assert (made.status, made.out, made.err) == (4, "", "")
    assert pbt("-q", "-f", "json", "-e", "BEGIN { exit(); }").out == ""


def test_the_program_from_standard_input(pbt: Pbt) -> None:
    assert pbt("-q", "-", "7", input=b"BEGIN { print($1); exit(); }").out == "7\n"
    wrong = pbt("-", input=b"BEGIN { print($a); }")
    assert wrong.status == 1 and wrong.err.startswith("stdin:1:15: ERROR:")


FILTERED = 'BEGIN { printf("b "); } interval:s:9 { @++; } interval:ms:9 { printf("ms "); exit(); } END { printf("e"); }'


@pytest.mark.parametrize(
    ("filter", "out"), [("ms:", "b ms e"), ("^interval:m", "b ms e"), ("nothing", "b e")]
)
def test_probe_filter(pbt: Pbt, filter: str, out: str) -> None:
    assert pbt("-q", "--probe-filter", filter, "-e", FILTERED).out == out


def test_the_filter_leaves_no_probe(pbt: Pbt) -> None:
    made = pbt("--probe-filter", "x", "-e", "interval:s:1 { exit(); }")
    assert made.status == 1 and made.err == "ERROR: no probe of the script matches x\n"


def test_traceable_functions(pbt: Pbt, tmp_path: Path) -> None:
    (tmp_path / "list").write_text("vfs_write\nvfs_read\nother [module]\n")
    words = ("--traceable-functions", str(tmp_path / "list"), "-l")
    assert pbt(*words, "kprobe:*").lines() == ["kprobe:other", "kprobe:vfs_read", "kprobe:vfs_write"]
    assert pbt(*words, "kprobe:vmlinux:*").lines() == ["kprobe:vmlinux:vfs_read", "kprobe:vmlinux:vfs_write"]
    assert pbt(*words, "fentry:vfs_*").lines() == ["fentry:vmlinux:vfs_read", "fentry:vmlinux:vfs_write"]


def test_without_a_feature(pbt: Pbt) -> None:
    """A uprobe through the PMU instead of a uprobe_multi link: the same events."""
    load = "import ctypes; ctypes.CDLL(None).labs(-3)"
    made = pbt(
        "--no-feature", "uprobe_multi,kprobe_multi,kprobe_session", "-q", "-c", f"{sys.executable} -c '{load}'",
        "-e", "uprobe:libc:labs { print((int32)arg0); exit(); }",
    )  # fmt: skip
    assert made.out == "-3\n", made


def test_dry_run_prints_nothing_of_the_script(pbt: Pbt) -> None:
    made = pbt(
        "--dry-run", "-e", 'BEGIN { printf("b"); @ = 1; } interval:ms:1 { printf("i"); } END { printf("e"); }'
    )
    assert (made.status, made.out, made.err) == (0, "", "")


def test_mode_codegen_stops_before_the_kernel(pbt: Pbt) -> None:
    made = pbt("--mode", "codegen", "-e", 'BEGIN { printf("b"); }')
    assert (made.status, made.out, made.err) == (0, "", "")


def test_output_to_a_file(pbt: Pbt, tmp_path: Path) -> None:
    out, script = tmp_path / "out", 'BEGIN { printf("b\\n"); @ = 1; } interval:s:60 { }'
    made = pbt("-o", str(out), "-c", "/bin/echo from the child", "-e", script)
    assert made.out == "from the child\n" and made.err == "Attached 2 probes\n"
    assert out.read_text() == "b\n\n\n@: 1\n"


@pytest.mark.parametrize(("mode", "early"), [("none", True), ("line", True), ("full", False)])
def test_buffering(pbt: Pbt, tmp_path: Path, mode: str, early: bool) -> None:
    """What is in the file while the script runs."""
    out = tmp_path / "out"
    run = pbt.start(
        "-B",
        mode,
        "-o",
        str(out),
        "-e",
        'BEGIN { printf("b\\n"); warnf("w"); warnf("w"); } interval:s:60 { }',
    )
    run.until(lambda: "WARNING: w" in run.err and (not early or out.read_text()), "what BEGIN says")
    seen = out.read_text()
    run.interrupt()
    assert (seen == "b\n") is early and out.read_text() == "b\n"


def test_probes_attached_is_said_to_who_asks(pbt: Pbt) -> None:
    env = {"__BPFTRACE_NOTIFY_PROBES_ATTACHED": "1"}
    made = pbt("-e", "interval:ms:1 { exit(); }", env=env)
    assert made.out == "__BPFTRACE_NOTIFY_PROBES_ATTACHED\n"


def test_begin_acts_when_all_is_attached(pbt: Pbt, tmp_path: Path) -> None:
    """What it prints comes after that line, which goes to standard output wherever the script's output goes."""
    env, line, out = (
        {"__BPFTRACE_NOTIFY_PROBES_ATTACHED": "1"},
        "__BPFTRACE_NOTIFY_PROBES_ATTACHED\n",
        tmp_path / "out",
    )
    script = 'BEGIN { print(1); system("true"); } t:syscalls:sys_enter_execve { print(2); exit(); } interval:s:20 { exit(); }'
    made = pbt("-q", "--unsafe", "-e", script, env=env)
    assert made.out.startswith(f"{line}1\n2\n")
    made = pbt("-f", "json", "-e", "BEGIN { print(1); exit(); } interval:s:1 { }", env=env)
    assert made.out.splitlines()[1:] == [line[:-1], '{"type": "value", "data": 1}']
    assert '"probes": 2' in made.out
    assert pbt("-o", str(out), "-e", "BEGIN { print(1); exit(); }", env=env).out == line
    assert out.read_text() == "1\n"


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_is_told(pbt: Pbt, tmp_path: Path, abstract: bool) -> None:
    name = f"@pbt-test-{tmp_path.name}-{id(tmp_path)}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(name.replace("@", "\0", 1) if abstract else name)
        manager.settimeout(30)
        run = pbt.start("-e", "interval:s:60 { }", env={"NOTIFY_SOCKET": name})
        assert manager.recv(100) == b"READY=1"
        run.attached().interrupt()
        assert manager.recv(100) == b"STOPPING=1"


OBJECT = """tracepoint:syscalls:sys_enter_openat { @[comm] = count(); printf("%s\\n", str(args.filename)); }
rawtracepoint:sched_switch { @last = nsecs; }
profile:hz:99 { @k[kstack] = count(); }
BEGIN { @n[1] = 2; for ($kv : @n) { print($kv); } }
"""


def test_an_object_file(pbt: Pbt, tmp_path: Path) -> None:
    made = pbt("--emit-elf", str(tmp_path / "o.o"), "-e", OBJECT)
    assert (made.status, made.out, made.err) == (0, "", "")
    said = subprocess.run(
        ["readelf", "-hSsr", "-W", tmp_path / "o.o"], capture_output=True, text=True, check=True
    )
    assert "Linux BPF" in said.stdout and "R_BPF" in said.stdout and not said.stderr


@pytest.mark.skipif(not shutil.which("bpftool"), reason="no bpftool installed")
def test_libbpf_loads_the_object_file(pbt: Pbt, tmp_path: Path) -> None:
    pbt("--emit-elf", str(tmp_path / "o.o"), "-e", OBJECT)
    mount = tmp_path / "bpf"
    mount.mkdir()
    subprocess.run(["mount", "-t", "bpf", "bpf", mount], check=True)
    try:
        words = ["bpftool", "prog", "loadall", str(tmp_path / "o.o"), str(mount / "programs")]
        loaded = subprocess.run(words, capture_output=True, text=True)
        assert loaded.returncode == 0, loaded.stderr
        assert {path.name for path in (mount / "programs").iterdir()} == {
            "tracepoint_syscalls_sys_enter_openat", "rawtracepoint_vmlinux_sched_switch", "profile_hz_99", "begin",
        }  # fmt: skip
    finally:
        subprocess.run(["umount", mount], check=True)


def test_verbose(pbt: Pbt) -> None:
    script = "BEGIN { @ = 1; } interval:ms:1, tracepoint:sched:sched_switch { exit(); }"
    made = pbt("-v", "-e", script)
    assert "built-in verifier: 3 programs accepted" in made.err
    assert "loaded begin: processed " in made.err and "\nattached interval:ms:1\n" in made.err
    assert "\nattached tracepoint:sched:sched_switch\n" in made.err
    whole = pbt("-vv", "-e", script)
    assert "0: (" in whole.err and len(whole.err) > len(made.err)


def test_colour_on_a_terminal(pbt: Pbt) -> None:
    """Standard error is a terminal here; BPFTRACE_COLOR may forbid it all the same."""
    import os
    import pty

    from tests.conftest import COMMAND, environment

    said = {}
    for mode in ("", "never"):
        ours, theirs = pty.openpty()
        env = environment({"BPFTRACE_COLOR": mode} if mode else {})
        subprocess.run([*COMMAND, "-e", "BEGIN { print(x); }"], stderr=theirs, env=env)
        said[mode] = os.read(ours, 10000)
        os.close(ours)
        os.close(theirs)
    assert b"\x1b[31mERROR\x1b[0m" in said[""] and b"\x1b" not in said["never"]


def test_stacks_in_json(pbt: Pbt) -> None:
    """Indented as values, not as keys."""
    script = "BEGIN { print(kstack(1)); @[kstack(1)] = kstack(1); exit(); }"
    _, value, entry = [json.loads(line) for line in pbt("-f", "json", "-e", script).out.splitlines()]
    assert value["data"].startswith("\n        bpf_prog_") and value["data"].endswith("\n")
    ((key, inner),) = entry["data"]["@"].items()
    assert key.startswith("\nbpf_prog_") and inner.startswith("\n        bpf_prog_")


def test_accepted_for_what_it_is(pbt: Pbt) -> None:
    """Options of bpftrace that need nothing done here."""
    words = ("-b", "--btf", "--usdt-file-activation", "--debuginfo", "/usr/lib/debug", "-q")
    assert pbt(*words, "-e", "BEGIN { exit(5); }")[:3] == (5, "", "")


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("-e", "BEGIN { exit(); }"), 0),
        (("-e", "BEGIN { exit(3); }"), 3),
        (("-e", "BEGIN { exit(300); }"), 44),
        (("-e", "BEGIN { printf(1); }"), 1),
        (("--nosuch",), 1),
        (("-h",), 0),
        (("-e", "watchpoint:0x1:8:w { } interval:s:60 { }"), 1),
    ],
)
def test_exit_status(pbt: Pbt, words: tuple[str, ...], status: int) -> None:
    assert pbt(*words).status == status


def test_nothing_runs_behind_exit(pbt: Pbt) -> None:
    """User space takes longer than 100 us to hear of it."""
    assert pbt("-q", "-e", "interval:us:100 { @++; if (@ == 3) { exit(); } }").out.split() == ["@:", "3"]


def test_lost_events_in_json(pbt: Pbt) -> None:
    script = 'BEGIN { unroll (99) { printf("%s%s", comm, comm); } } interval:ms:1 { exit(); }'
    made = pbt("-f", "json", "-e", script, env={"BPFTRACE_PERF_RB_PAGES": "1"})
    lost = [line for line in map(json.loads, made.out.splitlines()) if line["type"] == "lost_events"]
    assert lost and all(line["count"] == line["data"]["events"] > 0 for line in lost)


# --- headers ------------------------------------------------------------------------------------

SIZE = "#include <mine.h>\nBEGIN { print(sizeof(struct mine)); exit(); }"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a header."""
    pytest.importorskip("pcpp")
    pytest.importorskip("pycparser")
    (tmp_path / "mine.h").write_text("struct mine { long a[3]; };\n")
    return tmp_path


@pytest.mark.parametrize("variable", ["CPATH", "C_INCLUDE_PATH"])
def test_folders_of_headers_in_the_environment(pbt: Pbt, folder: Path, variable: str) -> None:
    assert pbt("-q", "-e", SIZE, env={variable: f"/nonexistent:{folder}"}).out == "24\n"
    assert "<mine.h> was not found" in pbt("-q", "-e", SIZE).err


@pytest.mark.parametrize("words", [("-I", "{}"), ("-I{}",), ("-I", "/nonexistent", "-I", "{}")])
def test_folders_of_headers(pbt: Pbt, folder: Path, words: tuple[str, ...]) -> None:
    assert pbt(*(word.format(folder) for word in words), "-q", "-e", SIZE).out == "24\n"


def test_a_header_before_the_script(pbt: Pbt, folder: Path) -> None:
    script = "BEGIN { print(sizeof(struct mine)); exit(); }"
    assert pbt("-q", "--include", str(folder / "mine.h"), "-e", script).out == "24\n"


def test_the_kernels_tree(pbt: Pbt, folder: Path) -> None:
    """Source and build folders of their own, and one alone that is both."""
    for name, size in (("source/include/linux/src.h", 4), ("build/include/generated/made.h", 5)):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(f"struct {Path(name).stem} {{ long a[{size}]; }};\n")
    env = {"BPFTRACE_KERNEL_SOURCE": f"{folder}/source", "BPFTRACE_KERNEL_BUILD": f"{folder}/build"}
    head = "#include <linux/src.h>\n#include <generated/made.h>\n"
    script = head + "BEGIN { print((sizeof(struct src), sizeof(struct made))); exit(); }"
    assert pbt("-q", "-e", script, env=env).out == "(32, 40)\n"
    alone = "#include <generated/made.h>\nBEGIN { print(sizeof(struct made)); exit(); }"
    assert pbt("-q", "-e", alone, env={"BPFTRACE_KERNEL_SOURCE": f"{folder}/build"}).out == "40\n"
