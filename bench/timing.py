"""Nanoseconds per run that come out the same the next time.

What a program takes depends on more than the program. Measured on a machine of two virtual CPUs, where one
script under one tool gave 190 ns or 250: nearly all of that is the host, which lets another thread share the
core for a tenth of a second or for half a minute; the rest, some 5 % and now and then 15, is where the kernel put
code, maps and its statistics, which is another place each time a tool starts. Hence:

- The load is one process on a CPU of its own, before others in the queue, and works in bursts of some 10 ms. Before
  and after each it takes the pace of the CPU by a computation that no tool traces. A burst counts if that pace was as
  good as the best of the whole bench: a rule that knows neither the tool nor its figure.
- A start of a tool gives the lower quartile of the bursts that count. If these are too few, it goes on for a while.
- Tools are started in turn, A B A B. The figure of a tool is the median of its starts, and settled if more than half of
  them, and two, are within 2 % of it. Until that is so, those between which it is open who is faster go on as often as
  each other, up to a number of rounds (bench/code.py).
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from bench.running import Running
from bench.tools import CPUS, HERE, median, on

ENOUGH = 6  # bursts that count, for a start to have a figure
PATIENCE = 1.0  # seconds of waiting for them
SAME_PACE = 1.08  # of the best: another thread on the core makes it 1.15 and more
WHOLE = 0.9  # of the runs that the fullest burst had: less, and a tool was not attached yet
FEWEST = 200  # runs in a burst, for a time to be told
NEAR = 0.02  # of the median
NAN = float("nan")


class Burst(NamedTuple):
    """`pace`: nanoseconds of the load's own computation; `ns` and `runs`: of the programs of a tool."""

    pace: int
    ns: int
    runs: int


class Paces:
    """What the load's own computation took: the best of it tells whether the CPU is ours alone."""

    def __init__(self) -> None:
        self.best = 1 << 62

    def note(self, pace: int) -> int:
        self.best = min(self.best, pace)
        return pace

    def good(self, pace: int) -> bool:
        return pace <= SAME_PACE * self.best


class Load:
    """bench/load.py, which works when told to."""

    def __init__(self, kind: str, count: int) -> None:
        words = [sys.executable, "-S", str(HERE / "load.py"), kind, str(count), "--bursts"]
        with on(CPUS[:1]):
            self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def burst(self) -> int:
        """Let it work once: the pace."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def end(self) -> None:
        self.process.communicate()


@contextmanager
def loading(kind: str, count: int) -> Iterator[Load]:
    """A load that has worked once already, so that all is in its caches."""
    load = Load(kind, count)
    try:
        load.burst()
        yield load
    finally:
        load.end()


def calibrate(paces: Paces, seconds: float) -> None:
    """See the best pace before anything depends on it."""
    with loading("nothing", 0) as load:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            paces.note(load.burst())
            time.sleep(0.005)


def measure(running: Running, kind: str, count: int, paces: Paces) -> list[Burst]:
    """Bursts of a load until enough of them count, or patience ends."""
    found: list[Burst] = []
    with loading(kind, count) as load:
        end = time.monotonic() + PATIENCE
        while len(counting(found, paces)) < ENOUGH and time.monotonic() < end:
            before = running.times()
            pace = paces.note(load.burst())
            after = running.times()
            found.append(Burst(pace, after[0] - before[0], after[1] - before[1]))
            if len(found) >= ENOUGH and found[-1].runs < FEWEST:
                break
    return found


def counting(bursts: Sequence[Burst], paces: Paces) -> list[Burst]:
    """Those of the best pace in which all programs ran."""
    fullest = max((burst.runs for burst in bursts), default=0)
    return [b for b in bursts if b.runs >= max(FEWEST, WHOLE * fullest) and paces.good(b.pace)]


def of_start(bursts: Sequence[Burst], paces: Paces) -> float:
    """Nanoseconds per run: the lower quartile of the bursts that count; nan if there are not enough of them."""
    kept = sorted(b.ns / b.runs for b in counting(bursts, paces))
    return kept[len(kept) // 4] if len(kept) >= ENOUGH // 2 else NAN


def figure(starts: Sequence[Sequence[Burst]], paces: Paces) -> tuple[float, bool]:
    """Nanoseconds per run of a tool, and whether they are settled, from the bursts of each of its starts.

    nan is settled, too, where so little runs that there is nothing to tell.
    """
    kept = [ns for bursts in starts if (ns := of_start(bursts, paces)) == ns]
    if kept:
        middle = median(kept)
        near = sum(abs(ns - middle) <= NEAR * middle for ns in kept)
        return middle, near > max(1, len(kept) / 2)
    told = [b for bursts in starts for b in bursts if b.runs >= FEWEST]
    return min((b.ns / b.runs for b in told), default=NAN), not told
