"""What software and hardware share: an event counted on every CPU, a program every so many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from errno import EINVAL, ENODEV, ENOENT, EOPNOTSUPP
from functools import partial

from pbt.data import NamedTuple
from pbt.feature import Context, Place, Provider
from pbt.probes.common import count_parts, explained, is_pattern, matching, number, on_cpus
from pbt.source import ScriptError, Span, nearest
from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbt.bundle import Program
    from pbt.host.target import Target
    from pbt.views import AttachHost, Closeable


class Counter(NamedTuple):
    """An event: its names, the first being the usual one, its UAPI name, and how many make one sample."""

    names: tuple[str, ...]
    config: str
    period: int


class Family(NamedTuple):
    """A perf type: the provider's name, the counters by every name, and the UAPI name of the type."""

    provider: str
    counters: Mapping[str, Counter]
    kind: int


def family(provider: str, kind: int, rows: Sequence[Counter]) -> Family:
    return Family(provider, {name: row for row in rows for name in row.names}, kind)


def _parse(family: Family, parts: Sequence[str], span: Span) -> Place:
    name = parts[0]
    if len(parts) == 2 and not parts[1]:
        raise ScriptError(f"a sample count is missing after {name}:", span, f"{family.provider}:{name}")
    count_parts(family.provider, parts, span, 1, 2)
    if is_pattern(name):
        raise ScriptError(f"{family.provider} probes take no wildcards", span, _see(family))
    if name not in family.counters:
        close = nearest(name, family.counters)
        hint = f"did you mean {' or '.join(close)}?" if close else _see(family)
        raise ScriptError(f"Unknown {family.provider} event '{name}'", span, hint)
    place = {"event": name}
    if len(parts) < 2 or parts[1] == "0":  # the usual one
        return place
    return {**place, "count": number(parts[1], span, "sample count")}


def _see(family: Family) -> str:
    return f"pbt -l '{family.provider}:*' lists them"


def _expand(place: Place, target: Target) -> Sequence[Place]:
    return (place,)


def _label(family: Family, place: Place) -> str:
    count = f":{place['count']}" if "count" in place else ""
    return f"{family.provider}:{place['event']}{count}"


def _describe(family: Family, place: Place, target: Target) -> Context:
    return Context(family.provider, _label(family, place), "PERF_EVENT", regs=True)


def _attach(family: Family, host: AttachHost, fd: int, program: Program) -> Sequence[Closeable]:
    from pbt.uapi import consts

    row = family.counters[program.place["event"]]
    numbers = consts.PERF_COUNT_SW if family.kind == consts.PERF_TYPE_SOFTWARE else consts.PERF_COUNT_HW
    missing = "this machine does not count the event: pbt --info, or try software:cpu-clock"
    with explained(program.name, dict.fromkeys((ENOENT, ENODEV, EOPNOTSUPP, EINVAL), missing)):
        period = program.place.get("count", row.period)
        config = numbers[row.config]
        return on_cpus(fd, host.cpus, host.pid, type=family.kind, config=config, sample_period=period)


def _list(family: Family, parts: Sequence[str], target: Target) -> Sequence[str]:
    return sorted(f"{name}:" for name in matching((parts[0] if parts else "") or "*", family.counters))


def provider(family: Family, doc: str, alias: str) -> Provider:
    """The provider of a family of counters."""
    return Provider(
        family.provider,
        doc,
        parse=partial(_parse, family),
        expand=_expand,
        label=partial(_label, family),
        describe=partial(_describe, family),
        attach=partial(_attach, family),
        list=partial(_list, family),
        aliases=(alias,),
    )
