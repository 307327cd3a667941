"""Iterators, static probes, watchpoints and signals: probe types that need no kprobes."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pbt.host.target import Target

pytestmark = pytest.mark.live

PYTHON = "/usr/bin/python3"
COLLECTS = "import gc, time\nwhile True: gc.collect(); time.sleep(0.05)"
WRITES = """
import ctypes, time
cell = ctypes.c_long(0)
print(hex(ctypes.addressof(cell)), flush=True)
while True: cell.value += 1; time.sleep(0.05)
"""


def rows(text):
    """The lines `@name[key]: value` as {(name, key): value}."""
    found = {}
    for line in text.splitlines():
        if line.startswith("@") and ": " in line:
            name, _, value = line.rpartition(": ")
            found[name] = value
    return found


@pytest.fixture
def running():
    """Start a Python program that is killed at the end of the test."""
    started = []

    def run(code):
        process = subprocess.Popen([PYTHON, "-S", "-c", code], stdout=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


# --- tracepoints ------------------------------------------------------------------------------

ASKS = "import os; [os.getppid() for _ in range(3)]; [os.getpgid(0) for _ in range(5)]"


@pytest.mark.parametrize("without", [(), ("--no-feature", "get_attach_cookie")])
def test_a_wildcard_knows_its_places(pbt, without):
    """With cookies one program for all of them, without them one for each."""
    script = "tracepoint:syscalls:sys_enter_getp* /pid == cpid/ { @[probe] = count(); }"
    done = pbt("-v", *without, "-c", f"{PYTHON} -S -c '{ASKS}'", "-e", script)
    found = rows(done.out)
    assert found["@[tracepoint:syscalls:sys_enter_getppid]"] == "3", done
    assert found["@[tracepoint:syscalls:sys_enter_getpgid]"] == "5", done
    loaded = [line for line in done.err.splitlines() if line.startswith("loaded tracepoint:")]
    assert len(loaded) > 2 if without else len(loaded) == 1


@pytest.mark.needs("raw_tp_cookie")
def test_raw_tracepoints_know_their_places(pbt):
    done = pbt("-v", "-c", f"{PYTHON} -S -c '{ASKS}'", "-e", """
        rawtracepoint:sys_e* /pid == cpid/ { @[probe] = count(); }""")  # fmt: skip
    found = rows(done.out)
    assert all(int(found[f"@[rawtracepoint:vmlinux:{name}]"]) > 8 for name in ("sys_enter", "sys_exit")), done
    assert len([line for line in done.err.splitlines() if line.startswith("loaded rawtracepoint:")]) == 1


# --- functions of the kernel ------------------------------------------------------------------


def test_an_offset_beyond_the_end_of_the_function(pbt):
    """It would be one of another function; said before the kernel is asked, which may have no kprobes at all."""
    done = pbt("-e", "BEGIN { } kprobe:vfs_read+99999 { @ = count(); }")
    first, line, caret, hint = done.err.splitlines()
    assert done.status == 1 and first.startswith(
        "stdin:1:11: ERROR: Unable to attach kprobe:vfs_read+99999: "
    )
    assert re.search(r"\+99999 is beyond the end of vfs_read, which has \d+ bytes: ERANGE$", first)
    assert caret.index("^") == line.index("kprobe")
    there = re.fullmatch(r"HINT: (\S+)\+\d+ is what is there", hint)
    assert there and there[1] != "vfs_read"


# --- iterators --------------------------------------------------------------------------------


@pytest.mark.needs("iter")
def test_every_task_once_and_then_the_end(pbt):
    script = 'iter:task { printf("%d %s\\n", ctx.task.pid, ctx.task.comm); } END { printf("the end\\n"); }'
    done = pbt("-e", script)
    lines = done.out.splitlines()
    assert done.status == 0 and "the end" in lines
    tasks = [line.split(" ", 1) for line in lines if line[:1].isdigit()]
    assert ["2", "kthreadd"] in tasks or os.path.exists("/.dockerenv")
    assert len({number for number, _ in tasks}) == len(tasks) and "0" not in dict(tasks)


@pytest.mark.needs("iter")
def test_open_files(pbt, tmp_path):
    with open(tmp_path / "mine", "w") as file:
        inode = os.fstat(file.fileno()).st_ino
        script = (
            f"iter:task_file /ctx.task.tgid == {os.getpid()}/ {{ @[ctx.fd] = ctx.file->f_inode->i_ino; }}"
        )
        found = rows(pbt("-e", script).out)
        number = file.fileno()
    assert found[f"@[{number}]"] == str(inode)


@pytest.mark.needs("iter_task_vma")
def test_mappings(pbt):
    script = (
        f"iter:task_vma /ctx.task.tgid == {os.getpid()}/ {{ @n = count(); @low = min(ctx.vma->vm_start); }}"
    )
    found = rows(pbt("-e", script).out)
    with open("/proc/self/maps") as maps:
        lines = [line for line in maps if "[vsyscall]" not in line]
    assert abs(int(found["@n"]) - len(lines)) <= 5
    assert int(found["@low"]) == int(lines[0].partition("-")[0], 16)


@pytest.mark.needs("iter")
def test_more_objects_than_the_buffer_holds(pbt):
    """The kernel waits for the reader: nothing is lost."""
    script = 'iter:ksym { printf("+%s\\n", str(ctx.ksym->name)); @n = count(); }'
    done = pbt("-e", script)
    if "No matches" in done.err:
        pytest.skip("this kernel has no iter:ksym")
    count = int(rows(done.out)["@n"])
    assert "Lost" not in done.err
    assert done.out.count("\n+") + done.out.startswith("+") == count > 1000


@pytest.mark.needs("iter")
def test_what_iterators_offer(pbt):
    assert "iter:task\n" in pbt("-l", "iter:*").out
    assert "    struct task_struct * task\n" in pbt("-lv", "iter:task").out


@pytest.fixture
def bpffs(tmp_path):
    """A bpf file system of the test's own."""
    folder = tmp_path / "bpf"
    folder.mkdir()
    subprocess.run(["mount", "-t", "bpf", "bpf", folder], check=True, timeout=20)
    yield folder
    subprocess.run(["umount", "-l", folder], check=True, timeout=20)


