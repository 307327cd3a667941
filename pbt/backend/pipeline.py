"""The stages of the backend in their order."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from pbt.backend.allocate import Allocation, allocate
from pbt.backend.early import set_early
from pbt.backend.emit import emit
from pbt.backend.frame import Frame, check_depth, layout
from pbt.backend.machine import MachineProgram
from pbt.backend.select import select
from pbt.bundle import Code
from pbt.data import NamedTuple
from pbt.ir.core import Program


class Compiled(NamedTuple):
    """What every stage made of one program; each product prints as text."""

    machine: MachineProgram
    allocation: Allocation
    frames: tuple[Frame, ...]  # one for each function
    code: Code


def compile_program(
    program: Program, features: frozenset[str] = frozenset(), helpers: Mapping[str, int] | None = None
) -> Compiled:
    """IR → machine code.

    `features`: "cpu_v4" permits instructions of Linux 6.6. `helpers`: ids by name; those of
    `uapi.helpers` if not given. Raises ScriptError where the stack or the jump distance does not do.
    """
    machine = set_early(select(program, _helper_ids() if helpers is None else helpers, features))
    allocation = allocate(machine)
    frames = tuple(layout(f) for f in allocation.functions)
    check_depth(frames)
    return Compiled(machine, allocation, frames, emit(allocation, frames, features))


@cache
def _helper_ids() -> Mapping[str, int]:
    from pbt.uapi.helpers import HELPERS

    return {name: helper.id for name, helper in HELPERS.items()}
