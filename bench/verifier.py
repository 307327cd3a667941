"""How fast the verifier simulator walks, how much memory that takes, and how far it walks beside the kernel.

    python -m bench.verifier [--short] [--json]   all of it, and the bars in one table at the end
    python -m bench.verifier --programs           only programs made for this
    python -m bench.verifier --tools              only the scripts of tools/: what judging adds to a start

Instructions walked are ours and, for programs that the running kernel takes, its own `verified_insns`. Each
program and each script has a process of its own; times are of the processor.
"""

from __future__ import annotations

import gc
import json
import re
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench.tools import HERE, explained, flag, machine, table
from pbt.isa.asm import assemble
from pbt.uapi.helpers import HELPERS
from pbt.verifier_sim import verify

_IDS = {name: helper.id for name, helper in HELPERS.items()}

_STACK = "*(u64 *)(r10 -8) = r1\nr2 = *(u64 *)(r10 -8)"
_GUESS = "call get_prandom_u32\nr6 = r0\nr7 = 0"
PROGRAMS = {
    "straight line": "r0 = 0\n" + "r0 += 1\nr1 = r0\nr1 &= 255\n" * 3000 + "exit",
    "branches": f"{_GUESS}\n"
    + "".join(f"if r6 == {n} goto +1\nr7 += {n}\n" for n in range(600))
    + "r0 = 0\nexit",
    "loop": "r0 = 0\nr1 = 0\na: r0 += r1\nr1 += 1\nif r1 < 30000 goto a\nexit",
    "loop with stack": f"r1 = 0\na: {_STACK}\nr1 += 1\nif r1 < 20000 goto a\nr0 = 0\nexit",
    "too many rounds": "r0 = 0\na: r0 += 1\nif r0 < 600000 goto a\nexit",
    "every round differs": f"{_GUESS}\na: r7 += 1\nif r6 == r7 goto b\nif r7 < 1000 goto a\nb: r0 = 0\nexit",
}


class Row(NamedTuple):
    name: str
    verdict: str
    walked: int
    rate: float  # instructions a second
    megabytes: float
    kernel: int  # 0: not asked, or refused


class Bar(NamedTuple):
    """A figure that has to stay at or below a limit, or (`least`) at or above it."""

    what: str
    figure: float
    limit: float
    least: bool = False

    @property
    def held(self) -> bool:
        return self.figure >= self.limit if self.least else self.figure <= self.limit


def _kernel(text: str) -> int:
    """The kernel's own count of instructions walked, 0 if it may not be asked or refuses."""
    from pbt.isa.insn import encode
    from pbt.source import KernelError
    from pbt.sys import bpf

    log: list[str] = []
    try:
        code = encode(assemble(text, _IDS))
        bpf.prog_load("SOCKET_FILTER", code, log_level=4, log=log.append).close()
    except KernelError as error:
        log.append(error.log)
    return _count("".join(log))


def row(name: str) -> Row:
    """Judge one program, in a process that has done nothing else yet; the quicker of two walks counts."""
    text = PROGRAMS[name]
    insns = assemble(text, _IDS)
    seconds = []
    for _ in range(2):
        start = time.process_time()
        verdict = verify(insns, prog_type="SOCKET_FILTER")
        seconds.append(time.process_time() - start)
    walked = verdict.insns_processed
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Row(name, verdict.kind, walked, walked / max(min(seconds), 1e-9), peak, _kernel(text))


class Tool(NamedTuple):
    """What a script's check costs: milliseconds of processor time, and instructions walked by both."""

    name: str
    check: float
    rest: float  # of compiling and loading
    walked: int
    kernel: int  # 0: the kernel does not take it here