@pytest.mark.needs("iter")
def test_pinned_iterators_speak_to_those_who_read_the_file(pbt, bpffs):
    """pbt ends once the file is there; the program runs as often as the file is read."""
    text = "%d %-16s|%5u|%x %llx %p %c%c %04d %s %s é%%%s\\n"
    values = (
        "ctx.task.pid, ctx.task.comm, ctx.task.tgid, (int32)-1, -1, ctx.task, 65, ctx.task.comm[0], (int8)-7"
    )
    script = f'iter:task:{bpffs}/tasks {{ printf("{text}", {values}, "x", -5, str(ctx.task.comm)); @n = count(); }}'
    done = pbt("-e", script)
    assert done.status == 0 and f"Program pinned to {bpffs}/tasks" in done.err and done.out.strip() == ""
    for _ in range(2):
        lines = (bpffs / "tasks").read_text().splitlines()
        (mine,) = [line for line in lines if line.startswith(f"{os.getpid()} ")]
        with open("/proc/self/comm") as file:
            comm = file.read().rstrip("\n")
        start = f"{os.getpid()} {comm:16}|{os.getpid():5}|ffffffff ffffffffffffffff 0xff"
        assert mine.startswith(start) and mine.endswith(f" A{comm[0]} -007 x -5 é%{comm}")
        assert len(lines) > 5


@pytest.mark.needs("iter")
def test_files_that_cannot_be_pinned(pbt, bpffs, tmp_path):
    def refused(pin, body='printf("x");'):
        done = pbt("-e", f"iter:task:{pin} {{ {body} }}")
        assert done.status == 1 and "stdin:1:1" in done.err
        return done.err

    assert pbt("-q", "-e", f'iter:task:{bpffs}/a {{ printf("x"); }}').err == ""
    assert "EEXIST" in refused(f"{bpffs}/a") and f"rm {bpffs}/a" in refused(f"{bpffs}/a")
    assert f"mkdir {bpffs}/no" in refused(f"{bpffs}/no/a")
    assert "must be in a bpf file system" in refused(f"{tmp_path}/a") and not (tmp_path / "a").exists()
    assert not (bpffs / "no").exists() and (bpffs / "a").exists()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("print(1);", "print() is for pbt to do"),
        ("exit();", "exit() is for pbt to do"),
        ('printf("%o", 1);', "%o cannot be written into a pinned iterator's file"),
        ('printf("%.3s", "abcd");', "str(pointer, length)"),
        ('printf("%20p", ctx.task);', "%020p"),
        ('printf("%s", kstack);', "cannot write a value of type kstack_t"),
    ],
)
@pytest.mark.needs("iter")
def test_what_a_pinned_iterator_cannot_say(pbt, body, said):
    done = pbt("-e", f"iter:task:never {{ {body} }}")
    assert done.status == 1 and said in done.err and "stdin:1:" in done.err and "^" in done.err


