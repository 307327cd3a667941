"""However pbt ends, nothing of it stays in the kernel: no program, map or link, no descriptor of a probe."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pbt.source import KernelError
from pbt.sys import bpf, objects
from tests.conftest import COMMAND, PATIENCE
from tests.live.held import link_info

pytestmark = pytest.mark.live

TOKEN = f"t{os.getpid()}"  # begins the names of all maps here: others may be tracing at the same time
SCRIPT = f"""
BEGIN {{ @{TOKEN}a = 1; }}
tracepoint:syscalls:sys_enter_openat {{ printf("%s %s\\n", comm, str(args.filename)); @{TOKEN}b[comm] = count(); }}
rawtracepoint:sched_switch {{ @{TOKEN}c = count(); }}
profile:hz:49 {{ @{TOKEN}d[kstack] = count(); }}
software:faults:100 {{ @{TOKEN}e++; }}
uprobe:libc:malloc /pid == 1/ {{ @{TOKEN}f = hist(arg0); }}
interval:ms:100 {{ @{TOKEN}g++; }}
"""


def info(kind: str, number: int):
    """Facts of one object, or None if it has gone meanwhile."""
    ask = {"prog": objects.prog_info, "map": bpf.map_info, "link": link_info}[kind]
    try:
        with objects.fd_by_id(kind, number) as fd:
            return ask(fd.fileno())
    except KernelError:
        return None


def alive() -> dict[str, set[int]]:
    """Numbers of our maps, of the programs that use them, and of the links of these."""
    found = {kind: [i for n in objects.ids(kind) if (i := info(kind, n))] for kind in ("map", "prog", "link")}
    maps = {i.id for i in found["map"] if TOKEN in i.name}
    progs = {i.id for i in found["prog"] if maps & set(i.map_ids)}
    return {"map": maps, "prog": progs, "link": {i.id for i in found["link"] if i.prog_id in progs}}


def left_behind(seconds: float = PATIENCE) -> dict[str, set[int]]:
    """What of ours is still there; waits until it is nothing: the kernel frees programs after grace periods."""
    end = time.monotonic() + seconds
    while True:
        left = {kind: now for kind, now in alive().items() if now}
        if not left or time.monotonic() > end:
            return left
        time.sleep(0.01)


def perf_events(pid: int) -> int:
    """How many perf events a process holds."""
    links = (os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir())
    return sum("[perf_event]" in link for link in links)


def events_of(tracefs: Path) -> list[str]:
    """Probes made by name, where a kernel without other means has them."""
    path = tracefs / "uprobe_events"
    return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def attached(pbt) -> Callable[..., object]:
    """A long-running script, and the proof that it is in the kernel."""

    def start(text: str = SCRIPT):
        run = pbt.start("-e", text).attached()
        now = alive()
        assert len(now["prog"]) == 7 and len(now["map"]) == 7 and now["link"]
        assert perf_events(run.pid)
        return run

    return start


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM, signal.SIGQUIT])
def test_a_signal_leaves_nothing(attached, tracefs, number):
    events = events_of(tracefs)
    run = attached()
    os.kill(run.pid, number)
    run.finish()
    assert left_behind() == {} and events_of(tracefs) == events


def test_killed_while_starting(pbt):
    for after in (0.15, 0.3, 0.45):
        run = pbt.start("-e", SCRIPT)
        time.sleep(after)
        run.kill()
    assert left_behind() == {}


@pytest.mark.parametrize(
    "text",
    [
        f"BEGIN {{ @{TOKEN} = 1; }} software:faults:1 {{ @{TOKEN}++; }} hardware:cycles:100000 {{ @{TOKEN}++; }}",
        f"BEGIN {{ @{TOKEN} = 1; }} interval:s:1 {{ @{TOKEN}++; }} uprobe:/bin/ls:0x7fffffff {{ @{TOKEN}++; }}",
    ],
)
def test_an_attach_error_leaves_nothing(pbt, text):
    if "hardware" in text and any(Path("/sys/bus/event_source/devices").glob("cpu*")):
        pytest.skip("this machine can count cycles")
    done = pbt("--unsafe", "-e", text)
    assert done.status == 1 and "ERROR" in done.err and "Traceback" not in done.err
    assert left_behind() == {}


def test_an_exception_leaves_nothing():
    from pbt.host.target import Target
    from pbt.pipeline import compile
    from pbt.runtime.session import Session
    from pbt.source import Source

    target = Target.live()
    bundle = compile(Source("test", f"profile:hz:10 {{ @{TOKEN}[cpu] = count(); }}"), target)
    with pytest.raises(ZeroDivisionError), Session(bundle, target, quiet=True) as session:
        session.start()
        assert left_behind(0) != {}
        raise ZeroDivisionError
    assert left_behind() == {}


def test_a_broken_pipe_ends_it(pbt):
    """`pbt ... | head -1` ends soon after the reader has gone."""
    import subprocess

    script = f'interval:ms:10 {{ printf("tick\\n"); @{TOKEN}++; }}'
    process = subprocess.Popen([*COMMAND, "-q", "-e", script], stdout=subprocess.PIPE)
    assert process.stdout and process.stdout.readline() == b"tick\n"
    process.stdout.close()
    assert process.wait(PATIENCE) is not None and left_behind() == {}
