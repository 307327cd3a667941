"""`--test` and `--bench`: probes that are run by the session, one after the other, and what is said of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from pbt.data import NamedTuple
from pbt.sys import bpf
from pbt.typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pbt.output.sink import Captured, Sink

PACKET = bytes(64)  # XDP programs are run on one; 14 bytes (an Ethernet header) would do
FIRST_REPEAT, LONG_ENOUGH = 1000, 100_000_000  # runs; nanoseconds
MOST_REPEAT = 1 << 26

Trial = tuple[str, int]  # name, program


class Host(Protocol):
    """What this asks of the session."""

    sink: Sink
    coloured: bool

    @property
    def stopped(self) -> bool: ...

    def captured(self) -> AbstractContextManager[Captured]: ...


class Result(NamedTuple):
    name: str
    nanoseconds: int
    passed: bool
    output: bytes


def run_tests(host: Host, trials: Sequence[Trial]) -> bool:
    """Run each test and report it; whether all passed."""
    say = _Report(host)
    say.line("green", "==========", f"Running {_tests(len(trials), always='s')}.")
    ran, failed = 0, []
    for name, fd in trials:
        if host.stopped:
            break
        say.line("green", " RUN      ", name)
        result, ran = _test(host, name, fd), ran + 1
        if not result.passed:
            failed.append(name)
            say.text(result.output)
        took = f"{name} ({result.nanoseconds // 1000} μs)"
        say.line(*(("green", "       OK ") if result.passed else ("red", "  FAILED  ")), took)
        data = {
            "duration": result.nanoseconds,
            "passed": result.passed,
            "output": result.output.decode(errors="replace"),
        }
        host.sink.emit("test_result", b"", {name: data})
        host.sink.settle()
    say.line("green", "==========", f"{_tests(ran)} ran.")
    say.line("green", "  PASSED  ", f"{_tests(ran - len(failed))}.")
    if failed:
        say.line("red", "  FAILED  ", f"{_tests(len(failed))}, listed below:")
        for name in failed:
            say.line("red", "  FAILED  ", name)
    host.sink.settle()
    return not failed


def _tests(count: int, always: str = "") -> str:
    return f"{count} test{always or 's' * (count != 1)}"


def _test(host: Host, name: str, fd: int) -> Result:
    """Passed: the program returned 0, reported no error, and did not exit with a status."""
    start = time.perf_counter_ns()
    with host.captured() as captured:
        ran = bpf.prog_test_run(fd, PACKET)
    took = ran.duration or time.perf_counter_ns() - start
    passed = not (ran.retval or captured.errors or captured.exit_code)
    return Result(name, took, passed, captured.text)


def run_benchmarks(host: Host, trials: Sequence[Trial]) -> bool:
    """Time each benchmark and report it; always True."""
    say = _Report(host)
    say.text(f"{'Benchmark':40} {'Time(ns)':16} Iterations\n{'-' * 66}\n".encode())
    for name, fd in trials:
        if host.stopped:
            break
        average, runs = _benchmark(host, fd)
        say.text(f"{name:40} {average:<16} {runs}\n".encode())
        host.sink.emit("benchmark_result", b"", {name: {"average": average, "iters": runs}})
        host.sink.settle()
    return True


def _benchmark(host: Host, fd: int) -> tuple[int, int]:
    """(mean nanoseconds of one run, runs): more and more of them, until they take long enough."""
    repeat = FIRST_REPEAT
    while True:
        with host.captured():
            ran = bpf.prog_test_run(fd, PACKET, repeat=repeat)
        if host.stopped or ran.duration * repeat >= LONG_ENOUGH or repeat >= MOST_REPEAT:
            return ran.duration, repeat
        wanted = LONG_ENOUGH // max(ran.duration, 1)
        repeat = min(max(2 * repeat, wanted + wanted // 8), MOST_REPEAT)


MODES: dict[str, Callable[[Host, Sequence[Trial]], bool]] = {"test": run_tests, "bench": run_benchmarks}

_COLOURS = {"green": "32", "red": "31"}


class _Report:
    """Lines of text for people; sinks of messages get the results alone."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def text(self, text: bytes) -> None:
        if self._host.sink.messages == "text":
            self._host.sink.write(text if text.endswith(b"\n") or not text else text + b"\n")

    def line(self, colour: str, mark: str, text: str) -> None:
        mark = f"[{mark}]"
        if self._host.coloured:
            mark = f"\x1b[{_COLOURS[colour]}m{mark}\x1b[0m"
        self.text(f"{mark} {text}\n".encode(errors="surrogateescape"))
