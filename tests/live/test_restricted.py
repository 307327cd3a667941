"""Machines that withhold something: no BTF, no tracefs, containers, lockdown. What can still run runs.

Each is made in a mount namespace of its own, by mounting over what is to be hidden.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, environment

pytestmark = pytest.mark.live

_TYPES = Path("/sys/kernel/btf/vmlinux")
CUT = _TYPES.read_bytes()[:9000] if _TYPES.exists() else b""
SWITCH = "tracepoint:sched:sched_switch { exit(); }"
RAW = 'rawtracepoint:sched_switch { printf("raw\\n"); exit(); }'
UNMOUNT = "for at in $(awk '$3 == \"tracefs\" {print $2}' /proc/mounts); do umount -l $at; done"
NO_KERNEL = f"{UNMOUNT}; mount -t tmpfs none /sys/kernel"
NO_BTF = "mount -t tmpfs none /sys/kernel/btf"
LOCKED = (
    "mount -t tmpfs none /sys/kernel/security; "
    "echo 'none integrity [confidentiality]' > /sys/kernel/security/lockdown"
)


def where(setup: str, *words: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """pbt on a machine of which `setup`, a shell script, hides something."""
    return subprocess.run(
        ["unshare", "-m", "sh", "-c", f'set -e; {setup}; exec "$@"', "sh", sys.executable, "-m", "pbt", *words],
        capture_output=True, text=True, timeout=60, cwd=ROOT, env=environment(env or {}), check=False,
    )  # fmt: skip


def refused(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    return done.stderr


@pytest.mark.parametrize(
    "script",
    [
        'interval:ms:50 { printf("it runs\\n"); exit(); }',
        'profile:hz:99 { printf("it runs\\n"); exit(); }',
        'software:cpu-clock:1000000 { printf("it runs\\n"); exit(); }',
        'rawtracepoint:sched_switch { printf("it runs\\n"); exit(); }',
        'uprobe:libc:getenv { printf("it runs\\n"); exit(); }',
        'BEGIN { printf("it runs\\n"); exit(); }',
    ],
)
def test_in_a_container_without_a_word_of_the_kernel(script):
    """No BTF, no tracefs, nothing below /sys/kernel."""
    words = ("-c", "/bin/date +%Z") if "getenv" in script else ()
    done = where(NO_KERNEL, "-q", "-e", script, *words)
    assert done.returncode == 0 and "it runs" in done.stdout, done.stderr


def test_no_tracefs_to_be_had():
    said = refused(where(NO_KERNEL, "-e", SWITCH))
    assert "there is no /sys/kernel/tracing here" in said and "container" in said
    listed = where(NO_KERNEL, "-l", "software:cpu-*")
    assert listed.returncode == 0 and "software:cpu-clock:" in listed.stdout
    told = where(NO_KERNEL, "--info").stdout
    assert "there is no /sys/kernel/tracing here" in told and "BTF:                 no" in told


def test_tracefs_is_mounted_where_it_is_missing():
    done = where(UNMOUNT, "-q", "-e", SWITCH)
    assert done.returncode == 0, done.stderr


def test_tracefs_in_debugfs_alone():
    """As kernels before 4.1 had it, and as some containers hand it in."""
    setup = (
        f"{UNMOUNT}; mount -t tmpfs none /sys/kernel/debug; mkdir /sys/kernel/debug/tracing; "
        "mount -t tracefs none /sys/kernel/debug/tracing; mount -t tmpfs none /sys/kernel/tracing"
    )
    done = where(setup, "-q", "-e", SWITCH)
    assert done.returncode == 0, done.stderr
    assert "/sys/kernel/debug/tracing" in where(setup, "--info").stdout


def test_tracefs_that_cannot_be_written_to():
    done = where("mount -o remount,ro,bind /sys/kernel/tracing", "-q", "-e", SWITCH)
    assert done.returncode == 0, done.stderr


@pytest.mark.needs("btf")
def test_a_list_of_functions_that_cannot_be_read():
    """Reading it is an error in some containers, and under some policies: BTF and kallsyms stand in."""
    setup = "mount --bind /proc/self/mem /sys/kernel/tracing/available_filter_functions"
    for pattern in ("kprobe:vfs_rea*", "fentry:vmlinux:vfs_rea*"):
        listed = where(setup, "-l", pattern)
        assert f"{pattern[:-4]}read" in listed.stdout.splitlines(), listed.stderr
    assert "traceable functions: no list; those of the kernel's symbols that BTF knows" in (
        where(setup, "--info").stdout
    )


# --- rights -----------------------------------------------------------------------------------


def allowed(*capabilities: str, script: str) -> subprocess.CompletedProcess[str]:
    """A script run by root with these capabilities alone."""
    kept = ",".join(("-all", *(f"+{name}" for name in capabilities)))
    command = ["setpriv", f"--bounding-set={kept}", "--inh-caps=-all", sys.executable, "-m", "pbt", "-q"]
    return subprocess.run(
        [*command, "-e", script], capture_output=True, text=True, timeout=60, cwd=ROOT, env=environment({}),
        check=False,
    )  # fmt: skip


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="takes setpriv of util-linux")
@pytest.mark.parametrize(
    "script", ['BEGIN { printf("x"); exit(); }', "profile:hz:99 { print(1); exit(); }", RAW]
)
def test_the_capability_that_is_missing_is_named(script):
    bpf, perf = (
        Path(f"/proc/sys/kernel/{name}").read_text().strip()
        for name in ("unprivileged_bpf_disabled", "perf_event_paranoid")
    )
    said = refused(allowed("bpf", script=script))
    assert (
        "EPERM" in said
        and "HINT: CAP_PERFMON is missing: run as root, or with CAP_BPF and CAP_PERFMON" in said
    )
    assert f"(kernel.perf_event_paranoid is {perf})" in said
    if bpf != "0":
        said = refused(allowed("perfmon", script=script))
        assert "HINT: CAP_BPF is missing" in said and "(kernel.unprivileged_bpf_disabled is set)" in said
        assert "HINT: run as root, or with CAP_BPF and CAP_PERFMON (" in refused(allowed(script=script))
    done = allowed("bpf", "perfmon", script=script)
    assert done.returncode == 0 and not done.stderr and done.stdout, done.stderr


# --- types ------------------------------------------------------------------------------------


@pytest.mark.needs("btf")
def test_no_types():
    assert where(NO_BTF, "-q", "-e", SWITCH).returncode == 0
    assert where(NO_BTF, "-q", "-e", RAW).stdout.startswith("raw\n")  # another CPU may say it, too
    for probe in ("iter:task", "fentry:vfs_read", "fexit:vfs_*"):
        said = refused(where(NO_BTF, "-e", f"{probe} {{ }}"))
        assert "no type information (BTF)" in said and "--btf=FILE" in said and "stdin:1:1" in said
    assert "--btf=FILE" in refused(
        where(NO_BTF, "-e", "rawtracepoint:sched_switch { print(args.next->pid); }")
    )


@pytest.mark.needs("btf")
def test_types_from_a_file(tmp_path: Path):
    """Raw as the kernel has them, or in the section .BTF of a vmlinux."""
    from pbt.uapi.elf import Object, Section

    raw = Path("/sys/kernel/btf/vmlinux").read_bytes()
    (tmp_path / "raw").write_bytes(raw)
    (tmp_path / "bad").write_text("no BTF at all")
    image = Object("<" if sys.byteorder == "little" else ">")
    image.sections.append(Section(".BTF", 1, data=raw))
    (tmp_path / "vmlinux").write_bytes(image.data())
    script = 'rawtracepoint:sched_switch { printf("%d\\n", args.next->pid >= 0); exit(); }'
    for name in ("raw", "vmlinux"):
        assert where(NO_BTF, "-q", f"--btf={tmp_path}/{name}", "-e", script).stdout.startswith("1\n")
        env = {"BPFTRACE_BTF": f"{tmp_path}/{name}"}
        assert where(NO_BTF, "-q", "-e", script, env=env).stdout.startswith("1\n")
        assert where(NO_BTF, "-q", "--btf", f"{tmp_path}/{name}", "-e", script).stdout.startswith("1\n")
    said = refused(where(NO_BTF, "-e", "iter:task { }", env={"BPFTRACE_BTF": "/nowhere"}))
    wrong = "/nowhere, which BPFTRACE_BTF names, is no file that can be read"
    assert wrong in said
    for words in (("-l", "fentry:vfs_*"), ("-e", "BEGIN { print(curtask->pid); }")):
        assert wrong in where(NO_BTF, *words, env={"BPFTRACE_BTF": "/nowhere"}).stderr
    assert "WARNING: /etc/passwd is not an ELF file" in where(NO_BTF, "-l", "uprobe:/etc/passwd:*").stderr


@pytest.mark.needs("btf")
@pytest.mark.parametrize(
    ("data", "wrong"),
    [
        (None, "cannot read {}: No such file or directory"),
        (b"", "{}: this is not BTF: it does not start with the number 0xeb9f"),
        (b"no BTF at all, but long enough", "{}: this is not BTF"),
        (CUT, "{}: the BTF is cut off or damaged: its sections reach beyond its end"),
        (Path(sys.executable).read_bytes(), "{}: this ELF file has no section .BTF"),
    ],
    ids=["none", "empty", "text", "cut", "elf"],
)
def test_files_that_are_not_types(pbt, tmp_path, data, wrong):
    path = tmp_path / "types"
    if data is not None:
        path.write_bytes(data)
    script = "BEGIN { print(curtask->pid); exit(); }"
    said = wrong.format(path)
    given = pbt(f"--btf={path}", "-e", script)
    assert given.status == 1 and f"ERROR: {said}" in given.err and "HINT: name a file like /sys/" in given.err
    named = pbt("-e", script, env={"BPFTRACE_BTF": str(path)})
    assert named.status == 1 and "BPFTRACE_BTF" in named.err
    if data is not None:
        assert f"ERROR: {said}" in named.err
    taken = pbt("--btf", str(path), "-q", "-e", script)  # BTF, though damaged, is an argument; others are not
    assert (taken.status == 1 and said in taken.err) if data == CUT else taken.status == 0


# --- lockdown ---------------------------------------------------------------------------------


def test_lockdown_is_named_where_the_kernel_refuses():
    """The kernel here is not locked down; what it refuses, anyhow, is put down to what the file says."""
    done = where(LOCKED, "-e", "fentry:vfs_read { }")
    if done.returncode == 0 or "EPERM" not in done.stderr:
        pytest.skip("this kernel refuses nothing")
    assert "HINT: the kernel is locked down (confidentiality); see kernel_lockdown(7)" in done.stderr


# --- pbt --info -------------------------------------------------------------------------------


def test_info_says_what_is_done_without_a_feature(pbt):
    done = pbt("--info", "--no-feature", "ringbuf,uprobe_multi,iter,kprobe,fentry")
    rows = dict(line.strip().split(":", 1) for line in done.out.splitlines() if ":" in line)
    assert rows["ringbuf"].strip() == "no (Linux 5.8): instead, a perf buffer for each CPU"
    assert rows["uprobe_multi"].strip().endswith("instead, one perf event for each function")
    assert rows["kprobe"].strip().endswith("instead, tracepoints that come near")
    assert rows["iter (it)"].strip().endswith("not here: none: no iter probes")
    assert rows["kernel.perf_event_paranoid"].strip()


def test_info_as_json(pbt):
    made = json.loads(pbt("--info", "-f", "json").out)
    assert made["Restrictions"]["lockdown"] and made["System"]["architecture"]
    assert all(value.startswith(("yes", "no")) for value in made["Kernel features"].values())


def test_info_on_a_machine_that_withholds_things():
    told = where(f"{LOCKED}; mount -t tmpfs none /sys/kernel/btf", "--info").stdout
    assert "lockdown:                         confidentiality" in told
    assert "instead, a file of BTF (--btf=FILE)" in told
