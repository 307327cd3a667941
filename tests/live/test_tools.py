"""The tools of the folder `tools`: each sees what a known piece of work does (work.py), and says it exactly."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from pbt.cli import tool
from pbt.host.target import Target

pytestmark = pytest.mark.live
WORK = Path(__file__).parent / "work.py"
T = r"\d\d:\d\d:\d\d"
MS = r"\d+\.\d{3}"
SLEPT = r"(1[5-9]|[2-9]\d)\d{4}"  # microseconds: four naps take 153 ms, and longer where others run


class Row(NamedTuple):
    """A tool, the work that it is to see, its options, and regular expressions of lines that it must show.

    In options and expressions, {pid} stands for the work's process, {file} for a file that it is given, {port}
    and {closed} for two ports, {last} for the highest processor.
    """

    tool: str
    work: str
    options: str
    shows: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.tool} {self.options}".strip()


def fields(category: str, event: str) -> tuple[str, ...]:
    """Names of a tracepoint's fields here; () where there is none."""
    form = Target.live().tracefs.format(category, event)
    return tuple(form.struct.names()) if form else ()


ROWS = (
    Row("opensnoop", "opens", "--comm=opens", (
        rf"^{T} {{pid}} +opens +3 +0 /etc/hostname$", rf"^{T} {{pid}} +opens +-1 +2 /no/such/file$")),
    Row("opensnoop", "opens", "--pid {pid} --failed", (r"\n.*-1 +2 /no/such/file\n\Z",)),
    Row("execsnoop", "types", "--comm=types", (rf"^{T} \d+ +{{pid}} +types +bash --norc --noprofile -i$",)),
    Row("exitsnoop", "ends", "--comm=ends", (
        rf"^{T} \d+ +{{pid}} +ends +0\.\d{{3}} status 3$", rf"^{T} \d+ +{{pid}} +ends +0\.\d{{3}} signal 9$")),
    Row("exitsnoop", "ends", "--comm=ends --failed", (r"status 3\n.*signal 9\n\Z",)),
    Row("killsnoop", "kills", "--comm=kills", (
        rf"^{T} {{pid}} +kills +Continued +{{pid}} +0$", rf"^{T} {{pid}} +kills +Unknown signal 0 +{{pid}} +0$",
        rf"^{T} {{pid}} +kills +Terminated +4194303 +3$")),
    Row("killsnoop", "kills", "--comm=kills --signal=15", (r"\n.*Terminated +4194303 +3\n\Z",)),
    Row("sigsnoop", "kills", "--comm=kills --signal=18", (rf"^{T} {{pid}} +kills +Continued +{{pid}} +kills +[01]$",)),
    Row("statsnoop", "stats", "--comm=stats", (
        rf"^{T} {{pid}} +stats +0 /etc/hostname$", rf"^{T} {{pid}} +stats +2 /no/such/file$")),
    Row("syncsnoop", "syncs", "--comm=syncs", (
        rf"^{T} {{pid}} +syncs +fsync +{MS} file$", rf"^{T} {{pid}} +syncs +fdatasync +{MS} file$")),
    Row("setuids", "users", "--comm=users", (
        rf"^{T} {{pid}} +users +0 setresuid +-1 +65534 +-1 +0$",
        rf"^{T} {{pid}} +users +0 setuid +1234 +1234 +-1 +[01]$")),
    Row("capable", "roots", "--comm=roots", (
        rf"^{T} {{pid}} +roots +18 SYS_CHROOT +0$", rf"^{T} {{pid}} +roots +18 SYS_CHROOT +1$")),
    Row("capable", "roots", "--comm=roots --denied", (r"COMM.*\n(.* 1\n)+\Z",)),
    Row("bashreadline", "types", "", (rf"^{T} \d+ +echo typed at a prompt$",)),
    Row("threadsnoop", "threads", "--comm=threads", (rf"FUNC\n({T} {{pid}} +threads +\S+\n){{3}}\Z",)),
    Row("gethostlatency", "names", "--comm=names", (
        rf"(^{T} {{pid}} +names +{MS} +0 localhost\n){{2}}",)),
    Row("sslsnoop", "secrets", "--comm=secrets", (
        rf"^{T} {{pid}} +secrets +write +22 +{MS} GET /secret HTTP/1.1\\x0d\\x0a$",
        rf"^{T} {{pid}} +secrets +read +22 +{MS} GET /secret HTTP/1.1\\x0d\\x0a$")),
    Row("naptime", "naps", "--comm=naps", (rf"(^{T} \d+ +\S+ +{{pid}} +naps +0\.0(09|10)\n){{3}}", r" 0\.12[23]$")),
    Row("syscount", "calls", "--comm=calls", (r"^@calls\[getppid\]: 1234$",)),
    Row("syscount", "calls", "--pid={pid} --by-process", (r"^@callers\[calls\]: 1[2-9]\d\d$",)),
    Row("syslat", "naps", "--comm=naps", (
        rf"^@us\[clock_nanosleep\]: \{{ .count = 4, .average = \d{{5,6}}, .total = {SLEPT} \}}$",)),
    Row("syserrs", "calls", "--comm=calls", (r"^@errors\[calls, openat, No such file or directory\]: [7-9]$",)),
    Row("filetop", "writes", "--comm=writes", (
        r"^@written\[writes, file\]: 100000$", r"^@read\[writes, file\]: 5000$")),
    Row("biolatency", "disk", "", (r"^@us:\n(\[.*\|\n)+",)),
    Row("biolatency", "disk", "--by-disk", (r"^@us_of\[\d+, \d+\]:\n(\[.*\|\n)+",)),
    Row("biosnoop", "disk", "--comm=disk", (rf"(^{T} {{pid}} +disk +\d+,\d+ +WS +\d+ +65536 +{MS}\n){{4}}",)),
    Row("biostacks", "disk", "", (r"^@us\[\n(    .*\n)*    .*write.*\n(    .*\n)*\]:\n\[",)),
    Row("bitesize", "disk", "--comm=disk", (r"^@bytes\[disk\]:\n(\[.*\n)*\[64K, 128K\) +8 ",)),
    Row("writeback", "dirty", "", (rf"^{T} \S+ +sync +\d+ +{MS}$",)),
    Row("runqlat", "crowds", "", (r"^@us:\n(\[.*\|\n)+",)),
    Row("runqlat", "crowds", "--by-comm", (r"^@us_of\[crowds\]:\n(\[.*\|\n)+",)),
    Row("runqlen", "crowds", "", (r"^@waiting:\n(\[.*\n)*\[[1-9]\d*\] +[1-9]\d* ",)),
    Row("runqlen", "crowds", "--by-cpu", (r"^@waiting_on\[\d+\]:\n(\[.*\n)*\[[1-9]\d*\] +[1-9]\d* ",)),
    Row("cpudist", "naps", "--comm=naps", (r"^@us:\n(\[.*\|\n)+",)),
    Row("cpudist", "naps", "--comm=naps --by-comm", (r"^@us_of\[naps\]:\n(\[.*\|\n)+",)),
    Row("cpuwalk", "spins", "--comm=spins", (r"^@cpu:\n(\[.*\n)*\[{last}\] +\d\d ",)),
    Row("offcputime", "naps", "--comm=naps", (
        rf"^@us\[naps, \n( +\S+\n)* +\S*nanosleep\S*\n( +\S+\n)*\]: {SLEPT}$",)),
    Row("offcputime", "naps", "--comm=naps --user --min-us=100000", (
        r"^@us_user\[naps, \n( +\S+\n)* +\S*nanosleep\S*\n( +\S+\n)*, \n(    .+\n)+\]: (1[2-9]|[2-9]\d)\d{4}$",)),
    Row("profile", "spins", "--comm=spins --user", (r"^@user_samples\[spins, \n(    .+\n)+\]: [1-9]",)),
    Row("profile", "zeros", "--kernel --comm=zeros", (r"^@kernel_samples\[zeros, \n(    .+\n)+\]: [1-9]",)),
    Row("profile", "spins", "--comm=spins", (r"^@samples\[spins,(.*\n)+?(    .+\n)+\]: [1-9]",)),
    Row("softirqs", "spins", "", (r"^@us\[(SCHED|TIMER|RCU)\]: \{ .count = [1-9]\d*, .average = \d+, .total = \d+ \}$",)),
    Row("hardirqs", "disk", "", (r"^@us\[\S+\]: \{ .count = [1-9]\d*, .average = \d+, .total = \d+ \}$",)),
    Row("pagefaults", "faults", "--comm=faults", (r"^@faults\[faults\]: 1[0-9]\d\d$",)),
    Row("pagefaults", "faults", "--comm=faults --user", (r"^@stacks\[faults, \n(    .+\n)+\]: [1-9]",)),
    Row("tcpaccept", "connects", "--comm=connects", (
        rf"^{T} {{pid}} +connects +127\.0\.0\.1 \d+ +127\.0\.0\.1 {{port}}$",)),
    Row("tcpconnect", "connects", "--comm=connects", (
        rf"^{T} {{pid}} +connects +{MS} +0 127\.0\.0\.1 {{port}}$",
        rf"^{T} {{pid}} +connects +{MS} +111 127\.0\.0\.1 {{closed}}$")),
    Row("tcpconnect", "connects", "--comm=connects --failed", (r"TO\n.* 111 127\.0\.0\.1 {closed}\n\Z",)),
    Row("tcplife", "connects", "--comm=connects", (
        r"^{pid} +connects +127\.0\.0\.1 \d+ +127\.0\.0\.1 {port} +4 +2 +\d+$",
        r"^{pid} +connects +127\.0\.0\.1 {port} +127\.0\.0\.1 \d+ +2 +4 +\d+$")),
    Row("tcpstates", "connects", "--port={port}", (
        rf"^{T} {{pid}} +connects .* {{port}} +CLOSE +SYN_SENT +{MS}$",
        rf" {{port}} +SYN_SENT +ESTABLISHED +{MS}$", rf" ESTABLISHED +CLOSE_WAIT +{MS}$",
        rf" CLOSE_WAIT +LAST_ACK +{MS}$", rf" {{port}} .* FIN_WAIT1 +FIN_WAIT2 +{MS}$")),
    Row("tcpdrop", "connects", "--port={closed}", (
        rf"^{T} .* 127\.0\.0\.1 \d+ +127\.0\.0\.1 {{closed}} +SKB_DROP_REASON_NO_SOCKET$",)),
    Row("tcpdrop", "connects", "--port={closed} --stack", (
        r"^@stacks\[SKB_DROP_REASON_NO_SOCKET, \n(    .+\n)* +tcp_v4_rcv.*\n(    .+\n)*\]: 1$",)),
    Row("tcpretrans", "waits", "--port={port}", (
        rf"^{T} +127\.0\.0\.1 \d+ +127\.0\.0\.1 {{port}} +SYN_SENT$",)),
)  # fmt: skip


