"""Scripts that others have published run as they are: those of Debian's package `bpftrace` (0.17).

Each is compiled for a machine that has all that it asks for, judged by the built-in verifier and loaded into
this kernel; then run here as a user would run it, from its start to Ctrl-C. What this kernel does not have is
said, with what to do. Some are run beside bpftrace itself, to see the same work.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from functools import cache
from pathlib import Path

import pytest

from pbt.bundle import Bundle
from pbt.host.target import Target
from pbt.pipeline import Options, run
from pbt.runtime.load import load
from pbt.source import Source
from pbt.verifier_sim import verify_bundle
from tests.live import published
from tests.live.test_tools import Work, free_ports

pytestmark = [pytest.mark.live, pytest.mark.skipif(bool(published.absent()), reason=published.absent())]

LIVE = Target.live()


# --- compiled, judged, loaded ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Target:
    return published.machine(tmp_path_factory.mktemp("machine"))


@cache
def compiled(name: str, target: Target) -> Bundle:
    source = Source(name, published.path(name).read_text())
    bundle = run(source, target, Options(fallback=False, environment={})).bundle
    assert bundle is not None
    return bundle


@pytest.mark.parametrize("name", published.NAMES)
def test_compiles_and_is_accepted(name: str, machine: Target) -> None:
    bundle = compiled(name, machine)
    assert bundle.programs
    for program, verdict in zip(bundle.programs, verify_bundle(bundle, machine), strict=True):
        assert verdict.kind == "accept", f"{program.name}: {verdict.error}"


@pytest.mark.parametrize("name", published.NAMES)
def test_the_kernel_loads_it(name: str, machine: Target) -> None:
    bundle = compiled(name, machine)
    with load(bundle, LIVE) as loaded:
        assert len(loaded.programs) == len(bundle.programs)


# --- run ---------------------------------------------------------------------------------------------

KPROBES = LIVE.has("kprobe")


def lacks() -> dict[str, str]:
    """Script → what is said of it, for those that this kernel has no places for."""
    found = {
        "loads": "" if LIVE.kallsyms.has("avenrun") else "Failed to resolve kernel symbol: avenrun",
        "mdflush": missing("md_flush_request"),
        "swapin": missing("swap_readpage"),
        "runqlen": "" if has_member("nr_running") else "HINT: did you mean nr_queued?",
    }
    if not KPROBES and not LIVE.has(
        "fentry"
    ):  # nothing stands in for their probes, or it does not know everything
        found |= dict.fromkeys(("dcsnoop", "tcpsynbl", "undump", "xfsdist"), "this kernel has no kprobes")
        found["capable"] = "HINT: kprobe:cap_capable is attached as rawtracepoint:vmlinux:cap_capable here"
        found["oomkill"] = (
            "HINT: kprobe:oom_kill_process is attached as rawtracepoint:vmlinux:mark_victim here"
        )
    return {name: text for name, text in found.items() if text}


def missing(function: str) -> str:
    return "" if LIVE.kallsyms.has(function) else f"No matches for kprobe {function}."


def has_member(name: str) -> bool:
    queue = LIVE.types.find("struct", "cfs_rq") if LIVE.types else None
    return queue is None or LIVE.types.type(queue).find(name) is not None


@pytest.mark.parametrize("name", published.NAMES)
def test_runs_until_it_is_told_to_stop(name: str, pbt) -> None:
    said = lacks().get(name)
    if said:
        done = pbt(str(published.path(name)))
        assert done.status == 1 and said in done.err and "Traceback" not in done.err
        return
    done = pbt(str(published.path(name)), load=lambda: subprocess.run(["cat", "/etc/hostname"], check=True))
    attached = re.search(r"^Attached (\d+) probes?$", done.err, re.M)
    assert done.status == 0 and "ERROR" not in done.err, done.err
    assert attached and int(attached[1]) > 0


# --- beside bpftrace ---------------------------------------------------------------------------------

SAME = {  # script → the work that both are to see
    "bashreadline": "types",
    "bitesize": "disk",
    "execsnoop": "types",
    "gethostlatency": "names",
    "killsnoop": "kills",
    "opensnoop": "opens",
    "setuids": "users",
    "statsnoop": "stats",
    "syncsnoop": "syncs",
}


def essential(text: str, work: Work) -> list[str]:
    """Lines about the work, sorted; without times and addresses, blanks as one. 4294967295 is -1: bpftrace 0.17
    cuts `%d` to 32 bits."""
    name = work.process.args[3]  # type: ignore[index]
    about = re.compile(rf"\b({work.pid}|{name})\b|echo typed|--norc")
    lines = [" ".join(line.split()) for line in text.splitlines() if about.search(line)]
    return sorted(re.sub(r"^[\d:.]+ |\b\d+\.\d+\b", "", line).replace("4294967295", "-1") for line in lines)


def settle(pid: int) -> None:
    """Wait until bpftrace has attached everything, which it does not say: until it opens no more files."""
    seen, since = -1, time.monotonic()
    while time.monotonic() < since + 0.8:
        count = len(os.listdir(f"/proc/{pid}/fd"))
        if count != seen:
            seen, since = count, time.monotonic()
        time.sleep(0.05)


@pytest.mark.skipif(shutil.which("bpftrace") is None, reason="no bpftrace to compare with")
@pytest.mark.parametrize(("name", "kind"), SAME.items(), ids=SAME)
def test_shows_what_bpftrace_shows(name: str, kind: str, pbt, tmp_path: Path) -> None:
    script, out = str(published.path(name)), tmp_path / "peer"
    doing = Work(kind, tmp_path / "file", *free_ports())
    with out.open("wb") as file:
        peer = subprocess.Popen(["bpftrace", "-B", "line", script], stdout=file, stderr=subprocess.DEVNULL)
        try:
            ours = pbt.start(script).attached()
            ours.until(lambda: b"Attaching" in out.read_bytes(), "bpftrace's start")
            settle(peer.pid)
            doing.go()
            mine = ours.interrupt()
            peer.send_signal(2)
            assert peer.wait(60) == 0
        finally:
            peer.kill()
            peer.wait()
            doing.close()
    theirs = essential(out.read_text(errors="backslashreplace"), doing)
    assert theirs and essential(mine.out, doing) == theirs
