"""Signals to this process while a script runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    import signal
else:
    import _signal as signal  # `signal` itself makes enums of the numbers, which takes long


@contextmanager
def handled(stop: Callable[[], None], told: Callable[[], None]) -> Iterator[None]:
    """The first SIGINT or SIGTERM begins the orderly end, the second one kills; `told` hears of SIGUSR1."""

    def caught(number: int, frame: object) -> None:
        stop()
        signal.signal(number, signal.SIG_DFL)

    try:
        old = {number: signal.signal(number, caught) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # in a thread, where there are no signals
        yield
        return
    old[signal.SIGUSR1] = signal.signal(signal.SIGUSR1, lambda number, frame: told())
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
