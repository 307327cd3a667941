"""What compiled scripts cost in the kernel: instructions, the verifier's work, nanoseconds per run.

    python -m bench.code [--rounds N] [--short] [--json] [--only NAME] [--no-runs]

For the scripts of bench/scripts and for the tools that each packaged bpftrace brings: `xlated`, the
instructions after the kernel's rewriting (lookups it inlines included); `verified`, those its verifier
walked; and, where bench/load.py provokes the probe, nanoseconds per run as the kernel's statistics give
them (which themselves cost some 60 of each): of bursts of the load the quickest, which others disturbed
least, and the median of that over rounds in which every tool has its turn. The load has a CPU of its own
where there are several. Programs for BEGIN and END are left out: of some peers they are gone before anybody
can look. Whose program is whose is read from the descriptors of the tool's process. Needs root.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import NamedTuple

from bench.tools import (
    HERE,
    PBT,
    Tool,
    debian_tools,
    flag,
    geometric_mean,
    in_turn,
    machine,
    median,
    on,
    one_liners,
    option,
    peers,
    table,
)
from pbt.source import KernelError
from pbt.sys import bpf

START_LIMIT = 15.0  # seconds until a tool must have loaded its programs
STEADY = 0.8  # seconds without a new program: all are there, where a tool does not say so
BURSTS = 4  # of the load, while a tool runs
CPUS = sorted(os.sched_getaffinity(0))
TOOLS_LOAD = "mixed"
ENOUGH = 2000  # runs of a tool's programs, for a time to be told
_ID = re.compile(rb"^prog_id:\s*(\d+)", re.MULTILINE)


class Cost(NamedTuple):
    """Of all programs of one script: see the module. `ns` is nan where too little ran to tell."""

    programs: int
    xlated: int
    verified: int
    ns: float


def program_ids(pid: int) -> set[int]:
    """Programs that a process holds, directly or by their links."""
    found: set[int] = set()
    folder = f"/proc/{pid}/fdinfo"
    try:
        for name in os.listdir(folder):
            with open(f"{folder}/{name}", "rb") as file:
                found.update(map(int, _ID.findall(file.read())))
    except OSError:
        pass
    return found


class Running:
    """A tool that runs a script; `infos` holds all programs it was ever seen to have."""

    def __init__(self, tool: Tool, words: Sequence[str]) -> None:
        self.infos: dict[int, bpf.ProgInfo] = {}
        self.said = TemporaryFile()  # noqa: SIM115
        with on(CPUS[1:] or CPUS):
            self.process = subprocess.Popen(
                tool.running(*words), stdout=subprocess.DEVNULL, stderr=self.said, stdin=subprocess.DEVNULL
            )

    def look(self) -> int:
        """Note the programs there are now; how many were new."""
        known = len(self.infos)
        for number in program_ids(self.process.pid):
            try:
                with bpf.fd_by_id("prog", number) as fd:
                    self.infos[number] = bpf.prog_info(fd.fileno())
            except KernelError:  # gone meanwhile
                continue
        return len(self.infos) - known

    def wait(self) -> bool:
        """Until no new program has come for a while; False if the tool ended before."""
        start = changed = time.monotonic()
        while time.monotonic() - start < START_LIMIT:
            if self.look():
                changed = time.monotonic()
            if self.process.poll() is not None:
                return bool(self.infos) and self.process.returncode == 0
            if self.infos and (self.attached() or time.monotonic() - changed > STEADY):
                self.look()
                return True
            time.sleep(0.01)
        return False

    def attached(self) -> bool:
        """Whether the tool says so; 0.17 never does."""
        return b"Attached" in os.pread(self.said.fileno(), 1 << 16, 0)

    def counted(self) -> list[bpf.ProgInfo]:
        """Programs that run when something happens; those without a name only ask what the kernel can do."""
        named = (i for i in self.infos.values() if i.name)
        return [i for i in named if i.name.lower().partition("_")[0] not in ("begin", "end")]

    def times(self) -> tuple[int, int]:
        """Nanoseconds and runs of those so far."""
        infos = self.counted()
        return sum(i.run_time_ns for i in infos), sum(i.run_cnt for i in infos)

    def burst(self, load: str, count: int) -> tuple[int, int]:
        """Nanoseconds and runs while a load ran."""
        self.look()
        before = self.times()
        words = [sys.executable, "-S", str(HERE / "load.py"), load, str(count)]
        with on(CPUS[:1]):
            subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        self.look()
        after = self.times()
        return after[0] - before[0], after[1] - before[1]

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.said.close()


def load_of(script: Path) -> str:
    """The kind of work that the first line of a script asks for, if any."""
    match = re.match(r"// load: (\w+)", script.read_text())
    return match[1] if match else ""


def cost(tool: Tool, words: Sequence[str], load: str, count: int) -> Cost | None:
    """None if the tool cannot run the script here."""
    running = Running(tool, words)
    try:
        if not running.wait():
            return None
        bursts = [running.burst(load, count // BURSTS) for _ in range(BURSTS if load and count else 0)]
        infos = running.counted()
        return Cost(
            len(infos),
            sum(i.xlated_len // 8 for i in infos),
            sum(i.verified_insns for i in infos),
            min((ns / runs for ns, runs in bursts if runs > ENOUGH / BURSTS), default=float("nan")),
        )
    finally:
        running.stop()


class Row(NamedTuple):
    """One script with the cost for each tool; None where it does not run."""

    group: str
    script: str
    costs: dict[str, Cost | None]


def scripts_row(script: Path, tools: Sequence[Tool], rounds: int, count: int) -> Row:
    text, load = script.read_text(), load_of(script)
    found = in_turn(tools, rounds, lambda tool: cost(tool, ["-e", text], load, count))
    return Row("scripts", script.stem, {name: _middle(costs) for name, costs in found.items()})


def _middle(costs: Sequence[Cost | None]) -> Cost | None:
    kept = [c for c in costs if c is not None]
    if not kept:
        return None
    return kept[-1]._replace(ns=median(c.ns for c in kept))


def tool_rows(peer: Tool, most: int, count: int) -> list[Row]:
    """The tools that a peer brings, each as the peer's own version of it."""
    rows = []
    for path in debian_tools(peer)[:most]:
        theirs = cost(peer, [peer.inside(path)], TOOLS_LOAD, count)
        mine = cost(PBT, [str(path)], TOOLS_LOAD, count) if theirs else None
        costs = {PBT.name: mine, peer.name: theirs}
        rows.append(Row(f"tools of {peer.name}", path.name, costs))
    return rows


