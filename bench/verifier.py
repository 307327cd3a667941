"""How fast the verifier simulator walks, how much memory that takes, and how far it walks beside the kernel.

    python -m bench.verifier              all of it, and the bars in one table at the end
    python -m bench.verifier --programs   only programs made for this
    python -m bench.verifier --tools      only the scripts of tools/: what judging adds to a start

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
from pathlib import Path
from typing import Any, NamedTuple

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

    verdicts = verify_bundle(bundle, **judging(bundle.release))
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


def programs() -> list[Bar]:
    print(f"{'program':22} {'verdict':8} {'walked':>9} {'kernel':>9} {'insns/s':>9} {'peak MB':>8}")
    rows = [Row(*_alone("--row", name)) for name in PROGRAMS]
    for r in rows:
        print(f"{r.name:22} {r.verdict:8} {r.walked:9} {r.kernel:9} {r.rate:9.0f} {r.megabytes:8.0f}")
    return [
        Bar("instructions walked a second, slowest program", min(r.rate for r in rows), 50_000, least=True),
        Bar("instructions walked, times the kernel's", max(r.walked / r.kernel for r in rows if r.kernel), 2),
        Bar("MB for a walk of a million instructions", max(r.megabytes for r in rows if r.walked > 1e6), 200),
    ]


def tools() -> list[Bar]:
    print(f"{'script':20} {'check ms':>9} {'rest ms':>9} {'adds':>7} {'walked':>8} {'kernel':>8}")
    made = [_alone("--tool", str(path)) for path in sorted(Path("tools").glob("*.bt"))]
    rows = [Tool(*values) for values in made if values]
    for r in rows:
        adds = r.check / r.rest
        print(f"{r.name:20} {r.check:9.1f} {r.rest:9.1f} {adds:7.1%} {r.walked:8} {r.kernel:8}")
    return [
        Bar("% of a start that judging adds, worst tool", max(100 * r.check / r.rest for r in rows), 15),
        Bar("instructions walked of a tool, times the kernel's", max(_beside(r) for r in rows), 2),
    ]


def _beside(tool: Tool) -> float:
    return tool.walked / tool.kernel if tool.kernel else 0.0


def main() -> None:
    if "--tool" in sys.argv:
        print(json.dumps(tool(sys.argv[-1])))
        return
    if "--row" in sys.argv:
        print(json.dumps(row(sys.argv[-1])))
        return
    bars = [] if "--tools" in sys.argv else programs()
    bars += [] if "--programs" in sys.argv else tools()
    print(f"\n{'bar':50} {'measured':>10} {'limit':>12}")
    for bar in bars:
        sign = ">=" if bar.least else "<="
        print(
            f"{bar.what:50} {bar.figure:10,.1f} {sign:>4} {bar.limit:7,.0f}  {'' if bar.held else 'MISSED'}"
        )


if __name__ == "__main__":
    main()
