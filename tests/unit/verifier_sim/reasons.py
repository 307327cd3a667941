"""The examples of the table of reasons, assembled and judged."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from pbt.isa.insn import Insn
from pbt.verifier_sim import Verdict, verify
from pbt.verifier_sim.reasons import EXAMPLE_MAPS, Reason
from tests.unit.verifier_sim import objects
from tests.unit.verifier_sim.attached import TARGETS, small_types
from tests.unit.verifier_sim.test_kfuncs import TYPES, build

_REPEATED = re.compile(r"\{(.*?)\} \* (\d+);")


def run_example(reason: Reason) -> Verdict:
    """Judge the example of a reason."""
    head, _, text = reason.example.partition(":")
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