# --- functions of BPF programs ----------------------------------------------------------------

COUNTED = "tracepoint:syscalls:sys_enter_getppid /pid < 0/ { @ = count(); }"
FUNCTION = "tracepoint_syscalls_sys_enter_getppid"
CALLS = f"{PYTHON} -S -c 'import os; [os.getppid() for n in range(50)]'"


def test_programs_are_known_by_their_probes(pbt):
    """Another script's program is listed with its id, its function by the whole name of the probe."""
    other = pbt.start("-e", COUNTED).attached()
    listed = pbt("-l", f"fentry:bpf:{FUNCTION[:-3]}*").lines()
    assert listed and re.fullmatch(rf"fentry:bpf:\d+:{FUNCTION}", listed[-1])
    shown = pbt("-lv", listed[-1].replace("fentry", "fexit")).lines()
    assert shown[1:] == ["    void * ctx", "    unsigned int retval"]
    other.interrupt()


@pytest.mark.needs("fentry")
def test_functions_of_programs(pbt):
    other = pbt.start("-e", COUNTED).attached()
    script = (
        f"fentry:bpf:{FUNCTION} {{ @[comm, args.ctx != 0] = count(); }}"
        f"fexit:bpf:{FUNCTION} {{ @r[retval] = count(); }}"
    )
    found = rows(pbt("-e", script, "-c", CALLS).out)
    other.interrupt()
    assert int(found["@[python3, true]"]) >= 50 and int(found["@r[1]"]) >= 50


def test_no_such_program(pbt):
    done = pbt("-e", "fentry:bpf:1:nosuch { }")
    assert done.status == 1 and "No matches for fentry bpf:1:nosuch" in done.err


# --- static probes ----------------------------------------------------------------------------


def static(pbt):
    if "python:gc__start" not in pbt("-l", f"usdt:{PYTHON}:*").out:
        pytest.skip(f"{PYTHON} was built without static probes")


def test_static_probe_with_a_semaphore(pbt, running):
    """The probe is silent until the kernel has counted its semaphore up."""
    static(pbt)
    process = running(COLLECTS)
    script = f"usdt:{PYTHON}:python:gc__start {{ @[probe, pid, arg0] = count(); }}"
    done = pbt("-e", script, "-p", str(process.pid), load=lambda: time.sleep(1))
    key = f"@[usdt:{PYTHON}:python:gc__start, {process.pid}, 2]"
    assert int(rows(done.out)[key]) > 0


@pytest.mark.parametrize("probe", ["usdt:*:gc__*", "usdt:gc__*", "usdt::python:gc__*"])
def test_static_probes_of_a_process(pbt, running, probe):
    """By wildcards in whatever it has mapped; the file may be left out."""
    static(pbt)
    process = running(COLLECTS)
    done = pbt("-e", f"{probe} {{ @[probe] = count(); }}", "-p", str(process.pid), load=lambda: time.sleep(1))
    names = {name.rpartition(":")[2].rstrip("]") for name in rows(done.out)}
    assert names == {"gc__start", "gc__done"}


# --- user functions ---------------------------------------------------------------------------


def test_functions_in_whatever_a_process_has_mapped(pbt, running):
    process = running("import time\nwhile True: time.sleep(0.02)")
    done = pbt(
        "-e",
        "uprobe:*:clock_nanosl?ep { @[func] = count(); }",
        "-p",
        str(process.pid),
        load=lambda: time.sleep(1),
    )
    assert any("clock_nanosleep" in name for name in rows(done.out))


