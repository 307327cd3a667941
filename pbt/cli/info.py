"""`pbt --info`: the machine, the features of its kernel, the types of probes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence

from pbt import __version__
from pbt.cli.options import parse
from pbt.cli.verbs import HELP, explained
from pbt.source import PbtError
from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbt.host.target import Target

OPTIONS = (HELP,)


def main(argv: Sequence[str]) -> int:
    args = parse(argv, OPTIONS)
    if explained(args, "    pbt --info\n        what this machine and its kernel can do", OPTIONS):
        return 0

    from pbt.host.target import Target

    print(report(Target.live()), end="")
    return 0


def report(target: Target) -> str:
    """Sections of "name: value" lines; features as yes or no."""
    sections = (("System", _system), ("Kernel features", _features), ("Probe types", _probes))
    parts = []
    for title, rows in sections:
        shown = list(rows(target))
        wide = max(len(name) for name, _ in shown) + 2
        parts.append(title + "\n" + "".join(f"  {name + ':':{wide}}{value}\n" for name, value in shown))
    return "\n".join(parts)


def _system(target: Target) -> Iterator[tuple[str, str]]:
    import platform

    yield "pbt", f"{__version__}, Python {platform.python_version()}"
    yield "OS", f"Linux {target.release} {os.uname().version}"
    yield "architecture", target.arch.name
    yield "CPUs", f"{len(target.online)} online, {len(target.cpus)} possible"
    yield "BTF", "no" if target.types is None else f"yes, and of {len(target.modules())} modules"
    yield "tracefs", _said(lambda: target.tracefs.root)
    yield "tracepoints", _said(lambda: str(len(target.tracefs.events())))
    yield "traceable functions", _said(lambda: str(len(target.tracefs.functions())) or "0")
    yield "kernel symbols", f"{len(target.kallsyms.names())}"
    yield "user", "root" if os.geteuid() == 0 else f"uid {os.geteuid()}"


def _said(ask: Callable[[], str]) -> str:
    try:
        return ask()
    except PbtError as error:
        return f"no: {getattr(error, 'message', error)}"


def _features(target: Target) -> Iterator[tuple[str, str]]:
    from pbt.uapi.features import FEATURES

    for name in sorted(FEATURES):
        yield name, "yes" if target.has(name) else f"no (Linux {FEATURES[name].release})"


def _probes(target: Target) -> Iterator[tuple[str, str]]:
    from pbt.feature import Provider
    from pbt.registry import collect

    for name, provider in sorted(collect("pbt.probes", Provider).items()):
        short = f" ({', '.join(provider.aliases)})" if provider.aliases else ""
        yield name + short, provider.doc.partition(": `")[0].rstrip(".")
