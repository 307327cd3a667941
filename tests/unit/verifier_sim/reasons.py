"""The examples of the table of reasons, as docs/verifier.md has them, assembled and judged.

An example is "TYPE [words]: assembly", instructions separated by ";". Words: a release to judge for,
`unprivileged`, `strict` (alignment), `proprietary` (the license), `undescribed` (without types of functions),
`attach=TYPE` (the expected attach type, to what the small BTF of attached.py has), `objects` (with the types, maps
and short-hands of objects.py; TYPE is SCHED_CLS where none is given). The names of `EXAMPLE_MAPS` stand for the
wide loads of these maps; `kcall NAME` calls a kernel function; `{instruction} * N` is it N times.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from pbt.isa.insn import Insn
from pbt.verifier_sim import Verdict, verify
from pbt.verifier_sim.reasons import REASONS
from pbt.verifier_sim.reg import Field, MapInfo
from tests.unit.verifier_sim import objects
from tests.unit.verifier_sim.attached import TARGETS, small_types
from tests.unit.verifier_sim.test_kfuncs import TYPES, build

EXAMPLE_MAPS = (
    MapInfo("HASH", "HASH", 4, 16, 8),
    MapInfo("RING", "RINGBUF", 0, 0, 4096),
    MapInfo("ARRAY", "ARRAY", 4, 16, 4),
    MapInfo("ONE", "ARRAY", 4, 16, 1),
    MapInfo("RDONLY", "ARRAY", 4, 16, 4, 1 << 7),
    MapInfo("LOCK", "ARRAY", 4, 16, 4, 0, (Field("spin_lock", 0, 4),)),
    MapInfo("TIMER", "ARRAY", 4, 16, 4, 0, (Field("timer", 0, 16),)),
    MapInfo("KPTR", "ARRAY", 4, 16, 4, 0, (Field("kptr", 0, 8, "task_struct"),)),
    MapInfo("STORAGE", "CGROUP_STORAGE", 16, 16, 0),
)
"""ONE loads the address of its value, the others the map."""

_DOCUMENT = Path(__file__).parents[3] / "docs/verifier.md"
_REPEATED = re.compile(r"\{(.*?)\} \* (\d+);")


@cache
def documented() -> dict[str, str]:
    """The document's rows: what stands before the example → the example."""
    rows = [line for line in _DOCUMENT.read_text().splitlines() if line.startswith("| PBT-V")]
    halves = [row.replace("\\|", "|").removesuffix("` |").partition(" | `") for row in rows]
    return {f"{head} |": example for head, _, example in halves}


def examples() -> dict[int, str]:
    """Number → example."""
    return {int(row[7:10]): example for row, example in documented().items()}


def expected() -> list[str]:
    """What stands before the examples."""
    words = [re.sub(r"\{\d+\}", "…", row.words) for row in REASONS]
    return [f"| {row.id} | {text} | {row.mend} |" for row, text in zip(REASONS, words, strict=True)]


def run_example(example: str) -> Verdict:
    """Judge an example."""
    head, _, text = example.partition(":")
    words = head.split()
    release = next((word for word in words if word[0].isdigit()), "7.0")
    if "objects" in words:
        kind = "" if words[0] == "objects" else f"{words[0]}: "
        return objects.made("", kind + text.strip()).judge(types=TYPES, kernel=release)
    for at, info in enumerate(EXAMPLE_MAPS):
        way = "map_value" if info.name == "ONE" else "map_fd"
        text = text.replace(f"= {info.name}", f"= {way}[{at}][0]")
    insns, kfuncs = _assembled(text)
    references = {
        at: (insn.imm, "map_fd" if insn.src_reg == 1 else "map_value", insns[at + 1].imm)
        for at, insn in enumerate(insns)
        if insn.is_wide and insn.src_reg in (1, 2) and insn.imm < len(EXAMPLE_MAPS)
    }
    return verify(
        insns,
        prog_type=words[0],
        maps=EXAMPLE_MAPS,
        map_of=references,
        kfuncs=kfuncs,
        kernel=release,
        privileged="unprivileged" not in words,
        strict="strict" in words,
        gpl="proprietary" not in words,
        described="undescribed" not in words,
        **_attached(words),
    )


def _assembled(text: str) -> tuple[list[Insn], dict[int, str]]:
    """As `build`; "{instruction} * N;" is it N times."""
    before, *repeated = _REPEATED.split(text)
    insns, kfuncs = build(before.rstrip("; "))
    for one, times, rest in zip(*[iter(repeated)] * 3, strict=True):
        insns += build(one)[0] * int(times) + build(rest)[0]
    return insns, kfuncs


def _attached(words: Sequence[str]) -> dict[str, Any]:
    """What "attach=TYPE" means."""
    attach = next((word[7:] for word in words if word.startswith("attach=")), "")
    if not attach:
        return {"target": ""}
    return {"expected_attach_type": attach, "target": TARGETS.get(attach, "traced"), "types": small_types()}
