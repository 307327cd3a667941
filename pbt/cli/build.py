"""`pbt build SCRIPT -o FILE`: compile into one file that runs without the compiler."""

from __future__ import annotations

from collections.abc import Sequence

from pbt.cli.options import Arguments, Option
from pbt.cli.say import say
from pbt.cli.trace import judge, source_of, target_of
from pbt.cli.verbs import HEADERS, HELP, NO_WARNINGS, PROGRAM, TARGET, UNSAFE, explained, headers_of, mixed
from pbt.source import UsageError
from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbt.pipeline import Work

OPTIONS = (
    Option("o", "output", "FILE", "the file to write"),
    PROGRAM,
    TARGET,
    Option("q", "quiet", "", "say nothing of what was built"),
    *HEADERS,
    UNSAFE,
    NO_WARNINGS,
    Option("", "no-verify", "", "do not ask the built-in verifier"),
    HELP,
)
USAGE = """    pbt build SCRIPT -o FILE [parameters]
    pbt build -e 'PROGRAM' -o FILE [parameters]
        compile a script into FILE, which runs by itself or with pbt run; needs no root"""


def main(argv: Sequence[str]) -> int:
    args = mixed(argv, OPTIONS, 1)
    if explained(args, USAGE, OPTIONS):
        return 0
    if not args.has("output"):
        raise UsageError("no file to write given", "pbt build SCRIPT -o FILE")
    work = compiled(args)
    assert work.bundle is not None
    if not args.has("no-warnings"):
        for warning in work.warnings:
            say(str(warning))
    if not args.has("no-verify"):
        judge(work.bundle, work.target)

    from pbt.aot import write_file
    from pbt.layouts import layouts
    from pbt.rows import Tool

    size = write_file(args.get("output"), Tool(work.bundle, layouts(work)))
    if not args.has("quiet"):
        count = len(work.bundle.programs)
        say(f"{args.get('output')}: {count} program{'s' * (count != 1)}, {size} bytes")
    return 0


def compiled(args: Arguments) -> Work:
    """All stages for the script that the options name."""
    from pbt.pipeline import Options, run

    source, params = source_of(args)
    return run(source, target_of(args), Options(params, args.has("unsafe"), headers=headers_of(args)))
