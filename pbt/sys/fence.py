"""Order between reads and writes of memory shared with the kernel."""

from __future__ import annotations

from _thread import allocate_lock

_lock = allocate_lock()
_lock.acquire()


def fence() -> None:
    """Everything before happens before everything after, also on weakly ordered processors.

    Unlocking is a release operation (nothing before it moves behind it), locking an acquire operation
    (nothing after it moves ahead of it), and an acquire never moves ahead of the release it reads from.
    Together, in this order, they keep all loads and stores apart. Nobody else uses the lock, so neither
    waits; the two take about 0.1 µs. Single loads and stores of aligned words through a memoryview are
    not torn: CPython copies them with one machine instruction.
    """
    _lock.release()
    _lock.acquire()
