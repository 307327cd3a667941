"""`pbt --check FILE...`: all errors and warnings of scripts, without running them; for --target DIR or this machine."""

from __future__ import annotations

import sys

from pbt.cli.fmt import sources
from pbt.cli.options import Arguments
from pbt.cli.trace import judge, target_of
from pbt.source import PbtError, ScriptWarning, Source
from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbt.host.target import Target


def main(args: Arguments) -> int:
    """1 if a script has errors."""
    target = target_of(args)
    wrong = [_has_errors(source, target, args) for source in sources(args)]
    return int(any(wrong))


def _has_errors(source: Source, target: Target, args: Arguments) -> bool:
    from pbt.pipeline import Options, diagnose

    try:
        work = diagnose(source, target, Options((), args.has("unsafe")))
        said: list[ScriptWarning | PbtError] = [*work.errors]
        if not args.has("no-warnings"):
            said += [*work.warnings, *old_forms(source)]
        for each in sorted(said, key=lambda s: (isinstance(s, ScriptWarning), s.span.start)):  # type: ignore[union-attr]
            print(each, file=sys.stderr)
        if work.bundle is not None and not args.has("no-verify"):
            judge(work.bundle, work.target)
    except PbtError as error:
        print(error, file=sys.stderr)
        return True
    return bool(work.errors)


def old_forms(source: Source) -> list[ScriptWarning]:
    """A warning for each form of older releases that a script uses, at its first place; none if it cannot be read."""
    from pbt.lang.migrate import deprecated

    try:
        found_forms = deprecated(source)
    except PbtError:
        return []
    return [
        ScriptWarning(
            f"older form: {found.rewrite.old}", found.span,
            f"today: {found.rewrite.new}; pbt --migrate writes it so",
        )
        for found in found_forms
    ]  # fmt: skip
