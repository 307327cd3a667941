"""How long compiling takes once Python is up: the largest tool, and growth with the number of probes.

    python -m bench.compile [--rounds N] [--short] [--json]

CPU milliseconds of one process, from source to bundle; the first compilation of a process, which reads
the parse table, and the median of those after it. `N probes`: programs of their own (the body names its
probe), for so many made-up tracepoints of a saved machine.
"""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable

from bench.tools import PBT, Tool, debian_tools, flag, machine, median, option, peers, table
from pbt.host.target import Target
from pbt.pipeline import compile
from pbt.source import PbtError, Source


def spent(work: Callable[[], object]) -> float:
    """CPU milliseconds, without collections of garbage, as the command compiles."""
    gc.collect()
    gc.disable()
    start = time.process_time()
    work()
    return (time.process_time() - start) * 1e3


def largest(tools: list[Tool], target: Target) -> Source | None:
    """The longest packaged script that compiles here."""
    paths = sorted({p for tool in tools for p in debian_tools(tool)}, key=lambda p: -p.stat().st_size)
    for path in paths:
        source = Source(path.name, path.read_text())
        try:
            compile(source, target)
            return source
        except PbtError:
            continue
    return None


def probes(count: int) -> Source:
    """A script of `count` probes, each a program of its own."""
    parts = [
        f"tracepoint:syscalls:sys_enter_openat {{ @[probe, {n}, comm] = count(); }}" for n in range(count)
    ]
    return Source(f"{count} probes", "\n".join(parts))


def run(rounds: int, many: int) -> dict[str, object]:
    rows: list[list[object]] = []
    target = Target.live()
    hello = Source("hello", 'BEGIN { printf("hello\\n"); exit(); }')
    sources = [hello, largest([PBT, *peers()], target), probes(50), probes(many)]
    for source in filter(None, sources):
        fresh = Target.live()
        first = spent(lambda: compile(source, fresh))  # noqa: B023
        again = median(spent(lambda: compile(source, fresh)) for _ in range(rounds))  # noqa: B023
        rows.append([source.name, len(source.text), first, again])
    ratio = rows[-1][3] / rows[-2][3]  # type: ignore[operator]
    text = table(["script", "characters", "first, CPU ms", "again, CPU ms"], rows)
    return {
        "machine": dict(machine()),
        "rows": rows,
        "text": f"{text}\n\n{many} probes / 50 probes: {ratio:.1f} (bar: {many // 50})",
    }


def main() -> None:
    short = flag("short")
    found = run(option("rounds", 1 if short else 5), 200 if short else 1000)
    print(json.dumps(found) if flag("json") else found["text"])


if __name__ == "__main__":
    main()