def test_a_function_of_the_program_itself(pbt, running):
    """With -p, no file needs to be named."""
    process = running("import time\nwhile True: time.sleep(0.02)")
    script = "uprobe:PyEval_SaveThread { @[func] = count(); } interval:ms:500 { exit(); }"
    assert "PyEval_SaveThread" in str(rows(pbt("-q", "-p", str(process.pid), "-e", script).out))
    done = pbt("-e", script)
    assert (
        done.status == 1
        and "one of the program of -p" in done.err
        and "uprobe:FILE:PyEval_SaveThread" in done.err
    )


KINDS = {
    "nopie": ("-no-pie", "-fno-pie"),
    "pie": ("-pie", "-fPIE"),
    "static": ("-static",),
    "both": ("-static-pie",),
}
WORKS = """
#include <unistd.h>
__attribute__((noinline)) int work(int n) { __asm__ volatile(""); return 2 * n; }
int main(void) { for (int i = 0; i < 5; i++) work(i); usleep(100000); return 0; }
"""


@pytest.mark.skipif(not shutil.which("gcc"), reason="needs gcc")
@pytest.mark.parametrize("kind", KINDS)
def test_programs_linked_in_every_way(pbt, tmp_path, kind):
    (tmp_path / "a.c").write_text(WORKS)
    words = ["gcc", "-O1", *KINDS[kind], "-o", str(tmp_path / "a"), str(tmp_path / "a.c")]
    if subprocess.run(words, timeout=60, capture_output=True, check=False).returncode:
        pytest.skip(f"gcc cannot link {kind}")
    script = f"uprobe:{tmp_path}/a:work {{ @[arg0] = count(); }} uretprobe:{tmp_path}/a:work {{ @r[retval] = count(); }}"
    found = rows(pbt("-q", "-e", script, "-c", str(tmp_path / "a")).out)
    assert found == {f"@[{n}]": "1" for n in range(5)} | {f"@r[{2 * n}]": "1" for n in range(5)}


def test_a_program_in_another_file_system(pbt, tmp_path):
    """What it calls its file is no file here: by -p, and through /proc/PID/root."""
    python = os.path.realpath(PYTHON)
    enter = f'mount -t tmpfs none /mnt && cp {python} /mnt/prog && exec /mnt/prog -S -c "$0"'
    code = "import time\nwhile True: time.sleep(0.02)"
    process = subprocess.Popen(["unshare", "-m", "sh", "-c", enter, code])
    try:
        end = time.monotonic() + 20
        while os.readlink(f"/proc/{process.pid}/exe") != "/mnt/prog" and time.monotonic() < end:
            time.sleep(0.01)
        for path, words in (
            ("/mnt/prog", ("-p", str(process.pid))),
            (f"/proc/{process.pid}/root/mnt/prog", ()),
        ):
            script = f"uprobe:{path}:PyEval_SaveThread {{ @[comm] = count(); }} interval:ms:500 {{ exit(); }}"
            assert "@[prog]" in rows(pbt("-q", *words, "-e", script).out)
        assert "there is no file /mnt/prog" in pbt("-e", "uprobe:/mnt/prog:main { }").err
    finally:
        process.kill()
        process.wait()


@pytest.mark.needs("uprobe_multi")
def test_many_functions_of_a_file_are_one_link(pbt):
    run = pbt.start("-e", "uprobe:libc:str* { @ = count(); }").attached()
    texts = [file.read_text() for file in Path(f"/proc/{run.pid}/fdinfo").iterdir()]
    count = int(run.interrupt().err.split("Attached ")[1].split()[0])
    assert count > 20 and sum("link_type" in text for text in texts) == 1


ALIASES = """
int work_a(int n) { __asm__ volatile("" : "+r"(n)); return n; }
int work_b(int n) { __asm__ volatile("" : "+r"(n)); return n + 1; }
int work_c(int n) __attribute__((alias("work_b")));
int main(void) { for (int n = 0; n < 3; n++) work_a(work_b(n)); return 0; }
"""
WITHOUT = {
    "session": (), "one link for each end": ("--no-feature", "uprobe_session"),
    "perf events": ("--no-feature", "uprobe_session,uprobe_multi"),
    "no cookies": ("--no-feature", "get_attach_cookie"),
}  # fmt: skip


