"""What stands in for kprobes where the kernel has none: fentry and fexit, else the events of pbt/uapi/functions.py.

A substitute is a place of another provider with a context that offers what the probe would have: the same
label, arguments and result by their numbers. What it cannot offer it names, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pbt.data import replace
from pbt.feature import Context, Place, Substitute
from pbt.types import U64, Struct, is_signed
from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbt.host.target import Target
    from pbt.ir.core import Value
    from pbt.uapi.functions import Argument, Spot
    from pbt.views import Gen

Field = tuple[int, int, bool]
"""Offset in the context and size, both in bytes; whether it is signed."""

_SLOT = 8  # bytes of each argument of trampolines and raw tracepoints
_MOST_ARGUMENTS = 32  # arg0 to arg31 are names of the language


def substitutes(provider: str, label: str, place: Place, target: Target) -> Sequence[Substitute]:
    """For `kprobe` or `kretprobe` at a function; [] where nothing can stand in for it."""
    if "address" in place or place["offset"]:
        return ()
    returns = provider == "kretprobe"
    return _trampoline(returns, label, place, target) or [
        made for spot in _spots(place["function"], returns) for made in _event(label, spot, target)
    ]


def _spots(function: str, returns: bool) -> Sequence[Spot]:
    from pbt.uapi.functions import spots

    return spots(function, returns)


# --- trampolines ------------------------------------------------------------------------------


def _trampoline(returns: bool, label: str, place: Place, target: Target) -> Sequence[Substitute]:
    from pbt.probes.fentry import FENTRY, result_slot
    from pbt.probes.kprobe import in_pieces

    provider, function = FENTRY[returns], place["function"]
    if not target.has(provider.name) or not target.kallsyms.has(function) or in_pieces(function, target):
        return ()  # BTF knows functions, too, that are inlined everywhere
    made = []
    for found in provider.expand({"module": place["module"], "function": place["function"]}, target):
        context = provider.describe(found, target)
        slots = context.args.size // _SLOT if context.args is not None else 0
        fields = tuple((n * _SLOT, _SLOT, False) for n in range(slots))
        result = (result_slot(found, target), _SLOT, False) if returns else None
        shown = replace(
            _numbered(label, context, () if returns else fields, result, ()), func=context.func, args=None
        )
        made.append(
            Substitute(provider.name, found, shown, f"{provider.name}:{place['function']}", event=found)
        )
    return made


# --- events -----------------------------------------------------------------------------------


def _event(label: str, spot: Spot, target: Target) -> Iterator[Substitute]:
    """The spot's event, if this kernel has it."""
    from pbt.probes.rawtracepoint import RAWTRACEPOINT
    from pbt.probes.tracepoint import TRACEPOINT

    name, *parts = spot.event.split(":")
    provider = RAWTRACEPOINT if name == RAWTRACEPOINT.name else TRACEPOINT
    wanted = (
        {"module": "", "event": parts[0]}
        if len(parts) == 1
        else dict(zip(("category", "event"), parts, strict=True))
    )
    for place in provider.expand(wanted, target):
        context = provider.describe(place, target)
        fields = tuple(_field(argument, context.args) for argument in spot.args)
        only = tuple((_field(argument, context.args), value) for argument, value in spot.only)
        result = _field(spot.retval, context.args)
        shown = replace(
            _numbered(label, context, fields, result, only),
            args=None,
            detail=(fields, result, only, spot.function),
            func=_named if target.kallsyms.address(spot.function) else None,
        )
        yield Substitute(provider.name, place, shown, spot.event, spot.differs, (spot.event, only))


def _field(argument: Argument, args: Struct | None) -> Field | None:
    """Where an argument of the event lies in its context; None if this kernel's event has it not."""
    if isinstance(argument, int):
        return argument * _SLOT, _SLOT, False
    member = next((m for m in args.members if m.name == argument), None) if args is not None else None
    return None if member is None else (member.offset, member.type.size, is_signed(member.type))


# --- what programs see ------------------------------------------------------------------------


def _numbered(
    label: str,
    context: Context,
    fields: Sequence[Field | None],
    result: Field | None,
    only: Sequence[tuple[Field | None, int]],
) -> Context:
    """The substitute's context under the probe's own name, with arguments and result by number."""
    reason = f"{label} is attached as {context.label} here, which does not tell it"
    known = [n for n, field in enumerate(fields) if field is not None]
    lacks = [(f"arg{n}", reason) for n in range(_MOST_ARGUMENTS) if n not in known]
    return replace(
        context,
        label=label,
        arg=_arg if known else None,
        retval=U64 if result is not None else None,
        read_retval=_retval if result is not None else None,
        enter=_only if only else None,
        lacks=tuple(lacks) if result is None else (),
        detail=(tuple(fields), result, tuple(only), ""),
    )


def _load(gen: Gen, field: Field) -> Value:
    """A number from the context; read as bytes where the verifier would know it as a typed pointer."""
    offset, size, signed = field
    if gen.probe.prog_type != "TRACING":
        return gen.b.load(gen.b.ctx(), offset, size, signed)
    room = gen.temp(_SLOT, "argument")
    gen.read(room, size, gen.b.add(gen.b.ctx(), offset), "kernel")
    return gen.b.load(room.base, room.offset, size, signed)


def _arg(gen: Gen, n: int) -> Value:
    return _load(gen, gen.probe.detail[0][n])


def _retval(gen: Gen) -> Value:
    return _load(gen, gen.probe.detail[1])


def _only(gen: Gen) -> Value:
    """1 where all conditions of the spot hold."""
    flags = [gen.b.compare("eq", _int(gen, field), value) for field, value in gen.probe.detail[2]]
    wanted = flags[0]
    for flag in flags[1:]:
        wanted = gen.b.op("and", wanted, flag)
    return wanted


def _int(gen: Gen, field: Field) -> Value:
    """Conditions are about C ints, which fill half of a slot."""
    return gen.b.zext(_load(gen, field), 4)


def _named(gen: Gen) -> Value:
    """`func`: the address of the function that the event stands for."""
    return gen.b.const(gen.target.kallsyms.address(gen.probe.detail[3]))
