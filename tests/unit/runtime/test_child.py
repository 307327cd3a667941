"""The process of `-c`, where it cannot be, and what others may do to it."""

import fcntl
import os
import resource
import select
import signal
from errno import EAGAIN

import pytest

from pbt.runtime.child import Child, Watch
from pbt.source import KernelError, UsageError


def test_without_a_process_nothing_stays_open(monkeypatch):
    def refused():
        raise BlockingIOError(EAGAIN, os.strerror(EAGAIN))

    monkeypatch.setattr(os, "fork", refused)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(KernelError, match="cannot start true"):
        Child("true")
    assert len(os.listdir("/proc/self/fd")) == len(before)


def gone(pid):
    """Wait for the end of a child, and leave it a zombie."""
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def test_a_child_that_others_reap_has_ended():
    child = Child("true")
    child.go()
    os.waitpid(child.pid, 0)
    assert child.ended() and child.status == 0
    child.close()


def test_a_child_that_is_killed_before_its_time_is_an_error():
    child = Child("true")
    os.kill(child.pid, signal.SIGKILL)
    gone(child.pid)
    with pytest.raises(UsageError, match=r"cannot start .*true: something ended its process before"):
        child.go()
    child.close()
    assert child.status == -signal.SIGKILL


def test_a_child_ignores_no_signal_that_python_does(tmp_path):
    child = Child(["sh", "-c", f"grep SigIgn: /proc/self/status >{tmp_path}/signals"])
    child.go()
    gone(child.pid)
    child.close()
    ignored = int((tmp_path / "signals").read_text().split()[1], 16)
    assert not ignored & (1 << signal.SIGXFSZ - 1 | 1 << signal.SIGPIPE - 1)


def test_a_process_is_watched_by_whatever_descriptor(monkeypatch):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        low = os.pidfd_open(os.getpid())
        high = fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, 1100)  # select() takes those below 1024
        os.close(low)
        monkeypatch.setattr(os, "pidfd_open", lambda pid: high)
        watch = Watch(os.getpid())
        assert not watch.ended()
        watch.close()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_without_pidfds_a_process_is_asked_for(monkeypatch):
    def refused(pid):
        raise OSError(EAGAIN, os.strerror(EAGAIN))

    monkeypatch.setattr(os, "pidfd_open", refused)
    child = Child("sleep 9")
    monkeypatch.setattr(os.path, "exists", lambda path: False)  # /proc is not mounted
    watch = Watch(child.pid)
    assert not watch.fds and not watch.ended()
    child.close()
    assert watch.ended()


def test_a_child_that_is_forgotten_is_closed():
    before = os.listdir("/proc/self/fd")
    child = Child("sleep 9")
    child.go()
    pid = child.pid
    other = os.fork()
    if not other:  # the copy in another process ends nothing
        del child
        os._exit(0)
    os.waitpid(other, 0)
    assert not child.ended()
    del child
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    assert os.listdir("/proc/self/fd") == before


def test_a_child_ends_with_its_parent():
    """However that ends; here it is another process, which says the child's number."""
    readable, writable = os.pipe()
    parent = os.fork()
    if not parent:
        child = Child("sleep 99")
        child.go()
        os.write(writable, b"%d" % child.pid)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(parent, 0)
    end = select.poll()
    try:
        end.register(os.pidfd_open(int(os.read(readable, 16))), select.POLLIN)
    except ProcessLookupError:
        return
    assert end.poll(30_000)


def test_words_that_are_no_c_strings_are_an_error():
    child = Child(["true", "a\0b"])
    with pytest.raises(UsageError, match="Invalid argument\nHINT: a word of the command holds NUL"):
        child.go()
    child.close()


def test_a_child_that_is_stopped_is_ended():
    child = Child(["sh", "-c", "kill -STOP $$; sleep 9"])
    child.go()
    os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WNOWAIT)
    child.close()
    assert child.status == -signal.SIGTERM
