"""What compiled scripts cost in the kernel: instructions, the verifier's work, nanoseconds per run.

    python -m bench.code [--rounds N] [--short] [--json] [--only NAME] [--no-runs]

For the scripts of bench/scripts and for the tools that each packaged bpftrace brings: `xlated`, the
instructions after the kernel's rewriting (lookups it inlines included); `verified`, those its verifier
walked; and, where bench/load.py provokes the probe, nanoseconds per run as the kernel's statistics give
them (which themselves cost some 60 of each), taken as bench/timing.py says. Every tool is started once; then pbt and
the peers that come near the better one (CLEAR) again, in turn, while it is open which of them is faster: until their
figures are settled, at most `--rounds` times. Where one is clearly faster, or too little runs, a second start would
change no verdict: it is left out. Programs for BEGIN and END are left out: of some peers they are gone before anybody
can look.
Whose program is whose is read from the descriptors of the tool's process. Needs root.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench.running import Running
from bench.timing import Burst, Paces, calibrate, figure, measure
from bench.tools import (
    PBT,
    Tool,
    debian_tools,
    explained,
    flag,
    geometric_mean,
    machine,
    one_liners,
    option,
    peers,
    table,
)
from pbt.sys import objects

BURST = 5000  # events of the load at a time
CLEAR = 0.85  # of the nanoseconds of another: where code lies makes 15 % at most, so who takes less than this is faster
TOOLS_LOAD = "mixed"


class Cost(NamedTuple):
    """Of all programs of one script: see the module. `ns` is nan where too little ran to tell.

    `settled`: the next time it would be the same, or different without a change to which tool is faster.
    """

    programs: int
    xlated: int
    verified: int
    ns: float
    settled: bool = True


class Start(NamedTuple):
    """One start of a tool: its programs, and bursts of the load."""

    infos: Sequence[objects.ProgInfo]
    bursts: Sequence[Burst]


class Work(NamedTuple):
    """The kind of load, its events in a burst (0: none), rounds at most, and the paces seen so far."""

    load: str
    events: int
    rounds: int
    paces: Paces


def start(tool: Tool, words: Sequence[str], work: Work) -> Start | None:
    """None if the tool cannot run the script here."""
    running = Running(tool, words)
    try:
        if not running.wait():
            return None
        bursts = measure(running, work.load, work.events, work.paces) if work.load and work.events else []
        running.look()
        return Start([running.infos[number] for number in running.counted()], bursts)
    finally:
        running.stop()


def cost(starts: Sequence[Start], paces: Paces) -> Cost | None:
    if not starts:
        return None
    infos = starts[-1].infos
    return Cost(
        len(infos),
        sum(i.xlated_len // 8 for i in infos),
        sum(i.verified_insns for i in infos),
        *figure([s.bursts for s in starts], paces),
    )


def costs(
    tools: Sequence[Tool], words: Callable[[Tool], Sequence[str]], work: Work
) -> dict[str, Cost | None]:
    """What a script costs each tool, started in turn; None where it does not run, and nothing if not with the first."""
    starts: dict[str, list[Start]] = {tool.name: [] for tool in tools}
    found: dict[str, Cost | None] = {}
    again = {tool.name for tool in tools}
    for _ in range(work.rounds):
        for tool in tools:
            if tool.name not in again:
                continue
            if (one := start(tool, words(tool), work)) is not None:
                starts[tool.name].append(one)
            elif tool is tools[0]:
                return found
        found = {name: cost(kept, work.paces) for name, kept in starts.items()}
        again = undecided(found)
        if not again:
            break
    return {name: c and c._replace(settled=c.settled or name not in again) for name, c in found.items()}


def undecided(found: dict[str, Cost | None]) -> set[str]:
    """Tools whose figures are wanted once more, to tell whether pbt or a peer is faster."""
    taken = {name: c.ns for name, c in found.items() if c is not None and c.ns > 0}
    mine = taken.pop(PBT.name, None)
    if mine is None or not taken:
        return set()
    best = min(taken.values())
    if not CLEAR < mine / best < 1 / CLEAR:
        return set()
    near = {PBT.name, *(name for name, ns in taken.items() if ns * CLEAR < best)}
    return near if any(not c.settled for name, c in found.items() if c and name in near) else set()


def load_of(script: Path) -> str:
    """The kind of work that the first line of a script asks for, if any."""
    match = re.match(r"// load: (\w+)", script.read_text())
    return match[1] if match else ""


class Row(NamedTuple):
    """One script with the cost for each tool; None where it does not run."""

    group: str
    script: str
    costs: dict[str, Cost | None]

    def unsettled(self) -> list[str]:
        """Tools whose nanoseconds might be others the next time."""
        return [name for name, cost in self.costs.items() if cost is not None and not cost.settled]


def scripts_row(script: Path, tools: Sequence[Tool], work: Work) -> Row:
    found = costs(tools, lambda _: ["-e", script.read_text()], work._replace(load=load_of(script)))
    return Row("scripts", script.stem, found)


def tool_rows(peer: Tool, most: int, work: Work) -> list[Row]:
    """The tools that a peer brings, each as the peer's own version of it."""
    rows = []
    for path in debian_tools(peer)[:most]:
        found = costs([peer, PBT], lambda tool, path=path: [tool.inside(path)], work)  # type: ignore[misc]
        rows.append(Row(f"tools of {peer.name}", path.name, {PBT.name: None, peer.name: None, **found}))
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


