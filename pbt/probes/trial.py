"""test:name and bench:name: programs that only `--test` and `--bench` run, on a packet of zeros."""

from __future__ import annotations

from collections.abc import Sequence

from pbt.feature import Context, Place, Provider
from pbt.probes.common import count_parts
from pbt.source import ScriptError, Span
from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbt.bundle import Program
    from pbt.views import AttachHost, Closeable


def _parse(provider: str, parts: Sequence[str], span: Span) -> Place:
    count_parts(provider, parts, span, 1)
    if not parts[0]:
        raise ScriptError(f"a {provider} probe needs a name", span, f"such as {provider}:sums")
    return {"name": parts[0]}


def _attach(host: AttachHost, fd: int, program: Program) -> Sequence[Closeable]:
    return ()


def _describe(provider: str, place: Place) -> Context:
    # XDP programs are run by PROG_TEST_RUN as often as wanted, with their results and durations (4.12)
    label = f"{provider}:{place['name']}"
    return Context(provider, label, "XDP", anyone=True, answers=True, again=False)


def _trial(name: str, doc: str) -> Provider:
    return Provider(
        name,
        doc,
        parse=lambda parts, span: _parse(name, parts, span),
        expand=lambda place, target: (place,),
        label=lambda place: f"{name}:{place['name']}",
        describe=lambda place, target: _describe(name, place),
        attach=_attach,
        list=lambda parts, target: (),
        listed=False,
        mode=name,
    )


TRIALS = (
    _trial("test", "With --test alone: passes if it returns 0 and reports no error: `test:name`."),
    _trial("bench", "With --bench alone: run over and over, to be timed: `bench:name`."),
)
