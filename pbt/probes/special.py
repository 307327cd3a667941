"""BEGIN and END: programs that the session runs itself, before the first and after the last event."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pbt.feature import AttachHost, Closeable, Context, Place, Provider
from pbt.source import ScriptError, Span

if TYPE_CHECKING:
    from pbt.bundle import Program
    from pbt.host.target import Target


def _parse(parts: Sequence[str], span: Span) -> Place:
    found = [part for part in parts if part]
    if found:
        raise ScriptError(f"BEGIN and END take no arguments, found {len(found)}", span)
    return {}


def _expand(place: Place, target: Target) -> Sequence[Place]:
    return (place,)


def _list(parts: Sequence[str], target: Target) -> Sequence[str]:
    return ()


def _attach(host: AttachHost, fd: int, program: Program) -> Sequence[Closeable]:
    return ()


def _special(name: str, doc: str) -> Provider:
    # RAW_TRACEPOINT is the tracing type that PROG_TEST_RUN runs without data (5.10).
    return Provider(
        name,
        doc,
        parse=_parse,
        expand=_expand,
        label=lambda place: name,
        describe=lambda place, target: Context(name, name, "RAW_TRACEPOINT", anyone=True),
        attach=_attach,
        list=_list,
        aliases=(name.lower(),),
        auto=True,
        listed=False,
    )


SPECIAL = (
    _special("BEGIN", "Runs once before anything is attached."),
    _special("END", "Runs once after everything is detached, before the maps are printed."),
)