def tool(path: str) -> Tool:
    """Compile, judge and load one script, in a process that has done nothing else yet."""
    gc.disable()  # as the command does until a script runs
    start = time.process_time()
    from pbt.host.target import Target
    from pbt.pipeline import Options, compile
    from pbt.runtime.load import load
    from pbt.source import PbtError, Source

    target = Target.live()
    bundle = compile(Source(path, Path(path).read_text()), target, Options(unsafe=True))
    compiled = time.process_time() - start
    from pbt.cli.kernel import judging
    from pbt.verifier_sim import verify_bundle

    verdicts = verify_bundle(bundle, target, **judging(bundle.release))
    judged = time.process_time() - start - compiled
    found: list[int] = []
    try:
        load(bundle, target).close()
        loaded = time.process_time() - start - compiled - judged
        load(bundle, target, lambda _, log: found.append(_count(log))).close()
    except PbtError:
        loaded = 0.0
    once = {program.code: verdict for program, verdict in zip(bundle.programs, verdicts, strict=True)}
    walked = sum(verdict.insns_processed for verdict in once.values())
    return Tool(Path(path).name, 1000 * judged, 1000 * (compiled + loaded), walked, sum(found))


def _count(log: str) -> int:
    found = re.search(r"processed (\d+) insns", log)
    return int(found[1]) if found else 0


def _alone(*arguments: str) -> Any:
    """What this module says in a process of its own; None if that failed."""
    command = [sys.executable, "-m", "bench.verifier", *arguments]
    made = subprocess.run(command, capture_output=True, text=True, timeout=300)
    return json.loads(made.stdout) if made.returncode == 0 else None


def programs(names: Sequence[str]) -> tuple[str, list[Bar]]:
    """Programs made for this: a table, and what it says of the bars."""
    rows = [Row(*_alone("--row", name)) for name in names]
    head = ["program", "verdict", "walked", "kernel", "instructions/s", "peak MB"]
    shown = [[r.name, r.verdict, r.walked, r.kernel, round(r.rate), round(r.megabytes)] for r in rows]
    return table(head, shown), [
        Bar("instructions walked a second, slowest program", min(r.rate for r in rows), 50_000, least=True),
        Bar("instructions walked, times the kernel's", max(r.walked / r.kernel for r in rows if r.kernel), 2),
        Bar("MB for the longest walk", max(rows, key=lambda r: r.walked).megabytes, 200),
    ]


def tools(paths: Sequence[Path]) -> tuple[str, list[Bar]]:
    """What judging adds to the start of scripts: a table, and what it says of the bars."""
    made = [_alone("--tool", str(path)) for path in paths]
    rows = [Tool(*values) for values in made if values]
    head = ["script", "check ms", "rest ms", "adds %", "walked", "kernel"]
    shown = [[r.name, r.check, r.rest, 100 * r.check / r.rest, r.walked, r.kernel] for r in rows]
    return table(head, shown), [
        Bar("% of a start that judging adds, worst tool", max(100 * r.check / r.rest for r in rows), 15),
        Bar("instructions walked of a tool, times the kernel's", max(_beside(r) for r in rows), 2),
    ]


def _beside(tool: Tool) -> float:
    return tool.walked / tool.kernel if tool.kernel else 0.0


def run(*, short: bool) -> dict[str, object]:
    names, paths = list(PROGRAMS), sorted((HERE.parent / "tools").glob("*.bt"))
    texts: list[str] = []
    bars: list[Bar] = []
    if not flag("tools"):
        text, bars = programs(names[:3] if short else names)
        texts.append(text)
    if not flag("programs"):
        text, more = tools(paths[:2] if short else paths)
        texts, bars = [*texts, text], bars + more
    said = [
        [b.what, b.figure, f"{'≥' if b.least else '≤'} {b.limit:,.0f}", "" if b.held else "missed"]
        for b in bars
    ]
    texts.append(table(["", "measured", "bar", ""], said))
    return {"machine": dict(machine()), "bars": [[*b] for b in bars], "text": "\n\n".join(texts)}


def main() -> None:
    explained(__doc__)
    if "--tool" in sys.argv:
        print(json.dumps(tool(sys.argv[-1])))
        return
    if "--row" in sys.argv:
        print(json.dumps(row(sys.argv[-1])))
        return
    found = run(short=flag("short"))
    print(json.dumps(found) if flag("json") else found["text"])


if __name__ == "__main__":
    main()
