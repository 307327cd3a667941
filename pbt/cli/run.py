"""`pbt run FILE`: load and attach what `pbt build` compiled, without the compiler."""

from __future__ import annotations

from collections.abc import Sequence

from pbt.cli.options import Option
from pbt.cli.trace import judge, start, way_of
from pbt.cli.verbs import DRY_RUN, HELP, NO_WARNINGS, RUNNING, explained, mixed
from pbt.source import UsageError

OPTIONS = (
    *RUNNING,
    Option("v", "verbose", "", "say more", many=True),
    DRY_RUN,
    NO_WARNINGS,
    Option("", "verify", "", "ask the built-in verifier first, as was done when the file was built"),
    HELP,
)
USAGE = """    pbt run FILE [options]
        run a file made by pbt build; it also runs by itself: ./FILE [options]"""


def main(argv: Sequence[str]) -> int:
    args = mixed(argv, OPTIONS, 1)
    if explained(args, USAGE, OPTIONS):
        return 0
    if not args.rest:
        raise UsageError("no file given", "pbt run FILE; pbt build makes such files")
    name, *more = args.rest
    if more:
        hint = "parameters of the script are fixed when it is built: pbt build SCRIPT -o FILE PARAMETER"
        raise UsageError(f"pbt run takes one file, not also {more[0]}", hint)
    if args.has("pid") and args.has("cmd"):
        raise UsageError("Cannot use both -c and -p.")
    way = way_of(args)

    from pbt import aot
    from pbt.host.target import Target

    tool, target = aot.read_file(name), Target.live()
    aot.fit(tool, target, name)
    bundle = tool.bundle if way.pid is None else aot.tied(tool.bundle, target, way.pid)
    if args.has("verify"):
        judge(bundle, target, args.count("verbose") > 0)
    return start(bundle, target, args, way)
