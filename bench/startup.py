"""How long it takes until a script runs and ends: pbt beside installed bpftraces, in turn.

    python -m bench.startup [--rounds N] [--short] [--json]

pbt is installed into a virtual environment of its own first, as pip would do it, byte code included; "pbt"
starts with nothing kept from earlier starts (and keeps what it compiled), "pbt again" with what it kept, and
"pbt run" with the file that `pbt build` made of the program beforehand. Each
round runs every program once with every tool, so that all see the same machine. Reported are medians of wall
time and of CPU time (user + system of the process), the largest peak of memory, and ratios to each bpftrace:
below 1 is better. Needs root.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from bench.tools import (
    HERE,
    Tool,
    debian_tools,
    explained,
    flag,
    in_turn,
    machine,
    median,
    option,
    peers,
    table,
)
from pbt import __version__

PROGRAMS = {
    "hello": r'BEGIN { printf("hello\n"); exit(); }',
    "openat, str()": r'tracepoint:syscalls:sys_enter_openat { printf("%s %s\n", comm, str(args->filename)); } '
    r"interval:ms:1 { exit(); }",
    "task_struct": r'BEGIN { printf("%d\n", ((struct task_struct *)curtask)->real_parent->pid); exit(); }',
    "kstack profile": "profile:hz:99 { @[kstack] = count(); } interval:ms:100 { exit(); }",
}


class Run(NamedTuple):
    wall: float  # seconds
    cpu: float  # seconds, user and system
    peak: float  # MiB of resident memory


def measure(command: list[str], environment: dict[str, str], forget: str = "") -> Run:
    """One run; its exit status must be 0. `forget`: a folder to remove first."""
    if forget:
        shutil.rmtree(forget, ignore_errors=True)
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment)
    assert process.stderr is not None
    complaint = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.stderr.close()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}:\n{complaint.decode()}")
    return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


COLD, WARM, BUILT = "pbt", "pbt again", "pbt run"
_ENDING = (
    0.1  # seconds for each tracepoint: the kernel may still end them when the tool that had them is gone
)
SYSTEM = "/usr/bin/python3"  # what users install pbt with, as the peers are the distribution's builds


def interpreter() -> str:
    """The distribution's Python, if pbt runs on it, else the one that runs this."""
    asked = [SYSTEM, "-c", "import sys, venv; sys.exit(sys.version_info < (3, 10))"]
    try:
        fit = subprocess.run(asked, check=False, capture_output=True).returncode == 0
    except OSError:
        fit = False
    return SYSTEM if fit else sys.executable


def installed(folder: str) -> tuple[tuple[Tool, Tool], dict[str, str]]:
    """pbt in a virtual environment below `folder`, without and with what it kept, and what to run both with."""
    subprocess.run([interpreter(), "-m", "venv", "--without-pip", folder], check=True)
    site = next(Path(folder).glob("lib/python3*/site-packages"))
    shutil.copytree(HERE.parent / "pbt", site / "pbt", ignore=shutil.ignore_patterns("__pycache__"))
    about = site / f"pbt_bpf-{__version__}.dist-info"
    about.mkdir()
    (about / "RECORD").write_text("")
    python = f"{folder}/bin/python"
    subprocess.run([python, "-m", "compileall", "-q", str(site)], check=True)
    command = Path(folder) / "bin" / "pbt"
    command.write_text(f"#!{python}\nimport sys\nfrom pbt.__main__ import main\nsys.exit(main())\n")
    command.chmod(0o755)
    left_out = ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "PBT_NO_CACHE")
    kept = {name: value for name, value in os.environ.items() if name not in left_out}
    tools = Tool(COLD, (str(command),)), Tool(WARM, (str(command),))
    return tools, {**kept, "XDG_CACHE_HOME": f"{folder}/kept"}


def built(ours: Tool, script: str, file: str, environment: dict[str, str]) -> Tool:
    """pbt with a file made of the script, which is all of its command line."""
    words = ours.running("build", "-e", script, "-o", file)
    subprocess.run(words, check=True, capture_output=True, env=environment)
    return Tool(BUILT, (*ours.command, "run", file))


def programs() -> dict[str, str]:
    """Name → script: PROGRAMS, with exactly 25 tracepoints, and the largest tool."""
    events = sorted(p.name for p in Path("/sys/kernel/tracing/events/syscalls").glob("sys_enter_*"))[:25]
    points = ", ".join(f"tracepoint:syscalls:{name}" for name in events)
    return {**PROGRAMS, "25 tracepoints": f"{points} {{ @[probe] = count(); }} interval:ms:1 {{ exit(); }}"}


def largest_tool(tool: Tool) -> str | None:
    """The longest packaged script that every kernel attaches: it is ended by one more probe."""
    paths = sorted(debian_tools(tool), key=lambda p: -p.stat().st_size)
    return next((p.read_text() for p in paths if p.name in ("setuids.bt", "statsnoop.bt")), None)


def run(rounds: int) -> dict[str, object]:
    rows: list[list[object]] = []
    with TemporaryDirectory() as folder:
        ours, environment = installed(folder)
        others = peers()
        known = programs()
        for peer in others[:1]:
            text = largest_tool(peer)
            if text:
                known["largest tool"] = text + "\ninterval:ms:1 { exit(); }\n"
        for name, script in known.items():

            def once(tool: Tool, script: str = script) -> Run:
                kept = environment["XDG_CACHE_HOME"] if tool.name == COLD else ""
                words = () if tool.name == BUILT else ("-e", script)
                found = measure(tool.running(*words), environment, kept)
                time.sleep(_ENDING * script.count("tracepoint:"))  # not at the next one's cost
                return found

            ready = built(ours[0], script, f"{folder}/built.pbt", environment)
            found = in_turn([*ours, ready, *others], rounds + 1, once)
            medians = {n: _summary(runs[1:]) for n, runs in found.items()}  # the first warms the file cache
            for n, r in medians.items():
                cold, warm, run = (_ratios(medians[mine], r, n) for mine in (COLD, WARM, BUILT))
                rows.append([name, n, *r, *cold, *warm[:2], *run[:2]])
    head = [
        "program", "tool", "wall s", "CPU s", "peak MiB", "pbt's wall", "pbt's CPU", "pbt's peak", "again: wall",
        "again: CPU", "run: wall", "run: CPU",
    ]  # fmt: skip
    return {"machine": dict(machine()), "rows": rows, "text": table(head, rows)}


def _summary(runs: list[Run]) -> Run:
    return Run(median(r.wall for r in runs), median(r.cpu for r in runs), max(r.peak for r in runs))


def _ratios(mine: Run, other: Run, name: str) -> list[float | None]:
    return [None] * 3 if name in (COLD, WARM, BUILT) else [a / b for a, b in zip(mine, other, strict=True)]


def main() -> None:
    explained(__doc__)
    found = run(option("rounds", 1 if flag("short") else 7))
    print(json.dumps(found) if flag("json") else found["text"])


if __name__ == "__main__":
    main()
