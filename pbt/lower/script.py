"""Typed script → IR programs, maps and events: one `Body` for each program."""

from __future__ import annotations

from collections.abc import Mapping

from pbt.bundle import Event, Failure, Map
from pbt.data import dataclass
from pbt.ir import core as ir
from pbt.lang.typed import Instance, Typed
from pbt.lower import failures, maps
from pbt.lower.body import RARE, SCRATCH, Body, Unit
from pbt.source import Source
from pbt.typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pbt.host.target import Target


@dataclass(frozen=True)
class Lowered:
    """One IR program for each instance, in order, and what they share.

    `features`: those of the kernel that lowering asked for and found, so that the code relies on them.
    """

    programs: tuple[ir.Program, ...]
    maps: tuple[Map, ...]
    events: tuple[Event, ...]
    features: tuple[str, ...] = ()
    failures: tuple[Failure, ...] = ()


def lower(
    typed: Typed,
    source: Source,
    target: Target,
    config: Mapping[str, Any],
    pid: int | None = None,
    warnings: int = 1,
) -> Lowered:
    """All programs of a script. `pid`: programs tied to a process return at once in any other.

    `warnings`: which failing helper calls are counted (see pipeline.Options).
    """
    unit = Unit(source, target, config, typed.maps, pid, warnings)
    for known in typed.maps.values():
        unit.maps[known.name] = maps.declaration(known, config, unit.place_of(known.span))
    programs = [_program(unit, number, instance) for number, instance in enumerate(typed.instances)]
    if unit.scratch:
        unit.maps[SCRATCH] = Map(SCRATCH, "PERCPU_ARRAY", 4, unit.scratch, len(typed.instances))
    if unit.rare:
        unit.maps[RARE] = Map(RARE, "PERCPU_ARRAY", 4, unit.rare, len(unit.rare_users))
    if unit.failures:
        unit.maps[failures.FAILURES] = failures.declaration(len(unit.failures))
    return Lowered(
        tuple(programs), tuple(unit.maps.values()), tuple(unit.events), tuple(sorted(unit.features)),
        tuple(unit.failures),
    )  # fmt: skip


def _program(unit: Unit, number: int, instance: Instance) -> ir.Program:
    """Lowered once to learn how much scratch memory it takes; again if it takes some."""
    limit = int(unit.config["on_stack_limit"])
    while True:
        kept = list(unit.events)
        body = Body(unit, number, instance, limit, scratch=False)
        made = body.run()
        if body.scratch_size:
            unit.events[:] = kept
            body = Body(unit, number, instance, limit, scratch=True)
            made = body.run()
        functions = (made, *body.functions)
        if sum(map(_stack, functions)) <= _ROOM or limit <= 8:
            break
        unit.events[:] = kept
        limit //= 2
    unit.scratch = max(unit.scratch, body.scratch_size)
    return ir.Program(instance.context.label, functions)


_ROOM = 480  # of the 512 bytes of stack; the rest is for spilled registers


def _stack(function: ir.Function) -> int:
    """Bytes of stack if no two slots shared room."""
    return sum(-(-slot.size // 8) * 8 for slot in function.slots)
