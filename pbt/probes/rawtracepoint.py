"""rawtracepoint:event: a tracepoint's own arguments, before its record is made.

Cheaper than `tracepoint`, needs no tracefs to attach, and less stable.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from errno import ENOENT
from functools import partial
from typing import TYPE_CHECKING

from pbt.feature import AttachHost, Closeable, Context, Gen, Place, Provider
from pbt.probes.common import count_parts, explained, is_pattern, matching
from pbt.source import Span
from pbt.types import Member, Struct

if TYPE_CHECKING:
    from pbt.bundle import Program
    from pbt.host.target import Target
    from pbt.ir.core import Value

_TYPEDEF = "btf_trace_"  # BTF names the prototype of each tracepoint so (include/trace/bpf_probe.h)
KERNEL = "vmlinux"
_MOST_ARGS = 12  # MAX_BPF_FUNC_ARGS, include/linux/bpf.h


def _parse(parts: Sequence[str], span: Span) -> Place:
    count_parts("rawtracepoint", parts, span, 1, 2)
    return {"event": parts[-1], "text": ":".join(parts)}


def _events(target: Target) -> Iterable[str]:
    """From BTF; without it, from tracefs, whose syscalls category has no raw tracepoints."""
    if target.types is not None:
        return [n[len(_TYPEDEF) :] for n in target.types.names("typedef") if n.startswith(_TYPEDEF)]
    return [event for category, event in target.tracefs.events("*", "*") if category != "syscalls"]


def _expand(place: Place, target: Target) -> Sequence[Place]:
    event, text = place["event"], place["text"]
    module = text.rpartition(":")[0]
    if module and not matching(module, (KERNEL,)):
        return ()
    if not is_pattern(text) and target.types is not None:
        return (place,) if target.types.find("typedef", _TYPEDEF + event) is not None else ()
    prefix = f"{KERNEL}:" if module else ""
    return [{"event": name, "text": prefix + name} for name in matching(event, _events(target))]


def _label(place: Place) -> str:
    return f"rawtracepoint:{place['text']}"


def _arg(gen: Gen, n: int) -> Value:
    return gen.b.load(gen.b.ctx(), 8 * n, 8)


def _args(place: Place, target: Target) -> Struct | None:
    """Each argument has 8 bytes of the context (struct bpf_raw_tracepoint_args)."""
    if target.types is None:
        return None
    load = partial(_members, place["event"], target)
    return Struct(f"struct _rawtracepoint_{place['event']}", 8 * _MOST_ARGS, 8, load)


def _members(event: str, target: Target) -> tuple[Member, ...]:
    params = target.types.raw_tracepoint_params(event) if target.types is not None else None
    return tuple(Member(p.name, p.type, 8 * i, ctype=p.ctype) for i, p in enumerate(params or ()))


def _describe(place: Place, target: Target) -> Context:
    args = _args(place, target)
    return Context("rawtracepoint", _label(place), "RAW_TRACEPOINT", args=args, arg=_arg)


def _attach(host: AttachHost, fd: int, program: Program) -> Sequence[Closeable]:
    from pbt.sys import bpf

    with explained(
        program.name, {ENOENT: "the running kernel has no such tracepoint: pbt -l 'rawtracepoint:*'"}
    ):
        return (bpf.raw_tracepoint_open(program.place["event"], fd),)


def _list(parts: Sequence[str], target: Target) -> Sequence[str]:
    module, event = ("*", *parts)[-2:] if parts else ("*", "*")
    if not matching(module or "*", (KERNEL,)):
        return ()
    return [f"{KERNEL}:{name}" for name in matching(event or "*", _events(target))]


def _fields(place: Place, target: Target) -> Sequence[str]:
    return [f"{member.ctype} {member.name}" for member in _members(place["event"], target)]


RAWTRACEPOINT = Provider(
    "rawtracepoint",
    "Tracepoints before their record is made: arg0, arg1, ..., and args.name where BTF knows the types.",
    parse=_parse,
    expand=_expand,
    label=_label,
    describe=_describe,
    attach=_attach,
    list=_list,
    fields=_fields,
    aliases=("rt",),
)