class Work:
    """A piece of work that is ready to begin."""

    def __init__(self, name: str, file: Path, port: int, closed: int) -> None:
        words = [str(port), str(closed)] if name in ("connects", "waits") else [str(file)]
        command = [sys.executable, "-S", str(WORK), name, *words]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout and self.process.stdout.read(1) == b"!"
        last = max(os.sched_getaffinity(0))
        self._names = {"pid": self.pid, "file": file, "port": port, "closed": closed, "last": last}

    @property
    def pid(self) -> int:
        return self.process.pid

    def fill(self, text: str) -> str:
        """`{pid}` and the like in it become what they stand for."""
        return re.sub(r"\{(\w+)\}", lambda m: str(self._names.get(m[1], m[0])), text)

    def go(self) -> None:
        """Do it; the process stays."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(b"!")
        self.process.stdin.flush()
        assert self.process.stdout.read(1) == b"!"

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def work(tmp_path: Path) -> Iterator[Callable[[str], Work]]:
    with ExitStack() as stack:

        def ready(name: str) -> Work:
            made = Work(name, tmp_path / "file", *free_ports())
            stack.callback(made.close)
            return made

        yield ready


def free_ports() -> tuple[int, int]:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        return one.getsockname()[1], two.getsockname()[1]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_shows_what_is_done(row: Row, pbt, work) -> None:
    doing = work(row.work)
    options = doing.fill(row.options).split()
    result = pbt("tool", row.tool, *options, load=doing.go)
    assert result.status == 0, result.err
    for pattern in row.shows:
        assert re.search(doing.fill(pattern), result.out, re.M), f"{pattern}\n{result.out}"


def columns(text: str) -> list[list[int]]:
    """The numbers of lines that begin with a time."""
    return [[int(word) for word in line.split()[1:]] for line in text.splitlines() if re.match(T, line)]


def test_vfsstat(pbt, work) -> None:
    doing = work("writes")
    run = pbt.start("tool", "vfsstat", "--comm=writes").attached()
    doing.go()
    run.until(lambda: sum(row[1] for row in columns(run.out)) >= 100, "100 writes")
    reads, writes, syncs, opens, creates = (
        sum(column) for column in zip(*columns(run.interrupt().out), strict=True)
    )
    assert writes in (100, 101)  # the last tells us that the work is done
    assert (syncs, creates) == (0, 1) and reads >= 50 and opens >= 1


def test_pidpersec(pbt, work) -> None:
    doing = work("forks")
    run = pbt.start("tool", "pidpersec").attached()
    doing.go()
    run.until(lambda: sum(row[0] for row in columns(run.out)) >= 40, "40 processes")
    assert sum(row[1] for row in columns(run.interrupt().out)) >= 10


def test_loads(pbt) -> None:
    run = pbt.start("tool", "loads").attached()
    run.until(lambda: re.search(rf"^{T} \d+\.\d\d \d+\.\d\d \d+\.\d\d \d+/\d+ \d+\n", run.out, re.M), "loads")


def test_mountsnoop(pbt, tmp_path: Path) -> None:
    commands = f"mount -t tmpfs tool-test {tmp_path} && umount {tmp_path}"
    load = lambda: subprocess.run(["unshare", "-m", "sh", "-c", commands], check=True)  # noqa: E731
    result = pbt("tool", "mountsnoop", load=load)
    assert re.search(rf"^{T} \d+ +mount +mount +0 tmpfs +tool-test {tmp_path}$", result.out, re.M), result.out
    assert re.search(rf"^{T} \d+ +umount +umount2? +0 +{tmp_path}$", result.out, re.M), result.out


@pytest.fixture
def little_memory() -> Iterator[Path]:
    """A control group whose processes get no more than 30 MB, of either version; it is removed at the end."""
    for top, limit in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
        group = Path(top, f"pbt-test-{os.getpid()}")
        try:
            group.mkdir()
        except OSError:
            continue
        if (group / limit).exists():
            (group / limit).write_text("30000000")
            yield group
            group.rmdir()
            return
        group.rmdir()
    pytest.skip("no control group for memory can be made here")


EATER = """
import os, sys
with open(sys.argv[1] + "/cgroup.procs", "w") as file:
    file.write(str(os.getpid()))
with open("/proc/self/comm", "w") as file:
    file.write("eater")
held = [b"x" * 1000000 for _ in range(200)]
"""


def test_oomkill(pbt, little_memory: Path) -> None:
    if "comm" not in fields("oom", "mark_victim"):
        pytest.skip("oom:mark_victim has no comm before Linux 6.9")
    victims = []

    def load() -> None:
        child = subprocess.Popen([sys.executable, "-S", "-c", EATER, str(little_memory)])
        assert child.wait(60) == -9
        victims.append(child.pid)

    out = pbt("tool", "oomkill", load=load).out
    pattern = rf"^{T} {victims[0]} +eater +\d{{5}} +{victims[0]} +eater +\d+\.\d\d \d.*$"
    assert re.search(pattern, out, re.M), out


def test_a_duration_ends_a_tool(pbt) -> None:
    result = pbt("tool", "opensnoop", "--duration=1", "--pid=1")
    assert result.status == 0 and result.out.startswith("TIME ")


def test_every_tool_is_tested() -> None:
    elsewhere = {"vfsstat", "pidpersec", "loads", "mountsnoop", "oomkill"}
    assert {row.tool for row in ROWS} | elsewhere == set(tool.names())
