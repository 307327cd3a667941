"""BEGIN, END and self: programs that the session runs itself, at its start, at its end, and when it is told to."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from pbt.feature import Context, Place, Provider
from pbt.probes.common import count_parts, matching
from pbt.source import ScriptError, Span
from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbt.bundle import Program
    from pbt.host.target import Target
    from pbt.views import AttachHost, Closeable


def _parse(name: str, parts: Sequence[str], span: Span) -> Place:
    if parts:
        raise ScriptError(f"{name} probe type requires 0 arguments, found {len(parts)}", span)
    return {}


def _expand(place: Place, target: Target) -> Sequence[Place]:
    return (place,)


def _list(parts: Sequence[str], target: Target) -> Sequence[str]:
    return ()


def _attach(host: AttachHost, fd: int, program: Program) -> Sequence[Closeable]:
    return ()


def _special(name: str, doc: str) -> Provider:
    label = name.lower()
    # RAW_TRACEPOINT is the tracing type that PROG_TEST_RUN runs without data (5.10).
    return Provider(
        name,
        doc,
        parse=partial(_parse, label),
        expand=_expand,
        label=lambda place: label,
        describe=lambda place, target: Context(name, label, "RAW_TRACEPOINT", anyone=True, again=False),
        attach=_attach,
        list=_list,
        aliases=(label,),
        auto=True,
        listed=False,
    )


SIGNAL = "SIGUSR1"  # the one signal that means nothing else to pbt


def _parse_self(parts: Sequence[str], span: Span) -> Place:
    count_parts("self", parts, span, 2)
    if parts[0] != "signal" or parts[1] != SIGNAL:
        raise ScriptError(f"self probes know only signal:{SIGNAL}", span, f"write self:signal:{SIGNAL}")
    return {"signal": parts[1]}


def _self_label(place: Place) -> str:
    return f"self:signal:{place['signal']}"


def _describe_self(place: Place, target: Target) -> Context:
    return Context("self", _self_label(place), "RAW_TRACEPOINT", anyone=True)


def _list_self(parts: Sequence[str], target: Target) -> Sequence[str]:
    pattern = ":".join(part or "*" for part in parts) or "*"
    return matching(pattern, (f"signal:{SIGNAL}",))


SELF = Provider(
    "self",
    f"Runs when pbt itself gets the signal: `self:signal:{SIGNAL}`.",
    parse=_parse_self,
    expand=_expand,
    label=_self_label,
    describe=_describe_self,
    attach=_attach,
    list=_list_self,
    auto=True,
    listed=False,
)

SPECIAL = (
    _special("BEGIN", "Runs once before anything is attached."),
    _special("END", "Runs once after everything is detached, before the maps are printed."),
)
