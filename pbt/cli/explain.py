"""`pbt explain SCRIPT`: every line of a script beside its IR, registers, stack, bytes and verifier states."""

from __future__ import annotations

from collections.abc import Sequence

from pbt.cli.say import say
from pbt.cli.verbs import HELP, NO_WARNINGS, PROGRAM, TARGET, UNSAFE, explained, mixed

OPTIONS = (
    PROGRAM,
    TARGET,
    UNSAFE,
    NO_WARNINGS,
    HELP,
)
USAGE = """    pbt explain SCRIPT [parameters]
    pbt explain -e 'PROGRAM' [parameters]
        show what became of each line, down to the bits; nothing is loaded or run"""


def main(argv: Sequence[str]) -> int:
    args = mixed(argv, OPTIONS, 1)
    if explained(args, USAGE, OPTIONS):
        return 0
    from pbt.cli.build import compiled

    work = compiled(args)
    if not args.has("no-warnings"):
        for warning in work.warnings:
            say(str(warning))
    from pbt.teach.explain import explain

    print(explain(work), end="")
    return 0
