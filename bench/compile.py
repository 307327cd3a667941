"""How long compiling takes once Python is up: the largest tool, and growth with the number of probes.

    python -m bench.compile [--rounds N] [--short] [--json]

CPU milliseconds of one process, from source to bundle; the first compilation of a process, which reads
the parse table, and the median of those after it, in turn. `N probes`: programs of their own (each body has a number
and the name of its probe in it). Few probes are compiled as often around many as makes the same number of probes, so
that the machine's changes of pace meet both. `wildcard`: one body that names its probe, for hundreds of tracepoints.
"""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable
from statistics import mean

from bench.tools import PBT, Tool, debian_tools, explained, flag, machine, median, option, peers, table
from pbt.host.target import Target
from pbt.pipeline import compile
from pbt.source import PbtError, Source

FEW = 50  # probes


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


WILDCARD = Source(
    "wildcard", "tracepoint:syscalls:sys_enter_* { @[probe, comm, args.__syscall_nr] = count(); }"
)


def run(rounds: int, many: int) -> dict[str, object]:
    rows: list[list[object]] = []
    target = Target.live()
    hello = Source("hello", 'BEGIN { printf("hello\\n"); exit(); }')
    wanted = [hello, largest([PBT, *peers()], target), WILDCARD, probes(FEW), probes(many)]
    sources = {source: Target.live() for source in wanted if source}

    def taken(source: Source) -> float:
        return spent(lambda: compile(source, sources[source]))

    first = {source: taken(source) for source in sources}
    few, most = list(sources)[-2:]
    order = [*list(sources)[:-2], *[few] * (many // FEW // 2), most, *[few] * (many // FEW // 2)]
    turns = [[(source, taken(source)) for source in order] for _ in range(rounds)]
    for source in sources:
        again = median(ms for turn in turns for one, ms in turn if one is source)
        rows.append([source.name, len(source.text), first[source], again])
    ratio = median(
        max(ms for one, ms in turn if one is most) / mean([ms for one, ms in turn if one is few])
        for turn in turns
    )
    text = table(["script", "characters", "first, CPU ms", "again, CPU ms"], rows)
    return {
        "machine": dict(machine()),
        "rows": rows,
        "text": f"{text}\n\n{many} probes / {FEW} probes: {ratio:.1f} (bar: {many // FEW})",
    }


def main() -> None:
    explained(__doc__)
    short = flag("short")
    found = run(option("rounds", 1 if short else 5), 200 if short else 1000)
    print(json.dumps(found) if flag("json") else found["text"])


if __name__ == "__main__":
    main()
