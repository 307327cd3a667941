"""`pbt target DIR`: save what the compiler asks about this machine, to compile for it elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from pbt.cli.options import Option
from pbt.cli.verbs import HELP, explained, mixed
from pbt.source import UsageError

OPTIONS = (
    Option(
        "",
        "events",
        "PATTERN",
        "keep these tracepoints (category:event), not all",
        many=True,
    ),
    Option("", "no-types", "", "without BTF (which is most of the size)"),
    Option("", "no-symbols", "", "without the names of kernel symbols"),
    HELP,
)
USAGE = """    pbt target DIR [--events PATTERN...]
        save this machine's kernel types, tracepoints, functions and features in the folder DIR;
        pbt build --target DIR compiles for it on any machine, without root"""


def main(argv: Sequence[str]) -> int:
    args = mixed(argv, OPTIONS, 1)
    if explained(args, USAGE, OPTIONS):
        return 0
    if not args.rest:
        raise UsageError("no folder given", "pbt target DIR")
    folder, *patterns = args.rest
    patterns = [*args.all("events"), *(patterns if args.has("events") else _none(patterns))]

    from pbt.host.target import Target

    target = Target.live()
    target.save(folder, patterns or ("*:*",), not args.has("no-types"), not args.has("no-symbols"))
    print(f"{folder}: Linux {target.release} on {target.arch.name}", file=sys.stderr)
    return 0


def _none(words: Sequence[str]) -> Sequence[str]:
    from pbt.cli.verbs import no_more

    no_more(words, "target")
    return ()