def summary(rows: Sequence[Row], peer: str) -> dict[str, float]:
    """Ratios pbt / peer over what both run; a peer with fewer programs left out what it cannot attach to."""
    pairs = [(row.costs.get(PBT.name), row.costs.get(peer)) for row in rows]
    both = [(a, b) for a, b in pairs if a is not None and b is not None and a.programs <= b.programs]
    if not both:
        return {}
    timed = [a.ns / b.ns for a, b in both if a.ns > 0 and b.ns > 0]
    return {
        "scripts": len(both),
        "xlated": sum(a.xlated for a, _ in both) / sum(b.xlated for _, b in both),
        "verified": sum(a.verified for a, _ in both) / max(1, sum(b.verified for _, b in both)),
        "ns": geometric_mean(timed),
    }


def better_peer(rows: Sequence[Row], names: Sequence[str]) -> list[tuple[str, float]]:
    """Script → ns of pbt over those of the best peer, worst first."""
    found = [(row.script, _ratio(row, names)) for row in rows]
    return sorted(((script, ratio) for script, ratio in found if ratio > 0), key=lambda pair: -pair[1])


def _ratio(row: Row, names: Sequence[str]) -> float:
    """nan where too little ran, or not the same programs."""
    mine = row.costs.get(PBT.name)
    others = [c for n in names if (c := row.costs.get(n)) is not None and c.ns > 0]
    if mine is None or not others or mine.programs > min(c.programs for c in others):
        return float("nan")
    return mine.ns / min(c.ns for c in others)


def report(rows: Sequence[Row], names: Sequence[str]) -> str:
    groups = dict.fromkeys(row.group for row in rows)
    parts = []
    for group in groups:
        mine = [row for row in rows if row.group == group]
        columns = [n for n in (PBT.name, *names) if any(n in row.costs for row in mine)]
        head = ["script", *(f"{n}: {what}" for n in columns for what in ("xlated", "verified", "ns"))]
        head.append("ns to the better")
        body = [
            [row.script, *(cell for n in columns for cell in _cells(row.costs.get(n))), _ratio(row, names)]
            for row in mine
        ]
        parts.append(f"### {group}\n\n{table(head, body)}")
    return "\n\n".join(parts)


def _cells(found: Cost | None) -> tuple[object, object, object]:
    return ("-", "-", "-") if found is None else (found.xlated, found.verified, found.ns)


def run(rounds: int, count: int, short: bool, only: str = "") -> dict[str, object]:
    others = peers()
    rows: list[Row] = []
    with bpf.enable_stats():
        wanted = [s for s in one_liners() if only in s.stem]
        chosen = wanted[:3] if short else wanted
        rows += (scripts_row(script, [PBT, *others], rounds, count) for script in chosen)
        if not only:
            for peer in others:
                rows += tool_rows(peer, 3 if short else 99, count // 10)
    names = [peer.name for peer in others]
    ratios = better_peer(rows, names)
    groups = dict.fromkeys(row.group for row in rows)
    found: dict[str, object] = {
        "machine": dict(machine()),
        "rows": [(r.group, r.script, {n: c and c._asdict() for n, c in r.costs.items()}) for r in rows],
        "ratios": {
            f"{name}, {group or 'all'}": found
            for name in names
            for group in (*groups, "")
            if (found := summary([row for row in rows if group in ("", row.group)], name))
        },
        "ns to the better peer": geometric_mean(r for _, r in ratios),
        "slowest": ratios[:8],
    }
    return {**found, "text": f"{report(rows, names)}\n\n{summed(found)}"}


def summed(found: dict[str, object]) -> str:
    """Ratios and the slowest scripts, in words."""
    lines = []
    for name, ratios in found["ratios"].items():  # type: ignore[attr-defined]
        lines.append(f"- pbt / {name}: " + ", ".join(f"{k} {v:.2f}" for k, v in ratios.items()))
    lines.append(f"- ns per run, geometric mean of pbt / better peer: {found['ns to the better peer']:.2f}")
    worst = ", ".join(f"{name} {ratio:.2f}" for name, ratio in found["slowest"])  # type: ignore[attr-defined]
    lines.append(f"- highest: {worst}")
    return "\n".join(lines)


def main() -> None:
    short = flag("short")
    only = sys.argv[sys.argv.index("--only") + 1] if flag("only") else ""
    rounds = option("rounds", 1 if short else 2)
    count = 0 if flag("no-runs") else 20_000 if short else 60_000
    found = run(rounds, count, short, only)
    print(json.dumps(found) if flag("json") else found["text"])


if __name__ == "__main__":
    main()
