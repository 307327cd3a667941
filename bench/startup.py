"""How long it takes until a script runs and ends: pbt beside an installed bpftrace, in turn.

    python bench/startup.py [--rounds N] [--json]

Each round runs every program once with every tool, so that both see the same machine. Reported are
medians of wall time, CPU time (user + system of the process) and the largest peak of memory, and the
ratio pbt / bpftrace: below 1 is better. Needs root.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

PROGRAMS = {
    "hello": r'BEGIN { printf("hello\n"); exit(); }',
    "openat": r'tracepoint:syscalls:sys_enter_openat { printf("%s %s\n", comm, str(args->filename)); } '
    r"interval:ms:1 { exit(); }",
    "task_struct": r'BEGIN { printf("%d\n", ((struct task_struct *)curtask)->real_parent->pid); exit(); }',
}


class Run(NamedTuple):
    wall: float  # seconds
    cpu: float  # seconds, user and system
    peak: int  # KiB of resident memory


def measure(command: list[str]) -> Run:
    """One run; its exit status must be 0."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    complaint = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.stderr.close()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}:\n{complaint.decode()}")
    return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss)


def tools(folder: str) -> dict[str, dict[str, list[str]]]:
    """Tool → program → command. pbt also as a file built beforehand."""
    pbt = [sys.executable, "-m", "pbt"]
    made: dict[str, dict[str, list[str]]] = {"pbt": {}, "pbt run": {}}
    for name, text in PROGRAMS.items():
        made["pbt"][name] = [*pbt, "-e", text]
        built = os.path.join(folder, f"{name}.pbt")
        subprocess.run([*pbt, "build", "-e", text, "-o", built], check=True, stdout=subprocess.DEVNULL)
        made["pbt run"][name] = [*pbt, "run", built]
    peer = shutil.which("bpftrace")
    if peer:
        made["bpftrace"] = {name: [peer, "-e", text] for name, text in PROGRAMS.items()}
    return made


def main() -> None:
    rounds = int(sys.argv[sys.argv.index("--rounds") + 1]) if "--rounds" in sys.argv else 10
    with tempfile.TemporaryDirectory() as folder:
        commands = tools(folder)
        runs: dict[tuple[str, str], list[Run]] = {}
        for number in range(rounds + 1):
            for program in PROGRAMS:
                for tool, known in commands.items():
                    found = measure(known[program])
                    if number:  # the first round only warms the caches
                        runs.setdefault((program, tool), []).append(found)
    report = {key: summary(found) for key, found in runs.items()}
    if "--json" in sys.argv:
        print(json.dumps({f"{program} {tool}": run._asdict() for (program, tool), run in report.items()}))
        return
    show(report, list(commands))


def summary(runs: list[Run]) -> Run:
    return Run(
        statistics.median(r.wall for r in runs),
        statistics.median(r.cpu for r in runs),
        max(r.peak for r in runs),
    )


def show(report: dict[tuple[str, str], Run], names: list[str]) -> None:
    print(
        f"{'program':12} {'tool':10} {'wall s':>8} {'cpu s':>8} {'peak MiB':>9}   ratio to bpftrace: wall cpu peak"
    )
    for program in PROGRAMS:
        peer = report.get((program, "bpftrace"))
        for tool in names:
            run = report[program, tool]
            line = f"{program:12} {tool:10} {run.wall:8.3f} {run.cpu:8.3f} {run.peak / 1024:9.1f}"
            if peer and tool != "bpftrace":
                line += (
                    f"   {run.wall / peer.wall:24.2f} {run.cpu / peer.cpu:5.2f} {run.peak / peer.peak:5.2f}"
                )
            print(line)


if __name__ == "__main__":
    main()
