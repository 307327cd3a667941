"""Attaching and detaching a thousand times leaves no descriptor, link, program or event behind."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from pbt.host.target import Target
from pbt.pipeline import compile
from pbt.runtime.attach import attach
from pbt.runtime.load import load
from pbt.source import KernelError, Source
from pbt.sys import objects
from tests.conftest import PATIENCE
from tests.live.held import link_info

pytestmark = pytest.mark.live

TIMES = 250  # for each of four probes: a thousand links
SCRIPT = """
tracepoint:sched:sched_process_exit { @ = count(); }
rawtracepoint:sched_process_exec { @ = count(); }
uprobe:libc:getpgid { @ = count(); }
software:major-faults:1000000 { @ = count(); }
"""


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def text_events(tracefs: Path) -> str:
    """Events that were made by writing text, ours bear our name."""
    files = [tracefs / name for name in ("uprobe_events", "kprobe_events")]
    return "".join(line for file in files if file.exists() for line in file.open() if "pbt" in line)


def links_of(programs: set[int]) -> set[int]:
    """The kernel's links that hold one of the programs. Others may be tracing at the same time."""
    found = set()
    for number in objects.ids("link"):
        try:
            with objects.fd_by_id("link", number) as fd:
                info = link_info(fd.fileno())
        except KernelError:
            continue  # gone meanwhile
        found |= {info.id} if info.prog_id in programs else set()
    return found


def test_a_thousand_times(tracefs: Path) -> None:
    target = Target.live()
    host = SimpleNamespace(pid=None, target=target, cpus=target.online, say=len)
    bundle = compile(Source("often.bt", SCRIPT), target)
    before = descriptors()
    with load(bundle, target) as loaded:
        programs = {objects.prog_info(fd.fileno()).id for fd in loaded.programs}
        between = descriptors()
        for number in range(TIMES):
            links = attach(loaded, host, pytest.fail)
            assert links.count == 4, number
            assert number or len(links_of(programs)) >= 4
            links.close()
        assert descriptors() == between
    assert descriptors() == before and not text_events(tracefs)
    end = time.monotonic() + PATIENCE
    while (left := programs & set(objects.ids("prog")) or links_of(programs)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not left