def run(work: Work, short: bool, only: str = "") -> dict[str, object]:
    others = peers()
    rows: list[Row] = []
    less = work._replace(events=work.events * 2 // 5, rounds=max(1, work.rounds - 1))
    with objects.enable_stats():
        if work.events:
            calibrate(work.paces, 0.5 if short else 3.0)
        wanted = [s for s in one_liners() if only in s.stem]
        chosen = wanted[:3] if short else wanted
        rows += (scripts_row(script, [PBT, *others], work) for script in chosen)
        if not only:
            for peer in others:
                rows += tool_rows(peer, 3 if short else 99, less)
    return told(rows, [peer.name for peer in others])


def told(rows: Sequence[Row], names: Sequence[str]) -> dict[str, object]:
    """Rows, and what comes of them beside the peers of these names: as data, and as text."""
    ratios = better_peer(rows, names)
    groups = dict.fromkeys(row.group for row in rows)
    unsettled = {row.script: row.unsettled() for row in rows if row.unsettled()}
    found: dict[str, Any] = {
        "machine": dict(machine()),
        "rows": [(r.group, r.script, {n: c and c._asdict() for n, c in r.costs.items()}) for r in rows],
        "ratios": {
            f"{name}, {group or 'all'}": summed_up
            for name in names
            for group in (*groups, "")
            if (summed_up := summary([row for row in rows if group in ("", row.group)], name))
        },
        "ns to the better peer": geometric_mean(r for _, r in ratios),
        "slowest": [(f"{script}?" if script in unsettled else script, ratio) for script, ratio in ratios[:8]],
        "not settled": unsettled,
    }
    return {**found, "text": f"{report(rows, names)}\n\n{summed(found)}"}


def summed(found: dict[str, Any]) -> str:
    """Ratios and the slowest scripts, in words."""
    lines = []
    for name, ratios in found["ratios"].items():
        lines.append(f"- pbt / {name}: " + ", ".join(f"{k} {v:.2f}" for k, v in ratios.items()))
    lines.append(f"- ns per run, geometric mean of pbt / better peer: {found['ns to the better peer']:.2f}")
    worst = ", ".join(f"{name} {ratio:.2f}" for name, ratio in found["slowest"])
    lines.append(f"- highest: {worst}")
    if found["not settled"]:
        parts = (f"{script} ({', '.join(names)})" for script, names in found["not settled"].items())
        lines.append(f"- not settled: {'; '.join(parts)}")
    return "\n".join(lines)


def main() -> None:
    explained(__doc__)
    short = flag("short")
    only = sys.argv[sys.argv.index("--only") + 1] if flag("only") else ""
    rounds = option("rounds", 1 if short else 10)
    work = Work(TOOLS_LOAD, 0 if flag("no-runs") else BURST, rounds, Paces())
    found = run(work, short, only)
    print(json.dumps(found) if flag("json") else found["text"])


if __name__ == "__main__":
    main()
