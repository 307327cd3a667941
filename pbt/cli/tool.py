"""`pbt tool NAME [options]`: run a script of the folder `tools`, which is installed as pbt/tools."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from pbt.cli import trace
from pbt.cli.options import Option, parse, usage
from pbt.cli.verbs import HELP
from pbt.source import UsageError, nearest

USAGE = """    pbt tool                   list the tools
    pbt tool NAME --help       what a tool shows, and its options
    pbt tool [options] NAME [options of the tool]
        options before NAME are those of pbt itself, such as -o FILE and -f json"""

_FOLDER = os.path.join(os.path.dirname(os.path.dirname(__file__)), "tools")
_OWN = tuple(o for o in trace.OPTIONS if o.long not in ("list", "info", "version") and o.short != "e")
_COMMENT = re.compile(r"/\*\n(.*?)\*/", re.S)
_GETOPT = re.compile(r'getopt\("([^"]+)"(?:, ([^,()]+))?(?:, "([^"]+)")?\)')


def main(argv: Sequence[str]) -> int:
    args = parse(argv, _OWN)
    if args.has("help"):
        print(f"USAGE:\n{USAGE}\n\nOPTIONS:\n{usage(_OWN)}")
        return 0
    if not args.rest:
        print("\n".join(summary(name) for name in names()))
        return 0
    name, *words = args.rest
    if name not in names():
        close = nearest(name, names(), 1)
        raise UsageError(
            f"no tool {name}", f"did you mean {close[0]}?" if close else "pbt tool lists those there are"
        )
    own = (*options(text(name)), HELP)
    given = parse(words, own)
    if given.has("help"):
        print(f"{about(text(name))}\nOPTIONS:\n{usage(own)}")
        return 0
    flags = {option.long for option in own if not option.value}
    named = [
        f"--{key}" if key in flags else f"--{key}={value}" for key in given.given for value in given.all(key)
    ]
    args.rest = [path(name), *named, *given.rest]
    return trace.trace(args)


def names() -> list[str]:
    """The tools that are installed, sorted."""
    return sorted(file[:-3] for file in _files() if file.endswith(".bt"))


def _files() -> list[str]:
    if os.path.isdir(_FOLDER):
        return os.listdir(_FOLDER)
    from zipfile import ZipFile

    with ZipFile(trace.ARCHIVE) as archive:
        return [os.path.basename(name) for name in archive.namelist() if name.startswith("pbt/tools/")]


def path(name: str) -> str:
    """The tool's file."""
    return os.path.join(_FOLDER, f"{name}.bt")


def text(name: str) -> str:
    """The tool's script."""
    return trace.read(path(name)).text


def about(script: str) -> str:
    """The comment at a script's start: what it shows, column by column."""
    found = _COMMENT.search(script)
    return re.sub(r"^ \* ?", "", found[1], flags=re.M).strip() + "\n" if found else ""


def summary(name: str) -> str:
    """A tool's name, and what it shows in one line."""
    first = about(text(name)).partition("\n")[0]
    return f"{name:16} {first.partition(': ')[2]}"


def options(script: str) -> list[Option]:
    """The options that a script reads with getopt(), in the order of their descriptions."""
    found: dict[str, Option] = {}
    for name, default, doc in _GETOPT.findall(script):
        value = "" if default in ("", "true", "false") else "TEXT" if default[0] == '"' else "N"
        if doc or name not in found:
            found[name] = Option("", name, value, doc)
    return list(found.values())
