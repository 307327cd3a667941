"""How events and maps get out of the kernel: rates, losses, processor time, memory.

    python -m bench.events [--rounds N] [--short] [--json]

`flood`: 400,000 printf events as fast as one process makes them; every one is printed or counted as lost.
`steady`: 100,000 a second for a minute. `map ...`: printing (or clearing) a map of 100,000 keys; `stacks`:
10,000 different kernel stacks: seconds from Ctrl-C to the end. Each tool in turn; medians. Needs root.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from bench.running import Running, program_ids
from bench.tools import HERE, PBT, Tool, explained, flag, in_turn, machine, median, option, peers, table

PROBE = 'tracepoint:syscalls:sys_enter_getppid /comm == "python3" || comm == "python"/'
FLOOD = PROBE + r' { printf("%s %d %d\n", comm, pid, cpu); }'
MAPS = {
    "map count": PROBE + " { @[nsecs] = count(); }",
    "map hist": PROBE + " { @[nsecs / 100000] = hist(nsecs % 1024); }",
    "map strings": PROBE + " { @[comm, nsecs] = nsecs; }",
    "map clear": PROBE + " { @[nsecs] = count(); } END { clear(@); }",
    "map hists": PROBE + " { @[nsecs] = hist(nsecs % 1024); }",
    "map averages": PROBE + " { @[nsecs] = avg(nsecs); }",
    "stacks": "tracepoint:bpf_trace:bpf_trace_printk { @[kstack] = count(); }",
}
LOADS = {"stacks": "stacks"}  # the other maps get theirs by "parents"
KEYS = {"BPFTRACE_MAP_KEYS_MAX": "250000", "BPFTRACE_MAX_MAP_KEYS": "250000"}  # older and newer name
_PRINTED = re.compile(r"python3? \d+ \d+")
_LOST = re.compile(r"Lost (\d+) events|\"lost_events\".*?\"events\": ?(\d+)")


class Flow(NamedTuple):
    """Events printed and lost; seconds until the last was printed; the tool's CPU seconds and peak MiB.

    `growth`: MiB in memory after the last event less those after the first tenth of the load.
    """

    printed: float
    lost: float
    seconds: float
    cpu: float
    peak: float
    growth: float


class Ended(NamedTuple):
    """Seconds from Ctrl-C to the end, CPU seconds of the whole run, peak MiB, lines printed."""

    seconds: float
    cpu: float
    peak: float
    lines: float


class Started(Running):
    """A tool whose output goes to a file; `wait` until its programs are there."""

    def __init__(self, tool: Tool, words: list[str], path: str) -> None:
        self.path, self.infos = path, {}
        with open(path, "wb") as out:
            self.process = subprocess.Popen(
                tool.running(*words), stdout=out, stderr=subprocess.STDOUT, env={**os.environ, **KEYS}
            )
        end = time.monotonic() + 20
        while not program_ids(self.process.pid) and time.monotonic() < end and self.process.poll() is None:
            time.sleep(0.02)
        while (
            b"ttach" not in Path(path).read_bytes() and time.monotonic() < end and self.process.poll() is None
        ):
            time.sleep(0.02)
        time.sleep(0.5)  # older releases say so before it is done

    def memory(self) -> float:
        """MiB in memory now."""
        found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{self.process.pid}/status").read_text())
        return int(found[1]) / 1024 if found else 0.0

    def end(self) -> tuple[float, float]:
        """Ctrl-C: CPU seconds and peak MiB of the whole run."""
        self.process.send_signal(signal.SIGINT)
        _, status, usage = os.wait4(self.process.pid, 0)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def load(kind: str, count: int) -> float:
    """Seconds that a load took."""
    words = [sys.executable, "-S", str(HERE / "load.py"), kind, str(count)]
    return float(subprocess.run(words, capture_output=True, text=True, check=True).stdout)


def flow(tool: Tool, kind: str, count: int, form: str, folder: str) -> Flow:
    started = Started(tool, ["-f", form, "-e", FLOOD], os.path.join(folder, "out"))
    begin = time.monotonic()
    load(kind, count // 10)
    before = started.memory()
    load(kind, count - count // 10)
    seconds, size = time.monotonic() - begin, -1
    while size != os.path.getsize(started.path):  # until nothing more comes
        size = os.path.getsize(started.path)
        time.sleep(0.1)
        seconds = time.monotonic() - begin - 0.1
    growth = started.memory() - before
    cpu, peak = started.end()
    printed = lost = 0
    with open(started.path, errors="replace") as file:  # by lines: a child's peak begins with ours
        for line in file:
            printed += _PRINTED.search(line) is not None
            lost += sum(int(a or b) for a, b in _LOST.findall(line))
    return Flow(printed, lost, seconds, cpu, peak, growth)


def ended(tool: Tool, name: str, count: int, folder: str) -> Ended:
    started = Started(tool, ["-e", MAPS[name]], os.path.join(folder, "out"))
    load(LOADS.get(name, "parents"), count)
    begin = time.monotonic()
    cpu, peak = started.end()
    seconds = time.monotonic() - begin
    with open(started.path, "rb") as file:
        return Ended(seconds, cpu, peak, sum(1 for _ in file))


def run(rounds: int, count: int, keys: int, stacks: int, minute: int, folder: str) -> dict[str, object]:
    tools = [PBT, *peers()]
    rows: list[list[object]] = []
    for name, kind, events, form, times in (
        ("flood", "parents", count, "text", rounds),
        ("flood json", "parents", count, "json", rounds),
        ("steady", "steadily", 100_000 * minute, "text", 1),
    ):
        flows = in_turn(tools, times, lambda tool: flow(tool, kind, events, form, folder))  # noqa: B023
        for tool in tools:
            f = Flow(*map(median, zip(*flows[tool.name], strict=True)))
            rate = f.printed / f.seconds
            rows.append([name, tool.name, int(f.printed), int(f.lost), rate, f.cpu, f.peak, f.growth])
    for name in MAPS:
        many = stacks if name == "stacks" else keys
        ends = in_turn(tools, rounds, lambda tool: ended(tool, name, many, folder))  # noqa: B023
        for tool in tools:
            e = Ended(*map(median, zip(*ends[tool.name], strict=True)))
            rows.append([name, tool.name, int(e.lines), "", e.seconds, e.cpu, e.peak])
    return {"machine": dict(machine()), "rows": rows, "text": show(rows)}


def show(rows: list[list[object]]) -> str:
    flows = [r for r in rows if str(r[0]).startswith(("flood", "steady"))]
    rest = [[*r[:3], *r[4:]] for r in rows if r not in flows]
    first = table(["load", "tool", "printed", "lost", "printed/s", "CPU s", "peak MiB", "growth MiB"], flows)
    return first + "\n\n" + table(["load", "tool", "lines", "seconds to the end", "CPU s", "peak MiB"], rest)


def main() -> None:
    explained(__doc__)
    from tempfile import TemporaryDirectory

    short = flag("short")
    with TemporaryDirectory() as folder:
        found = run(
            option("rounds", 1 if short else 2), 50_000 if short else 400_000, 5_000 if short else 100_000,
            500 if short else 10_000, option("seconds", 1 if short else 60), folder,
        )  # fmt: skip
    print(json.dumps(found) if flag("json") else found["text"])


if __name__ == "__main__":
    main()