@pytest.mark.parametrize("way", WITHOUT)
def test_functions_of_a_file_know_their_names(pbt, tmp_path, way):
    """Two names of one function are two places."""
    (tmp_path / "a.c").write_text(ALIASES)
    subprocess.run(["cc", "-O0", "a.c", "-o", "a"], cwd=tmp_path, check=True, timeout=60)
    path = f"{tmp_path}/a"
    script = (
        f"uprobe:{path}:work_* {{ @[probe] = count(); }} uretprobe:{path}:work_* {{ @[probe] = count(); }}"
    )
    done = pbt("-v", *WITHOUT[way], "-e", script, "-c", path)
    found = {key: count for key, count in rows(done.out).items() if key.startswith("@[")}
    ends = ("uprobe", "uretprobe")
    assert found == {f"@[{end}:{path}:work_{name}]": "3" for end in ends for name in "abc"}, done
    loaded = len([line for line in done.err.splitlines() if re.match("loaded u(ret)?probe:", line)])
    both = 1 if Target.live().has("uprobe_session") else 2
    assert loaded == {"session": both, "no cookies": 3 * both}.get(way, 2), done.err


ENDS = """
uprobe:libc:atoi /str(arg0) != "2"/ { @start[tid] = nsecs; @in[func, str(arg0)] = count(); }
uretprobe:libc:atoi /@start[tid]/ {
    @out["atoi", retval] = count(); @early = sum(nsecs < @start[tid] ? 1 : 0); delete(@start[tid]);
}
"""
NUMBERS = (  # and time to see where the library lies in memory
    f"{sys.executable} -S -c 'import ctypes, time; c = ctypes.CDLL(None); "
    '[c.atoi(b"%d" % n) for n in range(4)]; time.sleep(0.5)\''
)


@pytest.mark.needs("uprobe_session")
def test_both_ends_of_a_function_are_one_link(pbt):
    run = pbt.start("-e", ENDS).attached()
    texts = [file.read_text() for file in Path(f"/proc/{run.pid}/fdinfo").iterdir()]
    assert "Attached 2 probes" in run.interrupt().err and sum("link_type" in text for text in texts) == 1


@pytest.mark.parametrize("option", [(), ("--no-feature", "uprobe_session")], ids=["together", "apart"])
def test_both_ends_of_a_function_with_a_body_each(pbt, option):
    done = pbt(*option, "-e", ENDS, "-c", NUMBERS)
    counts = {row: count for row, count in rows(done.out).items() if row[:4] in ("@in[", "@out")}
    inside, outside = ({f"{name}[atoi, {n}]": "1" for n in (0, 1, 3)} for name in ("@in", "@out"))
    assert counts == inside | outside and rows(done.out)["@early"] == "0"


def test_the_start_of_a_returning_function_on_old_kernels(pbt):
    done = pbt("--no-feature", "uprobe_multi,uprobe_session", "-e", "uretprobe:libc:atoi { print(func); }")
    assert done.status == 1 and "its start is known since Linux 6.6" in done.err


# --- the processor's, and our own -------------------------------------------------------------


def test_watchpoint(pbt, running):
    process = running(WRITES)
    address = process.stdout.readline().strip()
    script = f"watchpoint:{address}:8:w {{ @[pid] = count(); }}"
    done = pbt("-e", script, "-p", str(process.pid), load=lambda: time.sleep(1))
    if "Unable to attach" in done.err:
        pytest.skip(done.err)
    assert int(rows(done.out)[f"@[{process.pid}]"]) > 1


def test_signal_to_ourselves(pbt):
    run = pbt.start("-e", 'self:signal:SIGUSR1 { printf("told\\n"); @n = count(); }')
    run.attached()
    for count in range(1, 4):
        os.kill(run.pid, signal.SIGUSR1)
        run.until(lambda n=count: run.out.count("told\n") == n, f"{count} times told")
    done = run.interrupt()
    assert done.status == 0 and done.out.count("told\n") == 3 and rows(done.out)["@n"] == "3"
