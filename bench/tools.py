"""The tools that the benches compare: pbt, the bpftrace on the search path, and one more if named.

The environment variable PBT_PEER names the other one as a command, such as "chroot /path/to/sid bpftrace".
"""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

HERE = Path(__file__).parent
SCRIPTS = HERE / "scripts"
CPUS = sorted(os.sched_getaffinity(0))


class Tool(NamedTuple):
    """`command` takes a bpftrace command line. `root`: the folder that the tool sees as /."""

    name: str
    command: tuple[str, ...]
    root: Path = Path("/")

    def running(self, *words: str) -> list[str]:
        return [*self.command, *words]

    def inside(self, path: Path) -> str:
        """A file below `root` as the tool names it."""
        return "/" + str(path.relative_to(self.root))


PBT = Tool("pbt", (sys.executable, "-m", "pbt"))


def peers() -> list[Tool]:
    """Those that are there, the older first."""
    found = []
    if shutil.which("bpftrace"):
        found.append(_peer(("bpftrace",)))
    words = tuple(shlex.split(os.environ.get("PBT_PEER", "")))
    if words:
        found.append(_peer(words))
    return found


def _peer(command: tuple[str, ...]) -> Tool:
    asked = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
    root = Path(command[1]) if command[0] == "chroot" else Path("/")
    return Tool(f"bpftrace {asked.stdout.split('v')[-1].strip()}", command, root)


def debian_tools(tool: Tool) -> list[Path]:
    """The scripts that a packaged bpftrace brings."""
    return sorted((tool.root / "usr/sbin").glob("*.bt"))


def one_liners() -> list[Path]:
    return sorted(SCRIPTS.glob("*.bt"))


Found = TypeVar("Found")


def in_turn(tools: Sequence[Tool], rounds: int, measure: Callable[[Tool], Found]) -> dict[str, list[Found]]:
    """A B A B: every tool once in each round, so that all see the same machine."""
    found: dict[str, list[Found]] = {tool.name: [] for tool in tools}
    for _ in range(rounds):
        for tool in tools:
            found[tool.name].append(measure(tool))
    return found


@contextmanager
def on(cpus: Collection[int]) -> Iterator[None]:
    """Processes that are started inside run on these CPUs alone."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def median(numbers: Iterable[float]) -> float:
    return statistics.median(numbers)


def geometric_mean(numbers: Iterable[float]) -> float:
    kept = [n for n in numbers if n > 0]
    return statistics.geometric_mean(kept) if kept else float("nan")


def option(name: str, default: int) -> int:
    """The number behind `--name` on the command line."""
    words = sys.argv
    return int(words[words.index(f"--{name}") + 1]) if f"--{name}" in words else default


def flag(name: str) -> bool:
    return f"--{name}" in sys.argv


def explained(about: str | None) -> None:
    """End with what a bench is about and its options, if these are asked for."""
    if flag("help") or "-h" in sys.argv:
        print(about)
        print("Options of most: --short, --json, --rounds N; of run and code also: --only NAME")
        sys.exit()


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; numbers to the right."""
    texts = [[_cell(cell) for cell in row] for row in rows]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" + "---:|" * (len(head) - 1)]
    lines += ["| " + " | ".join(row) + " |" for row in texts]
    return "\n".join(lines)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:.2f}" if abs(value) < 100 else f"{value:.0f}"
    return "" if value is None else str(value)


def machine() -> Iterator[tuple[str, str]]:
    """What the figures depend on."""
    yield "kernel", platform.release()
    yield "machine", f"{platform.machine()}, {os.cpu_count()} CPUs"
    yield "Python", platform.python_version()
    yield "load before", " ".join(f"{n:.1f}" for n in os.getloadavg())
