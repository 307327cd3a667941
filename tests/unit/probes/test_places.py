"""What `on_cpus` does with CPUs and threads that are gone since they were listed."""

import os
from errno import EMFILE, ENODEV, ESRCH

import pytest

from pbt.probes import common
from pbt.source import KernelError
from pbt.sys import links, perf
from pbt.sys.syscall import Fd


@pytest.fixture
def opened(monkeypatch):
    """Where events were opened; each of `errors` is refused."""
    places, errors = [], {}

    def perf_event_open(*, pid, cpu, **more):
        if (pid, cpu) in errors:
            raise KernelError("cannot open", errors[pid, cpu])
        places.append((pid, cpu))
        return Fd(os.open(os.devnull, os.O_RDONLY))

    monkeypatch.setattr(perf, "perf_event_open", perf_event_open)
    monkeypatch.setattr(perf, "enable", lambda fd: None)
    monkeypatch.setattr(links, "link_create", lambda *args, **more: Fd(os.open(os.devnull, os.O_RDONLY)))
    monkeypatch.setattr(common, "threads", lambda pid: [pid, pid + 1, pid + 2])
    return places, errors


def close(closeables):
    for each in closeables:
        each.close()


def test_those_that_are_gone_are_left_out(opened):
    places, errors = opened
    errors |= {(-1, 1): ENODEV, (6, -1): ESRCH}
    close(common.on_cpus(3, [0, 1, 2], None))
    close(common.on_cpus(3, [0], 5))
    assert places == [(-1, 0), (-1, 2), (5, -1), (7, -1)]


def test_if_all_are_gone_the_kernel_says_so(opened):
    places, errors = opened
    errors |= {(tid, -1): ESRCH for tid in (5, 6, 7)}
    with pytest.raises(KernelError) as refused:
        common.on_cpus(3, [0], 5)
    assert refused.value.errno == ESRCH and not places


def test_other_refusals_leave_nothing_open(opened):
    places, errors = opened
    errors |= {(-1, 1): EMFILE}
    before = os.listdir("/proc/self/fd")
    with pytest.raises(KernelError):
        common.on_cpus(3, [0, 1], None)
    assert os.listdir("/proc/self/fd") == before and places == [(-1, 0)]
