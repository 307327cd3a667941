"""Passes: functions from IR to better IR with the same meaning."""

from __future__ import annotations

from collections.abc import Callable

from pbt.data import replace
from pbt.ir.core import Function, Program
from pbt.ir.passes.cse import share
from pbt.ir.passes.dead import drop_dead
from pbt.ir.passes.fold import fold
from pbt.ir.passes.imply import imply
from pbt.ir.passes.layout import cold_last
from pbt.ir.passes.lookups import merge_lookups
from pbt.ir.passes.merge import merge_blocks
from pbt.ir.passes.overwritten import drop_overwritten
from pbt.ir.passes.reads import merge_reads

Pass = Callable[[Function], Function]
PASSES: tuple[Pass, ...] = (
    fold, merge_blocks, share, merge_lookups, imply, fold, merge_blocks, merge_reads,
    drop_overwritten, drop_dead, cold_last,
)  # fmt: skip


def apply(step: Pass, program: Program) -> Program:
    """One pass over all functions of a program."""
    return replace(program, functions=tuple(step(f) for f in program.functions))


def run(program: Program) -> Program:
    """All passes, in their order."""
    for step in PASSES:
        program = apply(step, program)
    return program
