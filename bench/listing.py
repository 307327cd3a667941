"""How long `-l` takes until its first line, for each provider: pbt, and installed bpftraces beside it.

    python -m bench.listing [--rounds N] [--short] [--json]

pbt is installed with byte code, as in `bench.startup`. Reported are medians of the wall time to the first byte
and of the CPU time (user + system) until the reader, as `head -1` does, goes away. Needs root.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from tempfile import TemporaryDirectory
from typing import NamedTuple

from bench.startup import installed
from bench.tools import Tool, explained, flag, in_turn, machine, median, option, peers, table

PATTERNS = (
    "kprobe:*", "kretprobe:*", "fentry:*", "fexit:*", "tracepoint:*", "rawtracepoint:*", "iter:*", "software:*",
    "hardware:*", "interval:*", "profile:*", "uprobe:/bin/bash:*", "usdt:/lib/x86_64-linux-gnu/libc.so.6:*",
    "struct *", "*sleep*",
)  # fmt: skip
_WHAT = ("first s", "CPU s")


class First(NamedTuple):
    wall: float  # seconds to the first byte, or to the end of a listing without one
    cpu: float  # seconds, user and system, of the whole process


def measure(command: list[str], environment: dict[str, str]) -> First:
    """One listing, of which only the beginning is read."""
    start = time.perf_counter()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    ) as process:
        assert process.stdout is not None
        os.read(process.stdout.fileno(), 1)
        wall = time.perf_counter() - start
        process.stdout.close()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return First(wall, usage.ru_utime + usage.ru_stime)


def run(rounds: int) -> dict[str, object]:
    rows: list[list[object]] = []
    with TemporaryDirectory() as folder:
        (ours, _), environment = installed(folder)
        tools = [ours, *peers()]
        for pattern in PATTERNS:
            row: list[object] = [pattern]
            for words in (["-l", pattern], ["-lv", pattern]):

                def once(tool: Tool, words: list[str] = words) -> First:
                    return measure(tool.running(*words), environment)

                for runs in in_turn(tools, rounds, once).values():
                    row += [median(r.wall for r in runs), median(r.cpu for r in runs)]
            rows.append(row)
    head = ["pattern"]
    head += [f"{option} {tool.name}: {what}" for option in ("-l", "-lv") for tool in tools for what in _WHAT]
    return {"machine": dict(machine()), "rows": rows, "text": table(head, rows)}


def main() -> None:
    explained(__doc__)
    found = run(option("rounds", 1 if flag("short") else 7))
    print(json.dumps(found) if flag("json") else found["text"])


if __name__ == "__main__":
    main()
