"""rawtracepoint:event: a tracepoint's own arguments, before its record is made.

Cheaper than `tracepoint`, needs no tracefs to attach, and less stable. Programs of type RAW_TRACEPOINT see
the same arguments as those that BTF types (TRACE_RAW_TP), on more kernels (4.17) and as plain numbers; their
types come from BTF all the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from errno import ENOENT
from functools import partial

from pbt.feature import Context, Place, Provider
from pbt.probes.common import NO_TYPES, count_parts, explained, is_pattern, matching
from pbt.source import Span, UsageError
from pbt.types import Member, Struct
from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbt.bundle import Program
    from pbt.host.btf import Btf
    from pbt.host.target import Target
    from pbt.ir.core import Value
    from pbt.views import AttachHost, Closeable, Gen

_TYPEDEF = "btf_trace_"  # BTF names the prototype of each tracepoint so (include/trace/bpf_probe.h)
KERNEL = "vmlinux"
_MOST_ARGS = 12  # MAX_BPF_FUNC_ARGS, include/linux/bpf.h


def _parse(parts: Sequence[str], span: Span) -> Place:
    count_parts("rawtracepoint", parts, span, 1, 2)
    return {"module": parts[0] if len(parts) == 2 else "", "event": parts[-1]}


# --- what is there ----------------------------------------------------------------------------


def _types(module: str, target: Target) -> Btf | None:
    return target.types if module in ("", KERNEL) else target.module_types(module)


def _modules(pattern: str, target: Target) -> Sequence[str]:
    """Those with BTF that a pattern means, the kernel itself first; "" stands for all."""
    known = (KERNEL, *target.modules())
    return matching(pattern, known) if pattern else known


def _events(module: str, target: Target) -> Iterable[str]:
    """From BTF; without it, from tracefs, whose syscalls category has no raw tracepoints."""
    types = _types(module, target)
    if types is not None:
        return types.names_after("typedef", _TYPEDEF)
    if module != KERNEL:
        return ()
    return [event for category, event in target.tracefs.events("*", "*") if category != "syscalls"]


def _unknowable(target: Target) -> bool:
    """Whether neither BTF nor tracefs tells which tracepoints there are: the kernel itself knows them by name."""
    try:
        return target.types is None and not target.tracefs.events("*", "*")
    except UsageError:
        return True


def _expand(place: Place, target: Target) -> Sequence[Place]:
    """With the module that BTF names; without BTF as it was written: names of tracepoints are unique."""
    event, module, found = place["event"], place["module"], list[Place]()
    if not is_pattern(event + module) and _unknowable(target):
        return (place,)
    if not is_pattern(event) and target.types is not None and target.types.find("typedef", _TYPEDEF + event):
        return ({**place, "module": KERNEL},) if matching(module or KERNEL, (KERNEL,)) else ()
    for name in _modules(module, target):
        shown = name if module or _types(name, target) is not None else ""
        found += [{"module": shown, "event": each} for each in matching(event, _events(name, target))]
    return found


def _label(place: Place) -> str:
    return ":".join(filter(None, ("rawtracepoint", place["module"], place["event"])))


def _arg(gen: Gen, n: int) -> Value:
    return gen.b.load(gen.b.ctx(), 8 * n, 8)


def _args(place: Place, target: Target) -> Struct | None:
    """Each argument has 8 bytes of the context (struct bpf_raw_tracepoint_args)."""
    if target.types is None:
        return None
    load = partial(_members, place, target)
    return Struct(f"struct _rawtracepoint_{place['event']}", 8 * _MOST_ARGS, 8, load)


def _members(place: Place, target: Target) -> tuple[Member, ...]:
    types = _types(place["module"], target)
    params = types.raw_tracepoint_params(place["event"]) if types is not None else None
    return tuple(Member(p.name, p.type, 8 * i, ctype=p.ctype) for i, p in enumerate(params or ()))


def _describe(place: Place, target: Target) -> Context:
    args = _args(place, target)
    lacks = (("args", NO_TYPES),) if args is None else ()
    return Context("rawtracepoint", _label(place), "RAW_TRACEPOINT", args=args, arg=_arg, lacks=lacks)


def _attach(host: AttachHost, fd: int, program: Program) -> Sequence[Closeable]:
    from pbt.sys.links import raw_tracepoint_open

    with explained(
        program.name, {ENOENT: "the running kernel has no such tracepoint: pbt -l 'rawtracepoint:*'"}
    ):
        return (raw_tracepoint_open(program.place["event"], fd, program.cookie),)


def _list(parts: Sequence[str], target: Target) -> Sequence[str]:
    module, event = ("", *parts)[-2:] if parts else ("", "*")
    return [
        f"{name}:{each}"
        for name in sorted(_modules(module, target), key="{}:".format)
        for each in matching(event or "*", _events(name, target))
    ]


def _fields(place: Place, target: Target) -> Sequence[str]:
    return [f"{member.ctype} {member.name}" for member in _members(place, target)]


RAWTRACEPOINT = Provider(
    "rawtracepoint",
    "Tracepoints before their record is made: `rawtracepoint:sched_switch`; arg0, arg1, ..., and args.name with BTF.",
    parse=_parse,
    expand=_expand,
    label=_label,
    describe=_describe,
    attach=_attach,
    list=_list,
    fields=_fields,
    aliases=("rt",),
    cookies="raw_tp_cookie",
)
