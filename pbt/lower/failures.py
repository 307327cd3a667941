"""Helper calls that fail: counted where they happen, so that none is lost and a flood costs nothing.

Every watched call has 16 bytes in the map `FAILURES`: u64 how often it failed, s64 what it returned last.
"""

from __future__ import annotations

from pbt.bundle import Failure, Map
from pbt.record import Record
from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbt.ir.build import Number
    from pbt.ir.core import Value
    from pbt.lower.body import Body

FAILURES = "failures"
SIZE = 16


def watch(body: Body, helper: str, result: Value, level: int, map_name: str = "") -> None:
    """Count a negative result, where warnings of this level are wanted (see pipeline.Options)."""
    if body.unit.warnings >= level:
        with body.b.when("slt", result, 0):
            count(body, helper, result, level, map_name)


def count(body: Body, helper: str, result: Number, level: int, map_name: str = "") -> None:
    """The same on a path where it has failed."""
    if body.unit.warnings < level:
        return
    known = body.unit.failures
    number = known.setdefault(Failure(helper, map_name, body.place_of(body.b.span)), len(known))
    cell = body.b.map_value(FAILURES, number * SIZE)
    body.b.atomic_add(cell, 0, 8, 1)
    body.b.store(cell, 8, 8, result)


def declaration(failures: int) -> Map:
    """The map for so many watched calls."""
    return Map(FAILURES, "ARRAY", 4, failures * SIZE, 1, key=Record((), 4))
