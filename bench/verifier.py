"""How fast the verifier simulator walks, how much memory that takes, and how far it walks beside the kernel.

    python -m bench.verifier           programs made for this
    python -m bench.verifier --tools   the scripts of tools/: what judging adds to a start

Instructions walked are ours and, for programs that the running kernel takes, its own `verified_insns`.
"""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

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
    seconds: float
    megabytes: float
    kernel: int  # 0: not asked, or refused


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


def rows() -> Iterator[Row]:
    for name, text in PROGRAMS.items():
        insns = assemble(text, _IDS)
        start = time.process_time()
        verdict = verify(insns, prog_type="SOCKET_FILTER")
        seconds = time.process_time() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        yield Row(name, verdict.kind, verdict.insns_processed, seconds, peak, _kernel(text))


class Tool(NamedTuple):
    """What a script's check costs: milliseconds of processor time, and instructions walked by both."""

    name: str
    check: float
    rest: float  # of compiling and loading
    walked: int
    kernel: int  # 0: the kernel does not take it here


def tool(path: str) -> Tool:
    """Compile, judge and load one script, in a process that has done nothing else yet."""
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


def tools() -> None:
    print(f"{'script':20} {'check ms':>9} {'rest ms':>9} {'adds':>7} {'walked':>8} {'kernel':>8}")
    worst = 0.0
    for path in sorted(Path("tools").glob("*.bt")):
        command = [sys.executable, "-m", "bench.verifier", "--tool", str(path)]
        made = subprocess.run(command, capture_output=True, text=True, timeout=120)
        if made.returncode == 0:
            row = Tool(*json.loads(made.stdout))
            adds = row.check / row.rest
            worst = max(worst, adds)
            print(f"{row.name:20} {row.check:9.1f} {row.rest:9.1f} {adds:7.1%} {row.walked:8} {row.kernel:8}")
    print(f"at most {worst:.1%}")


def main() -> None:
    if "--tool" in sys.argv:
        print(json.dumps(tool(sys.argv[-1])))
        return
    if "--tools" in sys.argv:
        tools()
        return
    print(f"{'program':22} {'verdict':8} {'walked':>9} {'kernel':>9} {'insns/s':>9} {'peak MB':>8}")
    for row in rows():
        rate = row.walked / max(row.seconds, 1e-9)
        print(f"{row.name:22} {row.verdict:8} {row.walked:9} {row.kernel:9} {rate:9.0f} {row.megabytes:8.0f}")


if __name__ == "__main__":
    main()
