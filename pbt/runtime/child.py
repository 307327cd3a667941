"""The process of `-c`, held back until the probes are attached, and the end of processes."""

from __future__ import annotations

import errno
import os
import time
from _thread import get_native_id
from collections.abc import Callable, Sequence
from contextlib import suppress

from pbt.source import KernelError, UsageError
from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    import signal
else:
    import _signal as signal  # `signal` itself makes enums of the numbers, which takes long


class Watch:
    """Notices the end of a process that need not be ours (`-p`)."""

    def __init__(self, pid: int) -> None:
        """Raises UsageError if there is no such process."""
        if not _exists(pid):
            raise UsageError(f"Failed to watch pid: {pid}: no such process")
        self.pid = pid
        self._pidfd = _pidfd(pid)

    @property
    def fds(self) -> Sequence[int]:
        """Becomes readable at the end of the process, where the kernel has pidfds (5.3)."""
        return (self._pidfd,) if self._pidfd >= 0 else ()

    def ended(self) -> bool:
        """Whether the process is gone."""
        if self._pidfd >= 0:
            import select

            end = select.poll()  # not select(), which takes no descriptors above 1023
            end.register(self._pidfd, select.POLLIN)
            return bool(end.poll(0))
        return not _exists(self.pid)

    def close(self) -> None:
        fd, self._pidfd = self._pidfd, -1
        if fd >= 0:
            os.close(fd)


class Child:
    """A command as a child process that waits before exec until `go`. Forgotten, it is closed."""

    status: int | None

    def __init__(self, command: str | Sequence[str]) -> None:
        """A text is split like a shell's words, without a shell.

        Raises UsageError if it is no program, KernelError where there may be no more processes.
        """
        self.pid, self.status, self._parent = 0, None, os.getpid()
        from pbt.sys.prctl import end_with_parent

        words = _words(command)
        path = _path(words[0])
        ends: list[int] = []
        try:
            ends += os.pipe()
            ends += os.pipe()
            main = get_native_id() == os.getpid()  # another thread may end while the script runs
            pid = os.fork()
        except OSError as error:
            for fd in ends:
                os.close(fd)
            raise KernelError(f"cannot start {words[0]}", error.errno or 0) from error
        held, self._gate, self._failure, failed = ends
        self._path = path
        if not pid:
            if main:
                end_with_parent(signal.SIGTERM)
            _become(path, words, held, self._gate, failed)
        os.close(held)
        os.close(failed)
        self._watch = Watch(pid)
        self.pid = pid

    @property
    def fds(self) -> Sequence[int]:
        return self._watch.fds

    def go(self, look: Callable[[], None] | None = None) -> None:
        """Let it start its program; UsageError if that is none.

        `look` is called before it runs, where this process may stop it so long.
        """
        gate, self._gate = self._gate, -1
        if gate < 0:
            return
        stops = look is not None and _seize(self.pid)
        try:
            os.write(gate, b"!")
        except BrokenPipeError:
            raise UsageError(f"cannot start {self._path}: something ended its process before") from None
        finally:
            os.close(gate)
        if stops and look is not None:
            self._stopped(look)
        if failure := os.read(self._failure, 8):
            raise UsageError(
                f"cannot start {self._path}: {os.strerror(int(failure))}", _MEANINGS.get(int(failure), "")
            )

    def _stopped(self, look: Callable[[], None]) -> None:
        from pbt.sys import ptrace

        try:
            _, status = os.waitpid(self.pid, 0)
        except ChildProcessError:  # see `ended`
            return
        if not os.WIFSTOPPED(status):
            self.status = os.waitstatus_to_exitcode(status)
            return
        try:
            if ptrace.at_exec(status):
                look()
        finally:
            ptrace.release(self.pid, 0 if status >> 16 else os.WSTOPSIG(status))

    def ended(self) -> bool:
        """Whether it is gone; then `status` is its exit code, minus a signal's number if that killed it.

        0 where nobody knows: this process ignores SIGCHLD, or other parts of it reap children that are not theirs.
        """
        if self.status is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:
                pid, status = self.pid, 0
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
        return self.status is not None

    def close(self) -> None:
        """Ask it to end (SIGTERM, or end-of-file while it waits) and reap it."""
        gate, self._gate = self._gate, -1
        if gate >= 0:
            os.close(gate)
        failure, self._failure = self._failure, -1
        if failure >= 0:
            os.close(failure)
        if not self.ended():
            with suppress(OSError):  # reaped by others meanwhile; or it has become a program of another user
                os.kill(self.pid, signal.SIGTERM)
                os.kill(self.pid, signal.SIGCONT)  # one that is stopped would notice when it goes on
            self._reap()
        self._watch.close()

    def __del__(self) -> None:
        if self.pid and self._parent == os.getpid():  # a forked process has a copy of this, but no such child
            self.close()

    def _reap(self) -> None:
        """Wait for it, but not for ever: it may ignore SIGTERM, and then lives on."""
        deadline = time.monotonic() + 1
        while not self.ended() and time.monotonic() < deadline:
            time.sleep(0.005)


def _exists(pid: int) -> bool:
    """Whether there is such a process, be it a zombie or somebody else's."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _pidfd(pid: int) -> int:
    try:
        return os.pidfd_open(pid)
    except OSError:
        return -1


def _seize(pid: int) -> bool:
    """Whether the process stops when it starts its program. Who is not root does without: such a process would
    not become the owner of a program with the set-user-id bit."""
    from pbt.sys.ptrace import seize

    return os.geteuid() == 0 and seize(pid)


def _words(command: str | Sequence[str]) -> list[str]:
    if not isinstance(command, str):
        words = list(command)
    else:
        import shlex

        try:
            words = shlex.split(command)
        except ValueError as error:
            raise UsageError(f"cannot split the command {command!r}: {error}") from error
    if not words:
        raise UsageError("the command to run is empty")
    return words


def _path(name: str) -> str:
    import shutil

    found = shutil.which(name)
    if found is None:
        raise UsageError(f"path '{name}' does not exist or is not executable")
    return found


_MEANINGS = {
    errno.ENOENT: "the program that its first line or its header names is not there",
    errno.EINVAL: "a word of the command holds NUL, or characters that are no text",
    errno.E2BIG: "its words are longer than the system lets them be: see execve(2)",
    errno.ENOEXEC: "this is no program of this machine; a script begins with #! and the program that runs it",
}


_AS_USUAL = (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGXFSZ)
"""Signals that this process catches, or that Python has ignored since its start."""


def _become(path: str, words: Sequence[str], held: int, gate: int, failed: int) -> None:
    """In the child: wait at the gate, then be the program, or say with errno why not. Never returns."""
    try:
        os.close(gate)
        for number in _AS_USUAL:
            signal.signal(number, signal.SIG_DFL)
        if os.read(held, 1):
            os.execv(path, list(words))
    except OSError as error:
        os.write(failed, b"%d" % (error.errno or 0))
    except ValueError:  # a word that is no C string
        os.write(failed, b"%d" % errno.EINVAL)
    finally:
        os._exit(127)
