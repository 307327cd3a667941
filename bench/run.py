"""All benches: one document in Markdown, and as JSON, with the machine they ran on.

    python -m bench.run [--short] [--rounds N] [--only NAME,NAME] [FOLDER]

Writes FOLDER/performance.md and FOLDER/performance.json (default: docs, where the last ones are).
`--rounds` is for each bench, which has a number of its own. `--only` runs these benches and keeps what
performance.json says of the others. `--short` shows that every bench still works, in a few minutes. Needs root.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from bench.tools import HERE, PBT, explained, flag, machine, option, peers

HEAD = """\
# Performance

Made by `python -m bench.run`, not by hand. Debian's bpftrace and, where the environment variable PBT_PEER
names one, a newer bpftrace in a folder of its own run beside pbt on one machine. Tools take turns (A B A B) and
figures are medians; on a busy machine ratios say more than times, and counts of instructions are exact on any.
Below 1 pbt is better. `load before` is the machine's load average when a bench began.

```sh
PBT_PEER="chroot /path/to/sid bpftrace" python -m bench.run             # everything
PBT_PEER="chroot /path/to/sid bpftrace" python -m bench.run --only code,events
python -m bench.code --only latency                                     # one bench, one script
python -m bench.run --short FOLDER                                      # that every bench still works
```
"""


class Bench(NamedTuple):
    """A section of the document: its heading and how to read its figures."""

    title: str
    note: str


BENCHES = {
    "startup": Bench(
        "Start-up",
        "From exec to the end, for an installed pbt with byte code, by the distribution's Python where there is one: "
        "wall, CPU, peak memory. `pbt` keeps nothing from earlier starts, `pbt again` has what an earlier one kept, "
        "`pbt run` is given a file of `pbt build`. Every program is judged by the built-in verifier before it is "
        "loaded (when it is built, for a file), which is part of pbt's time. The wall leaves out what the kernel does "
        "when pbt has gone: it ends the perf events of tracepoints in a thread of its own (docs/design.md), for which "
        "the bench pauses 0.1 s for each tracepoint after every run of every tool.",
    ),
    "listing": Bench(
        "Listing",
        "`-l PATTERN`: seconds to the first byte, and CPU seconds until the reader has gone after it, as `head -1` "
        "does. Where ftrace's list of functions cannot be read, bpftrace 0.17 ends without a list of kprobes.",
    ),
    "code": Bench(
        "Code",
        "xlated: instructions after the kernel's rewriting; verified: instructions its verifier walked; ns per run "
        "under the same load (`bpf_stats`). The load has a CPU of its own and works in bursts; those count in which "
        "that CPU was as fast as ever, by a computation before and after that no tool sees. Where code and maps lie "
        "makes 5 % and now and then 15: while pbt and a peer are nearer to each other than 3 to 4, both are started "
        "again in turn, until more than half of the starts of each are within 2 % of their median, which is the figure "
        "(of a start, the lower quartile of its bursts); `?`: they never were. pbt counts "
        "failures of insertions, five instructions each that the others do not have. "
        "`open_str` reads 1,024 bytes with pbt and 0.27, 64 with 0.17. Tools that want what "
        "this kernel does not have show `-`; programs for BEGIN and END are not counted. Sums and ratios leave out "
        "tools of which the peer has fewer programs than pbt: it could not attach to all that they ask for.",
    ),
    "clang": Bench(
        "Code beside clang's",
        "Programs in the language and in C by `clang -O2 -target bpf`, which do the same with maps of the same kinds. "
        "Both count insertions that fail; `uncounted` is the same C without that.",
    ),
    "compile": Bench("Compiler", "Source → bundle in one process, without what starting Python takes."),
    "verifier": Bench(
        "Verifier",
        "The simulator beside the kernel: instructions walked by each, how fast, and what judging adds to the start "
        "of the tools (the processor's time; Python's own start is left out).",
    ),
    "events": Bench(
        "Events and maps",
        "`flood`: 400,000 events as fast as one process makes them. `steady`: 100,000 a second for a minute; growth is "
        "what memory grew by after its first tenth. Maps have 100,000 keys (`map hist`: about one for every ten "
        "events); `stacks`: 10,000 different ones of the kernel. Seconds are from Ctrl-C to the end, CPU that of "
        "the whole run.",
    ),
    "pyz": Bench("Sizes", ""),
}


def run(name: str, short: bool) -> dict[str, Any]:
    """One bench in a process of its own: what it prints as JSON, with how it was taken."""
    start = time.monotonic()
    words = [sys.executable, "-m", f"bench.{name}", "--json", *(["--short"] if short else [])]
    if flag("rounds"):
        words += ["--rounds", str(option("rounds", 1))]
    facts = {**dict(machine()), "tools": ", ".join(tool.name for tool in (PBT, *peers()))}
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True, cwd=HERE.parent)
    found: dict[str, Any] = json.loads(done.stdout)
    return {**found, "machine": {**facts, "seconds": round(time.monotonic() - start)}}


def document(found: dict[str, dict[str, Any]]) -> str:
    parts = [HEAD.rstrip()]
    for name, bench in BENCHES.items():
        if name in found:
            facts = ", ".join(f"{key} {value}" for key, value in found[name]["machine"].items())
            parts += [f"## {bench.title}", *filter(None, [bench.note]), f"({facts})", found[name]["text"]]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    explained(__doc__)
    words = sys.argv[1:]
    only = words.pop(words.index("--only") + 1).split(",") if flag("only") else list(BENCHES)
    if flag("rounds"):
        words.pop(words.index("--rounds") + 1)
    if flag("short"):
        only = [name for name in only if name != "pyz"]  # which may want to fetch what builds packages
    folder = Path(next((word for word in words if not word.startswith("-")), HERE.parent / "docs"))
    kept = folder / "performance.json"
    found = json.loads(kept.read_text()) if flag("only") and kept.exists() else {}
    for name in only:
        found[name] = run(name, flag("short"))
        print(f"{name}: {found[name]['machine']['seconds']} s", file=sys.stderr)
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(found, indent=1) + "\n")
        (folder / "performance.md").write_text(document(found))


if __name__ == "__main__":
    main()
