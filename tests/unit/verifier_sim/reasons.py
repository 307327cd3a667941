"""The examples of the table of reasons, assembled and judged."""

from __future__ import annotations

from pbt.verifier_sim import Verdict, verify
from pbt.verifier_sim.reasons import EXAMPLE_MAPS, Reason
from tests.unit.verifier_sim.test_kfuncs import build


def run_example(reason: Reason) -> Verdict:
    """Judge the example of a reason."""
    head, _, text = reason.example.partition(":")
    prog_type, *words = head.split()
    for at, info in enumerate(EXAMPLE_MAPS):
        way = "map_value" if info.name == "ONE" else "map_fd"
        text = text.replace(f"= {info.name}", f"= {way}[{at}][0]")
    insns, kfuncs = build(text)
    references = {
        at: (insn.imm, "map_fd" if insn.src_reg == 1 else "map_value", insns[at + 1].imm)
        for at, insn in enumerate(insns)
        if insn.is_wide and insn.src_reg in (1, 2) and insn.imm < len(EXAMPLE_MAPS)
    }
    release = next((word for word in words if word[0].isdigit()), "7.0")
    return verify(
        insns,
        prog_type=prog_type,
        maps=EXAMPLE_MAPS,
        map_of=references,
        kfuncs=kfuncs,
        kernel=release,
        privileged="unprivileged" not in words,
        strict="strict" in words,
        gpl="proprietary" not in words,
    )
