"""`pbt --info`: the machine, what it withholds, the features of its kernel and what is done without them, the
types of probes. Features are found by trying.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping

from pbt import __version__
from pbt.source import PbtError
from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbt.host.target import Target

Section = Iterator[tuple[str, str]]


def main(target: Target, form: str = "text") -> int:
    """`form`: "text", or "json" for one object with an object for each section."""
    if form == "json":
        import json

        print(json.dumps(sections(target)))
    else:
        print(report(target), end="")
    return 0


def sections(target: Target) -> Mapping[str, Mapping[str, str]]:
    """Title → name → value; values of features begin with yes or no."""
    made = {
        "System": _system,
        "Restrictions": _restrictions,
        "Kernel features": _features,
        "Probe types": _probes,
    }
    return {title: dict(rows(target)) for title, rows in made.items()}


def report(target: Target) -> str:
    """The sections as "name: value" lines."""
    parts = []
    for title, rows in sections(target).items():
        wide = max(map(len, rows)) + 2
        parts.append(
            title + "\n" + "".join(f"  {name + ':':{wide}}{value}\n" for name, value in rows.items())
        )
    return "\n".join(parts)


def _system(target: Target) -> Section:
    import platform

    yield "pbt", f"{__version__}, Python {platform.python_version()}"
    yield "OS", f"Linux {target.release} {os.uname().version}"
    yield "architecture", target.arch.name
    yield "CPUs", f"{len(target.online)} online, {len(target.cpus)} possible"
    yield "BTF", "no" if target.types is None else f"yes, and of {len(target.modules())} modules"
    yield "tracefs", _said(lambda: target.tracefs.root)
    yield "tracepoints", _said(lambda: str(len(target.tracefs.events())))
    yield "traceable functions", _said(lambda: _traceable(len(target.tracefs.functions())))
    yield "kernel symbols", f"{len(target.kallsyms.names())}"


def _traceable(count: int) -> str:
    return str(count) if count else "no list; those of the kernel's symbols that BTF knows are taken for it"


def _said(ask: Callable[[], str]) -> str:
    try:
        return ask()
    except PbtError as error:
        return f"no: {getattr(error, 'message', error)}"


def _restrictions(target: Target) -> Section:
    from pbt.host.limits import limits

    return limits()


def _features(target: Target) -> Section:
    from pbt.uapi.features import FEATURES

    for name in sorted(FEATURES):
        yield (
            name,
            "yes" if target.has(name) else f"no (Linux {FEATURES[name].release}){_instead(name, target)}",
        )


def _instead(name: str, target: Target) -> str:
    """What is done without a feature that is missing here."""
    from pbt.uapi.features import FALLBACKS

    for needed, what in FALLBACKS.get(name, ()):
        if not needed or target.has(needed):
            return f": {what}" if what.startswith("none") else f": instead, {what}"
    return ": nothing stands in for it" if name in FALLBACKS else ""


def _probes(target: Target) -> Section:
    from pbt.feature import Provider
    from pbt.registry import collect

    for name, provider in sorted(collect("pbt.probes", Provider).items()):
        short = f" ({', '.join(provider.aliases)})" if provider.aliases else ""
        missing = provider.feature and not target.has(provider.feature)
        said = f" - not here{_instead(provider.feature, target)}" if missing else ""
        yield name + short, provider.doc.partition(": `")[0].rstrip(".") + said
