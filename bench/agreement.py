"""How often the verifier simulator and the kernels agree on programs whose verdicts are known.

    python -m bench.agreement [--list] [--kernels 6.12,6.18] FILE.jsonl[.xz] ...

A line is a program as `pbt verify --jsonl` reads it, with `verdicts`: kernel → [verdict, ...]. For each
file and kernel: programs, percent of the same verdict, and how many were accepted that the kernel refuses
(false accepts), refused that it accepts, not judged. `--list` names each program that is not agreed on.
"""

from __future__ import annotations

import argparse
import json
import lzma
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pbt.cli.kernel import judging, kernel_types
from pbt.verifier_sim.jsonl import judge

KINDS = ("same", "false accept", "false reject", "unsupported")


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """The programs of a file, packed or not."""
    with lzma.open(path, "rt") if path.suffix == ".xz" else path.open() as stream:
        for text in stream:
            if text.strip():
                yield json.loads(text)


def compared(verdict: str, answer: Mapping[str, Any]) -> str:
    """Which of KINDS an answer is, where a kernel said "accept" or "reject"."""
    ours = str(answer["verdict"])
    if ours == "unsupported":
        return ours
    if ours == verdict:
        return "same"
    return "false accept" if ours == "accept" else "false reject"


def rules(release: str) -> dict[str, object]:
    """As `pbt verify --jsonl` judges: by the rules of a release, with the types that this machine has."""
    return judging(release) | {"types": kernel_types(release)}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--kernels", default="", help="only these, by the names in the files")
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args(arguments)
    print(f"{'file':20} {'kernel':9} {'programs':>8} {'same':>8} " + " ".join(f"{k:>12}" for k in KINDS[1:]))
    for path in options.files:
        programs = list(lines(path))
        known = dict.fromkeys(kernel for program in programs for kernel in program["verdicts"])
        for kernel in options.kernels.split(",") if options.kernels else known:
            _one(path.name, kernel, programs, options.list)


def _one(name: str, kernel: str, programs: list[dict[str, Any]], listed: bool) -> None:
    counts: Counter[str] = Counter()
    for program in programs:
        if kernel in program["verdicts"]:
            expected, *rest = program["verdicts"][kernel]
            answer = judge({**program, "kernel": kernel}, rules)
            kind = compared(expected, answer)
            counts[kind] += 1
            if listed and kind != "same":
                print(f"  {kind}: {program.get('id')}: {answer['reason']} | {rest}")
    total = sum(counts.values())
    if total:
        share = f"{100 * counts['same'] / total:.2f}%"
        rest = " ".join(f"{counts[kind]:12}" for kind in KINDS[1:])
        print(f"{name[:20]:20} {kernel:9} {total:8} {share:>8} {rest}", flush=True)


if __name__ == "__main__":
    main()
