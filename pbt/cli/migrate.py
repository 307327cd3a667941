"""`pbt --migrate FILE...`: scripts of older releases in today's syntax, printed or written back (-i)."""

from __future__ import annotations

import sys

from pbt.cli.fmt import sources, write
from pbt.cli.options import Arguments
from pbt.cli.trace import target_of
from pbt.source import PbtError


def main(args: Arguments) -> int:
    """1 if a script has syntax errors."""
    from pbt.lang.migrate import migrate
    from pbt.pipeline import renamed

    target, status = target_of(args), 0
    for source in sources(args):
        try:
            made = renamed(migrate(source), target)
        except PbtError as error:
            print(error, file=sys.stderr)
            status = 1
            continue
        if not args.has("in-place"):
            print(made.text, end="")
        elif made.text != source.text:
            write(source, made.text, "-i")
    return status
