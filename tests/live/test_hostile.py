"""Surroundings in which hardly anything works: limits, closed descriptors, full disks, missing folders, filters.

Each row is a shell command; what it must end with, and what must then be on standard output and error. Never a traceback.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conftest import COMMAND, ROOT, environment

pytestmark = pytest.mark.live
PATIENCE = 90  # seconds for one row
SIMPLE = "'BEGIN { print(7); exit(); }'"
MAPS = (
    "'tracepoint:sched:sched_switch { @[comm] = count(); @s[kstack] = count(); } interval:ms:20 { exit(); }'"
)
TALK = '\'interval:ms:1 { printf("%200s\\n", "x"); }\''
NO_DEV = "mount -t tmpfs none /dev"
NO_PROC = "umount -l /proc"
NO_SYS = "mount -t tmpfs none /sys"
SMALL = "mount -t tmpfs -o size=4096 none /mnt"
ENTRY = 'import struct; print(hex(*struct.unpack_from("<Q", open("/bin/sleep", "rb").read(), 24)))'
IGNORING = f"{sys.executable} -c 'import os, signal, sys; signal.signal(17, 1); os.execvp(sys.argv[1], sys.argv[1:])'"
FULL = "cannot write the output: ENOSPC (No space left on device)"


class Row(NamedTuple):
    """`setup` runs first, in a mount namespace of its own if it mounts; `$pbt` is the command. `out` and `err`: what is said."""

    name: str
    setup: str
    command: str
    status: int = 0
    out: str = ""
    err: str = ""


ROWS = (
    # limits
    Row("20 files", "ulimit -n 20", f"$pbt -q -e {SIMPLE}", 0, "7"),
    Row("13 files", "ulimit -n 13", f"$pbt -e {MAPS}", 1, "", "EMFILE"),
    Row("8 files", "ulimit -n 8", f"$pbt -e {MAPS}", 1, "", "raise the limit with `ulimit -n`"),
    Row("no locked memory", "ulimit -l 0", f"$pbt -q -e {SIMPLE}", 0, "7"),
    Row("no core, no processes", "ulimit -c 0; ulimit -u 0", f"$pbt -q -e {SIMPLE}", 0, "7"),
    Row("a small stack", "ulimit -s 256", f"$pbt -q -e {SIMPLE}", 0, "7"),
    Row("no files may grow", "ulimit -f 0", f"$pbt -q -o big -e {SIMPLE}", 1, "", "cannot write"),
    # output
    Row("a full disk", SMALL, f"$pbt -q -o /mnt/x -e {TALK}", 1, "", "cannot write the output: No space"),
    Row("a full disk, JSON", SMALL, f"$pbt -f json -o /mnt/x -e {TALK}", 1, "", "cannot write the output: No"),
    Row("full", "", f"$pbt -q -e {SIMPLE} >/dev/full", 1, "", "cannot write the output: No space"),
    Row("nobody hears errors", "", f"$pbt -e {SIMPLE} 2>/dev/full", 0, "7"),
    Row("full for help", "", "$pbt --help >/dev/full", 1, "", FULL),
    Row("full for lists", "", "$pbt -l 'software:*' >/dev/full", 1, "", FULL),
    Row("full for stages", "", f"$pbt -d bpf -e {SIMPLE} >/dev/full", 1, "", FULL),
    Row("output only for reading", "exec 1</etc/passwd", f"$pbt -q -e {SIMPLE}", 1, "", "Bad file descriptor"),
    Row("output to a folder", "", f"$pbt -o /tmp -e {SIMPLE}", 1, "", "cannot write to /tmp: Is a directory"),
    Row("no output", "exec 1>&-", f"$pbt -q -e {SIMPLE}"),
    Row("no descriptors", "exec 0<&- 1>&- 2>&-", f"$pbt -e {SIMPLE}"),
    Row("a script from nowhere", "exec 0<&-", "$pbt -", 1, "", "No probes to attach"),
    Row("devices are not replaced", "echo 'BEGIN { }' >b.bt", "$pbt build b.bt -o /dev/null; test -c /dev/null"),
    # folders that are not there
    Row("no /dev", NO_DEV, f"$pbt -q -e {SIMPLE}", 0, "7"),
    Row("no /dev, no descriptors", NO_DEV, f"$pbt -q -e {SIMPLE} <&- >&-"),
    Row("no /proc", NO_PROC, f"$pbt -q -e {MAPS}", 0, "@["),
    Row("no /proc, process", NO_PROC, "$pbt -q -c 'sleep 0.1' -e 'BEGIN { @ = cpid > 0; }'", 0, "@: true"),
    Row("no /proc, list", NO_PROC, "$pbt -l 'tracepoint:sched:*'", 0, "tracepoint:sched:sched_switch"),
    Row("hidden processes", "mount -o remount,hidepid=2 /proc", f"$pbt -q -e {SIMPLE}", 0, "7"),
    Row("no /sys", NO_SYS, f"$pbt -e {SIMPLE}", 1, "", "/online: ENOENT (No such file or directory)\nHINT: mount"),
    Row("neither", f"{NO_SYS}; {NO_PROC}", f"$pbt -e {MAPS}", 1, "", "HINT: neither /proc nor /sys is mounted"),
    Row("no home", "unset PBT_NO_CACHE; export HOME=/proc", f"$pbt -q -e {SIMPLE}", 0, "7"),
    Row("a file for a home", "unset PBT_NO_CACHE; export HOME=/etc/passwd", f"$pbt -q -e {SIMPLE}", 0, "7"),
    # -c, -p
    Row("no program", "", "$pbt -c /nowhere -e 'BEGIN { }'", 1, "", "'/nowhere' does not exist or is not exec"),
    Row("no interpreter", "echo '#!/nowhere' >x; chmod +x x", "$pbt -c ./x -e 'BEGIN { }'", 1, "",
        "cannot start ./x: No such file or directory\nHINT: the program that its first line"),
    Row("garbage", "echo garbage >x; chmod +x x", "$pbt -c ./x -e 'BEGIN { }'", 1, "", "./x: Exec format error"),
    Row("killed", "", "$pbt -q -c \"sh -c 'kill -9 \\$\\$'\" -e 'BEGIN { @ = 1; }'", 0, "@: 1"),
    Row("goes on without its parent", "", "$pbt -q -c \"sh -c 'sleep 2 &'\" -e 'BEGIN { @ = 1; }'", 0, "@: 1"),
    Row("children are not to be waited for", "", f"{IGNORING} $pbt -q -c 'sleep 0' -e 'BEGIN {{ @ = 1; }}'", 0, "@: 1"),
    Row("a signal that no probe awaits", "", "$pbt -q --unsafe -e 'BEGIN { system(\"kill -USR1 $PPID\"); @ = 1; exit(); }'",
        0, "@: 1"),
    Row("no such process", "", "$pbt -p 4194305 -e 'BEGIN { }'", 1, "", "Failed to watch pid: 4194305: no such"),
    Row("a process that ends", "sleep 1 &", "$pbt -q -p $! -e 'interval:s:60 { } END { print(7); }'", 0, "7"),
    # names and texts
    Row("odd names", "mkdir 'a b'; cp /bin/sleep 'a b/ü'", "$pbt -q -c '\"a b/ü\" 0' -e 'uprobe:\"a b/ü\":0x2000 { }'"),
    Row("a name that is no text", f"F=$'t\\377r'; cp /bin/sleep $F; A=$({sys.executable} -c '{ENTRY}')",
        "$pbt -q -f json -c \"./$F 0\" -e \"uprobe:./$F:$A { @[probe] = 1; print(ustack(perf)); print(probe); }\"",
        0, r"/t\\xffr)"),
    Row("a newline in a name", "echo 'BEGIN { print(7); exit(); }' >'x\ny'", "$pbt -q 'x\ny'", 0, "7"),
    Row("no UTF-8 locale", "export LC_ALL=POSIX PYTHONUTF8=0 PYTHONCOERCECLOCALE=0; echo 'BEGIN{print(\"ü\");}' >x",
        "$pbt --fmt x", 0, "ü"),
    Row("a null byte", "printf 'BEGIN { \\000 }' >x", "$pbt x", 1, "", "x:1:9: ERROR: syntax error, unexpected '\\x00'"),
    Row("texts end at NUL", "", "$pbt --unsafe -e 'BEGIN { cat(\"/etc/passwd%cx\", 0); system(\"echo 7%c8\", 0); exit(); }'",
        0, "7\n", "Attached 1 probe\n"),
    Row("a program for a script", "", "$pbt /bin/true", 1, "", "/bin/true is not UTF-8 text: byte "),
    Row("10 MB", f"{sys.executable} -c 'print((\"/\"*999+\"\\n\")*10000+\"BEGIN {{ print(7); exit(); }}\")' >x",
        "$pbt -q x", 0, "7"),
    Row("5,000 parentheses", f"{sys.executable} -c 'print(\"BEGIN {{ print(\"+\"(\"*5000+\"1\"+\")\"*5000+\"); }}\")' >x",
        "$pbt x", 1, "", "x:1:511: ERROR: nested more than 500 levels deep\n...((("),
)  # fmt: skip


def run(row: Row, folder: Path) -> subprocess.CompletedProcess[str]:
    mounts = any(word in row.setup for word in ("mount ",))
    start = ["unshare", "-m", "sh"] if mounts else ["bash"]
    return subprocess.run(
        [*start, "-c", f"{row.setup or ':'}\n{row.command}"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE, cwd=folder, check=False,
        env=environment({"pbt": " ".join(COMMAND)}),
    )  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_words_or_work(row: Row, tmp_path: Path) -> None:
    done = run(row, tmp_path)
    assert "Traceback" not in done.stderr and "Fatal" not in done.stderr, done.stderr
    assert (done.returncode, row.out in done.stdout, row.err in done.stderr) == (row.status, True, True), done
    if row.status:
        assert "ERROR: " in done.stderr


# --- system calls that are filtered ----------------------------------------------------------------

FILTER = """
import ctypes, os, struct, sys
errno, number, *command = sys.argv[1:]
# struct sock_filter: load seccomp_data.nr; is it that one? then ERRNO, else ALLOW (<linux/seccomp.h>)
rows = (0x20, 0, 0, 0), (0x15, 0, 1, int(number)), (6, 0, 0, 0x50000 | int(errno)), (6, 0, 0, 0x7fff0000)
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *row) for row in rows))
fprog = struct.pack("HxxxxxxP", len(rows), ctypes.addressof(code))
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, fprog, 0, 0) == 0
os.execvp(command[0], command)
"""
BPF, PERF_EVENT_OPEN, PIDFD_OPEN = 321, 298, 434  # x86-64


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers are those of x86-64")
@pytest.mark.parametrize(
    ("number", "errno", "says"),
    [
        (BPF, 1, "EPERM (Operation not permitted)\nHINT: a security policy of this machine or its container"),
        (BPF, 38, "ENOSYS (Function not implemented)\nHINT: this kernel is built without it, or a container"),
        (PERF_EVENT_OPEN, 1, "EPERM\ninterval:ms:20"),
        (PERF_EVENT_OPEN, 38, "ENOSYS\ninterval:ms:20"),
        (PIDFD_OPEN, 38, ""),
    ],
)
def test_a_filter_of_system_calls(number: int, errno: int, says: str, tmp_path: Path) -> None:
    (tmp_path / "filter.py").write_text(FILTER)
    words = ["-q", "-c", "/bin/sleep 9", "-e", "interval:ms:20 { print(7); exit(); }"]
    done = subprocess.run(
        [sys.executable, str(tmp_path / "filter.py"), str(errno), str(number), *COMMAND, *words],
        capture_output=True, text=True, timeout=PATIENCE, cwd=ROOT, env=environment({}), check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr and says in done.stderr, done.stderr
    assert (done.returncode, done.stdout) == ((1, "") if says else (0, "7\n"))


# --- users without rights ---------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="takes setpriv of util-linux")
def test_a_user_is_told_why_there_is_nothing_to_list(tracefs: Path) -> None:
    if tracefs.stat().st_mode & 0o005:
        pytest.skip("everybody may read tracefs here")
    kept = [
        "setpriv",
        "--bounding-set=-all",
        "--inh-caps=-all",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
    ]
    code = "import sys; from pbt.cli.main import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [*kept, sys.executable, "-c", code, "-l", "tracepoint:sched:*"],
        capture_output=True, text=True, timeout=PATIENCE, cwd=ROOT, env=environment({}), check=False,
    )  # fmt: skip
    if "ModuleNotFoundError" in done.stderr or "Permission denied: " in done.stderr:
        pytest.skip("this checkout or its Python is for root alone")
    assert done.returncode == 1 and "cannot read " in done.stderr and "CAP_DAC_READ_SEARCH" in done.stderr


# --- signals at every moment ---------------------------------------------------------------------

TICK = 'BEGIN { printf("b\\n"); } interval:ms:1 { printf("t\\n"); @++; } END { printf("e\\n"); }'


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name
)
def test_a_signal_at_any_moment(number: signal.Signals) -> None:
    """Compiling, loading, attaching, printing, detaching; every third time twice. It ends, in order or at once."""
    for moment in range(12):
        process = subprocess.Popen(
            [*COMMAND, "-e", TICK], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment({}), cwd=ROOT,
            preexec_fn=partial(signal.signal, number, signal.SIG_DFL),  # shells let background jobs ignore some
        )  # fmt: skip
        time.sleep(0.25 + 0.05 * moment)
        process.send_signal(number)
        if moment % 3 == 0:
            process.send_signal(number)
        try:
            out, said = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        if b"KeyboardInterrupt" in said and b"pbt/cli" not in said:
            continue  # Python itself was still starting
        assert b"Traceback" not in said, said.decode()
        assert process.returncode in (0, -number), said.decode()
        if process.returncode == 0 and moment % 3 and b"t\n" in out:
            assert out.endswith(b"@: %d\n" % out.count(b"t\n")) and b"e\n" in out


def test_output_that_nobody_takes(tmp_path: Path) -> None:
    """The first signal asks for an orderly end, which waits for the reader; the second does not wait."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    process = subprocess.Popen(
        [*COMMAND, "-q", "-e", TALK.strip("'")], stdout=writer, stderr=subprocess.DEVNULL, env=environment({}), cwd=ROOT
    )  # fmt: skip
    os.close(writer)
    try:
        end, before = time.monotonic() + PATIENCE, -1
        while not before == _readable(reader) > 0 and time.monotonic() < end:
            before = _readable(reader)
            time.sleep(0.3)
        process.terminate()
        time.sleep(0.2)
        process.terminate()
        assert process.wait(20) == -signal.SIGTERM
    finally:
        process.kill()
        process.wait()
        os.close(reader)


def _readable(fd: int) -> int:
    """Bytes that wait in a pipe."""
    return int(struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, bytes(4)))[0])
