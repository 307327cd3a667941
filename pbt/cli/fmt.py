"""`pbt --fmt FILE...`: scripts in canonical form, printed, written back (-i), or only compared (--check)."""

from __future__ import annotations

import sys

from pbt.cli.options import Arguments
from pbt.source import PbtError, Source, UsageError


def main(args: Arguments) -> int:
    """1 if a script has errors or, with --check, is not in canonical form."""
    status = 0
    for source in sources(args):
        try:
            changed = _format(source, args)
        except PbtError as error:
            print(error, file=sys.stderr)
            changed = True
        status |= changed
    return status


def sources(args: Arguments) -> list[Source]:
    """The scripts named on the command line, or that of -e. UsageError if one cannot be read or none is given."""
    from pbt.cli.trace import read

    if args.has("e"):
        return [Source("stdin", args.get("e"))]
    if not args.rest:
        raise UsageError("no program given", "pbt --fmt FILE, pbt --check FILE, or - for standard input")
    return [read(name) for name in args.rest]


def _format(source: Source, args: Arguments) -> bool:
    """Format one script; whether that is a failure."""
    from pbt.lang.fmt import format_script

    text = format_script(source)
    if args.has("check"):
        if text != source.text:
            print(f"{source.name} would be formatted anew", file=sys.stderr)
        return text != source.text
    if not args.has("in-place"):
        print(text, end="")
    elif text != source.text:
        write(source, text, "-i")
    return False


def write(source: Source, text: str, option: str) -> None:
    """Put a script's new text in its file."""
    if source.name == "stdin":
        raise UsageError(f"{option} needs files to write to")
    try:
        with open(source.name, "w", encoding="utf-8", newline="") as file:
            file.write(text)
    except OSError as error:
        raise UsageError(f"cannot write {source.name}: {error.strerror}") from None
