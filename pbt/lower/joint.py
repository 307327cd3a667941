"""Which programs can be one: those for the entry and for the return of the same functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pbt.data import NamedTuple, replace
from pbt.feature import Context, Joint, Place
from pbt.lang.typed import Instance
from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbt.host.target import Target


class Pair(NamedTuple):
    """Positions of the two instances whose programs are to be one, and what tells whose turn it is."""

    first: int
    second: int
    kfunc: str


def paired(instances: Sequence[Instance], target: Target) -> tuple[list[Instance], list[Pair]]:
    """The instances, those that become halves of one program with the context of it; and which these are.

    Where more than two probes are at one place they stay apart: that they run in the order of the script
    can be promised only of programs that are attached in the same way.
    """
    found, pairs = list(instances), list[Pair]()
    keys = [frozenset(_key(place.place) for place in each.places) for each in instances]
    probes = Counter(
        (_name(each), key) for each, several in zip(instances, keys, strict=True) for key in several
    )
    where = {(_name(each), several): n for n, (each, several) in enumerate(zip(instances, keys, strict=True))}
    for first, (instance, several) in enumerate(zip(instances, keys, strict=True)):
        joint = instance.places[0].provider.joint
        second = where.get((joint.other, several)) if joint else None
        if joint is None or second is None or len(several) != len(instance.places):
            continue
        if any(probes[name, key] > 1 for name in (_name(instance), joint.other) for key in several):
            continue
        halves = instance, instances[second]
        contexts = _contexts(joint, halves, target) if _one_cookie(halves) else ()
        if contexts:
            found[first], found[second] = (
                replace(found[n], context=context)
                for n, context in zip((first, second), contexts, strict=True)
            )
            pairs.append(Pair(first, second, joint.kfunc))
    return found, pairs


def _name(instance: Instance) -> str:
    return instance.places[0].provider.name


def _key(place: Place) -> tuple[object, ...]:
    """What tells places apart; one function is one place, however it was named."""
    parts = ((name, tuple(value) if isinstance(value, list) else value) for name, value in place.items())
    return tuple(sorted(part for part in parts if part[0] != "matched"))


def _one_cookie(halves: Sequence[Instance]) -> bool:
    """Whether one number tells both halves at which place they are, or neither wants to know."""
    first, second = ([_key(each.place) for each in half.places if half.context.labels] for half in halves)
    return first == second


def _contexts(joint: Joint, halves: Sequence[Instance], target: Target) -> list[Context]:
    """What both halves see, or nothing."""
    found = []
    for half in halves:
        used = frozenset(builtin.name for builtin, _ in half.calls.values())
        context = joint.context([each.place for each in half.places], half.context, used, target)
        if context is None:
            return []
        found.append(context)
    return found
