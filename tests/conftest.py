"""Fixtures and markers of all tests: what may run on this machine, and `pbt`, the command itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, NamedTuple

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent
COMMAND = (sys.executable, "-m", "pbt")
PATIENCE = 60.0  # seconds: the emulated machines of tests/lab are slow
REQUIRED = os.environ.get("PBT_REQUIRE_LIVE") == "1"
os.environ["PBT_NO_CACHE"] = "1"  # each test compiles, and finds nothing of earlier ones

# The same examples in every run, so that a change passes or does not; PBT_EXPLORE=1 takes new ones each time.
settings.register_profile(
    "pbt", derandomize=os.environ.get("PBT_EXPLORE") != "1", deadline=None, print_blob=True
)
settings.load_profile("pbt")
signal.signal(
    signal.SIGQUIT, signal.SIG_DFL
)  # background jobs of a shell ignore it, and so would what they start


# --- what may run here -------------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--bless", action="store_true", help="rewrite the expected answers of golden tests")


@pytest.fixture
def bless(request: pytest.FixtureRequest) -> bool:
    """Whether expected answers are to be rewritten instead of compared."""
    return bool(request.config.getoption("--bless"))


@cache
def no_live() -> str:
    """Why live tests cannot run here; "" if they can."""
    if os.geteuid() != 0:
        return "live tests need root"
    from pbt.source import PbtError
    from pbt.sys import bpf

    try:
        bpf.map_create("ARRAY", 4, 4, 1).close()
    except PbtError as error:
        return f"live tests need bpf(): {error}"
    return ""


@cache
def has(feature: str) -> bool:
    from pbt.host.target import Target

    return Target.live().has(feature)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("live") and no_live():
        (pytest.fail if REQUIRED else pytest.skip)(no_live())
    for mark in item.iter_markers("needs"):
        for feature in mark.args:
            if no_live() or not has(feature):
                pytest.skip(f"this kernel has no {feature}")


# --- the command -------------------------------------------------------------------------------------


class Outcome(NamedTuple):
    """A finished run: exit status (minus a signal's number), and all it wrote."""

    status: int
    out: str
    err: str
    raw: bytes

    def lines(self) -> list[str]:
        return self.out.splitlines()


def _file() -> IO[bytes]:
    return TemporaryFile()


class Run:
    """A `pbt` under way. Its output goes to files, so it never waits for a reader."""

    def __init__(
        self, words: Sequence[str], env: Mapping[str, str], input: bytes, cwd: Path | None, stack: ExitStack
    ) -> None:
        stdin = stack.enter_context(_file())
        self._out, self._err = stack.enter_context(_file()), stack.enter_context(_file())
        stdin.write(input)
        stdin.seek(0)
        self.process = subprocess.Popen(
            [*COMMAND, *words],
            stdin=stdin,
            stdout=self._out,
            stderr=self._err,
            env=environment(env),
            cwd=cwd or ROOT,
        )
        stack.callback(self.kill)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def out(self) -> str:
        return self._read(self._out).decode(errors="backslashreplace")

    @property
    def err(self) -> str:
        return self._read(self._err).decode(errors="backslashreplace")

    @staticmethod
    def _read(file: IO[bytes]) -> bytes:
        return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0)

    def until(self, condition: Callable[[], object], what: str, timeout: float = PATIENCE) -> None:
        """Wait for a condition; fails the test if the run ends or `timeout` seconds pass before."""
        end = time.monotonic() + timeout
        while not condition():
            if self.process.poll() is not None and not condition():
                pytest.fail(f"ended with {self.process.returncode} before {what}\n{self.out}\n{self.err}")
            if time.monotonic() > end:
                pytest.fail(f"no {what} within {timeout} s\n{self.out}\n{self.err}")
            time.sleep(0.01)

    def attached(self) -> Run:
        """Wait until all probes are attached."""
        self.until(lambda: "\nAttached " in "\n" + self.err or '"attached_probes"' in self.out, "Attached")
        return self

    def saw(self, text: str) -> Run:
        """Wait until standard output has `text`."""
        self.until(lambda: text in self.out, f"{text!r} in the output")
        return self

    def interrupt(self) -> Outcome:
        """Ctrl-C, then `finish`."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.finish()

    def finish(self, timeout: float = PATIENCE) -> Outcome:
        """Wait for the end."""
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            pytest.fail(f"still running after {timeout} s\n{self.out}\n{self.err}")
        return Outcome(status, self.out, self.err, self._read(self._out))

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """Ours without BPFTRACE_* variables, whatever the user of these tests has set."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BPFTRACE_")}
    path = os.pathsep.join(filter(None, (str(ROOT), kept.get("PYTHONPATH", ""))))
    return {**kept, "PYTHONPATH": path, **more}


class Pbt:
    """Runs the command: `pbt(...)` to its end, `pbt.start(...)` until it is told to stop."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def start(
        self, *words: str, env: Mapping[str, str] | None = None, input: bytes = b"", cwd: Path | None = None
    ) -> Run:
        return Run(words, env or {}, input, cwd, self._stack)

    def __call__(
        self,
        *words: str,
        load: Callable[[], object] | None = None,
        env: Mapping[str, str] | None = None,
        input: bytes = b"",
        cwd: Path | None = None,
        timeout: float = PATIENCE,
    ) -> Outcome:
        """Run to the end. With `load`: call it once everything is attached, then press Ctrl-C."""
        run = self.start(*words, env=env, input=input, cwd=cwd)
        if load is None:
            return run.finish(timeout)
        run.attached()
        load()
        return run.interrupt()


@pytest.fixture
def pbt() -> Iterator[Pbt]:
    """The command `pbt`; what a test leaves running is killed at its end."""
    with ExitStack() as stack:
        yield Pbt(stack)


@pytest.fixture(scope="session")
def tracefs() -> Path:
    """Where tracefs is; pbt mounts it if it has to."""
    from pbt.sys.mount import tracefs as find

    return Path(find())
