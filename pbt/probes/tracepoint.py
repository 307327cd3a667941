"""tracepoint:category:event: the kernel's stable events, with the fields of their format file."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from errno import ENOENT

from pbt.feature import Context, Lingering, Place, Provider
from pbt.probes.common import bind, count_parts, explained, is_pattern
from pbt.source import KernelError, Span
from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbt.bundle import Program
    from pbt.host.target import Target
    from pbt.views import AttachHost, Closeable


def _parse(parts: Sequence[str], span: Span) -> Place:
    if len(parts) == 1 and is_pattern(parts[0]):
        parts = ("*", parts[0])
    count_parts("tracepoint", parts, span, 2)
    return {"category": parts[0], "event": parts[1]}


def _expand(place: Place, target: Target) -> Sequence[Place]:
    found = target.tracefs.events(place["category"], place["event"])
    return [{"category": category, "event": event} for category, event in found]


def _label(place: Place) -> str:
    return f"tracepoint:{place['category']}:{place['event']}"


def _describe(place: Place, target: Target) -> Context:
    """The program gets the event's own record, so the format's offsets are offsets in the context."""
    form = target.tracefs.format(place["category"], place["event"], target.types)
    fields = form.struct if form else None
    return Context("tracepoint", _label(place), "TRACEPOINT", args=fields, result=1)


def _attach(host: AttachHost, fd: int, program: Program) -> Sequence[Closeable]:
    from pbt.sys import perf
    from pbt.uapi.consts import PERF_TYPE_TRACEPOINT

    category, event = program.place["category"], program.place["event"]
    with explained(program.name, {}):
        number = host.target.tracefs.id(category, event)
        if number is None:
            raise KernelError(
                "no such tracepoint on this machine", ENOENT, f"pbt -l 'tracepoint:{category}:*'"
            )
        with ExitStack() as stack:
            event = perf.perf_event_open(PERF_TYPE_TRACEPOINT, number, cpu=0)  # counts: some forbid samples
            link = bind(stack, event, fd, program.cookie)
            held = stack.pop_all()
        return (Lingering(link, event) if link else held,)


def _list(parts: Sequence[str], target: Target) -> Sequence[str]:
    category, event = parts if len(parts) == 2 else ("*", parts[0] if parts else "*")
    found = target.tracefs.events(category or "*", event or "*")
    return sorted(f"{category}:{event}" for category, event in found)


def _fields(place: Place, target: Target) -> Sequence[str]:
    form = target.tracefs.format(place["category"], place["event"], target.types)
    return form.declarations if form else ()


TRACEPOINT = Provider(
    "tracepoint",
    "Static kernel events: `tracepoint:category:event`; `args.field` reads what the event recorded.",
    parse=_parse,
    expand=_expand,
    label=_label,
    describe=_describe,
    attach=_attach,
    list=_list,
    fields=_fields,
    cookies="get_attach_cookie",
    aliases=("t",),
)
