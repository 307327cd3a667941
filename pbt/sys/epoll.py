"""Waiting for file descriptors."""

from __future__ import annotations

import select
from collections.abc import Iterable
from types import TracebackType


class Epoll:
    """Descriptors to wait for, until closed; a descriptor that is closed leaves by itself.

    Perf buffers tell of new records once: read them once after they are added, and then whenever
    `wait` names them.
    """

    def __init__(self, fds: Iterable[int] = ()) -> None:
        self._epoll = select.epoll()
        for fd in fds:
            self.add(fd)

    def add(self, fd: int) -> None:
        """Wait for this one too: until it is readable, hung up or in error."""
        self._epoll.register(fd, select.EPOLLIN)

    def remove(self, fd: int) -> None:
        """Wait for it no more."""
        self._epoll.unregister(fd)

    def wait(self, timeout: float | None = None) -> list[int]:
        """Those that are ready, after at most `timeout` seconds (None: however long it takes)."""
        return [fd for fd, _ in self._epoll.poll(timeout)]

    def close(self) -> None:
        self._epoll.close()

    def __enter__(self) -> Epoll:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def wait(fds: Iterable[int], timeout: float | None = None) -> list[int]:
    """Those of `fds` that are ready, after at most `timeout` seconds; for a single wait."""
    poll = select.poll()
    for fd in fds:
        poll.register(fd, select.POLLIN)
    return [fd for fd, _ in poll.poll(None if timeout is None else timeout * 1000)]
